//! A lane: the place of one session in progress, as its writer numbers them.
//!
//! In: the records of the lane in order; out: the lane after each, or the field that is wrong. The same two functions
//! look at a batch and store it.

use common::transition::Ending;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    wire::{PeriodRecord, StepRecord},
};

/// Free, or a session between its first period start and its ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// Whether a session is on it. The rest is meaningless otherwise.
    pub(crate) busy: bool,
    /// Steps of the latest period; c: it has closed and the next may begin.
    pub(crate) n_steps: u8,
    /// Number of the latest period.
    pub(crate) period: u32,
    pub(crate) session: u64,
}

impl Lane {
    /// Whether a period is open on it, in a run of `c` steps a period.
    pub(crate) fn is_open(&self, c: usize) -> bool {
        self.busy && usize::from(self.n_steps) < c
    }

    /// The lane after a period start.
    pub(crate) fn begin(&self, record: &PeriodRecord<'_>, c: usize) -> Result<Self, Error> {
        let lane = record.lane;
        if self.is_open(c) {
            let problem = format!(
                "a period begins on lane {lane} while period {} of session {} has had {} of {c} steps",
                self.period, self.session, self.n_steps
            );
            return Err(Error::invalid("lane", problem));
        }
        if self.busy && self.session != record.session {
            let problem = format!(
                "lane {lane} holds session {}, which has not ended, not {}",
                self.session, record.session
            );
            return Err(Error::invalid("session", problem));
        }
        if self.busy && self.period.checked_add(1) != Some(record.period) {
            let problem = format!(
                "period {} of session {} follows period {}",
                record.period, self.session, self.period
            );
            return Err(Error::invalid("period", problem));
        }
        Ok(Self { busy: true, n_steps: 0, period: record.period, session: record.session })
    }

    /// Takes a step; whether it closes the period. In place: a record a time is most of what a shard does.
    #[inline]
    pub(crate) fn step(&mut self, record: &StepRecord, c: usize) -> Result<bool, Error> {
        if !self.is_open(c) || record.position != self.n_steps {
            return Err(self.misplaced(record, c));
        }
        self.n_steps += 1;
        self.busy = record.step.ending == Ending::None;
        Ok(!self.busy || usize::from(self.n_steps) == c)
    }

    #[cold]
    fn misplaced(&self, record: &StepRecord, c: usize) -> Error {
        let lane = record.lane;
        if !self.is_open(c) {
            return Error::invalid("lane", format!("a step on lane {lane}, where no period is open"));
        }
        let problem = format!(
            "{} on lane {lane}, where position {} of session {} is next",
            record.position, self.n_steps, self.session
        );
        Error::invalid("position", problem)
    }
}
