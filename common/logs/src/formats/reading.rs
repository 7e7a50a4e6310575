//! An import under way: the options, the counts and where records go.
//!
//! Owner of the rule read = kept + the sum of dropped: formats count through this type only.

use common::Feedback;

use super::actions::Meaning;
use crate::source::{Input, Record, Sink};
use crate::{Counts, Error};

/// What every reader of a format is given.
pub(super) struct Reading<'a> {
    /// The options.
    pub(super) input: &'a Input,
    counts: &'a mut Counts,
    sink: &'a mut dyn Sink,
}

impl<'a> Reading<'a> {
    pub(super) fn new(input: &'a Input, counts: &'a mut Counts, sink: &'a mut dyn Sink) -> Self {
        Self { input, counts, sink }
    }

    /// A row that becomes a record.
    pub(super) fn keep(&mut self, record: Record<'_>) -> Result<(), Error> {
        self.counts.read += 1;
        self.sink.record(record)?;
        self.counts.kept += 1;
        Ok(())
    }

    /// A row whose code decides: a record with that feedback (the one `record` has is replaced), or dropped.
    pub(super) fn event(&mut self, meaning: Meaning, record: Record<'_>) -> Result<(), Error> {
        match meaning {
            Meaning::Is(feedback) => self.keep(Record { feedback, ..record }),
            Meaning::Dropped(reason) => {
                self.drop_rows(1, reason);
                Ok(())
            }
        }
    }

    /// Rows that become no record.
    pub(super) fn drop_rows(&mut self, rows: u64, reason: &str) {
        self.counts.read += rows;
        for _ in 0..rows {
            self.counts.drop_row(reason);
        }
    }

    /// What a side file says of an item.
    pub(super) fn item(
        &mut self,
        item: &str,
        category: Option<&str>,
        price: Option<f32>,
    ) -> Result<(), Error> {
        self.sink.item(item, category, price)
    }

    /// Ends a line: a wrong one is an error or, with `--lenient`, one row read and dropped.
    pub(super) fn line(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error @ Error::Row { .. }) => {
                self.counts.read += 1;
                self.counts.malformed(self.input, error)
            }
            other => other,
        }
    }
}

/// A record of what every format knows; the rest is filled in by `Record { session: .., ..record(..) }`.
pub(super) fn record<'a>(user: &'a str, time_ms: i64, item: &'a str) -> Record<'a> {
    Record {
        user,
        session: None,
        time_ms,
        position: None,
        item,
        category: None,
        price: None,
        feedback: Feedback::Skip,
        propensity: None,
    }
}

/// A sink for files that are read twice, the first time to look only.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn record(&mut self, _: Record<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn item(&mut self, _: &str, _: Option<&str>, _: Option<f32>) -> Result<(), Error> {
        Ok(())
    }
}
