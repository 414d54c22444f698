//! A peer that sends arbitrary records in arbitrary slices, while the server answers or closes. The session of an encrypted
//! connection does not panic, and gives the same results as rustls' buffered interface.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::tls;

fuzz_target!(|script: &[u8]| tls::play(script));
