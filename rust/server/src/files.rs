//! The files that tell other programs about a running server: the pid file and the ports file.

use serde_json::{Map, Value, json};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is removed when the server ends.
#[derive(Debug)]
pub(crate) struct Companion(PathBuf);

impl Companion {
    /// Writes the pid file: the process id as a number, without a newline.
    pub(crate) fn pid_file(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Self(path.into()))
    }

    /// Writes the ports file, which has the URLs of the server's listeners: `<folder>/<program>_<pid>.ports`.
    pub(crate) fn ports_file(folder: &Path, clients: &[String], monitoring: &[String]) -> io::Result<Self> {
        let program = std::env::args_os().next().map(PathBuf::from);
        let program = program.as_deref().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        let name = format!("{}_{}.ports", program.as_deref().unwrap_or("nats-server"), std::process::id());
        let mut ports = Map::new();
        for (key, urls) in [("nats", clients), ("monitoring", monitoring)] {
            if !urls.is_empty() {
                ports.insert(key.into(), json!(urls));
            }
        }
        let path = folder.join(name);
        // A program that waits for the file must never see half of it.
        let partial = path.with_extension("ports.new");
        fs::write(&partial, serde_json::to_vec(&Value::Object(ports))?)?;
        fs::rename(&partial, &path)?;
        Ok(Self(path))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // The file may have been removed already.
        let _ = fs::remove_file(&self.0);
    }
}
