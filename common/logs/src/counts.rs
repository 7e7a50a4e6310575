//! What was read, and what was dropped and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, source::Input};

/// Rows of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows of the input files, headers left out.
    pub read: u64,
    /// Rows that became part of the canonical log.
    pub kept: u64,
    /// Rows dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Counts {
    /// Counts a dropped row.
    pub fn drop_row(&mut self, reason: &str) {
        match self.dropped.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                self.dropped.insert(reason.to_owned(), 1);
            }
        }
    }

    /// A malformed row: an error that names the way out, or counted with `--lenient`.
    pub fn malformed(&mut self, input: &Input, mut error: Error) -> Result<(), Error> {
        if !input.lenient {
            if let Error::Row { problem, .. } = &mut error {
                problem.push_str("; --lenient counts such rows and goes on");
            }
            return Err(error);
        }
        self.drop_row("malformed");
        Ok(())
    }
}
