//! What a shard keeps on disk: a journal of all operations, and snapshots to begin reading it from.
//!
//! | module | what it holds |
//! |---|---|
//! | [`operation`] | what changes a shard; what files begin with |
//! | [`frame`] | how records lie in files |
//! | [`disk`] | the file operations that may fail |
//! | [`log`] | the journal of a running shard: group commit |
//! | [`snapshot`] | images of the shard on disk |
//! | [`ahead`] | operations of a file, read while those before are applied |
//! | [`recover`] | a shard from what is on disk |
//! | [`retry`] | when a snapshot that failed is tried again |
//! | [`deal`] | contents dealt out to another number of shards |
//! | [`folder`] | the folders of shards, one a shard |
//! | [`home`] | the files of a running shard |
//!
//! Files of a shard, `P` a position (bytes of operations since the shard began, 20 digits):
//!
//! | file | holds |
//! |---|---|
//! | `journal-P.log` | a header, then operations from P on |
//! | `snapshot-P.bin` | a header, then the shard as it was at P |
//! | `*.partial` | what a crash left half-written; never read |
//! | `*.damaged` | what was found damaged; never read, kept for people |
//! | `lock` | locked by the process that serves the shard |
//! | `settings.toml` | of which settings its contents are: shape, short periods |
//! | `shards` | of how many shards it was one when the folder was made |
//!
//! Acknowledged means in the journal. The newest two snapshots are kept, and the journal from the older of them on, so that
//! a snapshot that turns out to be damaged costs nothing.

pub(crate) mod ahead;
pub(crate) mod deal;
pub(crate) mod disk;
pub(crate) mod folder;
pub(crate) mod frame;
pub(crate) mod home;
pub(crate) mod log;
pub(crate) mod operation;
pub(crate) mod recover;
pub(crate) mod retry;
pub(crate) mod snapshot;

#[cfg(test)]
pub(crate) mod tests;

use std::{io, path::PathBuf};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be accessed.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// E.g. `read`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process serves the shard.
    #[error("{0} is in use: another process serves this shard")]
    InUse(PathBuf),
    /// Files of another build.
    #[error(
        "{path} has form {form} and schema version {schema}, this build reads forms up to {our_form} and schema version {our_schema}: nothing was changed"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Of the file.
        form: u32,
        /// Of its records.
        schema: u32,
        /// This build's.
        our_form: u32,
        /// This build's.
        our_schema: u32,
    },
    /// Files of another run.
    #[error(
        "{path} belongs to run `{found}`, not to `{expected}`: take another replay.data_dir, or its cluster.run"
    )]
    Run {
        /// The file.
        path: PathBuf,
        /// Its run.
        found: String,
        /// This run.
        expected: String,
    },
    /// Contents that do not fit the settings.
    #[error(
        "{path} cannot be read under these settings: {problem}. Set what it was made with, or take another replay.data_dir"
    )]
    Settings {
        /// The file.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// A shard without a folder among those that are dealt out.
    #[error(
        "{folder} is missing, and shards above it are there: nothing was changed. Put that shard's folder back beside the others; \
         or, if what it held is given up, make an empty one{}", removable(.empty)
    )]
    Missing {
        /// The folder that is not there.
        folder: PathBuf,
        /// Those above it that hold nothing.
        empty: Vec<PathBuf>,
    },
    /// A reshard that was cut short.
    #[error(
        "{0} was left by a reshard that was cut short: the folders of before are beside it or in the newest \
         before-reshard-K; move them back, remove it, and reshard again"
    )]
    Resharding(PathBuf),
    /// A new shard beside those of another number.
    #[error(
        "{path} is one of {found} shards, replay.shards is {expected}: nothing was made. Set it to {found}; or, if \
         {expected} are wanted, {}", dealing(.missing)
    )]
    Number {
        /// The folder of another shard.
        path: PathBuf,
        /// Of how many it says that it is one.
        found: usize,
        /// Of the settings.
        expected: usize,
        /// Folders without which nothing can be dealt out.
        missing: Vec<PathBuf>,
    },
    /// Folders of more shards than there are.
    #[error(
        "{path} holds {found} shards, replay.shards is {expected}{}{}",
        removable(.empty),
        if *.full > 0 { format!("; {}", dealing(.missing)) } else { String::new() }
    )]
    Shards {
        /// The data directory.
        path: PathBuf,
        /// Shards in it.
        found: usize,
        /// Of the settings.
        expected: usize,
        /// Folders beyond that number that hold nothing.
        empty: Vec<PathBuf>,
        /// How many hold something.
        full: usize,
        /// Folders without which nothing can be dealt out.
        missing: Vec<PathBuf>,
    },
}

/// Says which folders may go.
fn removable(empty: &[PathBuf]) -> String {
    match empty {
        [] => String::new(),
        [one] => format!("; {} holds nothing: once no process serves it, it can be removed", one.display()),
        _ => format!("; {} hold nothing: once no process serves them, they can be removed", listed(empty)),
    }
}

/// Says how contents become those of another number of shards.
fn dealing(missing: &[PathBuf]) -> String {
    let first = match missing {
        [] => String::new(),
        _ => format!("put {} back, or make it an empty folder, then ", listed(missing)),
    };
    format!("{first}stop all shards and deal what they hold out anew with `replay reshard`")
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// Whether it ends with the advice to deal the contents out anew.
    pub(crate) fn asks_to_deal(&self) -> bool {
        matches!(self, Self::Number { .. } | Self::Shards { full: 1.., .. })
    }

    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
