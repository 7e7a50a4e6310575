//! Multiplications and additions of an update, counted from the equations. In: a minibatch; out: GFLOP.
//!
//! Counted: the matrix products that encoders, heads and target mapping cannot do without; nothing goes back to the
//! embeddings, and a first hidden state of 0 is not multiplied. Not counted: activations, Adam, soft updates.

use common::{
    ItemId,
    config::{Config, EncoderUpdate, TargetAction},
    history::{self, Kind, N_WINDOWS},
    transition::{HighBatch, LowBatch},
};

/// Windows that an encoder reads of a batch.
#[derive(Clone, Copy, Default)]
struct Pairs {
    /// Items in them.
    all: f64,
    /// Those that are not the first of a window.
    later: f64,
}

fn pairs(windows: &[ItemId], n: usize, kinds: [Kind; 2]) -> Pairs {
    let mut pairs = Pairs::default();
    for row in windows.chunks_exact(N_WINDOWS * n) {
        for length in kinds.map(|kind| history::length(history::window(row, kind))) {
            pairs.all += length as f64;
            pairs.later += length.saturating_sub(1) as f64;
        }
    }
    pairs
}

/// Multiply-adds of one level: `rows` rows with `now` and `next` pairs, `heads` heads.
fn level(config: &Config, rows: f64, [now, next]: [Pairs; 2], heads: f64) -> f64 {
    let model = &config.model;
    let (n, w, k) = (model.n_dims as f64, model.encoder_width as f64, model.head_width as f64);
    let merge = rows * 2.0 * w * w;
    // Eqs 3, 6: three gates over input and hidden state, then the merge of two hidden states; the way back takes the
    // gradients of both weights, and that of the hidden state.
    let forward = |pairs: Pairs| 3.0 * w * (n * pairs.all + w * pairs.later) + merge;
    let both_ways =
        |pairs: Pairs| forward(pairs) + 3.0 * w * (n * pairs.all + 2.0 * w * pairs.later) + 2.0 * merge;
    // Eqs 4, 7 and 5, 8; nothing goes back from a critic's head to its action in its own step.
    let actor = rows * heads * n * w;
    let critic = rows * heads * (k * w + k * n + k);
    let targets = 2.0 * forward(next) + actor + critic;
    // One head after the other, each with a pass of its own through the encoder.
    let passes = if config.algorithm.encoder_update == EncoderUpdate::Sequential { heads } else { 1.0 };
    let critic_step = passes * both_ways(now) + critic + rows * heads * (2.0 * k * w + k * n + k);
    // The critic's state and heads forward, the way back through its action, the actor forward and backward.
    let actor_step =
        forward(now) + critic + rows * heads * (k * n + k) + passes * both_ways(now) + 3.0 * actor;
    targets + critic_step + actor_step
}

/// GFLOP of one update of a model that reads two windows a level.
pub(crate) fn update(config: &Config, n_items: usize, high: &HighBatch, low: &LowBatch) -> f64 {
    let n = config.model.window;
    let of = |now: &[ItemId], next: &[ItemId], kinds| [pairs(now, n, kinds), pairs(next, n, kinds)];
    let pairs_high = of(&high.windows, &high.next_windows, [Kind::Clicked, Kind::Ordered]);
    let pairs_low = of(&low.windows, &low.next_windows, [Kind::Skipped, Kind::Clicked]);
    // Eq 9 over the whole catalogue.
    let mapped = config.algorithm.target_action == TargetAction::Mapped;
    let mapping = if mapped { low.len() as f64 * n_items as f64 * config.model.n_dims as f64 } else { 0.0 };
    let high = level(config, high.len() as f64, pairs_high, config.model.n_goals as f64);
    let low = level(config, low.len() as f64, pairs_low, 1.0);
    2.0 * (high + low + mapping) / 1e9
}
