//! What Adam moves together, and its constants. In: a layout; out: groups of parameters.

use std::ops::Range;

use common::config::EncoderUpdate;

use super::layout::Layout;

/// Decay of the mean of the gradient.
pub const BETA_1: f64 = 0.9;
/// Decay of the mean of its square.
pub const BETA_2: f64 = 0.999;
/// Added to the root of the mean square.
pub const EPSILON: f64 = 1e-8;

/// Group 0 is the whole network with `summed`; with `sequential` the encoder, and group 1 + i is head i.
pub fn of(layout: &Layout, update: EncoderUpdate) -> Vec<Vec<Range<usize>>> {
    let one = |range| std::iter::once(range).collect();
    match update {
        EncoderUpdate::Summed => vec![one(0..layout.len())],
        EncoderUpdate::Sequential => std::iter::once(one(layout.encoder_range()))
            .chain((0..layout.n_heads).map(|head| layout.head_ranges(head)))
            .collect(),
    }
}

/// The steps of an update: the groups that move at each, and the head whose loss drives it (`None`: the sum of all).
pub fn steps(n_heads: usize, update: EncoderUpdate) -> Vec<(Vec<usize>, Option<usize>)> {
    match update {
        EncoderUpdate::Summed => vec![(vec![0], None)],
        // Sec 2.2.2: one head after the other, the encoder with each of them
        EncoderUpdate::Sequential => (0..n_heads).map(|head| (vec![0, head + 1], Some(head))).collect(),
    }
}
