//! The seam between a data set's own files and the canonical log.
//!
//! In: what a [`Format`] reads, one [`Record`] at a time; out: whatever the [`Sink`] makes of it. A format knows files,
//! columns and codes; it knows nothing of session gaps, negatives, splits or ids, which the sink decides for all alike.

use std::path::{Path, PathBuf};

use common::Feedback;

use crate::{Counts, Error};

/// What an impression of the canonical log will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impressions {
    /// The data set says what was shown, clicked or not.
    Logged,
    /// What was looked at stands for what was shown (jd-hup's visits without a click on "to product").
    Proxy,
    /// The data set has actions only; what was shown and skipped is sampled on import.
    Sampled,
}

impl Impressions {
    /// As in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Proxy => "proxy",
            Self::Sampled => "sampled",
        }
    }
}

/// One thing that happened to one item. Borrowed: a sink copies what it keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// The data set's own key of the user (or of the session, where users are unknown).
    pub user: &'a str,
    /// Its own key of the session; none where sessions are cut by gaps in time.
    pub session: Option<&'a str>,
    /// Milliseconds since 1970-01-01 UTC; where the data has no clock, a count that grows within the user.
    pub time_ms: i64,
    /// Rank within the list shown, from 0; none where unknown.
    pub position: Option<u32>,
    /// The data set's own key of the item.
    pub item: &'a str,
    /// Its category's key, where the row has it.
    pub category: Option<&'a str>,
    /// Its price, where the row has it.
    pub price: Option<f32>,
    /// What the user did.
    pub feedback: Feedback,
    /// Probability that the logging policy showed it, where known.
    pub propensity: Option<f32>,
}

/// Takes what a format reads.
pub trait Sink {
    /// One thing that happened.
    fn record(&mut self, record: Record<'_>) -> Result<(), Error>;
    /// What a side file says of an item. Before or after the records; the last word counts.
    fn item(&mut self, item: &str, category: Option<&str>, price: Option<f32>) -> Result<(), Error>;
}

/// The files given by `--input`: one file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// A file or a folder.
    pub path: PathBuf,
    /// Count malformed rows instead of refusing them.
    pub lenient: bool,
    /// Action names or codes of the data set that count as a click, instead of the format's own (`--click-map`).
    pub click_map: Option<Vec<String>>,
}

/// A data set's published form.
pub trait Format: Sync {
    /// The name in `--format`.
    fn name(&self) -> &'static str;
    /// One paragraph for `--help`: files, layout, mapping; says so where the layout is from memory.
    fn about(&self) -> &'static str;
    /// What its impressions are.
    fn impressions(&self) -> Impressions;
    /// How codes become feedback, for the manifest: (code, `skip` | `click` | `order` | `dropped: why`).
    fn mapping(&self) -> Vec<(String, String)>;
    /// Reads all of the input. Counts every row read and every row dropped, with the reason.
    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error>;
    /// The files of the input it will read, for checksums and the progress bar.
    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error>;
}
