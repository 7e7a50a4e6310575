//! Minibatches of random ids. In: sizes; out: batches with full windows, or with those of sessions.

use common::{
    Feedback, ItemId,
    config::Config,
    history,
    seed::Rng,
    transition::{HighBatch, LowBatch},
};
use rand::RngExt;

/// Items of the catalogue.
pub(crate) const N_ITEMS: u32 = 10_000;

/// Windows `[3, N]`, full or after 20 to 70 steps at the rates of a logging policy (19% clicks, 0.5% orders).
fn windows(n: usize, full: bool, rng: &mut Rng) -> Vec<ItemId> {
    let mut windows = vec![ItemId::PADDING; history::N_WINDOWS * n];
    if full {
        return windows.iter().map(|_| ItemId(rng.random_range(0..N_ITEMS))).collect();
    }
    for _ in 0..rng.random_range(20..70) {
        let feedback = match rng.random::<f32>() {
            draw if draw < 0.005 => Feedback::Order,
            draw if draw < 0.19 => Feedback::Click,
            _ => Feedback::Skip,
        };
        history::push(&mut windows, ItemId(rng.random_range(0..N_ITEMS)), feedback);
    }
    windows
}

/// A batch of each level.
pub(crate) fn draw(
    config: &Config,
    [n_high, n_low]: [usize; 2],
    full: bool,
    rng: &mut Rng,
) -> (HighBatch, LowBatch) {
    let shape = config.shape();
    let mut of = |rows: usize| (0..rows).flat_map(|_| windows(shape.window, full, rng)).collect::<Vec<_>>();
    let [high_windows, high_next, low_windows, low_next] = [of(n_high), of(n_high), of(n_low), of(n_low)];
    let mut goals = |rows: usize| {
        (0..rows * shape.n_goals * shape.n_dims).map(|_| rng.random_range(-1.9..1.9)).collect::<Vec<f32>>()
    };
    let [high_goals, low_goals] = [goals(n_high), goals(n_low)];
    let high = HighBatch {
        windows: high_windows,
        next_windows: high_next,
        goals: high_goals,
        feedback: (0..n_high * shape.n_steps).map(|i| (i % 7 == 0).into()).collect(),
        terminated: vec![0; n_high],
        policy_versions: vec![1; n_high],
        ..HighBatch::default()
    };
    let low = LowBatch {
        windows: low_windows,
        next_windows: low_next,
        goals: low_goals,
        items: (0..n_low).map(|_| ItemId(rng.random_range(0..N_ITEMS))).collect(),
        feedback: (0..n_low).map(|i| (i % 5 == 0).into()).collect(),
        positions: (0..n_low).map(|i| (i % shape.n_steps) as u8).collect(),
        terminated: vec![0; n_low],
        policy_versions: vec![1; n_low],
        ..LowBatch::default()
    };
    (high, low)
}
