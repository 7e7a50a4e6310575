//! The paper's tables and figures, made anew: every method under the same budget, on the same test users.
//!
//! In: experiments, a world, a [`Budget`]; out: a folder of cells (one method, one seed, trained and judged once), and the
//! tables and figures over them. A cell is a process of its own, so that as many run at once as there are cores; one that
//! is there already is not run again, so that the same command goes on where it stopped. All training is in lockstep:
//! equal seeds give equal tables, but for seconds and the scaling study.
//!
//! | module | what it holds |
//! |---|---|
//! | [`budget`] | steps, sessions and seeds: `quick` and `full` |
//! | [`logged`] | the sessions that supervised methods learn from, and that all methods rank |
//! | [`methods`] | the compared methods, and how each is trained |
//! | [`experiment`] | which cells a table or figure needs |
//! | [`controls`] | where nothing must be found: which cells, and whether anything was |
//! | [`caveats`] | what the paper's comparisons leave open: which cells, and what they say |
//! | [`cell`] | one method and seed: trained, judged, written down |
//! | `content` | what tells an imported log and its simulators from others in the same folder |
//! | [`cost`] | what a cell costs, before it is run |
//! | [`pool`] | cells over the cores |
//! | [`summary`] | a method over its seeds, and the differences of two |
//! | [`figure`] | curves and bars as plain data |
//! | [`paper`] | what is known of the paper's numbers, and how ours stand beside them |
//! | [`table`] | rows of words as Markdown, CSV and JSON |
//! | [`tables`] | the tables and figures of each experiment |

pub mod budget;
pub mod caveats;
pub mod cell;
mod content;
pub mod controls;
pub mod cost;
pub mod experiment;
pub mod figure;
pub mod logged;
pub mod methods;
pub mod paper;
pub mod pool;
pub mod summary;
pub mod table;
pub mod tables;
#[cfg(test)]
mod test_summary;

pub use budget::{Budget, Scale};
pub use cell::{Cell, CellResult};
pub use experiment::Experiment;
pub use summary::Summary;
pub use table::Table;
