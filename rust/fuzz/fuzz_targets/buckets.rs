//! Infos, headers and messages of buckets' streams, with any content: they are read as far as possible. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::buckets;

fuzz_target!(|data: &[u8]| buckets::check(data));
