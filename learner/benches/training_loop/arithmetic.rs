//! Multiplications and additions of an update, counted from the equations. In: a minibatch; out: GFLOP.
//!
//! Counted: the matrix products of encoders, heads and target mapping. Not counted: activations, Adam, soft updates.

use common::{
    ItemId,
    config::{Config, TargetAction},
    history::{self, Kind, N_WINDOWS},
    transition::{HighBatch, LowBatch},
};

/// Items in some windows of a batch `[B, 3, N]`.
fn n_pairs(windows: &[ItemId], n: usize, kinds: [Kind; 2]) -> f64 {
    let rows = windows.chunks_exact(N_WINDOWS * n);
    let length =
        |row| kinds.into_iter().map(|kind| history::length(history::window(row, kind))).sum::<usize>();
    rows.map(length).sum::<usize>() as f64
}

/// Multiply-adds of one level: `rows` rows with `now` and `next` pairs, `heads` heads.
fn level(config: &Config, rows: f64, [now, next]: [f64; 2], heads: f64) -> f64 {
    let model = &config.model;
    let (n, w, k) = (model.n_dims as f64, model.encoder_width as f64, model.head_width as f64);
    // Eqs 3, 6: three gates over input and hidden state, then the merge of two hidden states.
    let encoder = |pairs: f64| pairs * 3.0 * w * (n + w) + rows * 2.0 * w * w;
    // Eqs 4, 7 and 5, 8.
    let actor = rows * heads * n * w;
    let critic = rows * heads * (k * w + k * n + k);
    // A backward pass costs two forward ones. Targets: both target networks forward; the critic's step: forward and
    // backward; the actor's step: the critic's state and heads forward, the way back through its action, the actor
    // forward and backward.
    let targets = 2.0 * encoder(next) + actor + critic;
    let critic_step = 3.0 * (encoder(now) + critic);
    let actor_step = encoder(now) + critic + rows * heads * (k * n + k) + 3.0 * (encoder(now) + actor);
    targets + critic_step + actor_step
}

/// GFLOP of one update.
pub(crate) fn update(config: &Config, n_items: usize, high: &HighBatch, low: &LowBatch) -> f64 {
    let n = config.model.window;
    let of = |now: &[ItemId], next: &[ItemId], kinds| [n_pairs(now, n, kinds), n_pairs(next, n, kinds)];
    let pairs_high = of(&high.windows, &high.next_windows, [Kind::Clicked, Kind::Ordered]);
    let pairs_low = of(&low.windows, &low.next_windows, [Kind::Skipped, Kind::Clicked]);
    // Eq 9 over the whole catalogue.
    let mapped = config.algorithm.target_action == TargetAction::Mapped;
    let mapping = if mapped { low.len() as f64 * n_items as f64 * config.model.n_dims as f64 } else { 0.0 };
    let high = level(config, high.len() as f64, pairs_high, config.model.n_goals as f64);
    let low = level(config, low.len() as f64, pairs_low, 1.0);
    2.0 * (high + low + mapping) / 1e9
}
