//! Where a log is from and what was done to it: `manifest.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::writer::write_whole;
use crate::{Counts, Error, source::Impressions};

/// Version of the folder's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// What is known of a log beside its rows. A log that someone wrote by hand may have none: [`Manifest::default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manifest {
    /// Version of the folder's layout, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the format it was imported from; `own` for a log made elsewhere.
    pub format: String,
    /// The files read, in order.
    pub inputs: Vec<InputFile>,
    /// How the data set's codes became feedback: (code, `skip` | `click` | `order` | `dropped: why`).
    pub mapping: Vec<(String, String)>,
    /// The codes of `--click-map`, where given.
    pub click_map: Option<Vec<String>>,
    /// What an impression is: logged, a proxy, or sampled. Never a mixture.
    pub impressions: Impressions,
    /// How sessions were found.
    pub sessions: SessionRule,
    /// Sampled impressions, where `impressions` is `sampled`.
    pub negatives: Option<NegativesNote>,
    /// Where training ends and testing begins.
    pub split: Option<SplitNote>,
    /// Rows of the inputs: read, kept, dropped by reason.
    pub counts: Counts,
    /// Records that became part of an earlier impression of the same item and session.
    pub n_merged: u64,
    /// Users of the log.
    pub n_users: u64,
    /// Sessions of the log.
    pub n_sessions: u64,
    /// Items of the log: those shown at least once.
    pub n_items: u64,
    /// Items that the data set names and the log never shows; left out.
    pub n_items_never_shown: u64,
    /// Rows of the log.
    pub n_impressions: u64,
    /// How the item embeddings came about; none before `embed`.
    pub embedding: Option<EmbeddingNote>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its name, without the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

/// How events become sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRule {
    /// The data set has sessions of its own.
    Native,
    /// A pause longer than this many seconds ends a session.
    GapSeconds(u64),
    /// Some users have native sessions; a pause of so many seconds ends the others.
    NativeOrGapSeconds(u64),
}

/// Sampled impressions: skips before each item that a user interacted with, as many as a geometric distribution gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// Notes written before `n_days_around` was counted are still read.
#[serde(default)]
pub struct NegativesNote {
    /// Mean of that distribution: skips wanted before each interaction.
    pub per_positive: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// Drawn from the items of the same category and UTC day.
    pub n_same_category: u64,
    /// Drawn from the whole UTC day: the item has no category, or its category no other item left.
    pub n_same_day: u64,
    /// Drawn from up to three days before and after: the day had no other item left.
    pub n_days_around: u64,
    /// Drawn from the whole log, test days included: the days around had no other item left.
    pub n_whole_log: u64,
    /// Not drawn: the log had no other item left. The click rate is the higher for it.
    pub n_missing: u64,
}

impl NegativesNote {
    /// Skips that the distribution asked for.
    pub fn n_wanted(&self) -> u64 {
        self.n_same_category + self.n_same_day + self.n_days_around + self.n_whole_log + self.n_missing
    }

    /// Share of the skips asked for that are not in the log, 0 where none was asked for.
    pub fn missing_share(&self) -> f64 {
        self.n_missing as f64 / self.n_wanted().max(1) as f64
    }
}

/// Where training ends and testing begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitNote {
    /// Share of the sessions wanted for testing: the latest by their start.
    pub test_share: f64,
    /// Start of the earliest test session, ms.
    pub first_test_ms: Option<i64>,
    /// Sessions for training.
    pub n_train: u64,
    /// Sessions for testing.
    pub n_test: u64,
}

/// How item embeddings came about. Those of method `ppmi-svd` have seen every training session: a judgement on training
/// users, or on training sessions kept aside, is no judgement on unseen data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingNote {
    /// `ppmi-svd`, or `file`.
    pub method: String,
    /// Size n of an embedding.
    pub n_dims: usize,
    /// Every component lies in (-bound, bound).
    pub bound: f32,
    /// Seed of the factorisation; none for a file.
    pub seed: Option<u64>,
    /// Co-occurrence window; none for a file.
    pub window: Option<usize>,
    /// Items with an embedding of their own.
    pub n_embedded: u64,
    /// Items too rare for one, placed at the centroid of their category.
    pub n_category_centroid: u64,
    /// All other items, placed near the mean of all.
    pub n_global_mean: u64,
    /// Rows of the embedding file whose items are not in the log; not used.
    pub n_unused: u64,
    /// Factor applied to the embeddings so that they fit the bound.
    pub scale: f32,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            format: "own".into(),
            inputs: Vec::new(),
            mapping: Vec::new(),
            click_map: None,
            impressions: Impressions::Logged,
            sessions: SessionRule::Native,
            negatives: None,
            split: None,
            counts: Counts::default(),
            n_merged: 0,
            n_users: 0,
            n_sessions: 0,
            n_items: 0,
            n_items_never_shown: 0,
            n_impressions: 0,
            embedding: None,
        }
    }
}

/// Its name in the folder of a log.
pub const FILE: &str = "manifest.json";

impl Manifest {
    /// The manifest of a folder; the default one where there is none.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, error))?;
        if manifest.schema_version != SCHEMA_VERSION {
            let found = manifest.schema_version;
            let problem = format_args!("`schema_version` is {found}, this build reads {SCHEMA_VERSION}");
            return Err(Error::format(&path, problem));
        }
        Ok(manifest)
    }

    /// Writes it into a folder, replacing one that is there.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::format(&path, error))?;
        write_whole(&path, format!("{text}\n").as_bytes())
    }
}
