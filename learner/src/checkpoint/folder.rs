//! The checkpoints of a run. In: a folder; out: the newest whole file, old ones removed.
//!
//! Files are `step-000000012345.safetensors`, so that names sort like steps. What a crash left half-written ends in
//! `.partial`, is never read and goes with the next checkpoint; what was found damaged ends in `.damaged` and stays.

use std::path::{Path, PathBuf};

use common::files;

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

/// Reads the newest checkpoint that is whole, if the folder holds any. Damaged ones beyond it are put aside under the
/// ending `.damaged`, with a warning each.
///
/// # Errors
/// [`Error::AllDamaged`] if there are checkpoints and none is whole; what [`file::load`] says otherwise.
pub fn load_newest(folder: &Path) -> Result<Option<(PathBuf, Checkpoint)>, Error> {
    let mut damaged: Vec<(PathBuf, String)> = Vec::new();
    for path in list(folder)?.into_iter().rev() {
        match file::load(&path) {
            Ok(checkpoint) => {
                for (path, problem) in &damaged {
                    put_aside(path)?;
                    tracing::warn!("checkpoint {} is damaged ({problem}): put aside", path.display());
                }
                if !damaged.is_empty() {
                    tracing::warn!("going on from the one before, {}", path.display());
                }
                return Ok(Some((path, checkpoint)));
            }
            Err(Error::Damaged { path, problem }) => damaged.push((path, problem)),
            Err(error) => return Err(error),
        }
    }
    let count = damaged.len();
    let Some((path, problem)) = damaged.into_iter().next() else { return Ok(None) };
    Err(Error::AllDamaged { count, path, problem })
}

fn put_aside(path: &Path) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    std::fs::rename(path, &name).map_err(|source| Error::File {
        action: "put aside",
        path: path.to_owned(),
        source,
    })
}

/// Writes a checkpoint into the folder (made if need be) and removes all but the newest `keep` (at least 1). Returns
/// its path. `may` is asked before the checkpoint has its name; without it nothing is changed.
pub fn write(
    folder: &Path,
    checkpoint: &Checkpoint,
    keep: usize,
    may: impl FnOnce() -> std::io::Result<()>,
) -> Result<PathBuf, Error> {
    let error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    };
    std::fs::create_dir_all(folder).map_err(error("create", folder))?;
    let path = folder.join(format!("{PREFIX}{:012}{SUFFIX}", checkpoint.step));
    file::save(&path, checkpoint, may)?;
    let all = list(folder)?;
    for old in &all[..all.len().saturating_sub(keep.max(1))] {
        if *old != path {
            std::fs::remove_file(old).map_err(error("remove", old))?;
        }
    }
    files::remove_abandoned(folder).map_err(error("clear", folder))?;
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
            write(&path, &at(step), 3, || Ok(())).unwrap();
        }
        let steps: Vec<_> = list(&path).unwrap().iter().filter_map(|p| step_of(p)).collect();
        assert_eq!(steps, [10, 20, 1_000_000]);
        assert_eq!(file::load(&latest(&path).unwrap().unwrap()).unwrap().step, 1_000_000);
    }

    #[test]
    fn a_half_written_file_is_not_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &at(5), 2, || Ok(())).unwrap();
        std::fs::write(folder.path().join("step-000000000009.partial"), b"cut").unwrap();
        assert_eq!(step_of(&latest(folder.path()).unwrap().unwrap()), Some(5));
        write(folder.path(), &at(6), 2, || Ok(())).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "it goes with the next checkpoint");
    }

    #[test]
    fn a_damaged_checkpoint_is_put_aside_for_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load_newest(folder.path()).unwrap().is_none());
        let paths = [5, 10].map(|step| write(folder.path(), &at(step), 2, || Ok(())).unwrap());
        std::fs::write(&paths[1], b"cut").unwrap();
        let (path, checkpoint) = load_newest(folder.path()).unwrap().unwrap();
        assert_eq!((path, checkpoint.step), (paths[0].clone(), 5));
        assert_eq!(list(folder.path()).unwrap(), paths[..1]);
        std::fs::write(&paths[0], b"cut").unwrap();
        let message = load_newest(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("step-000000000005") && message.contains("no whole checkpoint"),
            "{message}"
        );
    }
}
