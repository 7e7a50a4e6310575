//! Writes files into a folder and collects what a format makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use common::Feedback;
use logs::formats::by_name;
use logs::source::{Input, Record, Sink};
use logs::{Counts, Error};

/// A record, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) user: String,
    pub(crate) session: Option<String>,
    pub(crate) time_ms: i64,
    pub(crate) position: Option<u32>,
    pub(crate) item: String,
    pub(crate) category: Option<String>,
    pub(crate) price: Option<f32>,
    pub(crate) feedback: Feedback,
    pub(crate) propensity: Option<f32>,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) records: Vec<Kept>,
    pub(crate) items: BTreeMap<String, (Option<String>, Option<f32>)>,
    pub(crate) counts: Counts,
}

impl Sink for Outcome {
    fn record(&mut self, record: Record<'_>) -> Result<(), Error> {
        self.records.push(Kept {
            user: record.user.to_owned(),
            session: record.session.map(str::to_owned),
            time_ms: record.time_ms,
            position: record.position,
            item: record.item.to_owned(),
            category: record.category.map(str::to_owned),
            price: record.price,
            feedback: record.feedback,
            propensity: record.propensity,
        });
        Ok(())
    }

    fn item(&mut self, item: &str, category: Option<&str>, price: Option<f32>) -> Result<(), Error> {
        self.items.insert(item.to_owned(), (category.map(str::to_owned), price));
        Ok(())
    }
}

impl Outcome {
    /// `(item, feedback code)` of each record.
    pub(crate) fn actions(&self) -> Vec<(&str, u8)> {
        self.records.iter().map(|record| (record.item.as_str(), record.feedback.code())).collect()
    }

    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        let found = self.counts.dropped.iter().filter(|(known, _)| known.contains(reason));
        found.map(|(_, n)| n).sum()
    }
}

/// The options for a path.
pub(crate) fn input(path: &Path) -> Input {
    Input { path: path.to_owned(), lenient: false, click_map: None }
}

/// Reads an input. The counts must add up, and every file read must be among those announced.
pub(crate) fn read_input(format: &str, input: &Input) -> Result<Outcome, Error> {
    let format = by_name(format).expect("the format exists");
    let mut outcome = Outcome::default();
    let mut counts = Counts::default();
    format.read(input, &mut counts, &mut outcome)?;
    assert!(!format.files(&input.path)?.is_empty());
    assert_eq!(counts.read, counts.kept + counts.dropped.values().sum::<u64>(), "{counts:?}");
    assert_eq!(counts.kept, outcome.records.len() as u64);
    outcome.counts = counts;
    Ok(outcome)
}

/// Writes files, which may be in sub-folders, into a folder. Names that end in `.gz` are written as gzip.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with(".gz") {
            let file = fs::File::create(path).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            gzip.write_all(content).unwrap();
            gzip.finish().unwrap();
        } else {
            fs::write(path, content).unwrap();
        }
    }
    folder
}

/// Reads a folder of such files.
pub(crate) fn read(format: &str, files: &[(&str, &str)]) -> Result<Outcome, Error> {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let folder = folder(&files);
    read_input(format, &input(folder.path()))
}

/// The error and its causes, as a person sees them.
pub(crate) fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
