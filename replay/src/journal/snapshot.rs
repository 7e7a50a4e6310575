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
/// Bytes that are brought to the disk at once: what the journal brings there meanwhile waits for no more than that.
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
        self.file.append(bytes)?;
        self.unsynced += bytes.len();
        if self.unsynced >= SYNCED_AT_ONCE {
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
