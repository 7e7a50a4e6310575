//! Two replay shards as processes, over loopback: what a cluster's writers and learner use.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use node::{Security, connect, health};
use proto::v1::{PaceRequest, RunHeader, replay_client::ReplayClient};
use replay::{Shards, Writer, WriterSettings};
use tokio::runtime::Runtime;

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

/// Shards that let writers go on, full.
pub(crate) struct Case {
    servers: Vec<Server>,
    runtime: Runtime,
    shards: Shards,
    writer: Writer,
    rows: Rows,
    n_writers: u64,
    key: u64,
}

impl Case {
    /// Starts and fills them.
    pub(crate) fn start() -> Result<Self> {
        let addresses = [free_address()?, free_address()?];
        let settings = format!(
            "[cluster]\nrun = \"{RUN}\"\nshards = {addresses:?}\n[replay]\nshards = 2\nsampling = \"uniform\"\ndata_dir = \"\"\n\
             low = {{ capacity = {CAPACITY}, min_size = 1 }}\nhigh = {{ capacity = {}, min_size = 1 }}\n",
            CAPACITY / 10
        );
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("peers.toml");
        fs::write(&config, settings)?;
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
        let (runtime, security, begun) = (Runtime::new()?, Security::default(), Instant::now());
        let guard = runtime.enter();
        let mut connections = Vec::new();
        for address in &addresses {
            while runtime.block_on(health::ready(address, &security, PATIENCE)).is_err() {
                ensure!(begun.elapsed() < PATIENCE, "the shard at {address} does not listen");
                std::thread::sleep(Duration::from_millis(5));
            }
            let connection = connect(address, &security)?;
            let run = Some(RunHeader::current(RUN));
            let pace = PaceRequest { run, fence: 1, insert_until: u64::MAX / 2, ..PaceRequest::default() };
            runtime
                .block_on(ReplayClient::new(connection.clone()).pace(pace))
                .context("the shard is not paced")?;
            connections.push(connection);
        }
        let shards = Shards::new(connections, RUN, SHAPE, ITEMS, runtime.handle().clone());
        drop(guard);
        let mut writer = runtime.block_on(shards.writer(settings_of(0)))?;
        let mut rows = Rows::from_round(0);
        rows.store(&mut writer, CAPACITY + ROUND);
        Ok(Self { servers, runtime, shards, writer, rows, n_writers: 1, key: 0 })
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
        let (cpu, sampler) = (self.cpu_s(), self.shards.sampler(PATIENCE));
        let times = repeat(seconds, || {
            self.key += 1;
            let batch = self.runtime.block_on(sampler.sample_low(ROWS, self.key))?;
            ensure!(batch.len() == ROWS, "a minibatch of {} rows", batch.len());
            Ok(())
        })?;
        Ok(sampled(&times, self.cpu_s() - cpu))
    }
}

fn settings_of(number: u64) -> WriterSettings {
    WriterSettings { frame_steps: ROWS, frame_bytes: 256 << 10, ..WriterSettings::new(number) }
}
