//! An arbitrary backup becomes a stream or an error. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::jetstream::restore;

fuzz_target!(|data: &[u8]| restore(data));
