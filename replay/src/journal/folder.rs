//! The folders of shards in a data directory, one a shard.
//!
//! In: `replay.data_dir` and a shard's number; out: its folder, locked, without what a crash left half-written.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use super::Error;

const PREFIX: &str = "shard-";

/// The folder of a shard.
pub(crate) fn of(data_dir: &Path, shard: usize) -> PathBuf {
    data_dir.join(format!("{PREFIX}{shard}"))
}

/// Numbers of the shards that have a folder, ascending.
pub(crate) fn shards(data_dir: &Path) -> Result<Vec<usize>, Error> {
    let entries = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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

/// Opens a shard's folder, made if need be; keeps other processes from it until what it returns is dropped.
pub(crate) fn open(data_dir: &Path, shard: usize, n_shards: usize) -> Result<(PathBuf, File), Error> {
    staged(data_dir)?;
    if let Some(last) = shards(data_dir)?.last().filter(|&&last| last >= n_shards) {
        let path = data_dir.to_owned();
        return Err(Error::Shards { path, found: last + 1, expected: n_shards });
    }
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
