//! Files that grow: by whole lines, or by whole records of any form.
//!
//! In: records; out: a file that holds all of each, or nothing of it, whatever fails.

use std::{
    fs,
    io::{Result as IoResult, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, file_error};

/// A file of JSON lines that grows. Every line is handed to the system at once: a killed run leaves whole lines.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: fs::File,
    bytes: u64,
}

impl JsonLines {
    /// Opens `path` for appending behind its first `keep` bytes; what lies behind them is cut off.
    pub fn append_behind(path: &Path, keep: u64) -> Result<Self, Error> {
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).append(true).open(path).map_err(file_error("open", path))?;
        let found = file.metadata().map_err(file_error("open", path))?.len();
        if found < keep {
            return Err(Error::Short { path: path.to_owned(), found, expected: keep });
        }
        file.set_len(keep).map_err(file_error("cut", path))?;
        Ok(Self { path: path.to_owned(), file, bytes: keep })
    }

    /// Adds a line, or nothing.
    pub fn push(&mut self, record: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_string(record).expect("records are plain structs, strings and numbers");
        line.push('\n');
        append(&mut self.file, &mut self.bytes, line.as_bytes()).map_err(file_error("write", &self.path))
    }

    /// Waits until all lines are on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(file_error("sync", &self.path))
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Appends all bytes to a file of so many, or none.
pub(super) fn append(file: &mut fs::File, length: &mut u64, bytes: &[u8]) -> IoResult<()> {
    if let Err(error) = file.write_all(bytes) {
        file.set_len(*length)?;
        return Err(error);
    }
    *length += bytes.len() as u64;
    Ok(())
}

/// All records of a file of JSON lines; none where the file is absent.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(file_error("read", path))?;
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line).map_err(|e| Error::Line {
                path: path.to_owned(),
                line: i + 1,
                problem: e.to_string(),
            })
        })
        .collect()
}
