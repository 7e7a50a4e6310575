//! Everything that changes parameters, and the command line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`algorithm`] | the paper, one equation a function |
//! | [`engine`] | one update of both levels, behind one seam |
//! | [`checkpoint`] | networks, targets, optimisers, step and RNG on disk |
//! | [`weights`] | the weight broadcast |
//! | [`baselines`] | methods to compare with, behind one seam |
//! | [`simulator`] | fitting the learned simulator (Sec 4.2.1) and its acceptance report |
//! | [`evaluation`] | rollouts without exploration, intervals, tables |
//! | [`export`] | a trained policy for other programs: safetensors, JSON, TorchScript |
//! | [`reproduce`] | the paper's tables and figures made anew: every method, equal budgets |
//! | [`run_dir`] | what a run leaves on disk: metrics, TensorBoard events, report |
//! | [`scaling`] | convergence against the number of actors: the study, and a model beyond this machine |
//! | [`threads`] | threads beside the calling one |
//! | [`train`] | the loop: single node, lockstep or async |
//! | [`world`] | the world a run names, for training, validation and test users |
//! | [`cli`] | the command line |

pub mod algorithm;
pub mod baselines;
pub mod checkpoint;
pub mod cli;
pub mod engine;
pub mod evaluation;
pub mod export;
#[cfg(test)]
#[path = "../../tests/src/fuzz.rs"]
mod fuzz;
pub mod reproduce;
pub mod run_dir;
pub mod scaling;
pub mod simulator;
pub mod threads;
pub mod train;
pub mod weights;
pub mod world;
