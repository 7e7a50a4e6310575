//! A shard as a process: this program once more, which then is `replay`.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use learner::scaling::cpu;
use node::{Security, connect, health};
use proto::v1::{PaceRequest, RunHeader, replay_client::ReplayClient};
use replay::{Shards, Writer, WriterSettings};
use tokio::runtime::Runtime;

use crate::rows::SHAPE;

/// First argument of the program where it is a shard.
pub(crate) const ROLE: &str = "replay-shard";
/// Rows that a table holds, unless said otherwise.
pub(crate) const CAPACITY: usize = 1_000_000;
const RUN: &str = "bench";
const ITEMS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A shard that lets writers go on; killed when dropped.
pub(crate) struct Shard {
    process: Child,
    address: String,
    pub(crate) runtime: Runtime,
    pub(crate) shards: Shards,
}

impl Drop for Shard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Shard {
    /// Starts one for `capacity` low-level rows on `data_dir` (`None`: in memory) and tells how long that took until it was
    /// ready.
    pub(crate) fn start(
        folder: &Path,
        capacity: usize,
        data_dir: Option<(&Path, &str)>,
        sampling: &str,
    ) -> Result<(Self, f64)> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let (data, sync) =
            data_dir.map_or((String::new(), "system"), |(dir, sync)| (dir.display().to_string(), sync));
        let high = capacity / 10;
        let settings = format!(
            "[cluster]\nrun = \"{RUN}\"\nshards = [\"{address}\"]\nreplay_listen = \"{address}\"\n\
             [replay]\nshards = 1\nsampling = \"{sampling}\"\ndata_dir = \"{data}\"\nsync = \"{sync}\"\n\
             low = {{ capacity = {capacity}, min_size = 1, batch = {{ rows = 1024 }} }}\nhigh = {{ capacity = {high}, min_size = 1 }}\n"
        );
        let config = folder.join("bench.toml");
        fs::write(&config, settings)?;
        let log = fs::File::create(folder.join("shard.log"))?;
        let begun = Instant::now();
        let process = Command::new(std::env::current_exe()?)
            .args([ROLE, "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start this program as a shard")?;
        let runtime = Runtime::new()?;
        let security = Security::default();
        let guard = runtime.enter();
        while runtime.block_on(health::ready(&address, &security, PATIENCE)).is_err() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "the shard does not listen; see {}",
                folder.join("shard.log").display()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let connection = connect(&address, &security)?;
        let run = Some(RunHeader::current(RUN));
        let pace = PaceRequest { run, fence: 1, insert_until: u64::MAX / 2, ..PaceRequest::default() };
        runtime
            .block_on(ReplayClient::new(connection.clone()).pace(pace))
            .context("the shard is not paced")?;
        let shards = Shards::new(vec![connection], RUN, SHAPE, ITEMS, runtime.handle().clone());
        drop(guard);
        Ok((Self { process, address, runtime, shards }, seconds))
    }

    /// A writer with frames of `steps`.
    pub(crate) fn writer(&self, number: u64, steps: usize) -> Result<Writer> {
        self.writer_over(&self.shards, number, steps)
    }

    /// The same with a connection of its own.
    pub(crate) fn writer_alone(&self, number: u64, steps: usize) -> Result<Writer> {
        let _guard = self.runtime.enter();
        let connection = connect(&self.address, &Security::default())?;
        let shards = Shards::new(vec![connection], RUN, SHAPE, ITEMS, self.runtime.handle().clone());
        self.writer_over(&shards, number, steps)
    }

    fn writer_over(&self, shards: &Shards, number: u64, steps: usize) -> Result<Writer> {
        let settings =
            WriterSettings { frame_steps: steps, frame_bytes: 256 << 10, ..WriterSettings::new(number) };
        Ok(self.runtime.block_on(shards.writer(settings))?)
    }

    /// Low-level rows it holds.
    pub(crate) fn held(&self) -> Result<u64> {
        let infos = self.runtime.block_on(self.shards.info())?;
        Ok(infos.iter().filter_map(|info| info.low.as_ref()).map(|low| low.size).sum())
    }

    /// CPU seconds of the process so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let (first, others) = cpu::process_s(self.process.id()).context("the shard's CPU is not known")?;
        Ok(first + others)
    }
}
