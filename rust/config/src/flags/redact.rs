//! Redaction of secrets in arguments that other users of the machine can see.

use super::table::{Flag, Kind};

/// The replacement of a secret.
const REDACTED: &str = "[REDACTED]";

/// Returns the arguments with secrets replaced: the values of `--user`, `--pass` and `--auth`, and the credentials in
/// cluster URLs.
#[must_use]
pub fn redact(args: &[String]) -> Vec<String> {
    let mut redacted = Vec::with_capacity(args.len());
    let mut pending: Option<fn(&str) -> String> = None;
    for arg in args {
        if let Some(hide) = pending.take() {
            redacted.push(hide(arg));
            continue;
        }
        let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or("");
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let hide: fn(&str) -> String = match name {
            "user" | "pass" | "auth" => |_| REDACTED.to_owned(),
            "routes" => |urls| urls.split(',').map(hide_user).collect::<Vec<_>>().join(","),
            "cluster" | "cluster_listen" => hide_user,
            _ => {
                redacted.push(arg.clone());
                // The value of another flag is no flag, even if it looks like one.
                let takes_next =
                    value.is_none() && Flag::of_server(name).is_some_and(|spec| spec.kind != Kind::Bool);
                pending = takes_next.then_some(str::to_owned);
                continue;
            }
        };
        match value {
            Some(value) => redacted.push(format!("{}{}", &arg[..arg.len() - value.len()], hide(value))),
            None => {
                redacted.push(arg.clone());
                pending = Some(hide);
            }
        }
    }
    redacted
}

/// Replaces user and password in `nats://user:password@host`.
pub(super) fn hide_user(url: &str) -> String {
    let start = url.find("://").map_or(0, |index| index + 3);
    let end = url[start..].find('/').map_or(url.len(), |index| start + index);
    // A password may contain an unescaped slash or at sign: hide up to the last one.
    let Some(at) = url[start..end].rfind('@').or_else(|| url[start..].rfind('@')) else {
        return url.to_owned();
    };
    format!("{}{REDACTED}{}", &url[..start], &url[start + at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        let cases = [
            (
                "-p 4222 --user ann --pass=s3 -auth t",
                "-p 4222 --user [REDACTED] --pass=[REDACTED] -auth [REDACTED]",
            ),
            ("--routes nats://a:b@h:1,nats://h:2 -D", "--routes nats://[REDACTED]@h:1,nats://h:2 -D"),
            ("--cluster=nats://a:b@0.0.0.0:-1", "--cluster=nats://[REDACTED]@0.0.0.0:-1"),
            ("-cluster_listen nats://h:1 --username x", "-cluster_listen nats://h:1 --username x"),
            ("--cluster nats://a:b/c@h:1", "--cluster nats://[REDACTED]@h:1"),
            ("--pass", "--pass"),
            ("-c --routes --pass s3", "-c --routes --pass [REDACTED]"),
            ("-D --pass s3", "-D --pass [REDACTED]"),
        ];
        for (given, shown) in cases {
            let args: Vec<_> = given.split(' ').map(str::to_owned).collect();
            assert_eq!(redact(&args).join(" "), shown);
        }
    }
}
