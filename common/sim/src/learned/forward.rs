//! The forward pass, in two halves: what depends on the windows, once a step; what depends on the item, once an item.
//!
//! In: windows `[R, 3, N]` and items; out: class probabilities. The result for a row has the same bits whatever else is
//! in the batch.

use common::{ItemId, history::N_WINDOWS};
use kernels::{GruScratch, Init, Inputs, Level, RowMajor, RowMajorMut, Sequences, Strided, gemm};

use super::{
    LearnedModel,
    model::{Member, N_CLASSES},
};

/// Working memory; grows to what it needs. One a thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    gru: GruScratch,
    starts: Vec<usize>,
    /// `[R, 3 W]`
    encoded: Vec<f32>,
    /// `[R, n + F + D]`
    inputs: Vec<f32>,
    /// `[R, H]`
    hidden: Vec<f32>,
    /// `[R, 3]`
    logits: Vec<f32>,
}

/// Chosen rows of windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowRows<'a> {
    /// `[., 3, N]`
    pub(super) windows: &'a [ItemId],
    /// Ids a row, 3 N.
    pub(super) size: usize,
    /// Which rows.
    pub(super) rows: &'a [usize],
}

impl LearnedModel {
    /// Probabilities `[R, 3]` of skip, click, order that a member gives R items, each shown after its own windows
    /// `[R, 3, N]`; no noise. Appended to `probabilities`.
    ///
    /// # Panics
    /// If windows and items do not agree or an item is not of the catalogue.
    pub fn predict(
        &self,
        member: usize,
        windows: &[ItemId],
        items: &[ItemId],
        scratch: &mut Scratch,
        probabilities: &mut Vec<f32>,
    ) {
        let n_rows = items.len();
        if n_rows == 0 {
            return;
        }
        assert_eq!(windows.len() % (n_rows * N_WINDOWS), 0, "windows are [{n_rows}, 3, N]");
        let size = windows.len() / n_rows;
        let rows: Vec<usize> = (0..n_rows).collect();
        let mut states = vec![0.0; n_rows * self.sizes().hidden_width];
        self.states(member, WindowRows { windows, size, rows: &rows }, scratch, &mut states);
        self.logits(member, states.chunks_exact(self.sizes().hidden_width), items, scratch);
        let rows = scratch.logits.chunks_exact(N_CLASSES);
        probabilities.extend(rows.flat_map(|logits| softmax([logits[0], logits[1], logits[2]], 1.0)));
    }

    /// W_state [h_skipped ; h_clicked ; h_ordered] + b_state of chosen rows: row `rows[i]` of `states` `[., H]` is written,
    /// the others are not touched.
    pub(super) fn states(
        &self,
        member: usize,
        WindowRows { windows, size, rows }: WindowRows<'_>,
        scratch: &mut Scratch,
        states: &mut [f32],
    ) {
        let member: &Member = &self.members[member];
        let (w, h, n) = (self.sizes().encoder_width, self.sizes().hidden_width, size / N_WINDOWS);
        if rows.is_empty() {
            return;
        }
        let width = N_WINDOWS * w;
        scratch.encoded.resize(rows.len() * width, 0.0);
        for (kind, encoder) in member.encoders.iter().enumerate() {
            scratch.starts.clear();
            scratch.starts.extend(rows.iter().map(|row| row * size + kind * n));
            let ids = bytemuck::cast_slice(windows);
            let sequences = Sequences { ids, starts: &scratch.starts, length: n };
            let out = RowMajorMut { data: &mut scratch.encoded[kind * w..], stride: width };
            encoder.forward(
                self.level,
                Inputs::Rows(self.items().embeddings()),
                sequences,
                out,
                &mut scratch.gru,
            );
        }
        for (&row, encoded) in rows.iter().zip(scratch.encoded.chunks_exact(width)) {
            let state = &mut states[row * h..][..h];
            product(self.level, encoded, &member.state_weight, state, h, Init::Bias(&member.state_bias));
        }
    }

    /// Logits `[R, 3]` of R items, each after its own state `[H]`, into `scratch.logits`.
    pub(super) fn logits<'a>(
        &self,
        member: usize,
        states: impl Iterator<Item = &'a [f32]>,
        items: &[ItemId],
        scratch: &mut Scratch,
    ) {
        let member = &self.members[member];
        let Scratch { inputs, hidden, logits, .. } = scratch;
        inputs.clear();
        items.iter().for_each(|&item| self.push_input(member, item, inputs));
        hidden.clear();
        states.for_each(|state| hidden.extend_from_slice(state));
        product(self.level, inputs, &member.item_weight, hidden, self.sizes().hidden_width, Init::Accumulate);
        hidden.iter_mut().for_each(|x| *x = x.max(0.0));
        logits.resize(items.len() * N_CLASSES, 0.0);
        let bias = Init::Bias(&member.output_bias);
        product(self.level, hidden, &member.output_weight, logits, N_CLASSES, bias);
    }
}

impl Scratch {
    /// The logits of the last call, `[R, 3]`.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }
}

/// C `[m, n]` = init + A `[m, k]` B `[k, n]`; m and k follow from n.
fn product(level: Level, a: &[f32], b: &[f32], c: &mut [f32], n: usize, init: Init<'_>) {
    let (m, k) = (c.len() / n, b.len() / n);
    assert_eq!(a.len(), m * k, "A is [{m}, {k}]");
    let (b, c) = (RowMajor { data: b, stride: n }, RowMajorMut { data: c, stride: n });
    gemm(level, (m, n, k), Strided::rows(a, k), b, c, init);
}

/// softmax(logits / temperature), largest logit first taken off.
pub(super) fn softmax(logits: [f32; N_CLASSES], temperature: f32) -> [f32; N_CLASSES] {
    let largest = logits.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let weights = logits.map(|logit| crate::numbers::exp((logit - largest) / temperature));
    let total: f32 = weights.iter().sum();
    weights.map(|weight| weight / total)
}
