//! The checkpoints of a run. In: a folder; out: the newest file, old ones removed.
//!
//! Files are `step-000000012345.safetensors`, so that names sort like steps. What a crash left half-written ends in
//! `.partial` and is never read.

use std::path::{Path, PathBuf};

use super::{Checkpoint, Error, file};

const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";

/// The step of a checkpoint's file name.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// All checkpoints of a folder, oldest first; none if the folder does not exist.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let error = |source| Error::File { action: "list", path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(error)?.path();
        if let Some(step) = step_of(&path) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The checkpoint of the most steps, if there is one.
pub fn latest(folder: &Path) -> Result<Option<PathBuf>, Error> {
    Ok(list(folder)?.pop())
}

/// Writes a checkpoint into the folder (made if need be) and removes all but the newest `keep` (at least 1). Returns
/// its path.
pub fn write(folder: &Path, checkpoint: &Checkpoint, keep: usize) -> Result<PathBuf, Error> {
    let error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    };
    std::fs::create_dir_all(folder).map_err(error("create", folder))?;
    let path = folder.join(format!("{PREFIX}{:012}{SUFFIX}", checkpoint.step));
    file::save(&path, checkpoint)?;
    let all = list(folder)?;
    for old in &all[..all.len().saturating_sub(keep.max(1))] {
        if *old != path {
            std::fs::remove_file(old).map_err(error("remove", old))?;
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> Checkpoint {
        Checkpoint { step, ..Checkpoint::default() }
    }

    #[test]
    fn the_newest_are_kept_and_the_latest_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        assert_eq!(latest(&path).unwrap(), None);
        for step in [5, 10, 1_000_000, 20] {
            write(&path, &at(step), 3).unwrap();
        }
        let steps: Vec<_> = list(&path).unwrap().iter().filter_map(|p| step_of(p)).collect();
        assert_eq!(steps, [10, 20, 1_000_000]);
        assert_eq!(file::load(&latest(&path).unwrap().unwrap()).unwrap().step, 1_000_000);
    }

    #[test]
    fn a_half_written_file_is_not_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &at(5), 2).unwrap();
        std::fs::write(folder.path().join("step-000000000009.partial"), b"cut").unwrap();
        assert_eq!(step_of(&latest(folder.path()).unwrap().unwrap()), Some(5));
    }
}
