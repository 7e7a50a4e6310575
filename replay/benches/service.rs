//! Inserts and samples a second through the whole in-process service: N = 10, c = 10, M = 2, n = 50, 256 sessions.
//!
//! `cargo bench -p replay`. An insert counts a low-level step with its share of the periods, until it is stored.

use std::{path::Path, time::Duration};

use common::{
    Feedback, ItemId,
    config::{PartialPeriods, Sync},
    transition::{Ending, PeriodStart, Shape, Step},
};
use divan::{Bencher, counter::ItemsCount};
use proto::v1::{PaceRequest, RunHeader, replay_client::ReplayClient};
use replay::{
    LocalReplay, Sampling, Settings, ShardServer, Shards, TableSettings, TransitionSink, Writer,
    WriterSettings, local,
};
use tokio::{runtime::Runtime, sync::watch};

const SHAPE: Shape = Shape { window: 10, n_steps: 10, n_goals: 2, n_dims: 50 };
const SESSIONS: u64 = 256;
/// Sessions of 50 steps, side by side.
const STEPS: u64 = SESSIONS * 50;

fn main() {
    divan::main();
}

fn start(n_shards: usize, capacity: usize) -> (Runtime, Shards, LocalReplay) {
    let runtime = Runtime::new().expect("a runtime starts");
    let settings = settings(capacity, Sampling::Uniform);
    let (shards, replay) =
        LocalReplay::start(&settings, n_shards, runtime.handle()).expect("the settings are valid");
    (runtime, shards, replay)
}

fn settings(capacity: usize, sampling: Sampling) -> Settings {
    Settings {
        run_id: "bench".into(),
        shape: SHAPE,
        n_items: 10_000,
        partial_periods: PartialPeriods::Keep,
        low: TableSettings { capacity, min_size: 1 },
        high: TableSettings { capacity: capacity / 10, min_size: 1 },
        ratio: None,
        sampling,
        memory_bytes: 0,
    }
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

/// Sessions into tables that are full and evicting after a few rounds.
fn measure_inserts(bencher: Bencher<'_, '_>, mut writer: Writer) {
    let (mut start, mut first) = (period(), 0);
    (0..20).for_each(|_| {
        sessions(&mut writer, &mut start, first);
        first += SESSIONS;
    });
    bencher.counter(ItemsCount::new(STEPS)).bench_local(|| {
        sessions(&mut writer, &mut start, first);
        first += SESSIONS;
    });
}

#[divan::bench(args = [1, 2], max_time = Duration::from_secs(3))]
fn insert(bencher: Bencher<'_, '_>, n_shards: usize) {
    let (runtime, shards, _replay) = start(n_shards, 200_000);
    measure_inserts(bencher, open(&runtime, &shards));
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

/// A shard with files, that lets writers go on.
struct Durable {
    runtime: Runtime,
    shards: Shards,
    server: ShardServer,
    _stop: watch::Sender<bool>,
}

fn durable(settings: &Settings, data_dir: &Path, sync: Sync) -> Durable {
    let runtime = Runtime::new().expect("a runtime starts");
    let guard = runtime.enter();
    let (server, _) = ShardServer::open(settings, (0, 1), data_dir, sync).expect("the folder is free");
    let (stop, stopped) = watch::channel(false);
    let (connection, _task) = local::serve(server.routes(), stopped);
    let run = Some(RunHeader::current("bench"));
    let pace = PaceRequest { run, fence: 1, insert_until: u64::MAX / 2, ..PaceRequest::default() };
    runtime.block_on(ReplayClient::new(connection.clone()).pace(pace)).expect("the shard is paced");
    let handle = runtime.handle().clone();
    let shards = Shards::new(vec![connection], "bench", SHAPE, settings.n_items, handle);
    drop(guard);
    Durable { runtime, shards, server, _stop: stop }
}

/// As `insert` with one shard; an acknowledgement means that it is on the disk (`Disk`), or that the system has it.
#[divan::bench(args = [Sync::Disk, Sync::System], max_time = Duration::from_secs(3))]
fn insert_durably(bencher: Bencher<'_, '_>, sync: Sync) {
    let data_dir = tempfile::tempdir().expect("there is room for a folder");
    let durable = durable(&settings(200_000, Sampling::Uniform), data_dir.path(), sync);
    measure_inserts(bencher, open(&durable.runtime, &durable.shards));
}

#[divan::bench(args = [256], max_time = Duration::from_secs(2))]
fn sample_low_by_priority(bencher: Bencher<'_, '_>, rows: usize) {
    let runtime = Runtime::new().expect("a runtime starts");
    let settings = settings(200_000, Sampling::Prioritised { exponent: 0.6 });
    let (shards, _replay) =
        LocalReplay::start(&settings, 1, runtime.handle()).expect("the settings are valid");
    let mut writer = open(&runtime, &shards);
    (0..20).for_each(|k| sessions(&mut writer, &mut period(), k * SESSIONS));
    let (sampler, mut key) = (shards.sampler(Duration::from_secs(5)), 0);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        key += 1;
        runtime.block_on(sampler.sample_low(rows, key)).expect("the table is not empty")
    });
}

/// A million low-level rows, read from a snapshot or from the journal alone.
#[divan::bench(args = [true, false], sample_count = 3)]
fn recover_a_million(bencher: Bencher<'_, '_>, from_snapshot: bool) {
    let data_dir = tempfile::tempdir().expect("there is room for a folder");
    let settings = settings(1_000_000, Sampling::Uniform);
    {
        let Durable { runtime, shards, server, _stop } = durable(&settings, data_dir.path(), Sync::System);
        let mut writer = open(&runtime, &shards);
        (0..1_000_000_u64.div_ceil(STEPS)).for_each(|k| sessions(&mut writer, &mut period(), k * SESSIONS));
        if from_snapshot {
            server.snapshot().expect("there is room for a snapshot");
        }
        server.stop();
    }
    bencher.counter(ItemsCount::new(1_000_000_usize)).bench_local(|| {
        ShardServer::open(&settings, (0, 1), data_dir.path(), Sync::System).expect("the folder is free").1
    });
}
