//! Files that are whole or absent. In: bytes; out: a file under its name once all of it is on the disk.
//!
//! What is being written ends in `.partial`, is locked, and has a name of its own, so that two processes that write one file do not
//! write into each other's. Who is killed meanwhile leaves it behind, unlocked: [`remove_abandoned`].

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{Error, ErrorKind, Result, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::Builder;

/// Ending of what is not whole yet.
const PARTIAL: &str = "partial";

/// Writes a file beside its place, syncs and renames it: whoever reads, or comes after a crash, finds the old one or the new
/// one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole_if(path, bytes, || Ok(()))
}

/// The same; `may` is asked when nothing is left to do but to rename it. An error of it leaves the old one in its place.
pub fn write_whole_if(path: &Path, bytes: &[u8], may: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = path.file_stem().unwrap_or_default().to_owned();
    prefix.push(".");
    let suffix = format!(".{PARTIAL}");
    let mut name = Builder::new();
    // As any new file: less what the user's mask takes away.
    name.prefix(&prefix).suffix(&suffix).permissions(Permissions::from_mode(0o666));
    let mut file = loop {
        let file = name.tempfile_in(folder)?;
        match file.as_file().try_lock() {
            // Whoever clears the folder was faster than the lock, and removes it.
            Err(TryLockError::WouldBlock) => {}
            // A file system without locks: nothing is removed there.
            Ok(()) | Err(TryLockError::Error(_)) => break file,
        }
    };
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    may()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself is on disk once the folder is.
    File::open(folder)?.sync_all()
}

/// Whether an error of a write passes once somebody makes room. Any other says that the device cannot be trusted.
pub fn is_want_of_room(error: &Error) -> bool {
    use ErrorKind::{FileTooLarge, OutOfMemory, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | OutOfMemory)
}

/// Whether a file is not whole yet.
pub fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == PARTIAL)
}

/// Removes what was left half-written in a folder: what nobody holds a lock on.
pub fn remove_abandoned(folder: &Path) -> Result<()> {
    // Another process was faster.
    let unless_gone = |error: Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_partial(&path) {
            // For writing: a lock over NFS asks for it.
            match File::options().write(true).open(&path).map(|file| file.try_lock()) {
                Ok(Ok(())) => fs::remove_file(&path).or_else(unless_gone)?,
                Ok(Err(_)) => {}
                Err(error) => unless_gone(error)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_can_be_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        let refused = write_whole_if(&path, b"newer", || Err(ErrorKind::Other.into()));
        assert_eq!((refused.is_err(), fs::read(&path).unwrap()), (true, b"new".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // What any other file has here.
        let other = folder.path().join("b.txt");
        fs::write(&other, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&other));
    }

    #[test]
    fn a_file_that_cannot_be_put_in_its_place_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("a.txt");
        fs::create_dir(&taken).unwrap();
        assert!(write_whole(&taken, b"new").is_err());
        assert!(write_whole(&folder.path().join("missing/a.txt"), b"new").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_nobody_writes_to_any_more_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.partial", "b.txt"] {
            fs::write(folder.path().join(name), b"cut").unwrap();
        }
        let path = folder.path().join("c.txt");
        write_whole_if(&path, b"whole", || remove_abandoned(folder.path())).unwrap();
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!(["a.partial", "b.txt", "c.txt"].map(left), [false, true, true]);
    }
}
