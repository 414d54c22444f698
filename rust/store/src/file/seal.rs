//! Writing the footer of a segment that is full, on a thread that may wait.

use std::io;
use std::sync::Arc;

use super::record::Frame;
use super::segment::Block;
use super::{footer, scan};
use crate::disk::DiskFile;

/// A segment that is to get its footer.
#[derive(Debug)]
pub struct SealJob<F> {
    pub(super) file: Arc<F>,
    pub(super) number: u32,
    pub(super) frame: Frame,
    pub(super) data_len: u64,
}

/// How a [`SealJob`] ended; for [`FileStream::sealed`](super::FileStream::sealed).
#[derive(Debug)]
#[must_use]
pub struct Sealed {
    pub(super) number: u32,
    pub(super) result: io::Result<Footing>,
}

/// A footer that was written.
#[derive(Debug)]
pub(super) struct Footing {
    pub(super) len: u32,
    pub(super) crc: u32,
    pub(super) blocks: Vec<Block>,
}

impl<F: DiskFile> SealJob<F> {
    /// Reads the segment and writes its footer behind the data. It is durable with the next sync of the file.
    pub fn run(self) -> Sealed {
        let write = || {
            let contents = scan::contents(&*self.file, self.frame, self.data_len, |_, _| {})?;
            let blocks = contents.blocks.clone();
            let bytes = contents.encode();
            self.file.write_at(&bytes, scan::HEADER_LEN + self.data_len)?;
            let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            Ok(Footing { len, crc: footer::crc(self.frame.salt, &bytes), blocks })
        };
        Sealed { number: self.number, result: write() }
    }
}
