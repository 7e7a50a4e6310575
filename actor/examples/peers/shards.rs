//! Two replay shards as processes, over loopback: what a cluster's writers and learner use.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use common::config::{Batch, PartialPeriods};
use node::{Security, connect};
use replay::{
    Sampling, Settings, Shards, TableSettings, Writer, WriterSettings,
    client::{Pace, Pacer, Prefetch, Request, Sampler},
};
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
/// Low-level rows that both shards hold together: full after 16 rounds, evicting from then on.
const CAPACITY: u64 = 200_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Minibatches that a learner has sampled ahead.
const PREFETCH: usize = 2;

/// Shards that a learner paces, full.
pub(crate) struct Case {
    servers: Vec<Server>,
    runtime: Runtime,
    shards: Shards,
    sampler: Sampler,
    prefetch: Option<Prefetch>,
    writer: Writer,
    rows: Rows,
    n_writers: u64,
    key: u64,
    _addresses: watch::Sender<Vec<String>>,
}

impl Case {
    /// Starts and fills them.
    pub(crate) fn start() -> Result<Self> {
        let addresses = [free_address()?, free_address()?];
        let file = format!(
            "[cluster]\nrun = \"{RUN}\"\nshards = {addresses:?}\n[replay]\nshards = 2\nsampling = \"uniform\"\ndata_dir = \"\"\n\
             low = {{ capacity = {CAPACITY}, min_size = 1 }}\nhigh = {{ capacity = {}, min_size = 1 }}\n",
            CAPACITY / 10
        );
        let folder = tempfile::tempdir()?;
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
        let connect = move |address: &str| connect(address, &security);
        let shards = Shards::discover(listed, connect, &settings(), runtime.handle().clone());
        let pace = Pace { budget: u64::MAX / 4, fence: 1, expected_shards: addresses.len() };
        let pacer = Pacer::start(&shards, &settings(), pace, None)?;
        let contact = async { tokio::time::timeout(PATIENCE, pacer.contact()).await };
        runtime.block_on(contact).context("the shards do not answer")??;
        let mut writer = runtime.block_on(shards.writer(settings_of(0)))?;
        let mut rows = Rows::from_round(0);
        rows.store(&mut writer, CAPACITY + ROUND);
        let sampler = pacer.sampler(PATIENCE, 1.0);
        drop(guard);
        Ok(Self {
            servers,
            runtime,
            shards,
            sampler,
            prefetch: None,
            writer,
            rows,
            n_writers: 1,
            key: 0,
            _addresses: sender,
        })
    }

    /// A writer more.
    pub(crate) fn writer(&mut self) -> Result<Writer> {
        self.n_writers += 1;
        Ok(self.runtime.block_on(self.shards.writer(settings_of(self.n_writers)))?)
    }

    fn cpu_s(&self) -> f64 {
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
        let bytes = replay::wire::STEP_BYTES + replay::wire::period_bytes(&SHAPE) / SHAPE.n_steps;
        let cpu_us = 1e6 * (self.cpu_s() - cpu) / rows;
        Ok(vec![("rows_per_s", rows / seconds), ("cpu_us", cpu_us), ("row_bytes", bytes as f64)])
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

/// What a learner knows of the shards.
fn settings() -> Settings {
    let table = |capacity| TableSettings { capacity, min_size: 1 };
    Settings {
        run_id: RUN.into(),
        shape: SHAPE,
        n_items: ITEMS,
        partial_periods: PartialPeriods::Keep,
        low: table(CAPACITY as usize),
        high: table(CAPACITY as usize / 10),
        ratio: None,
        sampling: Sampling::Uniform,
        memory_bytes: 0,
    }
}

fn settings_of(number: u64) -> WriterSettings {
    WriterSettings { frame_steps: ROWS, frame_bytes: 256 << 10, ..WriterSettings::new(number) }
}
