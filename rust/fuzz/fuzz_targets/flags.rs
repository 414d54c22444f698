//! A command line, one argument a line. It is accepted, or refused with a text. Accepted flags give options, and the process list
//! shows no secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use stonechat_auth::Password;
use stonechat_config::Options;
use stonechat_config::flags::{self, FlagSet, Invocation};

/// Minimum length of a secret; shorter ones appear by chance.
const LENGTH_MIN: usize = 4;

fuzz_target!(|data: &[u8]| {
    // `--signal stop=<file>` reads the file; the fuzzer must not read files.
    if data.contains(&b'/') {
        return;
    }
    let args: Vec<OsString> =
        data.split(|&b| b == b'\n').map(|arg| OsString::from_vec(arg.to_vec())).collect();
    let texts: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let shown = flags::redact(&texts);
    assert_eq!(shown.len(), texts.len(), "arguments were lost or added");
    match flags::parse(args) {
        Ok(Invocation::Run(set) | Invocation::TestConfig(set)) => check_options(&set, &texts, &shown),
        Ok(Invocation::Healthcheck { url }) => assert!(!url.contains('\n')),
        Ok(_) => {}
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(error.shows_usage(), error.exit_code() == 0);
        }
    }
});

fn check_options(set: &FlagSet, given: &[String], shown: &[String]) {
    let mut options = Options::default();
    if set.apply(&mut options).is_err() {
        return;
    }
    // Any options must not cause a panic.
    let _ = options.validate();
    let mut again = Options::default();
    assert!(set.apply(&mut again).is_ok() && again == options, "applied twice");
    let auth = &options.authorization;
    let passwords = [&auth.password, &auth.token].into_iter().flatten().map(Password::reveal);
    for secret in passwords.chain(auth.user.as_deref()).filter(|s| s.len() >= LENGTH_MIN) {
        let count = |args: &[String]| args.iter().map(|arg| arg.matches(secret).count()).sum::<usize>();
        // The secret may also be a harmless word elsewhere.
        let is_only_here = count(given) == 1;
        assert!(!is_only_here || count(shown) == 0, "{secret:?} is in {shown:?}");
    }
}
