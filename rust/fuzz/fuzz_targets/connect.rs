//! CONNECT's JSON, its form for the log, and quoting: no secret appears, and no text ends its quotes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::connect::{secrets, unquote};
use stonechat_wire::{ConnectOptions, quote, redact_connect};

fuzz_target!(|data: &[u8]| {
    let quoted = quote(data);
    assert_eq!(unquote(&quoted).as_deref(), Some(data), "{quoted}");

    let mut options = ConnectOptions::default();
    let before = options.clone();
    let applied = options.apply(data);
    assert!(applied.is_ok() || options == before, "a CONNECT that was refused left a trace");

    let shown = redact_connect(data);
    let text = String::from_utf8_lossy(data);
    for secret in secrets(&text) {
        let others = text[..secret.start].matches(&text[secret.clone()]).count()
            + text[secret.end..].matches(&text[secret.clone()]).count();
        let left = shown.matches(&text[secret.clone()]).count();
        assert!(left <= others, "{:?} is in {shown:?}", &text[secret]);
    }
});
