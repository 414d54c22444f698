//! A peer that sends any records in any slicing, while the server answers or says goodbye: the session of an encrypted
//! connection does not panic, and makes of them what rustls' buffered interface does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::tls;

fuzz_target!(|script: &[u8]| tls::play(script));
