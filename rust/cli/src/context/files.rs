//! The files of contexts, and the files that name the selected and the previously selected context.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::home;
use crate::error::CliError;

/// Returns the folder of the `nats` command: below `XDG_CONFIG_HOME`, or below `~/.config`.
fn root() -> PathBuf {
    let configured = env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    configured.unwrap_or_else(|| home().join(".config")).join("nats")
}

fn folder() -> PathBuf {
    root().join("context")
}

/// Returns the path of a context's file.
///
/// # Errors
/// The name is not valid as the name of a file.
pub(super) fn path(name: &str) -> Result<PathBuf, CliError> {
    match name.is_empty() || name.contains("..") || name.contains(['/', '\\']) {
        true => {
            Err(CliError::Client(format!("{name:?} can't name a context: it holds .., / or \\, or nothing")))
        }
        false => Ok(folder().join(format!("{name}.json"))),
    }
}

/// Returns the names of all contexts, sorted.
pub(super) fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort_unstable();
    names
}

/// Whether a context exists.
pub(super) fn is_known(name: &str) -> bool {
    path(name).is_ok_and(|path| path.is_file())
}

/// Reads the fields of a context.
///
/// # Errors
/// The context does not exist, or its file is not a JSON object: the error names file, line and column.
pub(super) fn read(name: &str) -> Result<Map<String, Value>, CliError> {
    let path = path(name)?;
    let wrong = |reason: String| CliError::Context { name: name.to_owned(), path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// Writes the fields of a context.
///
/// # Errors
/// The file can't be written.
pub(super) fn write(name: &str, fields: &Map<String, Value>) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(fields).unwrap_or_default();
    replace(&path(name)?, &text)
}

/// Removes a context.
///
/// # Errors
/// The context does not exist.
pub(super) fn remove(name: &str) -> Result<(), CliError> {
    let path = path(name)?;
    let wrong = |error: std::io::Error| CliError::Context {
        name: name.to_owned(),
        path: path.clone(),
        reason: error.to_string(),
    };
    fs::remove_file(&path).map_err(wrong)
}

fn name_in(file: &str) -> Option<String> {
    let text = fs::read_to_string(root().join(file)).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Returns the selected context.
pub(super) fn selected() -> Option<String> {
    name_in("context.txt")
}

/// Returns the context that was selected before.
pub(super) fn previous() -> Option<String> {
    name_in("previous-context.txt")
}

/// Selects a context; `None` selects none.
///
/// # Errors
/// The files can't be written.
pub(super) fn select(name: Option<&str>) -> Result<(), CliError> {
    if let Some(before) = selected() {
        replace(&root().join("previous-context.txt"), &before)?;
    }
    let path = root().join("context.txt");
    match name {
        Some(name) => replace(&path, name),
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CliError::File { path, reason: error.to_string() })
            }
            _ => Ok(()),
        },
    }
}

/// Replaces a file that may contain secrets. It is written beside the target and renamed, so it is never incomplete.
fn replace(path: &Path, text: &str) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| CliError::File { path: path.to_owned(), reason: error.to_string() };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside).map_err(wrong)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
    fs::rename(&beside, path).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leaves_the_folder_nowhere() {
        for name in ["", "..", "a/b", "a\\b", "../x"] {
            assert!(path(name).is_err(), "{name:?}");
        }
        assert!(path("my context").unwrap().ends_with("nats/context/my context.json"));
    }

    #[cfg(unix)]
    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("a.json");
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
