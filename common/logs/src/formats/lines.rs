//! Files of lines: streamed, numbered from 1, checked to be UTF-8 and of a bounded length.

use std::io::{BufRead, Read};
use std::path::Path;

use super::files;
use super::reading::Reading;
use crate::Error;

/// Longest line, in bytes (64 MiB): a file of another kind may have no line ends at all.
const LONGEST: u64 = 64 << 20;

/// A line without its end.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    path: &'a Path,
    /// From 1.
    pub(super) number: u64,
    pub(super) text: &'a str,
}

impl Line<'_> {
    /// This line, refused.
    pub(super) fn wrong(&self, problem: impl std::fmt::Display) -> Error {
        Error::row(self.path, self.number, problem)
    }
}

/// Calls `each` for every line that is not blank. A file without such a line is refused.
pub(super) fn each_line(
    path: &Path,
    reading: &mut Reading<'_>,
    mut each: impl FnMut(Line<'_>, &mut Reading<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut source = files::open(path)?;
    let mut bytes = Vec::new();
    let mut any = false;
    for number in 1.. {
        bytes.clear();
        let n =
            (&mut source).take(LONGEST).read_until(b'\n', &mut bytes).map_err(Error::file("read", path))?;
        if n == 0 {
            break;
        }
        if n as u64 == LONGEST {
            return Err(Error::row(path, number, format!("is longer than {LONGEST} bytes: not this format")));
        }
        let outcome = match str::from_utf8(&bytes).map(str::trim_end) {
            Ok("") => continue,
            Ok(text) => each(Line { path, number, text }, reading),
            Err(error) => {
                Err(Error::row(path, number, format!("byte {} is not UTF-8", error.valid_up_to() + 1)))
            }
        };
        any = true;
        reading.line(outcome)?;
    }
    if any { Ok(()) } else { Err(Error::format(path, "has no data rows")) }
}
