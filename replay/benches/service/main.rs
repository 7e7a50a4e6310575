//! Inserts and samples a second through the whole in-process service: N = 10, c = 10, M = 2, n = 50, 256 sessions.
//!
//! `cargo bench -p replay`. An insert counts a low-level step with its share of the periods, until it is stored.

mod rows;

use std::{path::Path, time::Duration};

use common::config::{PartialPeriods, Sync};
use divan::{Bencher, counter::ItemsCount};
use proto::v1::{PaceRequest, RunHeader, replay_client::ReplayClient};
use replay::{
    LocalReplay, Sampling, Settings, ShardServer, Shards, TableSettings, Writer, WriterSettings, local,
};
use rows::{ROUND, Rows, SHAPE};
use tokio::{runtime::Runtime, sync::watch};

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

/// Sessions into tables that are full and evicting after a few rounds.
fn measure_inserts(bencher: Bencher<'_, '_>, mut writer: Writer) {
    let mut rows = Rows::from_round(0);
    rows.store(&mut writer, 20 * ROUND);
    bencher.counter(ItemsCount::new(ROUND)).bench_local(|| rows.store(&mut writer, ROUND));
}

/// Minibatches of so many low-level rows from full tables.
fn measure_samples(bencher: Bencher<'_, '_>, runtime: &Runtime, shards: &Shards, rows: usize) {
    let mut writer = open(runtime, shards);
    Rows::from_round(0).store(&mut writer, 20 * ROUND);
    let (sampler, mut key) = (shards.sampler(Duration::from_secs(5)), 0);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        key += 1;
        runtime.block_on(sampler.sample_low(rows, key)).expect("the table is not empty")
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
    measure_samples(bencher, &runtime, &shards, rows);
}

#[divan::bench(max_time = Duration::from_secs(2))]
fn sample_256_low_from_two_shards(bencher: Bencher<'_, '_>) {
    let (runtime, shards, _replay) = start(2, 200_000);
    measure_samples(bencher, &runtime, &shards, 256);
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
    measure_samples(bencher, &runtime, &shards, rows);
}

/// A million low-level rows, read from a snapshot or from the journal alone.
#[divan::bench(args = [true, false], sample_count = 3)]
fn recover_a_million(bencher: Bencher<'_, '_>, from_snapshot: bool) {
    let data_dir = tempfile::tempdir().expect("there is room for a folder");
    let settings = settings(1_000_000, Sampling::Uniform);
    {
        let Durable { runtime, shards, server, _stop } = durable(&settings, data_dir.path(), Sync::System);
        let mut writer = open(&runtime, &shards);
        Rows::from_round(0).store(&mut writer, 1_000_000);
        if from_snapshot {
            server.snapshot().expect("there is room for a snapshot");
        }
        server.stop();
    }
    bencher.counter(ItemsCount::new(1_000_000_usize)).bench_local(|| {
        ShardServer::open(&settings, (0, 1), data_dir.path(), Sync::System).expect("the folder is free").1
    });
}
