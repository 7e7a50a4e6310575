//! Why a log cannot be read or written: always which file, which line, what is wrong.

use std::path::{Path, PathBuf};

/// An input that was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be accessed.
    #[error("cannot {action} {path}")]
    File {
        /// E.g. `read`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that an importer needs is not there.
    #[error("{folder} has no {expected}")]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
        /// The files that would do.
        expected: String,
    },
    /// A row that is wrong.
    #[error("{path}, line {line}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1, headers included.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A record of an importer that no log may hold.
    #[error("item `{key}`: {problem}")]
    Record {
        /// The data set's own key of the item.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A file of another form: columns missing, no Parquet, ...
    #[error("{path}: {problem}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An option outside its range.
    #[error("option `{key}` is {value}, expected {expected}")]
    Option {
        /// Which option.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A log whose items have no embeddings yet.
    #[error("{folder} has no item embeddings; run: learner embed {folder}")]
    NotEmbedded {
        /// The log.
        folder: PathBuf,
    },
    /// Embeddings that are no item table.
    #[error("the item table was refused")]
    Items(#[from] common::items::Error),
}

impl Error {
    /// For `map_err` on file operations.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// A wrong row.
    pub fn row(path: &Path, line: u64, problem: impl std::fmt::Display) -> Self {
        Self::Row { path: path.to_owned(), line, problem: problem.to_string() }
    }

    /// A wrong file.
    pub fn format(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.to_string() }
    }
}
