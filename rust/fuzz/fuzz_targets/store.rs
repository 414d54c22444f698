//! A store whose files were damaged, noticed by checksums or not: it opens or is refused, tells what it can't read, and after the
//! loss was accepted it is sound. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::jetstream::open_damaged;

fuzz_target!(|data: &[u8]| open_damaged(data));
