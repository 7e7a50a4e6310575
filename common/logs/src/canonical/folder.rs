//! Names of the files of a canonical log.

use std::path::{Path, PathBuf};

use crate::Error;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns, compressed: the default.
    Parquet,
    /// Lines of text with a header.
    Csv,
}

impl Form {
    const ALL: [Self; 2] = [Self::Parquet, Self::Csv];

    /// The file's ending.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }

    /// The form that a file's ending names.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        Self::ALL
            .into_iter()
            .find(|form| Some(form.extension()) == extension)
            .ok_or_else(|| Error::format(path, "the name ends neither in .parquet nor in .csv"))
    }

    /// Where the table `name` of a folder is in this form.
    pub(crate) fn path(self, folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.{}", self.extension()))
    }
}

/// The file of the table `name`, in whichever form it is there. Both forms at once are refused: which one counts?
pub(crate) fn find(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    // A folder that is not there, or no folder at all, should not read as a missing table.
    std::fs::read_dir(folder).map_err(Error::file("read the folder", folder))?;
    let [parquet, csv] = Form::ALL.map(|form| form.path(folder, name));
    match (parquet.is_file(), csv.is_file()) {
        (true, false) => Ok(parquet),
        (false, true) => Ok(csv),
        (true, true) => Err(Error::format(
            folder,
            format_args!("both {name}.parquet and {name}.csv are there; remove the one that is out of date"),
        )),
        (false, false) => Err(Error::Missing {
            folder: folder.to_owned(),
            expected: format!("{name}.parquet or {name}.csv (what they hold: docs/logs.md)"),
        }),
    }
}

/// Makes a folder; one that is there must be empty, nothing is ever overwritten.
pub(crate) fn create_empty(folder: &Path) -> Result<(), Error> {
    check_empty(folder)?;
    std::fs::create_dir_all(folder).map_err(Error::file("create the folder", folder))
}

/// Refuses a folder that holds anything; one that is not there will do.
pub(crate) fn check_empty(folder: &Path) -> Result<(), Error> {
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("read the folder", folder)(error)),
    };
    match entries.next() {
        Some(_) => Err(Error::format(folder, "the folder is not empty; name a new one")),
        None => Ok(()),
    }
}
