//! The seam of all compared methods.
//!
//! In: interactions, and a world for methods that act while they learn; out: a [`Fitted`] method, plain data that plays
//! sessions on any thread and ranks lists. Owner thread: the caller's; set torch's threads to 1 before. A fit is
//! reproducible from its data and seed.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use common::ItemTable;
use sim::Environment;

use super::{Error, GreedyRanker, InteractionLog, Ranker};
use crate::{
    evaluation::{EvaluatedPolicy, Users},
    world::World,
};

/// What a method is fitted to. The same for all methods of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct TrainingData<'a> {
    /// What was shown, and what came of it.
    pub log: &'a InteractionLog,
    /// The catalogue.
    pub items: &'a Arc<ItemTable>,
    /// Where methods that learn by acting may act: its training users.
    pub world: Option<&'a World>,
    /// Seed of initial parameters and shuffles.
    pub seed: u64,
}

/// Sessions side by side of methods that act while they learn, and their length: those of the preset `tuned`.
const ACTING: (usize, usize) = (256, 50);

impl TrainingData<'_> {
    /// Training users to act for.
    ///
    /// # Errors
    /// [`Error::NeedsWorld`] without a world; a world that refuses.
    pub(super) fn training_users(&self, method: &'static str) -> Result<Box<dyn Environment>, Error> {
        let world = self.world.ok_or(Error::NeedsWorld { method })?;
        Ok(world.build(Users::Training, ACTING.0, ACTING.1)?)
    }
}

/// Where a fit stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Passes or updates done.
    pub done: usize,
    /// Of the whole fit, at most.
    pub total: usize,
    /// Mean loss of the last one.
    pub loss: f64,
}

/// Called now and then during a fit; `Break` ends it with [`Error::Interrupted`].
pub type OnProgress<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// A method to compare with, and its settings.
pub trait Method: Send + Sync {
    /// What tables, files and the command line call it.
    fn name(&self) -> &'static str;

    /// Learns from the data.
    ///
    /// # Errors
    /// A setting out of range, data that hold nothing to learn from, a world that is missing, an interruption.
    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error>;

    /// Reads what [`Fitted::save`] wrote, for the catalogue it was fitted with.
    ///
    /// # Errors
    /// A file that is missing, of another method, or for another catalogue.
    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error>;
}

/// A method with frozen parameters.
pub trait Fitted: Send {
    /// Scores of candidates, for logged lists.
    fn ranker(&self) -> Box<dyn Ranker>;

    /// What it shows in a world: greedily by its scores, unless it says otherwise.
    fn policy(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(GreedyRanker::new(self.ranker()))
    }

    /// Writes the parameters to `path`, atomically.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn save(&self, path: &Path) -> Result<(), Error>;
}

/// Tells of a pass and asks whether to go on.
pub(super) fn report(
    method: &'static str,
    progress: &mut OnProgress<'_>,
    now: Progress,
) -> Result<(), Error> {
    tracing::debug!(method, ?now, "a pass of a fit");
    if progress(now).is_break() { Err(Error::Interrupted { method }) } else { Ok(()) }
}
