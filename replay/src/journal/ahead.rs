//! The records of a file, read and decoded on a thread of their own while the shard takes in those before. In: a file; out: its
//! records (operations of a journal, sections of a snapshot), in order, up to the first that is not whole.
//!
//! A start takes as long as the slower of the two, not both, and holds a few pieces of a file in memory, not all of it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    thread,
};

use common::codec;
use crossbeam::channel::{Receiver, Sender, bounded};
use serde::de::DeserializeOwned;

use super::frame::{self, Found};

/// Bytes that are read at once; a frame may be larger.
const PIECE: usize = 1 << 20;
/// Pieces whose records wait for the shard.
const AHEAD: usize = 4;

/// A record and the length of its frame in bytes.
pub(crate) type Framed<T> = (T, usize);
/// Or why the frame holds none.
type Decoded<T> = Result<Framed<T>, String>;

/// Up to where records were applied, and why the one there cannot be; `None`: the file ends there, or what follows is not whole.
pub(crate) type Applied = (u64, Option<String>);

/// Hands the records from byte `first` on to `apply`, until one is not whole, cannot be decoded or is refused.
pub(crate) fn each<T: DeserializeOwned + Send>(
    path: &Path,
    first: u64,
    apply: impl FnMut(Framed<T>) -> Result<(), String>,
) -> io::Result<Applied> {
    each_by(PIECE, path, first, apply)
}

fn each_by<T: DeserializeOwned + Send>(
    piece: usize,
    path: &Path,
    first: u64,
    mut apply: impl FnMut(Framed<T>) -> Result<(), String>,
) -> io::Result<Applied> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(first))?;
    let (sender, records): (_, Receiver<Vec<Decoded<T>>>) = bounded(AHEAD);
    thread::scope(|scope| {
        let reader = thread::Builder::new().name("journal-ahead".into());
        let reader = reader.spawn_scoped(scope, move || read(&mut file, piece, &sender))?;
        let (mut offset, mut refused) = (first, None);
        for decoded in records.iter().flatten() {
            let length = decoded.as_ref().map_or(0, |(_, length)| *length as u64);
            match decoded.and_then(&mut apply) {
                Ok(()) => offset += length,
                Err(problem) => {
                    refused = Some(problem);
                    break;
                }
            }
        }
        // A reader that is still at it finds nobody who listens.
        drop(records);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((offset, refused))
    })
}

/// Reads until the file ends, a frame cannot be whole or nobody listens.
fn read<T: DeserializeOwned>(
    file: &mut impl Read,
    piece: usize,
    records: &Sender<Vec<Decoded<T>>>,
) -> io::Result<()> {
    let (mut buffer, mut wanted) = (Vec::new(), piece);
    loop {
        let n_read = file.by_ref().take(wanted as u64).read_to_end(&mut buffer)?;
        let (decoded, taken) = decode(&buffer);
        buffer.drain(..taken);
        let missing = frame::missing(&buffer);
        if records.send(decoded).is_err() || n_read == 0 {
            return Ok(());
        }
        let Some(missing) = missing else { return Ok(()) };
        wanted = missing.max(piece);
    }
}

/// The whole records that a buffer begins with, and their bytes; one that cannot be decoded is the last.
fn decode<T: DeserializeOwned>(buffer: &[u8]) -> (Vec<Decoded<T>>, usize) {
    let (mut decoded, mut offset) = (Vec::new(), 0);
    while let Found::Frame { payload, next } = frame::at(buffer, offset) {
        match codec::decode(payload) {
            Ok(record) => decoded.push(Ok((record, next - offset))),
            Err(error) => {
                decoded.push(Err(error.to_string()));
                break;
            }
        }
        offset = next;
    }
    (decoded, offset)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::operation::Operation;

    /// A file of operations of many sizes, and where each begins.
    fn file(folder: &Path) -> (std::path::PathBuf, Vec<u64>) {
        let (mut bytes, mut begins) = (b"header".to_vec(), Vec::new());
        for k in 0_u64..40 {
            begins.push(bytes.len() as u64);
            let records = vec![k as u8; (k * k) as usize].into();
            frame::put(&mut bytes, &Operation::Batch { writer: k, sequence: k, records }).unwrap();
        }
        let path = folder.join("journal");
        fs::write(&path, &bytes).unwrap();
        (path, begins)
    }

    fn writers(piece: usize, path: &Path, refused: u64) -> (Vec<u64>, Applied) {
        let mut writers = Vec::new();
        let end = each_by(piece, path, 6, |(operation, _)| {
            let Operation::Batch { writer, records, .. } = operation else { panic!("another operation") };
            assert_eq!(records, vec![writer as u8; (writer * writer) as usize]);
            if writer == refused {
                return Err("refused".into());
            }
            writers.push(writer);
            Ok(())
        });
        (writers, end.unwrap())
    }

    #[test]
    fn all_operations_come_in_order_whatever_the_size_of_a_piece() {
        let folder = tempfile::tempdir().unwrap();
        let (path, begins) = file(folder.path());
        let length = fs::metadata(&path).unwrap().len();
        for piece in [1, 7, 100, 1_000, PIECE] {
            assert_eq!(writers(piece, &path, u64::MAX), ((0..40).collect(), (length, None)));
            let refused = Some("refused".into());
            assert_eq!(writers(piece, &path, 17), ((0..17).collect(), (begins[17], refused)));
        }
    }

    #[test]
    fn the_first_that_is_not_whole_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, begins) = file(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[begins[30] as usize + 20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        for piece in [1, 100, PIECE] {
            assert_eq!(writers(piece, &path, u64::MAX), ((0..30).collect(), (begins[30], None)));
        }
        for cut in [begins[5] + 1, begins[6] - 1] {
            fs::write(&path, &bytes[..cut as usize]).unwrap();
            assert_eq!(writers(64, &path, u64::MAX), ((0..5).collect(), (begins[5], None)));
        }
        assert!(each(&folder.path().join("none"), 0, |_: Framed<Operation>| Ok(())).is_err());
    }

    #[test]
    fn a_whole_frame_that_holds_no_operation_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = file(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len() as u64;
        frame::put(&mut bytes, &u64::MAX).unwrap();
        frame::put(&mut bytes, &Operation::Forget { writer: 3 }).unwrap();
        fs::write(&path, &bytes).unwrap();
        for piece in [1, 100, PIECE] {
            let (applied, (at, problem)) = writers(piece, &path, u64::MAX);
            assert_eq!((applied.len(), at), (40, end));
            assert!(problem.is_some());
        }
    }
}
