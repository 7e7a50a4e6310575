//! What is judged: something that predicts feedback from windows and items.

use common::ItemId;
use sim::learned::{LearnedModel, Scratch};

use super::metrics::Probabilities;

/// An ensemble of predictors.
pub(super) trait Predictor {
    /// Members of the ensemble, at least 1.
    fn n_members(&self) -> usize;

    /// Appends the probabilities `[B][3]` of one member to `out`, for windows `[B, 3, N]` and items `[B]`.
    fn predict(&mut self, member: usize, windows: &[ItemId], items: &[ItemId], out: &mut Vec<Probabilities>);
}

/// The inference that will run.
pub(super) struct Ensemble<'a> {
    model: &'a LearnedModel,
    scratch: Scratch,
    /// `[B, 3]`.
    flat: Vec<f32>,
}

impl<'a> Ensemble<'a> {
    pub(super) fn new(model: &'a LearnedModel) -> Self {
        Self { model, scratch: Scratch::default(), flat: Vec::new() }
    }
}

impl Predictor for Ensemble<'_> {
    fn n_members(&self) -> usize {
        self.model.n_members()
    }

    fn predict(&mut self, member: usize, windows: &[ItemId], items: &[ItemId], out: &mut Vec<Probabilities>) {
        self.flat.clear();
        self.model.predict(member, windows, items, &mut self.scratch, &mut self.flat);
        let (rows, _) = self.flat.as_chunks::<3>();
        out.extend_from_slice(rows);
    }
}
