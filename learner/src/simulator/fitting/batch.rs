//! A minibatch of impressions as the networks read it.
//!
//! In: rows of [`Samples`], best in runs of neighbours; out: tensors. A window that follows itself in the batch is
//! encoded once, and empty windows cost nothing: of three windows a row, little more than one is left.

use common::{ItemId, history::N_WINDOWS};
use tch::Tensor;

use super::samples::Samples;
use crate::algorithm::window::{PackedWindow, Packing};

/// The windows of one kind.
#[derive(Debug)]
pub(super) struct BatchWindows {
    /// U distinct ones, packed for the GRU.
    pub(super) packed: PackedWindow,
    /// `[B]` where each row's window is among them, in packed order; i64.
    pub(super) place: Tensor,
}

/// B impressions.
#[derive(Debug)]
pub(super) struct Batch {
    /// Skipped, clicked, ordered.
    pub(super) windows: [BatchWindows; N_WINDOWS],
    /// `[B]` rows of the item table, i64.
    pub(super) items: Tensor,
    /// `[B]` codes of the feedback, i64.
    pub(super) targets: Tensor,
}

impl Batch {
    /// Gathers some rows; `embeddings` is `[V, n]`.
    pub(super) fn gather(samples: &Samples, rows: &[usize], embeddings: &Tensor) -> Self {
        let column = |of: &dyn Fn(usize) -> i64| {
            Tensor::from_slice(&rows.iter().map(|&row| of(row)).collect::<Vec<i64>>())
        };
        Self {
            windows: std::array::from_fn(|kind| windows(samples, rows, kind, embeddings)),
            items: column(&|row| i64::from(samples.rows[row].item.0)),
            targets: column(&|row| i64::from(samples.rows[row].feedback.code())),
        }
    }
}

fn windows(samples: &Samples, rows: &[usize], kind: usize, embeddings: &Tensor) -> BatchWindows {
    let mut distinct: Vec<u32> = Vec::with_capacity(rows.len());
    let index: Vec<usize> = rows
        .iter()
        .map(|&row| {
            let number = samples.rows[row].windows[kind];
            if distinct.last() != Some(&number) {
                distinct.push(number);
            }
            distinct.len() - 1
        })
        .collect();
    let ids: Vec<&[ItemId]> = distinct.iter().map(|&number| samples.window_of(kind, number)).collect();
    let packing = Packing::new(samples.window, ids.iter().copied());
    let place: Vec<i64> = index.iter().map(|&window| packing.rank[window]).collect();
    BatchWindows { packed: packing.gather(embeddings), place: Tensor::from_slice(&place) }
}
