//! Random, popularity and logging as methods.
//!
//! In: a log; out: as policy the world's own reference (`sim`), as ranker what the log tells of it: random draws, clicks
//! or impressions of an item.

use std::{path::Path, sync::Arc};

use common::{ItemId, ItemTable, seed::Streams};
use rand::RngExt;
use sim::{Reference, ReferencePolicy};

use super::{Error, Fitted, Method, OnProgress, Ranker, SessionState, TrainingData, file::MethodFile};
use crate::evaluation::EvaluatedPolicy;

/// A reference without privilege: random, popularity or logging.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceMethod(Reference);

impl ReferenceMethod {
    /// Those that are methods.
    pub const ALL: [Self; 3] =
        [Self(Reference::Random), Self(Reference::Popularity), Self(Reference::Logging)];
}

impl Method for ReferenceMethod {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn fit(&self, data: &TrainingData<'_>, _progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        let mut counts = vec![0.0; data.items.n_items()];
        for step in data.log.steps() {
            let counted = self.0 == Reference::Logging || step.feedback.clicked();
            counts[step.item.row()] += f32::from(u8::from(counted));
        }
        Ok(Box::new(FittedReference::new(self.0, data.seed, counts.into())))
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, self.name())?;
        let counts: Vec<f32> = file.read("counts", &[items.n_items()])?;
        Ok(Box::new(FittedReference::new(self.0, file.read_text("seed")?, counts.into())))
    }
}

/// A reference and what the log tells of it.
#[derive(Clone, Debug)]
struct FittedReference {
    reference: Reference,
    seed: u64,
    streams: Streams,
    /// `[V]` clicks, or impressions for logging.
    counts: Arc<[f32]>,
}

impl FittedReference {
    fn new(reference: Reference, seed: u64, counts: Arc<[f32]>) -> Self {
        Self { reference, seed, streams: Streams::new(seed, "random/ranker"), counts }
    }
}

impl Fitted for FittedReference {
    fn ranker(&self) -> Box<dyn Ranker> {
        self.fork()
    }

    fn policy(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(ReferencePolicy::new(self.reference, self.seed))
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        MethodFile::new(self.reference.name())
            .text("seed", self.seed)
            .tensor("counts", &[self.counts.len()], &self.counts)
            .save(path)
    }
}

impl Ranker for FittedReference {
    fn name(&self) -> &str {
        self.reference.name()
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        // A session is known by its user and its windows; the draw of an item by its id.
        let ids = state.windows.iter().map(|item| u64::from(item.0));
        let key = ids.fold(state.user.unwrap_or(0), |key, id| (key ^ id).wrapping_mul(0x0100_0000_01b3));
        for (score, &item) in scores.iter_mut().zip(candidates) {
            *score = match self.reference {
                Reference::Random => self.streams.at(key, u64::from(item.0)).random(),
                _ => self.counts[item.row()],
            };
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}
