//! Networks, targets, optimisers, step and random streams on disk. In: a [`Checkpoint`]; out: one file that is whole or
//! absent.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tensors`] | tensors in plain memory, and safetensors |
//! | [`mod@file`] | the file: written atomically, read with every byte checked |
//! | [`folder`] | the checkpoints of a run: the newest, and which ones to keep |

pub mod file;
pub mod folder;
pub mod tensors;

use std::{collections::BTreeMap, path::PathBuf};

pub use folder::{latest, load_newest, write};
pub use tensors::{Array, Data, Tensors};

/// All that a run needs to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Environment steps done.
    pub step: u64,
    /// Updates done.
    pub updates: u64,
    /// The settings of the run, as TOML.
    pub config_toml: String,
    /// The engine's state.
    pub tensors: Tensors,
    /// What other parts need to go on, by name (replay, actors, random streams); opaque here.
    pub extra: BTreeMap<String, Vec<u8>>,
}

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder cannot be accessed.
    #[error("cannot {action} {path}")]
    File {
        /// E.g. `read`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are no whole checkpoint. Use an older one.
    #[error("checkpoint {path} is damaged: {problem}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No checkpoint of a run can be used: begin it anew.
    #[error(
        "no whole checkpoint is left, {count} damaged (put one back, or begin another run): {path}: {problem}"
    )]
    AllDamaged {
        /// How many there are.
        count: usize,
        /// The newest.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Written by another version of this program.
    #[error("checkpoint {path} has format {found}, this program reads format {expected}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The format of [`mod@file`].
        expected: u32,
    },
}
