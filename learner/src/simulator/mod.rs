//! Fitting the learned simulator (Sec 4.2.1) to a log, and judging it.
//!
//! In: a canonical log with item embeddings; out: the folder that [`sim::learned`] reads, and an acceptance report. The
//! simulator of the training days is where policies are trained; a second one, of the test days, is the online test
//! environment.
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`] | size, budget and seeds of a fit |
//! | `fitting` | the fit itself (needs libtorch) |
//! | [`items_file`] | the item table of a log, and whether it is still that of the fit |
//! | [`metrics`] | ROC-AUC, PR-AUC, log loss, reliability |
//! | [`report`], [`render`] | the acceptance report, as a file and as text |
//! | [`verdict`] | what is asked of it |

#![cfg_attr(
    not(feature = "torch"),
    allow(dead_code, unused_imports, reason = "reports are written and judged by fits only")
)]

#[cfg(feature = "torch")]
mod fitting;
mod items_file;
pub mod metrics;
mod options;
mod render;
mod report;
mod verdict;

use std::path::Path;

#[cfg(feature = "torch")]
pub use fitting::{FittedSimulator, check, fit};
pub(crate) use items_file::{log_items, other_items};
pub use options::Options;
pub(crate) use report::FILE as REPORT_FILE;
pub use report::{AcceptanceReport, ClassReport, MemberReport, Pair, PositionRates, RolloutReport, Unit};
pub use verdict::Criteria;

/// Where a fit stands, after a pass of a member over the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The member, from 0. Members are trained side by side.
    pub member: usize,
    /// Passes of this member so far.
    pub pass: usize,
    /// Whether it was this member's last.
    pub ended: bool,
    /// Mean loss of the pass, in nats.
    pub loss: f64,
    /// Log loss on the held-out impressions after it.
    pub held_out_loss: f64,
}

/// Why there is no simulator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option outside its range: correct it.
    #[error("simulator option `{key}` is {value}, expected {expected}")]
    Option {
        /// Which option.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// The log's item table cannot be read: embed it first.
    #[error(transparent)]
    Log(#[from] logs::Error),
    /// A log that cannot be learned from: import more of it, or another.
    #[error("the {split} days of the log cannot be learned from: {problem}")]
    Data {
        /// `train` or `test`.
        split: &'static str,
        /// What is missing.
        problem: String,
    },
    /// The loss is no number any more: lower the learning rate.
    #[error("the loss of member {member} is not finite in pass {pass}: lower the learning rate")]
    Diverged {
        /// The member, from 0.
        member: usize,
        /// The pass, from 1.
        pass: usize,
    },
    /// Tensors that are no simulator: report it.
    #[error("the fitted simulator was refused")]
    Simulator(#[from] sim::Error),
    /// The progress callback asked to stop.
    #[error("the fit was interrupted")]
    Interrupted,
    /// A file that cannot be read or written.
    #[error("cannot access {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that is no acceptance report.
    #[error("{path}: {problem}")]
    Format {
        /// Which file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    fn format(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Format { path: path.display().to_string(), problem: problem.to_string() }
    }
}
