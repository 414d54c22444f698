//! The interface between the store and a file system, so that a simulated disk can take the place of a real one.
//!
//! There are three disks: [`RealDisk`], a simulated one that fails (`sim`, for tests), and [`Overlay`] over a disk that must not
//! change.

mod overlay;
mod real;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use overlay::{Overlay, OverlayFile};
pub use real::{RealDisk, RealFile, create_private_dir, private_file};

/// Whether an error means that the disk has no room, a quota is used up, or the file may grow no further (`ulimit -f`).
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A directory of files, without subdirectories.
///
/// Creation and removal of files survive a power cut only after [`Disk::sync_names`]; contents only after
/// [`DiskFile::sync`].
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens an existing file for reading and writing. An error of the kind `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<Self::File>>;

    /// Creates a file, empty. An error of the kind `AlreadyExists` if it exists.
    fn create(&self, name: &str) -> io::Result<Arc<Self::File>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns the names of all files, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes creations and removals durable.
    fn sync_names(&self) -> io::Result<()>;

    /// Returns the free space in bytes; `None` if it is unknown.
    fn free(&self) -> Option<u64> {
        None
    }
}

/// An open file, which several threads may use: one writes while another waits for a sync.
#[expect(
    clippy::len_without_is_empty,
    reason = "a length that can fail to be read; nobody asks for emptiness"
)]
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Truncates the file, or extends it with zeros, to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Lengthens an empty file to `len` bytes that occupy space on the disk.
    fn allocate(&self, len: u64) -> io::Result<()> {
        let chunk = [0; 16 << 10];
        let mut at = 0;
        while at < len {
            let n = (len - at).min(chunk.len() as u64);
            self.write_at(&chunk[..n as usize], at)?;
            at += n;
        }
        Ok(())
    }

    /// Reads until `bytes` is full or the file ends. Returns the number of bytes read.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything durable that was written before the call. After an error, it is unknown what is durable. Trying again
    /// proves nothing: the kernel may have dropped the pages (storage rule 6).
    fn sync(&self) -> io::Result<()>;
}
