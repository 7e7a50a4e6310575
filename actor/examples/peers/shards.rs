//! Replay shards as processes, over loopback: what a cluster's writers and learner use.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use common::config::{Batch, PartialPeriods};
use node::{Dialer, Security};
use replay::{
    Sampling, Settings, Shards, TableSettings, Writer, WriterSettings,
    client::{Pace, Pacer, Prefetch, Request, Sampler},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

use crate::{
    ROWS, Reply,
    cpu::{Server, free_address, own_s},
    repeat,
    rows::{ROUND, Rows, SHAPE},
    socket::sampled,
};

/// First argument of the program where it is a shard.
pub(crate) const ROLE: &str = "replay-shard";
const RUN: &str = "peers";
const ITEMS: usize = 10_000;
/// Low-level rows that the shards hold together; full and evicting before anything is measured.
pub(crate) const CAPACITY: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Minibatches that a learner has sampled ahead.
const PREFETCH: usize = 2;

/// What is measured, by its name in a line.
#[derive(Clone, Copy)]
struct Form {
    n_shards: usize,
    is_prioritised: bool,
    /// Acknowledges what is on the disk.
    is_durable: bool,
    /// Frames on their way.
    in_flight: usize,
}

impl Form {
    /// `two` shards or `one`, sampled uniformly, in memory; `prioritised`: two; `one-far-ahead`: as many frames on their way that a
    /// disk would not be waited for, and `durable`: the same on a disk; `two-durable`.
    fn named(name: &str) -> Result<Self> {
        let two = Self { n_shards: 2, is_prioritised: false, is_durable: false, in_flight: 8 };
        Ok(match name {
            "two" => two,
            "one" => Self { n_shards: 1, ..two },
            "prioritised" => Self { is_prioritised: true, ..two },
            "one-far-ahead" => Self { n_shards: 1, in_flight: 32, ..two },
            "durable" => Self { n_shards: 1, in_flight: 32, is_durable: true, ..two },
            "two-durable" => Self { is_durable: true, ..two },
            other => bail!("no shards `{other}`"),
        })
    }

    fn sampling(self) -> Sampling {
        if self.is_prioritised { Sampling::Prioritised { exponent: 0.6 } } else { Sampling::Uniform }
    }
}

/// Shards that a learner paces, full.
pub(crate) struct Case {
    pub(crate) servers: Vec<Server>,
    pub(crate) addresses: Vec<String>,
    pub(crate) runtime: Runtime,
    pub(crate) shards: Shards,
    pub(crate) sampler: Sampler,
    prefetch: Option<Prefetch>,
    pub(crate) writer: Writer,
    pub(crate) rows: Rows,
    n_writers: u64,
    in_flight: usize,
    pub(crate) key: u64,
    /// Resident memory of the shards in MB before anything was stored.
    pub(crate) empty_mb: f64,
    pub(crate) folder: TempDir,
    _addresses: watch::Sender<Vec<String>>,
}

impl Case {
    /// Starts and fills them.
    pub(crate) fn start(name: &str) -> Result<Self> {
        let form = Form::named(name)?;
        let addresses = (0..form.n_shards).map(|_| free_address()).collect::<Result<Vec<_>>>()?;
        let folder = tempfile::tempdir()?;
        let sampling = if form.is_prioritised { "prioritised" } else { "uniform" };
        let data =
            if form.is_durable { folder.path().join("data").display().to_string() } else { String::new() };
        let file = format!(
            "[cluster]\nrun = \"{RUN}\"\nshards = {addresses:?}\n\
             [replay]\nshards = {}\nsampling = \"{sampling}\"\ndata_dir = \"{data}\"\nsync = \"disk\"\n\
             low = {{ capacity = {CAPACITY}, min_size = 1 }}\nhigh = {{ capacity = {}, min_size = 1 }}\n",
            form.n_shards,
            CAPACITY / 10
        );
        let config = folder.path().join("peers.toml");
        fs::write(&config, file)?;
        let mut servers = Vec::new();
        for (k, address) in addresses.iter().enumerate() {
            let args = [
                ROLE,
                "--config",
                &config.display().to_string(),
                "--shard",
                &k.to_string(),
                "--listen",
                address,
            ];
            servers.push(Server::start(&args.map(str::to_owned))?);
        }
        let (runtime, security) = (Runtime::new()?, Security::default());
        let guard = runtime.enter();
        let (sender, listed) = watch::channel(addresses.to_vec());
        let settings = settings(form.sampling());
        let shards = Shards::discover(listed, Dialer::new(&security), &settings, runtime.handle().clone());
        let pace = Pace { budget: u64::MAX / 4, fence: 1, expected_shards: addresses.len() };
        let pacer = Pacer::start(&shards, &settings, pace, None)?;
        let contact = async { tokio::time::timeout(PATIENCE, pacer.contact()).await };
        runtime.block_on(contact).context("the shards do not answer")??;
        let mut writer = runtime.block_on(shards.writer(settings_of(0, form.in_flight)))?;
        let empty_mb = servers.iter().map(Server::resident_mb).sum::<Result<f64>>()?;
        let mut rows = Rows::from_round(0);
        // Sessions are dealt out by chance: beyond the share of each shard.
        rows.store(&mut writer, CAPACITY * 11 / 10);
        let sampler = pacer.sampler(PATIENCE, 1.0);
        drop(guard);
        Ok(Self {
            servers,
            addresses,
            runtime,
            shards,
            sampler,
            prefetch: None,
            writer,
            rows,
            n_writers: 1,
            in_flight: form.in_flight,
            key: 0,
            empty_mb,
            folder,
            _addresses: sender,
        })
    }

    /// A writer more.
    pub(crate) fn writer(&mut self) -> Result<Writer> {
        self.n_writers += 1;
        Ok(self.runtime.block_on(self.shards.writer(settings_of(self.n_writers, self.in_flight)))?)
    }

    /// CPU seconds of all processes so far.
    pub(crate) fn cpu_s(&self) -> f64 {
        own_s() + self.servers.iter().map(Server::cpu_s).sum::<f64>()
    }

    /// Steps as fast as they are taken.
    pub(crate) fn insert(&mut self, seconds: f64) -> Result<Reply> {
        let (cpu, begun, mut stored) = (self.cpu_s(), Instant::now(), 0);
        while begun.elapsed().as_secs_f64() < seconds {
            self.rows.put(&mut self.writer, ROUND);
            stored += ROUND;
        }
        replay::TransitionSink::flush(&mut self.writer)?;
        let (rows, seconds) = (stored as f64, begun.elapsed().as_secs_f64());
        let cpu_us = 1e6 * (self.cpu_s() - cpu) / rows;
        Ok(vec![("rows_per_s", rows / seconds), ("cpu_us", cpu_us), ("row_bytes", row_bytes() as f64)])
    }

    /// One minibatch of materialised low-level rows after the other.
    pub(crate) fn sample(&mut self, seconds: f64) -> Result<Reply> {
        let cpu = self.cpu_s();
        let times = repeat(seconds, || {
            self.key += 1;
            let batch = self.runtime.block_on(self.sampler.sample_low(ROWS, self.key))?;
            ensure!(batch.len() == ROWS, "a minibatch of {} rows", batch.len());
            Ok(())
        })?;
        Ok(sampled(&times, self.cpu_s() - cpu))
    }

    /// The same as a learner takes them, some ahead.
    pub(crate) fn prefetch(&mut self, seconds: f64) -> Result<Reply> {
        let request = |key| Request { low: Some(Batch::Rows(ROWS)), high: None, key };
        let start = || self.sampler.clone().prefetch(0, PREFETCH, request);
        let mut prefetch = self.prefetch.take().unwrap_or_else(start);
        let cpu = self.cpu_s();
        let times = repeat(seconds, || {
            let minibatch = prefetch.take(PATIENCE)?;
            ensure!(minibatch.low.len() == ROWS, "a minibatch of {} rows", minibatch.low.len());
            Ok(())
        })?;
        self.prefetch = Some(prefetch);
        Ok(sampled(&times, self.cpu_s() - cpu))
    }
}

/// Bytes of a step on the wire, with its share of a period.
pub(crate) fn row_bytes() -> usize {
    replay::wire::STEP_BYTES + replay::wire::period_bytes(&SHAPE) / SHAPE.n_steps
}

/// What a learner knows of the shards.
fn settings(sampling: Sampling) -> Settings {
    let table = |capacity| TableSettings { capacity, min_size: 1 };
    Settings {
        run_id: RUN.into(),
        shape: SHAPE,
        n_items: ITEMS,
        partial_periods: PartialPeriods::Keep,
        low: table(CAPACITY as usize),
        high: table(CAPACITY as usize / 10),
        ratio: None,
        sampling,
        memory_bytes: 0,
    }
}

fn settings_of(number: u64, in_flight: usize) -> WriterSettings {
    WriterSettings { frame_steps: ROWS, in_flight, frame_bytes: 256 << 10, ..WriterSettings::new(number) }
}
