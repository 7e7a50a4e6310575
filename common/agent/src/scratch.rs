//! Working memory of the forward passes. Owner: one thread. It grows to the largest batch seen and stays.

use kernels::GruScratch;

/// Working memory for [`crate::Policy`]; cheap to make, to be kept.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[R]` rows of the batch.
    pub(crate) rows: Vec<usize>,
    pub(crate) encoder: EncoderScratch,
    /// `[R, state]` what the heads read.
    pub(crate) state: Vec<f32>,
    /// `[R, heads n]` actors: outputs. `[R, heads k]` critics: hidden layer.
    pub(crate) heads: Vec<f32>,
    /// `[R, heads n]` actions as a critic sees them.
    pub(crate) actions: Vec<f32>,
}

/// The encoder's part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncoderScratch {
    pub(crate) gru: GruScratch,
    /// `[R]` where each window begins.
    pub(crate) starts: Vec<usize>,
    /// `[R, k w]` the last states of the encoder's k GRUs.
    pub(crate) joined: Vec<f32>,
}

/// A buffer of `len` values, whatever they are; allocates only to grow.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
