//! The one trait of all compared methods: item ids `[E]` for E sessions side by side.

use common::{ItemId, PeriodLayout, SessionId};
use sim::Environment;

use super::Error;

/// The goals that guide the sessions at the moment, of methods that have any.
#[derive(Clone, Copy, Debug)]
pub struct Hierarchy<'a> {
    /// Periods and sub-periods.
    pub layout: PeriodLayout,
    /// `[E, M, n]` goals of the period that each slot is in.
    pub goals: &'a [f32],
}

/// A policy with frozen weights. What it chooses for a session may depend on that session only, never on its slot, on
/// the other slots, or on earlier sessions: results would depend on the number of threads.
pub trait EvaluatedPolicy: Send {
    /// What the tables call it.
    fn name(&self) -> &str;

    /// `session` begins in `slot`: forget what was there.
    fn begin(&mut self, slot: usize, session: SessionId);

    /// Chooses an item for every slot: `actions` `[E]`, each a candidate that is left to show.
    fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error>;

    /// The goals behind the last choice; `None` for methods without.
    fn hierarchy(&self) -> Option<Hierarchy<'_>> {
        None
    }

    /// The same policy for another thread.
    fn fork(&self) -> Box<dyn EvaluatedPolicy>;
}
