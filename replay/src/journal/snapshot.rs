//! Snapshots: images of a shard on disk.
//!
//! In: an image and its position; out: a file that appears whole (written beside, synced, renamed, the folder synced). Runs
//! while the shard goes on.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use common::codec;

use super::{
    disk::{Append, Disk},
    frame::{self, HEADER},
    log::Identity,
};
use crate::shard::image::Image;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;
/// Most bytes that are brought to the disk at once: what the journal brings there meanwhile waits for no more than that.
const SYNCED_AT_ONCE: usize = 4 << 20;

/// Name of the snapshot at a position.
pub(crate) fn path_at(folder: &Path, position: u64) -> PathBuf {
    folder.join(format!("snapshot-{position:020}.bin"))
}

/// Why an image was not written.
#[derive(Debug)]
enum Failure {
    Disk(io::Error),
    Encode(codec::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<codec::Error> for Failure {
    fn from(error: codec::Error) -> Self {
        Self::Encode(error)
    }
}

/// A file that is appended to, as a writer.
struct Appender<'a> {
    file: &'a mut dyn Append,
    /// Bytes that may not be on the disk.
    unsynced: usize,
}

impl Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A record may be larger.
        let bytes = &bytes[..bytes.len().min(SYNCED_AT_ONCE - self.unsynced)];
        self.file.append(bytes)?;
        self.unsynced += bytes.len();
        if self.unsynced == SYNCED_AT_ONCE {
            self.file.sync()?;
            self.unsynced = 0;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an image; the size of the file.
pub(crate) fn write(
    disk: &dyn Disk,
    folder: &Path,
    identity: &Identity,
    position: u64,
    image: Image,
) -> io::Result<u64> {
    let path = path_at(folder, position);
    let partial = path.with_extension("partial");
    let written = write_to(disk, &partial, identity, position, image).map_err(|failure| match failure {
        Failure::Disk(error) => error,
        Failure::Encode(error) => io::Error::other(error),
    });
    let renamed = written.and_then(|size| disk.rename(&partial, &path).map(|()| size));
    if renamed.is_err() {
        // What is half-written only takes room; it would be removed at the next start too.
        let _gone = disk.remove(&partial);
    }
    renamed
}

fn write_to(
    disk: &dyn Disk,
    path: &Path,
    identity: &Identity,
    position: u64,
    image: Image,
) -> Result<u64, Failure> {
    let mut appended = disk.create(path)?;
    let mut file = BufWriter::with_capacity(BUFFER, Appender { file: &mut *appended, unsynced: 0 });
    let mut header = Vec::new();
    let mut size = frame::put(&mut header, &identity.header(position))?;
    file.write_all(&header)?;
    image.sections(|record| -> Result<(), Failure> {
        file.write_all(&frame::header(record))?;
        file.write_all(record)?;
        size += HEADER + record.len();
        Ok(())
    })?;
    file.flush()?;
    drop(file);
    appended.sync()?;
    Ok(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what it is given, and how much of it came before each sync.
    #[derive(Default)]
    struct Kept {
        bytes: Vec<u8>,
        synced_at: Vec<usize>,
        is_broken: bool,
    }

    impl Append for Kept {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.synced_at.push(self.bytes.len());
            if self.is_broken { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
        }

        fn cut(&mut self, _: u64) -> io::Result<()> {
            unreachable!("snapshots are not cut")
        }
    }

    #[test]
    fn a_large_record_is_synced_piece_by_piece_and_a_sync_that_fails_is_told() {
        let record: Vec<u8> = (0..SYNCED_AT_ONCE * 5 / 2).map(|k| k as u8).collect();
        let mut kept = Kept::default();
        let mut file = Appender { file: &mut kept, unsynced: 0 };
        file.write_all(&record[..9]).unwrap();
        file.write_all(&record[9..]).unwrap();
        assert!(kept.bytes == record, "bytes are missing or changed");
        assert_eq!(kept.synced_at, [SYNCED_AT_ONCE, 2 * SYNCED_AT_ONCE]);
        kept.is_broken = true;
        assert!(Appender { file: &mut kept, unsynced: 0 }.write_all(&record).is_err());
    }
}
