//! What every role of the system shares; the vocabulary of the project.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | item, session and policy-version ids |
//! | [`feedback`] | skip / click / order and their rewards |
//! | [`period`] | periods, sub-periods and the remainder (Sec 2.1 of the paper) |
//! | [`history`] | the three history windows of a session |
//! | [`items`] | the item table: embeddings, categories, prices |
//! | [`recall`] | the candidate set of a session and what it has shown |
//! | [`transition`] | what an actor streams and what a learner samples |
//! | [`config`] | every setting, its default, its range, the presets |
//! | [`seed`] | counter-based random streams |
//! | [`codec`] | bincode records with a length limit |
//! | [`files`] | files that are whole or absent |
//! | [`telemetry`] | logs for people and for machines |
//!
//! No tch, no servers, no clocks in this crate.

pub mod codec;
pub mod config;
pub mod feedback;
pub mod files;
#[cfg(test)]
#[path = "../../tests/src/fuzz.rs"]
mod fuzz;
pub mod history;
pub mod ids;
pub mod items;
pub mod period;
pub mod recall;
pub mod seed;
pub mod telemetry;
pub mod transition;

pub use feedback::Feedback;
pub use ids::{ItemId, PolicyVersion, SessionId};
pub use items::ItemTable;
pub use period::{PeriodLayout, Remainder};
pub use recall::RecallSet;
