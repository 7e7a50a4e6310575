//! Small shapes and records for the tests of this crate.

use common::{
    Feedback, ItemId,
    config::PartialPeriods,
    transition::{Ending, PeriodStart, Shape, Step},
};
use rand::RngExt;

use crate::{
    settings::{Sampling, Settings, TableSettings},
    wire::{StepRecord, put_period, put_step},
};

/// N = 4, c = 5, M = 2, n = 3.
pub(crate) const SHAPE: Shape = Shape { window: 4, n_steps: 5, n_goals: 2, n_dims: 3 };

/// One shard's worth of lockstep settings over [`SHAPE`].
pub(crate) fn settings() -> Settings {
    Settings {
        run_id: "test".into(),
        shape: SHAPE,
        n_items: 100,
        partial_periods: PartialPeriods::Keep,
        low: TableSettings { capacity: 1_000, min_size: 1 },
        high: TableSettings { capacity: 200, min_size: 1 },
        ratio: None,
        sampling: Sampling::Uniform,
        memory_bytes: 0,
    }
}

/// Windows and goals that differ from session to session and from period to period.
pub(crate) fn period_start(session: u64, period: u32) -> PeriodStart {
    let mut rng = common::seed::Streams::new(11, "replay/testing").at(session, period.into());
    let mut windows = vec![ItemId::PADDING; 3 * SHAPE.window];
    for window in windows.chunks_exact_mut(SHAPE.window) {
        let length = rng.random_range(0..=SHAPE.window);
        window[SHAPE.window - length..].fill_with(|| ItemId(rng.random_range(0..100)));
    }
    let goals = (0..SHAPE.n_goals * SHAPE.n_dims).map(|_| rng.random_range(-1.9_f32..1.9)).collect();
    PeriodStart { session, period, policy_version: 1_000 * session + u64::from(period), windows, goals }
}

pub(crate) fn step(item: u32, feedback: Feedback, ending: Ending) -> Step {
    Step { item: ItemId(item), feedback, ending }
}

/// The `t`-th step of a session that ends after `length` steps.
pub(crate) fn nth_step(session: u64, t: u64, length: u64) -> Step {
    let mut rng = common::seed::Streams::new(12, "replay/testing").at(session, t);
    let ending = match (t + 1 == length, session % 2) {
        (false, _) => Ending::None,
        (true, 0) => Ending::Terminated,
        (true, _) => Ending::Truncated,
    };
    step(rng.random_range(0..100), Feedback::ALL[rng.random_range(0..3)], ending)
}

/// Right records: two sessions of one and a half periods, interleaved.
pub(crate) fn arbitrary_records() -> Vec<u8> {
    let mut bytes = Vec::new();
    for t in 0..8 {
        for lane in 0..2_u16 {
            let session = u64::from(lane) + 40;
            if t % SHAPE.n_steps as u64 == 0 {
                put_period(&mut bytes, lane, &period_start(session, t as u32 / SHAPE.n_steps as u32));
            }
            let position = (t % SHAPE.n_steps as u64) as u8;
            put_step(&mut bytes, StepRecord { lane, position, step: nth_step(session, t, 8) });
        }
    }
    bytes
}
