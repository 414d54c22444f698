//! A store with damaged files, whether or not checksums detect the damage. It opens or is refused, and reports what it can't
//! read. After the loss is accepted, it is sound. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::jetstream::open_damaged;

fuzz_target!(|data: &[u8]| open_damaged(data));
