//! Convergence against the number of actors: a study of real clusters on this machine, and a model beyond it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`costs`] | what every role's work costs, and who runs where |
//! | [`model`] | throughput, staleness, and what saturates first |
//! | [`measure`] | what a run directory tells |
//! | [`cpu`] | CPU of processes, and the costs that follow |
//! | [`cluster`] | a cluster of processes on this machine, for one run |
//! | [`study`] | rows side by side: the target, whether they may be compared |
//! | [`case`] | the model's case of a study |
//! | [`tables`] | both as tables for a terminal, and as CSV |

pub mod case;
pub mod cluster;
pub mod costs;
pub mod cpu;
pub mod measure;
pub mod model;
pub mod study;
pub mod tables;

pub use costs::{Case, Costs, Setup};
pub use model::{Part, Prediction, predict};
pub use study::{Row, Study, Target};
