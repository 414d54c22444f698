//! Sources of files and environment variables.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The files and environment variables that a configuration may read.
pub trait Source {
    /// Returns the content of a file.
    ///
    /// # Errors
    /// Fails if the file can't be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Returns the value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The file system and the environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskSource;

impl Source for DiskSource {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// Files and variables in memory; it gives access to nothing else.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    files: HashMap<PathBuf, Vec<u8>>,
    variables: HashMap<String, String>,
}

impl MemorySource {
    /// Adds a file.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl Source for MemorySource {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// Formats an I/O error in nats-server's words: `open f: no such file or directory`.
pub(crate) fn describe_io_error(path: &Path, error: &io::Error) -> String {
    let action = if error.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    };
    format!("{action} {}: {reason}", path.display())
}
