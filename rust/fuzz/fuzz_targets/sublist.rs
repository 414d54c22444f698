//! The interest index and the match cache above it, compared with a list that is searched in full.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::interest::Interest;

// One operation a line, see [`Interest::step`].
fuzz_target!(|data: &[u8]| {
    let mut interest = Interest::new();
    for line in data.split(|&b| b == b'\n').take(256) {
        interest.step(line);
    }
    interest.clear();
});
