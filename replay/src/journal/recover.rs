//! A shard from what is on disk.
//!
//! In: a folder that a crash, a full disk or a flipped bit may have left behind; out: the shard with everything that was
//! acknowledged, or with the healthy part of it and a line in the log that says what is missing. Nothing that is damaged is
//! removed: it is put aside under the ending `.damaged`.
//!
//! The newest snapshot that is whole, then the operations behind it, file by file. A tail that was not written in full is
//! cut off: nobody was told that it was stored.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use common::codec;
use proto::SCHEMA_VERSION;

use super::{
    Error,
    ahead::{self, Applied},
    folder,
    frame::{self, Found},
    operation::{FORM, FileHeader, MAGIC, OLDEST_FORM, Operation},
};
use crate::shard::{
    Shard,
    image::{Section, Sections},
    snapshot::Refusal,
};

/// Bytes that a file's header is looked for in; it is smaller by far.
const HEADER_AT_MOST: u64 = 64 << 10;

/// What was read back.
pub(crate) struct Recovered {
    /// Of the contents, if there are any.
    pub(crate) uid: Option<u64>,
    /// Where the journal goes on.
    pub(crate) position: u64,
    /// Position and size of the snapshot that was read.
    pub(crate) snapshot: Option<(u64, u64)>,
    /// Operations behind it.
    pub(crate) operations: u64,
    /// What was lost or put aside, for people; empty: nothing.
    pub(crate) damage: Vec<String>,
}

/// Files of one kind, ascending by position.
pub(crate) fn list(folder: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = entry.map_err(Error::file("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let position = name.and_then(|name| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok());
        found.extend(position.map(|position| (position, path)));
    }
    found.sort();
    Ok(found)
}

/// Fills a shard that is empty.
pub(crate) fn recover(folder: &Path, run_id: &str, shard: &mut Shard) -> Result<Recovered, Error> {
    let mut recovered =
        Recovered { uid: None, position: 0, snapshot: None, operations: 0, damage: Vec::new() };
    folder::check_settings(folder, shard)?;
    let segments = list(folder, "journal-", ".log")?;
    for (position, path) in list(folder, "snapshot-", ".bin")?.into_iter().rev() {
        match snapshot(&path, run_id, shard)? {
            Ok((uid, size)) => {
                recovered.uid = Some(uid);
                (recovered.position, recovered.snapshot) = (position, Some((position, size)));
                break;
            }
            Err(problem) => recovered.put_aside(&path, &format!("snapshot: {problem}"))?,
        }
    }
    let begin = recovered.position;
    let behind: Vec<_> = segments.into_iter().filter(|(position, _)| *position >= begin).collect();
    shard.make_chunks_ahead(!behind.is_empty());
    let applied = recovered.segments(behind, run_id, shard);
    shard.make_chunks_ahead(false);
    applied.map(|()| recovered)
}

/// Reads the header of a file; `Ok(Err)` if it is damaged.
fn header(bytes: &[u8], path: &Path, run_id: &str) -> Result<Result<(FileHeader, usize), String>, Error> {
    let Found::Frame { payload, next } = frame::at(bytes, 0) else {
        return Ok(Err("it has no whole header".into()));
    };
    let header: FileHeader = match codec::decode(payload) {
        Ok(header) => header,
        Err(error) => return Ok(Err(format!("its header: {error}"))),
    };
    let FileHeader { magic, form, schema_version, .. } = header;
    if magic != MAGIC {
        return Ok(Err("it is no file of a shard".into()));
    }
    if !(OLDEST_FORM..=FORM).contains(&form) || schema_version != SCHEMA_VERSION {
        return Err(Error::Version {
            path: path.to_owned(),
            form,
            schema: schema_version,
            our_form: FORM,
            our_schema: SCHEMA_VERSION,
        });
    }
    if header.run_id != run_id {
        let (found, expected) = (header.run_id, run_id.to_owned());
        return Err(Error::Run { path: path.to_owned(), found, expected });
    }
    Ok(Ok((header, next)))
}

/// Fills a shard from a snapshot: the name of its contents and the file's size; `Ok(Err)` if it is damaged.
fn snapshot(path: &Path, run_id: &str, shard: &mut Shard) -> Result<Result<(u64, u64), String>, Error> {
    let error = || Error::file("read", path);
    let (begin, size) = begin_of(path).map_err(error())?;
    let (header, first) = match header(&begin, path, run_id)? {
        Ok(found) => found,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut sections = Sections::default();
    let read = ahead::each(path, first as u64, |(section, _): (Section, _)| sections.push(section));
    match read.map_err(error())? {
        (_, Some(problem)) => return Ok(Err(problem)),
        (offset, None) if offset < size => return Ok(Err(format!("it is damaged at byte {offset}"))),
        (_, None) => {}
    }
    match shard.restore_sections(sections) {
        Ok(()) => Ok(Ok((header.shard_uid, size))),
        // Whole, and of other settings: the user must decide.
        Err(Refusal::Other(problem)) => Err(Error::Settings { path: path.to_owned(), problem }),
        Err(Refusal::Damaged(problem)) => Ok(Err(problem)),
    }
}

impl Recovered {
    fn put_aside(&mut self, path: &Path, problem: &str) -> Result<(), Error> {
        let aside = aside(path);
        fs::rename(path, &aside).map_err(Error::file("put aside", path))?;
        let line = format!("{}: {problem}; put aside", path.display());
        tracing::error!("{line}");
        self.damage.push(line);
        Ok(())
    }

    /// Applies the operations of a file up to the first that is not whole or cannot be; up to 0 if not even its header is whole.
    fn whole(&mut self, path: &Path, run_id: &str, shard: &mut Shard) -> Result<Applied, Error> {
        let error = || Error::file("read", path);
        let (begin, _) = begin_of(path).map_err(error())?;
        let Ok((header, first)) = header(&begin, path, run_id)? else { return Ok((0, None)) };
        self.uid.get_or_insert(header.shard_uid);
        ahead::each(path, first as u64, |(operation, length): (Operation, _)| {
            shard.apply(operation)?;
            self.operations += 1;
            self.position += length as u64;
            Ok(())
        })
        .map_err(error())
    }

    /// Applies the operations of files, each of which begins where the one before ends.
    fn segments(
        &mut self,
        behind: Vec<(u64, PathBuf)>,
        run_id: &str,
        shard: &mut Shard,
    ) -> Result<(), Error> {
        let n = behind.len();
        for (k, (position, path)) in behind.into_iter().enumerate() {
            if position != self.position {
                let gap = format!("operations {} to {position} are missing before it", self.position);
                self.put_aside(&path, &gap)?;
                continue;
            }
            self.segment(&path, run_id, shard, k + 1 == n)?;
        }
        Ok(())
    }

    /// Applies the operations of a file, as far as they are whole.
    fn segment(&mut self, path: &Path, run_id: &str, shard: &mut Shard, is_last: bool) -> Result<(), Error> {
        let (begin, refused) = self.whole(path, run_id, shard)?;
        // What is left: nearly always nothing.
        let bytes = read_from(path, begin).map_err(Error::file("read", path))?;
        if begin == 0 {
            return match header(&bytes, path, run_id)? {
                // A file whose creation was cut short holds nothing that was acknowledged.
                Err(_) if is_last && !frame::is_followed(&bytes, 0) => {
                    tracing::warn!(
                        "{}: its header was not written in full; nothing was stored in it",
                        path.display()
                    );
                    fs::remove_file(path).map_err(Error::file("remove", path))
                }
                Err(problem) => self.put_aside(path, &problem),
                Ok(_) => self.put_aside(path, &format!("its header has more than {HEADER_AT_MOST} bytes")),
            };
        }
        let problem = match (refused, frame::at(&bytes, 0)) {
            (Some(problem), _) => format!("the operation at byte {begin} cannot be: {problem}"),
            (None, Found::End) => return Ok(()),
            (None, Found::Damaged) if is_last && !frame::is_followed(&bytes, 0) => {
                tracing::warn!(
                    "{}: the last {} bytes, from byte {begin} on, were not written in full and are cut off; they were \
                     never acknowledged",
                    path.display(),
                    bytes.len()
                );
                return cut(path, begin);
            }
            (None, _) => format!("it is damaged at byte {begin}"),
        };
        // Kept for people, from the damage on; what comes before it stands.
        let aside = aside(path);
        fs::write(&aside, &bytes).map_err(Error::file("write", &aside))?;
        cut(path, begin)?;
        let line = format!(
            "{}: {problem}; the {} bytes from there on are LOST and kept in {}",
            path.display(),
            bytes.len(),
            aside.display()
        );
        tracing::error!("{line}");
        self.damage.push(line);
        Ok(())
    }
}

/// The bytes of a file among which its header is, and its size.
pub(crate) fn begin_of(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let (file, mut bytes) = (fs::File::open(path)?, Vec::new());
    let size = file.metadata()?.len();
    file.take(HEADER_AT_MOST).read_to_end(&mut bytes)?;
    Ok((bytes, size))
}

/// A file's bytes from an offset on.
fn read_from(path: &Path, begin: u64) -> io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (fs::File::open(path)?, Vec::new());
    file.seek(SeekFrom::Start(begin))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A name for what is damaged that nothing has yet.
fn aside(path: &Path) -> PathBuf {
    let mut names = (1..).map(|k| PathBuf::from(format!("{}.{k}.damaged", path.display())));
    names.find(|name| !name.exists()).expect("some number is free")
}

fn cut(path: &Path, length: u64) -> Result<(), Error> {
    let file = fs::OpenOptions::new().write(true).open(path).map_err(Error::file("open", path))?;
    file.set_len(length).and_then(|()| file.sync_all()).map_err(Error::file("cut", path))
}
