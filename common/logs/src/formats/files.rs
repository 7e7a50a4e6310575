//! Finds and opens the files of an input.
//!
//! In: `--input`, a file or a folder, and the names a data set is published under; out: paths in order of name, and
//! byte streams, inflated where the bytes are gzip, without a byte-order mark.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::Error;

/// Bytes per read: large, as files are read from end to end.
const BUFFER: usize = 1 << 16;

/// The files of a folder that match one of `patterns` (`*` stands for anything; `.gz` may follow), sorted; of a file,
/// itself, whatever its name. None is an error.
pub(super) fn find(path: &Path, patterns: &[&str]) -> Result<Vec<PathBuf>, Error> {
    find_below(path, patterns, 0)
}

/// Like [`find`], and `depth` levels of sub-folders too.
pub(super) fn find_below(path: &Path, patterns: &[&str], depth: usize) -> Result<Vec<PathBuf>, Error> {
    if !is_folder(path)? {
        return Ok(vec![path.to_owned()]);
    }
    let found = listed(path, patterns, depth)?;
    if found.is_empty() {
        return Err(Error::Missing { folder: path.to_owned(), expected: patterns.join(" or ") });
    }
    Ok(found)
}

/// The files beside the main ones: those of a folder that match, perhaps none; none where the input is one file.
pub(super) fn find_beside(path: &Path, patterns: &[&str]) -> Result<Vec<PathBuf>, Error> {
    if is_folder(path)? { listed(path, patterns, 0) } else { Ok(Vec::new()) }
}

/// A name for `file` that is unique within the input, without its endings: `bts/all/all`.
pub(super) fn key(input: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(input).ok().filter(|rest| !rest.as_os_str().is_empty());
    let relative = relative.unwrap_or_else(|| Path::new(file.file_name().unwrap_or_default()));
    let folder = relative.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or_else(|| stem(file), |folder| format!("{}/{}", folder.display(), stem(file)))
}

/// The file's name up to its first dot.
pub(super) fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Opens a file of text. Empty ones are refused.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    let mut plain = BufReader::with_capacity(BUFFER, file);
    let gzip = plain.fill_buf().map_err(Error::file("read", path))?.starts_with(&[0x1f, 0x8b]);
    let mut text: Box<dyn BufRead> = if gzip {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain)))
    } else {
        Box::new(plain)
    };
    let head = text.fill_buf().map_err(Error::file("read", path))?;
    if head.is_empty() {
        return Err(Error::format(path, "the file is empty"));
    }
    if head.starts_with(&[0xef, 0xbb, 0xbf]) {
        text.consume(3);
    }
    Ok(text)
}

/// Whether the file starts as Parquet does.
pub(super) fn is_parquet(path: &Path) -> Result<bool, Error> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    let mut head = Vec::with_capacity(4);
    file.take(4).read_to_end(&mut head).map_err(Error::file("read", path))?;
    Ok(head == b"PAR1")
}

fn is_folder(path: &Path) -> Result<bool, Error> {
    Ok(fs::metadata(path).map_err(Error::file("read", path))?.is_dir())
}

fn listed(folder: &Path, patterns: &[&str], depth: usize) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = entry.map_err(Error::file("list", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue; // ".DS_Store", "._train.csv": what an archive of another system leaves
        }
        if path.is_dir() {
            folders.push(path);
        } else if patterns.iter().any(|pattern| matches(pattern, name.trim_end_matches(".gz"))) {
            files.push(path);
        }
    }
    files.sort();
    // The same rows twice would double every count.
    if let Some(both) = files.iter().find(|file| files.contains(&with_gz(file))) {
        return Err(Error::format(both, "is there plain and as .gz: keep one of them"));
    }
    folders.sort();
    for folder in folders.iter().filter(|_| depth > 0) {
        files.extend(listed(folder, patterns, depth - 1)?);
    }
    Ok(files)
}

fn with_gz(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// Whether `name` is `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len())
                .any(|start| rest.is_char_boundary(start) && matches(tail, rest.split_at(start).1))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        assert!(matches("a*.csv", "a.csv") && matches("a*.csv", "abc.csv") && matches("*", "é"));
        assert!(matches("t_*_user*.csv", "t_x_user_1.csv"));
        assert!(!matches("a*.csv", "b.csv") && !matches("a.csv", "a.csv.bak") && !matches("a*b", "a"));
    }

    #[test]
    fn hidden_files_are_left_and_a_file_that_is_there_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "._a.csv", "c.txt"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = find(folder.path(), &["*.csv"]).unwrap();
        assert_eq!(found, ["a.csv", "b.csv"].map(|name| folder.path().join(name)));
        fs::write(folder.path().join("b.csv.gz"), "x").unwrap();
        let error = find(folder.path(), &["*.csv"]).unwrap_err().to_string();
        assert!(error.contains("b.csv") && error.contains("keep one"), "{error}");
    }

    #[test]
    fn keys_are_relative_to_the_input() {
        let key = |input: &str, file: &str| key(Path::new(input), Path::new(file));
        assert_eq!(key("/d", "/d/bts/all/all.csv.gz"), "bts/all/all");
        assert_eq!(key("/d", "/d/all.csv"), "all");
        assert_eq!(key("/d/all.csv", "/d/all.csv"), "all");
    }
}
