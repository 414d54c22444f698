//! The CONNECT line of a connection: its credentials, as the server's INFO asks for them.

use std::fs;
use std::path::Path;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::connection::Login;
use crate::error::CliError;

/// Returns the CONNECT line that answers the server's INFO.
///
/// # Errors
/// A file with credentials can't be read.
pub(super) fn connect_line(login: &Login, info: &Value) -> Result<Vec<u8>, CliError> {
    let mut options = json!({
        "verbose": false,
        "pedantic": false,
        "name": "stonechat bench",
        "lang": "rust",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": 1,
        "echo": true,
        "headers": true,
        "no_responders": true,
    });
    let nonce = info["nonce"].as_str().unwrap_or_default();
    match login {
        Login::None => {}
        Login::Token(token) => options["auth_token"] = json!(token),
        Login::User { name, password } => {
            options["user"] = json!(name);
            options["pass"] = json!(password);
        }
        Login::Nkey(path) => {
            let key = key(path, read(path)?.trim())?;
            options["nkey"] = json!(key.public_key());
            options["sig"] = json!(signature(path, &key, nonce)?);
        }
        Login::Credentials(path) => {
            let text = read(path)?;
            let part =
                |name: &str| block(&text, name).ok_or_else(|| unusable(path, &format!("it holds no {name}")));
            let key = key(path, part("USER NKEY SEED")?)?;
            options["jwt"] = json!(part("NATS USER JWT")?);
            options["sig"] = json!(signature(path, &key, nonce)?);
        }
    }
    Ok(format!("CONNECT {options}\r\n").into_bytes())
}

fn unusable(path: &Path, reason: &str) -> CliError {
    CliError::File { path: path.to_owned(), reason: reason.to_owned() }
}

fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|error| unusable(path, &error.to_string()))
}

fn key(path: &Path, seed: &str) -> Result<KeyPair, CliError> {
    KeyPair::from_seed(seed).map_err(|error| unusable(path, &error.to_string()))
}

fn signature(path: &Path, key: &KeyPair, nonce: &str) -> Result<String, CliError> {
    let signature = key.sign(nonce.as_bytes()).map_err(|error| unusable(path, &error.to_string()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the text between the lines that begin and end a block of a credentials file.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("BEGIN {name}"))?;
    let (_, rest) = rest.split_once('\n')?;
    let end = rest.find("---")?;
    Some(rest[..end].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_has_two_blocks() {
        let text = "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n\n\
                    ***** IMPORTANT *****\n-----BEGIN USER NKEY SEED-----\nSUAB\n------END USER NKEY SEED------\n";
        assert_eq!(block(text, "NATS USER JWT"), Some("abc.def"));
        assert_eq!(block(text, "USER NKEY SEED"), Some("SUAB"));
        assert_eq!(block("nothing", "USER NKEY SEED"), None);
    }

    #[test]
    fn passwords_are_sent_as_json() {
        let login = Login::User { name: "joe\"".to_owned(), password: "p\r\n".to_owned() };
        let line = connect_line(&login, &json!({})).unwrap();
        let text = std::str::from_utf8(&line).unwrap().strip_prefix("CONNECT ").unwrap();
        let options: Value = serde_json::from_str(text).unwrap();
        assert_eq!((&options["user"], &options["pass"]), (&json!("joe\""), &json!("p\r\n")));
        assert_eq!(text.matches('\n').count(), 1);
    }
}
