//! The folders of shards in a data directory, one a shard.
//!
//! In: `replay.data_dir` and a shard's number; out: its folder, locked, without what a crash left half-written.
//!
//! A folder says of how many shards it is one. Whoever is new beside it must be one of as many: a folder that is made under a
//! wrong `replay.shards` would keep the right shards from starting. It also says of which settings its contents are: a journal
//! does not, and read under others it would look damaged.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use common::files;

use super::{Error, frame, recover};
use crate::shard::{Shard, snapshot::Identity};

const PREFIX: &str = "shard-";
/// The file that says of how many shards its folder is one: a number and the end of the line.
const NUMBER: &str = "shards";
/// The file that says of which settings its contents are.
const SETTINGS: &str = "settings.toml";

/// The folder of a shard.
pub(crate) fn of(data_dir: &Path, shard: usize) -> PathBuf {
    data_dir.join(format!("{PREFIX}{shard}"))
}

/// Numbers of the shards that have a folder, ascending.
pub(crate) fn shards(data_dir: &Path) -> Result<Vec<usize>, Error> {
    let entries = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::file("list", data_dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::file("list", data_dir))?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<usize>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Where shards are dealt out anew; an error while one is there that was left half-done.
pub(crate) fn staged(data_dir: &Path) -> Result<PathBuf, Error> {
    let staged = data_dir.join("reshard.partial");
    if staged.exists() { Err(Error::Resharding(staged)) } else { Ok(staged) }
}

/// Numbers below the last of `found` (ascending) that are none of them.
pub(crate) fn missing(found: &[usize]) -> Vec<usize> {
    let all = 0..found.last().map_or(0, |last| last + 1);
    all.filter(|shard| found.binary_search(shard).is_err()).collect()
}

/// Folders of those of the shards that hold nothing.
pub(crate) fn empty(data_dir: &Path, shards: &[usize]) -> Result<Vec<PathBuf>, Error> {
    let mut empty = Vec::new();
    for folder in shards.iter().map(|&shard| of(data_dir, shard)) {
        if is_empty(&folder)? {
            empty.push(folder);
        }
    }
    Ok(empty)
}

/// Of how many shards a folder says it is one. `None`: it does not say, as those of older builds.
fn number(folder: &Path) -> Option<usize> {
    fs::read_to_string(folder.join(NUMBER)).ok()?.trim().parse().ok()
}

/// Makes a folder say of how many shards it is one.
pub(crate) fn say(folder: &Path, n_shards: usize) -> Result<(), Error> {
    put(&folder.join(NUMBER), &format!("{n_shards}\n"))
}

/// Writes a small file, whole or not at all: others read it at any time.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    files::write_whole(path, text.as_bytes()).map_err(Error::file("write", path))
}

/// Refuses a folder that holds something of other settings than the shard's. The run is told by the files themselves.
pub(crate) fn check_settings(folder: &Path, shard: &Shard) -> Result<(), Error> {
    let path = folder.join(SETTINGS);
    // One that does not say it, as those of older builds: its snapshots do.
    let said = fs::read_to_string(&path).ok().and_then(|text| toml::from_str::<Identity>(&text).ok());
    match said.and_then(|said| said.settings_differ(&shard.identity(), "the folder's")) {
        Some(problem) if !is_empty(folder)? => Err(Error::Settings { path, problem }),
        _ => Ok(()),
    }
}

/// Makes a folder say of which settings its contents are: the shard's, which has been filled from it.
pub(crate) fn say_settings(folder: &Path, shard: &Shard) -> Result<(), Error> {
    let text = toml::to_string(&shard.identity()).expect("names and numbers are TOML");
    let path = folder.join(SETTINGS);
    match fs::read_to_string(&path) {
        Ok(said) if said == text => Ok(()),
        _ => put(&path, &text),
    }
}

/// Whether a folder holds no row and no operation, nor anything that might be some; also if it is none.
fn is_empty(folder: &Path) -> Result<bool, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries.map_err(Error::file("list", folder))?,
    };
    let first = format!("journal-{:020}.log", 0);
    for entry in entries {
        let path = entry.map_err(Error::file("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_empty = if name == first {
            let (bytes, size) = recover::begin_of(&path).map_err(Error::file("read", &path))?;
            size == 0
                || matches!(frame::at(&bytes, 0), frame::Found::Frame { next, .. } if next as u64 == size)
        } else {
            ["lock", NUMBER, SETTINGS].contains(&name) || name.ends_with(".partial")
        };
        if !is_empty {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a shard of `n_shards` may be opened beside those that are there.
fn check(data_dir: &Path, shard: usize, n_shards: usize) -> Result<(), Error> {
    let found = shards(data_dir)?;
    let missing: Vec<_> = missing(&found).into_iter().map(|shard| of(data_dir, shard)).collect();
    if let Some(last) = found.last().filter(|&&last| last >= n_shards) {
        let beyond = &found[found.partition_point(|&shard| shard < n_shards)..];
        let empty = empty(data_dir, beyond)?;
        let full = beyond.len() - empty.len();
        let path = data_dir.to_owned();
        return Err(Error::Shards { path, found: last + 1, expected: n_shards, empty, full, missing });
    }
    let folder = of(data_dir, shard);
    match number(&folder) {
        Some(said) if said != n_shards => tracing::warn!(
            "{} was one of {said} shards and is now one of {n_shards} (replay.shards): its share of the capacity is another",
            folder.display()
        ),
        Some(_) => {}
        None if folder.is_dir() && !is_empty(&folder)? => {}
        // It is new.
        None => {
            for other in found.into_iter().filter(|&other| other != shard).map(|other| of(data_dir, other)) {
                if let Some(said) = number(&other).filter(|&said| said != n_shards) {
                    return Err(Error::Number { path: other, found: said, expected: n_shards, missing });
                }
            }
        }
    }
    Ok(())
}

/// Opens a shard's folder, made if need be; keeps other processes from it until what it returns is dropped.
pub(crate) fn open(data_dir: &Path, shard: usize, n_shards: usize) -> Result<(PathBuf, File), Error> {
    staged(data_dir)?;
    check(data_dir, shard, n_shards)?;
    let (folder, lock) = lock(data_dir, shard)?;
    if number(&folder).is_none() {
        say(&folder, n_shards)?;
    }
    Ok((folder, lock))
}

/// [`open`] of a folder that may say anything of the number of shards, and beside any others.
pub(crate) fn lock(data_dir: &Path, shard: usize) -> Result<(PathBuf, File), Error> {
    let folder = of(data_dir, shard);
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(Error::file("create", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::InUse(folder)),
        Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
    }
    for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
        let partial = entry.map_err(Error::file("list", &folder))?.path();
        if partial.extension().is_some_and(|extension| extension == "partial") {
            fs::remove_file(&partial).map_err(Error::file("remove", &partial))?;
        }
    }
    Ok((folder, lock))
}
