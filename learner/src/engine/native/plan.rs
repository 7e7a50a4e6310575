//! Sizes and forms of a level's networks. In: settings; out: plain numbers.

use std::ops::Range;

use common::config::{CriticAction, CriticOutput, Precision};
use kernels::Level;

use crate::algorithm::settings::{LevelKind, Settings};

/// What every pass through a level's networks needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Instructions of the kernels.
    pub level: Level,
    /// What products of the GRUs multiply.
    pub precision: Precision,
    /// Item embedding size.
    pub n: usize,
    /// Encoder width.
    pub w: usize,
    /// State size, D: w and the features.
    pub d: usize,
    /// Head width of critics.
    pub k: usize,
    /// Dimensions of the critics' affinity, K (D30); 0: they have none.
    pub affinity: usize,
    /// Heads, H.
    pub heads: usize,
    /// GRUs of an encoder.
    pub n_windows: usize,
    /// N.
    pub window: usize,
    /// B.
    pub bound: f32,
    /// How critics see actions (D8).
    pub critic_action: CriticAction,
    /// Whether their hidden layer is normalised (D24).
    pub norm: bool,
    /// Their output (D2).
    pub output: CriticOutput,
}

impl Plan {
    /// The sizes and forms of a level.
    pub fn new(settings: &Settings, kind: LevelKind, level: Level) -> Self {
        let model = &settings.model;
        Self {
            level,
            precision: settings.precision,
            n: model.n_dims,
            w: model.encoder_width,
            d: model.encoder_width + settings.n_features(kind),
            k: model.head_width,
            affinity: settings.affinity(kind),
            heads: settings.n_heads(kind),
            n_windows: settings.windows(kind).len(),
            window: model.window,
            bound: settings.bound as f32,
            critic_action: model.critic_action,
            norm: model.head_norm,
            output: model.critic_output,
        }
    }

    /// Numbers of a row's actions, H n.
    pub fn actions(&self) -> usize {
        self.heads * self.n
    }

    /// The features of some rows, of `[B, D - w]`.
    pub fn features<'a>(&self, features: &'a [f32], rows: &Range<usize>) -> &'a [f32] {
        let of_row = self.d - self.w;
        &features[rows.start * of_row..rows.end * of_row]
    }
}
