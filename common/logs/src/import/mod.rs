//! Importing: from a data set's own files to a canonical log.
//!
//! In: a [`Format`] and its files; out: a folder with items, log and manifest, or an error and nothing written.
//! `collect` gives users, sessions and items numbers; `sessions` cuts, merges and splits by time; `negatives` samples what
//! was shown where the data set does not say; `output` writes. The same input, options and seed give the same bytes.

mod checksum;
mod collect;
mod negatives;
mod output;
mod sessions;

use std::path::Path;

use crate::{
    Counts, Error, Manifest,
    canonical::{Form, NegativesNote, SessionRule, folder},
    source::{Format, Impressions, Input},
};

/// Skips before each interaction, on average, where `--negatives` is not given: the paper's log has 9.8 clicks in 100
/// impressions.
pub const DEFAULT_NEGATIVES: u32 = 9;

/// Decisions that are not the data set's.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A longer pause ends a session, where the data set has no sessions of its own.
    pub session_gap_seconds: u64,
    /// Mean number of skips to sample before each item interacted with, where the data set has no impressions; none = 9.
    pub negatives: Option<u32>,
    /// Seed of that sampling.
    pub seed: u64,
    /// Share of the sessions for testing, the latest ones: in [0, 1).
    pub test_share: f64,
    /// How the tables are written.
    pub form: Form,
}

impl Default for Options {
    fn default() -> Self {
        Self { session_gap_seconds: 1800, negatives: None, seed: 0, test_share: 0.2, form: Form::Parquet }
    }
}

impl Options {
    fn validate(&self, format: &dyn Format) -> Result<(), Error> {
        let refuse = |key, value: String, expected: &str| {
            Err(Error::Option { key, value, expected: expected.to_owned() })
        };
        if !(1..=31_536_000).contains(&self.session_gap_seconds) {
            return refuse("session-gap", self.session_gap_seconds.to_string(), "1 to 31536000 seconds");
        }
        if !(0.0..1.0).contains(&self.test_share) {
            return refuse("test-share", self.test_share.to_string(), "a number in [0, 1)");
        }
        if let Some(negatives) = self.negatives {
            if format.impressions() != Impressions::Sampled {
                let expected =
                    format!("none: {} says what was shown, nothing is sampled beside it", format.name());
                return refuse("negatives", negatives.to_string(), &expected);
            }
            if negatives > 1000 {
                return refuse("negatives", negatives.to_string(), "at most 1000");
            }
        }
        Ok(())
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the inputs whose checksum is taken.
    Checksum {
        /// So far.
        bytes: u64,
        /// Of so many.
        of: u64,
    },
    /// Records read so far.
    Reading {
        /// So far.
        records: u64,
    },
    /// Sessions written.
    Writing {
        /// So far.
        sessions: u64,
        /// Of so many.
        of: u64,
    },
}

/// Imports a data set into a folder that is new or empty. Nothing is written before all of the input was read without
/// an error; the log itself comes last, so that a folder without it is an import that did not end.
pub fn import(
    format: &dyn Format,
    input: &Input,
    options: &Options,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, Error> {
    options.validate(format)?;
    folder::check_empty(output)?;
    let inputs = checksum::inputs(&format.files(&input.path)?, progress)?;
    let mut counts = Counts::default();
    let mut collector = collect::Collector::new(progress);
    format.read(input, &mut counts, &mut collector)?;
    let mut collected = collector.finish();
    if collected.events.is_empty() {
        let problem =
            format!("nothing to import: {} rows read, dropped by reason: {:?}", counts.read, counts.dropped);
        return Err(Error::format(&input.path, problem));
    }
    let gap_ms = i64::try_from(options.session_gap_seconds * 1000).expect("the gap was validated");
    let visits = sessions::cut(&mut collected.events, gap_ms, options.test_share);
    let sampled = format.impressions() == Impressions::Sampled;
    let manifest = Manifest {
        format: format.name().to_owned(),
        inputs,
        mapping: format.mapping(),
        click_map: input.click_map.clone(),
        impressions: format.impressions(),
        sessions: session_rule(&collected, options.session_gap_seconds),
        negatives: sampled.then(|| NegativesNote {
            per_positive: options.negatives.unwrap_or(DEFAULT_NEGATIVES),
            seed: options.seed,
            ..NegativesNote::default()
        }),
        split: Some(sessions::split_note(&visits, options.test_share)),
        counts,
        ..Manifest::default()
    };
    output::write(&collected, &visits, manifest, options.form, output, progress)
}

fn session_rule(collected: &collect::Collected, seconds: u64) -> SessionRule {
    let native = collected.events.iter().any(|event| event.session.is_some());
    let cut = collected.events.iter().any(|event| event.session.is_none());
    match (native, cut) {
        (true, false) => SessionRule::Native,
        (false, _) => SessionRule::GapSeconds(seconds),
        (true, true) => SessionRule::NativeOrGapSeconds(seconds),
    }
}
