//! What streams of buckets hold and say, in any shape: read as far as it can be read. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::buckets;

fuzz_target!(|data: &[u8]| buckets::check(data));
