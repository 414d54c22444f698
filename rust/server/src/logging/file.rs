//! The log file: appended to, reopened on request, rotated by size.

use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A log file.
pub(super) struct LogFile {
    path: PathBuf,
    /// The size in bytes after which the file is rotated; 0 for never.
    limit: u64,
    /// The number of files to keep, the current one included; 0 for all.
    keep: u64,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    size: u64,
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let file = options.open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl LogFile {
    pub(super) fn open(path: &Path, limit: u64, keep: u64) -> io::Result<Self> {
        Ok(Self { path: path.into(), limit, keep, open: Mutex::new(Open::at(path)?) })
    }

    pub(super) fn reopen(&self) -> io::Result<()> {
        *self.open.lock() = Open::at(&self.path)?;
        Ok(())
    }

    /// Appends a line. `line_of` formats the line that reports a rotation.
    pub(super) fn write(&self, line: &str, line_of: impl Fn(&str) -> String) {
        let mut open = self.open.lock();
        // There is no place to report that the log can't be written.
        let _ = open.file.write_all(line.as_bytes());
        open.size += line.len() as u64;
        if self.limit == 0 || open.size <= self.limit {
            return;
        }
        let text = match self.rotate(&mut open) {
            Ok(backup) => format!("Rotated log, backup saved as {:?}", backup.display().to_string()),
            Err(error) => format!("Unable to rotate the log: {error}"),
        };
        let line = line_of(&text);
        let _ = open.file.write_all(line.as_bytes());
        open.size += line.len() as u64;
    }

    fn rotate(&self, open: &mut Open) -> io::Result<PathBuf> {
        let stamp = crate::time::backup_stamp(SystemTime::now());
        let backup = PathBuf::from(format!("{}.{stamp}", self.path.display()));
        // After a failure, the next attempt comes when another `limit` bytes were written.
        open.size = 0;
        fs::rename(&self.path, &backup)?;
        *open = Open::at(&self.path)?;
        if self.keep > 0 {
            self.drop_old(self.keep.saturating_sub(1) as usize)?;
        }
        Ok(backup)
    }

    fn drop_old(&self, backups: usize) -> io::Result<()> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(()) };
        let prefix = format!("{}.", name.to_string_lossy());
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut old: Vec<PathBuf> = fs::read_dir(folder)?
            .filter_map(Result::ok)
            .filter(|e| e.file_name().to_string_lossy().strip_prefix(&prefix).is_some_and(is_stamp))
            .map(|e| e.path())
            .collect();
        // The stamps sort by time.
        old.sort();
        for path in old.iter().take(old.len().saturating_sub(backups)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn is_stamp(text: &str) -> bool {
    text.split('.').count() == 7 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}
