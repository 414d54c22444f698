//! Contexts: files, in the folder of the `nats` command, with a server's address and the user's credentials. `stonechat context`
//! creates and changes them.

mod args;
mod commands;
mod files;
mod show;

pub(crate) use args::ContextArgs;
pub(crate) use commands::run;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::CliError;

/// A context in the format of the `nats` command; fields that this command does not use are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Context {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) token: String,
    pub(crate) creds: String,
    pub(crate) nkey: String,
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) ca: String,
    pub(crate) inbox_prefix: String,
    pub(crate) jetstream_domain: String,
    pub(crate) jetstream_api_prefix: String,
    pub(crate) tls_first: bool,
}

impl Context {
    /// Returns the context with this name. A name with a path separator is the path of a file. Without a name, returns the
    /// selected context, or an empty one.
    ///
    /// # Errors
    /// The context does not exist, or is not valid JSON.
    pub(crate) fn active(name: Option<&str>) -> Result<Self, CliError> {
        match name {
            Some(name) => Self::load(name),
            None => files::selected().map_or_else(|| Ok(Self::default()), |name| Self::load(&name)),
        }
    }

    fn load(name: &str) -> Result<Self, CliError> {
        let path = match name.contains(std::path::MAIN_SEPARATOR) {
            true => expand(name),
            false => files::path(name)?,
        };
        let wrong = |reason: String| CliError::Context { name: name.to_owned(), path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let context: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match context.password.starts_with("op://") {
            true => Err(wrong("its password is in 1Password, which stonechat does not ask".to_owned())),
            false => Ok(context),
        }
    }
}

fn home() -> PathBuf {
    env::home_dir().unwrap_or_default()
}

/// Replaces a leading `~/` of a path by the home folder.
pub(crate) fn expand(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None => Path::new(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_of_the_nats_command_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.json");
        let text = r#"{"description": "x", "url": "nats://h:1", "user": "joe", "password": "pw",
            "socks_proxy": "", "tls_first": true, "ca": "~/ca.pem"}"#;
        fs::write(&file, text).unwrap();
        let context = Context::active(file.to_str()).unwrap();
        assert_eq!(
            (context.url.as_str(), context.user.as_str(), context.tls_first),
            ("nats://h:1", "joe", true)
        );
        assert!(expand(&context.ca).ends_with("ca.pem") && !expand(&context.ca).starts_with("~"));
    }

    #[test]
    fn what_can_not_be_used_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.json");
        let name = file.to_str().unwrap();
        for text in [None, Some("no json"), Some(r#"{"password": "op://vault/nats"}"#)] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            assert!(Context::active(Some(name)).unwrap_err().to_string().contains("mine.json"), "{text:?}");
        }
    }
}
