//! Working memory of the forward passes. Owner: one thread. It grows to the largest batch seen and stays.

use common::ItemId;
use kernels::{GruScratch, Level};

use crate::{affinity::Met, layout::Network};

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
    /// `[R, 4 windows]` features of the affinity; empty where the critic has none.
    pub(crate) affinity: Vec<f32>,
    /// Of the affinity.
    pub(crate) met: Met,
}

/// The encoder's part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncoderScratch {
    pub(crate) gru: GruScratch,
    /// `[C]` rows whose window is another one than before.
    pub(crate) changed: Vec<usize>,
    /// `[C]` where each of their windows begins.
    pub(crate) starts: Vec<usize>,
    /// `[C, w]` the last states of their GRU.
    pub(crate) new: Vec<f32>,
    /// `[R, k w]` the last states of the encoder's k GRUs.
    pub(crate) joined: Vec<f32>,
    /// What was encoded last, a network each.
    pub(crate) memories: [Memory; Network::ALL.len()],
}

/// The windows that a network's encoder saw last, and what it made of them. A step changes one window of a session, or an
/// order two, so that most states can be used again; they have the bits they would have if they were computed anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Number of the encoder, and its instructions.
    encoder: Option<(u64, Level)>,
    /// `[E, k, N]`.
    windows: Vec<ItemId>,
    /// `[E, k, w]`.
    pub(crate) states: Vec<f32>,
}

impl Memory {
    /// Forgets what is not of this encoder and so many windows `[E, k, N]` of width w.
    pub(crate) fn keep(&mut self, encoder: (u64, Level), n_windows: usize, length: usize, width: usize) {
        let (ids, states) = (n_windows * length, n_windows * width);
        if (self.encoder, self.windows.len(), self.states.len()) != (Some(encoder), ids, states) {
            self.encoder = Some(encoder);
            // A window of padding has the state zero.
            self.windows.clear();
            self.windows.resize(ids, ItemId::PADDING);
            self.states.clear();
            self.states.resize(states, 0.0);
        }
    }

    /// Notes the window at a place of `[E, k]`; whether it is another one than before.
    pub(crate) fn note(&mut self, place: usize, window: &[ItemId]) -> bool {
        let known = &mut self.windows[place * window.len()..][..window.len()];
        let changed = known != window;
        if changed {
            known.copy_from_slice(window);
        }
        changed
    }
}

/// A buffer of `len` values, whatever they are; allocates only to grow.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
