//! The canonical log: a folder that every other part reads, and that users may write themselves.
//!
//! | file | columns or content |
//! |---|---|
//! | `log.parquet` or `log.csv` | `user_id`, `session_id`, `position`, `timestamp` (ms), `item_id`, `feedback` (0 skip, 1 click, 2 order), `split` (train, test), optional `propensity` in (0, 1] |
//! | `items.parquet` or `items.csv` | `item_id`, `category`, `price` (both may be empty), optional `key` (the data set's own), `e_0` .. `e_{n-1}` once embedded |
//! | `manifest.json` | where the log is from, see [`Manifest`]; optional |
//!
//! In: such a folder; out: a [`Log`], every row of it checked. Ids are any `u64`; row `r` of the item table is the r-th
//! smallest `item_id`. Rows may stand in any order; a session is a pair (`user_id`, `session_id`).

mod columns;
pub(crate) mod folder;
pub(crate) mod items;
mod log;
mod manifest;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod writer;

pub use folder::Form;
pub use log::{Impression, Log, Session, Split};
pub use manifest::{
    EmbeddingNote, FILE as MANIFEST_FILE, InputFile, Manifest, NegativesNote, SCHEMA_VERSION, SessionRule,
    SplitNote,
};
