//! The fit of a learned simulator.
//!
//! In: a canonical log with item embeddings; out: an ensemble, calibrated and judged on users it has not seen.
//!
//! | module | what it holds |
//! |---|---|
//! | [`log`] | the entry point: fits the simulator of one split |
//! | [`dataset`], [`samples`] | the impressions of a split with the windows before them |
//! | [`groups`] | who is learned from, who calibrates, who judges |
//! | [`catalogue`], [`batch`], [`network`] | the network on tch |
//! | [`member`], [`calibrate`] | training and calibrating one member of the ensemble |
//! | [`ensemble`] | all members, side by side |
//! | [`fitted`] | the ensemble, and the folder it is saved in |
//! | [`predictor`] | what is judged: the inference that will run |
//! | [`rollout`] | free-running rollouts against the log |
//! | [`acceptance`] | the numbers of the report |

mod acceptance;
mod batch;
mod calibrate;
mod catalogue;
mod dataset;
mod ensemble;
mod fitted;
mod groups;
mod log;
mod member;
mod network;
mod predictor;
mod rollout;
mod samples;

use super::{Criteria, Error, Options, Progress, Unit, log_items, metrics, report, verdict};

pub use fitted::FittedSimulator;
pub use log::{check, fit};
