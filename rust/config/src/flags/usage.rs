//! Help texts.

use std::fmt::Write;

use super::table::{Group, HEALTHCHECK, SERVER, Spec};

/// The column at which explanations begin.
const HELP_COLUMN: usize = 44;

/// The output of `--help_tls`.
pub const TLS_USAGE: &str = "\
TLS is configured in the `tls` block of the configuration file:

    tls {
        cert_file: \"server-cert.pem\"    # certificate of the server, PEM
        key_file:  \"server-key.pem\"     # its private key, PEM
        ca_file:   \"ca.pem\"             # authority of the clients' certificates
        verify:    true                 # clients must present one
        timeout:   \"2s\"                 # for the handshake
    }

or for the client listener by the flags --tls, --tlscert, --tlskey, --tlsverify and --tlscacert.

Other keys: certs, verify, min_version, cipher_suites, timeout, handshake_first; allow_non_tls beside the block.
";

/// Returns the usage: every flag with all its names, in groups.
#[must_use]
pub fn usage() -> String {
    let mut text = String::from(
        "Usage: stonechat-server [flags]\n       stonechat-server healthcheck [flags]\n       stonechat-server store check|show|repair [DIR]\n\nOne dash or two before a flag \
         make no difference; a value follows after a space or '='.\n",
    );
    for group in SERVER.iter().chain(HEALTHCHECK) {
        push_group(&mut text, group);
    }
    text
}

fn push_group(text: &mut String, group: &Group) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "\n{}:", group.title);
    for spec in group.specs {
        let names = names(spec);
        let mut explanations = spec.help.lines();
        let first = explanations.next().unwrap_or_default();
        if names.len() < HELP_COLUMN {
            let _ = writeln!(text, "{names:HELP_COLUMN$}{first}");
        } else {
            let _ = writeln!(text, "{names}\n{:HELP_COLUMN$}{first}", "");
        }
        for explanation in explanations {
            let _ = writeln!(text, "{:HELP_COLUMN$}{explanation}", "");
        }
    }
}

fn names(spec: &Spec) -> String {
    let dashed =
        |name: &&str| format!("{}{name}", if name.len() <= 3 && !is_word(name) { "-" } else { "--" });
    let names: Vec<_> = spec.names.iter().map(dashed).collect();
    format!("  {} {}", names.join(", "), spec.value).trim_end().to_owned()
}

/// Returns whether a name is a word, although it is short.
fn is_word(name: &str) -> bool {
    matches!(name, "net" | "pid" | "log" | "tls" | "url")
}
