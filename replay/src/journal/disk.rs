//! The file operations of a running shard, behind a seam: tests fill the disk, tear writes, break fsync and end a process
//! between any two of them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Most bytes that are given back to the file system at once.
const FREED_AT_ONCE: u64 = 16 << 20;

/// A file that is appended to.
pub(crate) trait Append: Send {
    /// Writes all of it behind what was written before.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Brings all that was written to the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file back to a length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// Where files are made.
pub(crate) trait Disk: Send + Sync {
    /// A new file, empty, under a name that no file has or one whose contents are not needed; the folder knows of it
    /// durably.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>>;

    /// Gives a file another name, in place of what has it; the folder knows of it durably.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
pub(crate) struct Files;

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        // Opened for appending: the next write goes to the new end.
        self.set_len(length)
    }
}

impl Disk for Files {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        sync_folder(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        sync_folder(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path);
        fs::remove_file(path)?;
        // It is gone, whatever comes of this.
        let _as_far_as_it_went = file.and_then(|file| give_back(&file));
        Ok(())
    }
}

/// Gives the room of a removed file back, not all at once: the file system does it with its own journal held, and whoever syncs
/// waits for that. A file that has another name is somebody's copy and stays as it is.
fn give_back(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let mut length = if metadata.nlink() == 0 { metadata.len() } else { 0 };
    while length > FREED_AT_ONCE {
        length -= FREED_AT_ONCE;
        file.set_len(length)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Brings the folder's knowledge of a file to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_given_back_piece_by_piece_and_a_copy_under_another_name_keeps_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let [alone, linked, copy] = ["alone", "linked", "copy"].map(|name| folder.path().join(name));
        let length = 3 * FREED_AT_ONCE + 5;
        let [file, _] = [&alone, &linked].map(|path| {
            let file = File::create(path).unwrap();
            file.set_len(length).unwrap();
            file
        });
        fs::hard_link(&linked, &copy).unwrap();
        for path in [&alone, &linked] {
            Files.remove(path).unwrap();
            assert!(!path.exists());
        }
        assert_eq!(file.metadata().unwrap().len(), 5);
        assert_eq!(fs::metadata(&copy).unwrap().len(), length);
    }

    #[test]
    fn what_cannot_be_opened_is_removed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody can open it for writing, whoever runs the test: it leads to a folder.
        let path = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &path).unwrap();
        Files.remove(&path).unwrap();
        assert!(fs::symlink_metadata(&path).is_err());
        assert!(Files.remove(&path).is_err());
    }
}
