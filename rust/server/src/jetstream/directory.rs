//! The store's directory: its owner, its format, and the lock that excludes other servers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use stonechat_config::{JetStreamOptions, StoreCipher, StoreKey};
use stonechat_store::disk::{create_private_dir, private_file};
use stonechat_store::encryption::{self, Cipher, KEY_FILES, Keyring, Secret, Unlocked};

use super::JetStreamError;

/// The prefix of the marker file's name. From format 2 on, the name also has the format's number. So a version that knows
/// only older formats finds no store.
const MARKER: &str = "STONECHAT";
/// The marker of format 2: an encrypted store whose files have draws.
const MARKER_DRAWN: &str = "STONECHAT-2";
/// The newest format that this version reads.
const FORMAT: u64 = 2;
const LOCK: &str = "LOCK";
/// Files with the wrapped keys of an encrypted store. Both have the same content; the second one is written first.
const KEYS: [&str; KEY_FILES] = ["KEYS", "KEYS.copy"];
const CONTENT: &str = "stonechat jetstream store, format 1\n";
const CONTENT_DRAWN: &str = "stonechat jetstream store, format 2\nencrypted\n";
/// A line in the marker of format 1, for a store that has key files. If these are lost, the store must not be taken for
/// an unencrypted one.
const ENCRYPTED: &str = "encrypted";

/// The directory, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    _lock: File,
}

impl Directory {
    /// Returns whether the directory holds a Stonechat store.
    pub(crate) fn is_store(path: &Path) -> bool {
        format(path).is_ok_and(|format| format > 0)
    }

    /// Creates the directory if it does not exist, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, JetStreamError> {
        let failed = |source: io::Error| JetStreamError::Directory { path: path.to_owned(), source };
        create_private_dir(path).map_err(failed)?;
        let format = format(path).map_err(failed)?;
        if format > FORMAT {
            return Err(JetStreamError::Newer { path: path.to_owned(), format });
        }
        let is_ours = format > 0;
        if !is_ours && has_foreign_content(path).map_err(failed)? {
            return Err(JetStreamError::Foreign(path.to_owned()));
        }
        let lock =
            private_file().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(JetStreamError::InUse(path.to_owned())),
            Err(std::fs::TryLockError::Error(e)) => return Err(failed(e)),
        }
        if !is_ours {
            let mut marker = create(&path.join(MARKER)).map_err(failed)?;
            marker.write_all(CONTENT.as_bytes()).and_then(|()| marker.sync_all()).map_err(failed)?;
        }
        Ok(Self { _lock: lock })
    }
}

/// Refuses directories that another user may have prepared: `root`, and the store `path` in it. Directories that do not
/// exist are fine.
///
/// A store that belongs to another user could be read or replaced by that user. The default `root` is in a temporary
/// directory that all users share. So it must belong to this user and must not be a link.
pub(super) fn check_owner(root: &Path, path: &Path, is_default: bool) -> Result<(), JetStreamError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let ours = rustix::process::geteuid().as_raw();
        let check = |path: &Path, follow: bool| {
            let found = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
            match found {
                Ok(found) if found.is_symlink() || found.uid() != ours => {
                    Err(JetStreamError::NotOurs(path.to_owned()))
                }
                _ => Ok(()),
            }
        };
        if is_default {
            check(root, false)?;
        }
        check(path, !is_default)?;
    }
    Ok(())
}

/// Creates or truncates a file of the store.
fn create(path: &Path) -> io::Result<File> {
    private_file().create(true).truncate(true).write(true).open(path)
}

/// Reads a file of the store.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    private_file().read(true).open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Returns the configured encryption, if any.
pub(crate) fn secret(options: &JetStreamOptions) -> Option<Secret> {
    let bytes = |key: &StoreKey| key.as_bytes().to_vec();
    let cipher = match options.cipher {
        StoreCipher::ChaCha => Cipher::ChaCha20Poly1305,
        StoreCipher::Aes => Cipher::Aes256Gcm,
    };
    let key = options.key.as_ref().map(bytes)?;
    Some(Secret { cipher, key, previous: options.previous_key.as_ref().map(bytes) })
}

/// Unlocks the keys of the store in `path`. The second value is a warning if a copy of the keys was damaged or missing.
/// Changes of the keys, such as a new key, are durable when this returns. Without `may_write` nothing is written.
pub(crate) fn unlock(
    path: &Path,
    secret: Option<&Secret>,
    may_write: bool,
) -> Result<(Keyring, Option<String>), JetStreamError> {
    let failed = |source: io::Error| JetStreamError::Directory { path: path.to_owned(), source };
    let mut files = [const { None }; KEY_FILES];
    for (file, name) in files.iter_mut().zip(KEYS) {
        *file = match read(&path.join(name)) {
            Ok(content) => Some(content),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed(e)),
        };
    }
    let is_drawn = path.join(MARKER_DRAWN).exists();
    let marker = read(&path.join(MARKER)).unwrap_or_default();
    let marker = String::from_utf8_lossy(&marker);
    let is_encrypted = is_drawn || marker.lines().any(|line| line == ENCRYPTED);
    let source = rustls::crypto::ring::default_provider().secure_random;
    let random = |bytes: &mut [u8]| source.fill(bytes).is_ok();
    let files = files.each_ref().map(Option::as_deref);
    let Unlocked { keys, content, is_mended } = encryption::unlock(files, is_encrypted, secret, random)
        .map_err(|source| JetStreamError::Keys { path: path.to_owned(), source })?;
    if let (Some(content), true) = (content, may_write) {
        for name in KEYS.into_iter().rev() {
            replace(path, name, &content).map_err(failed)?;
        }
    }
    // The keys come first: from here on, files may have content that older versions don't know.
    if keys.current() > 0 && may_write {
        raise_format(path, is_drawn).map_err(failed)?;
    }
    let [first, second] = KEYS;
    let warning = is_mended.then(|| {
        let verb = if may_write { "was written anew" } else { "is to be written anew" };
        format!("JetStream store: a copy of its keys was damaged or missing and {verb} ({first}, {second})")
    });
    Ok((keys, warning))
}

/// Returns the format of the store in `path`, 0 if there is none.
fn format(path: &Path) -> io::Result<u64> {
    let mut format = 0;
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let Some(behind) = name.to_str().and_then(|name| name.strip_prefix(MARKER)) else { continue };
        let number = match behind {
            "" => Some(1),
            _ => behind.strip_prefix('-').and_then(|number| number.parse().ok()),
        };
        format = format.max(number.unwrap_or(0));
    }
    Ok(format)
}

/// Changes the store's marker to format 2. `is` tells whether it has that format already.
fn raise_format(path: &Path, is: bool) -> io::Result<()> {
    if !is {
        replace(path, MARKER_DRAWN, CONTENT_DRAWN.as_bytes())?;
    }
    match std::fs::remove_file(path.join(MARKER)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map(|()| sync_names(path)),
    }
}

/// Replaces a file of the directory atomically and durably.
fn replace(path: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = path.join(format!("{name}.new"));
    let mut file = create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path.join(name))?;
    sync_names(path);
    Ok(())
}

/// Makes renamed and removed names of a directory durable. Systems that can't sync a directory do it by themselves.
fn sync_names(path: &Path) {
    if let Ok(directory) = File::open(path) {
        directory.sync_all().ok();
    }
}

/// Returns whether the directory has content of another server: nats-server keeps a directory for each account.
fn has_foreign_content(path: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the free bytes on the disk of `path`.
pub(super) fn free_space(path: &Path) -> i64 {
    crate::usage::free_space(path).map_or(1 << 40, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Returns the largest file length of this process (`ulimit -f`), in bytes.
pub(super) fn file_len_max() -> u64 {
    #[cfg(unix)]
    return rlimit::Resource::FSIZE.get_soft().unwrap_or(u64::MAX);
    #[cfg(not(unix))]
    u64::MAX
}

/// Returns the machine's memory in bytes.
pub(super) fn total_memory() -> i64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    total.map_or(256 << 20, |kilobytes: i64| kilobytes << 10)
}
