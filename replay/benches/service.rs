//! Inserts and samples a second through the whole in-process service: N = 10, c = 10, M = 2, n = 50, 256 sessions.
//!
//! `cargo bench -p replay`. An insert counts a low-level step with its share of the periods, until it is stored.

use std::time::Duration;

use common::{
    Feedback, ItemId,
    config::PartialPeriods,
    transition::{Ending, PeriodStart, Shape, Step},
};
use divan::{Bencher, counter::ItemsCount};
use replay::{
    LocalReplay, Sampling, Settings, Shards, TableSettings, TransitionSink, Writer, WriterSettings,
};
use tokio::runtime::Runtime;

const SHAPE: Shape = Shape { window: 10, n_steps: 10, n_goals: 2, n_dims: 50 };
const SESSIONS: u64 = 256;
/// Sessions of 50 steps, side by side.
const STEPS: u64 = SESSIONS * 50;

fn main() {
    divan::main();
}

fn start(n_shards: usize, capacity: usize) -> (Runtime, Shards, LocalReplay) {
    let runtime = Runtime::new().expect("a runtime starts");
    let settings = Settings {
        run_id: "bench".into(),
        shape: SHAPE,
        n_items: 10_000,
        partial_periods: PartialPeriods::Keep,
        low: TableSettings { capacity, min_size: 1 },
        high: TableSettings { capacity: capacity / 10, min_size: 1 },
        ratio: None,
        sampling: Sampling::Uniform,
        memory_bytes: 0,
    };
    let (shards, replay) =
        LocalReplay::start(&settings, n_shards, runtime.handle()).expect("the settings are valid");
    (runtime, shards, replay)
}

fn open(runtime: &Runtime, shards: &Shards) -> Writer {
    runtime.block_on(shards.writer(WriterSettings::new(1))).expect("the writer opens")
}

/// 256 sessions from their first step to their last.
fn sessions(writer: &mut Writer, start: &mut PeriodStart, first: u64) {
    for t in 0..50_u32 {
        let ending = if t == 49 { Ending::Truncated } else { Ending::None };
        for session in first..first + SESSIONS {
            if t % 10 == 0 {
                (start.session, start.period) = (session, t / 10);
                writer.begin_period(start).expect("the period is right");
            }
            let step = Step { item: ItemId(t), feedback: Feedback::Click, ending };
            writer.step(session, step).expect("the step is right");
        }
    }
    writer.flush().expect("the service stores it");
}

fn period() -> PeriodStart {
    PeriodStart {
        session: 0,
        period: 0,
        policy_version: 1,
        windows: vec![ItemId(3); 3 * SHAPE.window],
        goals: vec![0.5; SHAPE.n_goals * SHAPE.n_dims],
    }
}

#[divan::bench(args = [1, 2], max_time = Duration::from_secs(3))]
fn insert(bencher: Bencher<'_, '_>, n_shards: usize) {
    // Full and evicting after a few rounds.
    let (runtime, shards, _replay) = start(n_shards, 200_000);
    let (mut writer, mut start, mut first) = (open(&runtime, &shards), period(), 0);
    (0..20).for_each(|_| {
        sessions(&mut writer, &mut start, first);
        first += SESSIONS;
    });
    bencher.counter(ItemsCount::new(STEPS)).bench_local(|| {
        sessions(&mut writer, &mut start, first);
        first += SESSIONS;
    });
}

#[divan::bench(args = [40, 256, 1024], max_time = Duration::from_secs(2))]
fn sample_low(bencher: Bencher<'_, '_>, rows: usize) {
    let (runtime, shards, _replay) = start(1, 200_000);
    let mut writer = open(&runtime, &shards);
    (0..20).for_each(|k| sessions(&mut writer, &mut period(), k * SESSIONS));
    let (sampler, mut key) = (shards.sampler(Duration::from_secs(5)), 0);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        key += 1;
        runtime.block_on(sampler.sample_low(rows, key)).expect("the table is not empty")
    });
}

#[divan::bench(max_time = Duration::from_secs(2))]
fn sample_256_low_from_two_shards(bencher: Bencher<'_, '_>) {
    let (runtime, shards, _replay) = start(2, 200_000);
    let mut writer = open(&runtime, &shards);
    (0..20).for_each(|k| sessions(&mut writer, &mut period(), k * SESSIONS));
    let (sampler, mut key) = (shards.sampler(Duration::from_secs(5)), 0);
    bencher.counter(ItemsCount::new(256_usize)).bench_local(|| {
        key += 1;
        runtime.block_on(sampler.sample_low(256, key)).expect("the table is not empty")
    });
}
