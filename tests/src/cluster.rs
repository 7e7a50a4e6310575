//! A cluster of real processes on this machine: shards, actors, learners, Redis.
//!
//! In: changes to a tiny configuration; out: processes with their logs in one folder, settings in `cluster.toml`. Owner:
//! the test. Everything is killed when it is dropped.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use common::config::{Batch, Config, Mode, TableConfig, TargetAction};

use crate::{
    identity::SHAPE,
    process::{Process, free_port, program, tails},
    redis::Redis,
};

/// Longest time for a process to be ready.
pub const START: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    /// Settings of all its processes.
    pub config: Config,
    /// The server, if there is one.
    pub redis: Option<Redis>,
    /// By number.
    pub shards: Vec<Process>,
    /// Where the shards are, if that does not change.
    pub addresses: Vec<String>,
    /// By number.
    pub actors: Vec<Process>,
    /// By number.
    pub learners: Vec<Process>,
    metrics: BTreeMap<String, u16>,
    // Behind the processes: removed after they were killed.
    folder: tempfile::TempDir,
}

/// The tiny settings all of these tests start from: small networks, short sessions, small tables.
pub fn tiny() -> Config {
    let mut config = Config::default();
    let model = &mut config.model;
    (model.window, model.n_goals, model.period_steps) = (SHAPE.window, SHAPE.n_goals, SHAPE.n_steps);
    (model.encoder_width, model.head_width) = (8, 8);
    let environment = &mut config.environment;
    (environment.session_length, environment.candidates, environment.warmup_steps) = (9, 20, 3);
    config.algorithm.target_action = TargetAction::Virtual;
    config.exploration.random_steps = 100;
    config.replay.low = TableConfig { capacity: 200_000, batch: Batch::Rows(16), min_size: 50 };
    config.replay.high = TableConfig { capacity: 100_000, batch: Batch::Rows(8), min_size: 4 };
    (config.actor.actors, config.actor.sessions) = (1, 4);
    config.train.mode = Mode::Async;
    config.train.device = "cpu".into();
    config.train.steps = 1 << 30;
    config.train.updates_per_step = 0.05;
    (config.train.checkpoint_every, config.train.evaluate_every) = (2_000, 1 << 29);
    (config.train.evaluation_sessions, config.train.publish_every) = (4, 5);
    (config.cluster.lease_seconds, config.cluster.grace_seconds) = (1.5, 10.0);
    config.cluster.run = "faults".into();
    config
}

impl Cluster {
    /// The files of a cluster, nothing started. The shards listen where they will always be found; with `with_redis`
    /// everybody finds everybody through a Redis, which is started.
    pub fn new(n_shards: usize, with_redis: bool, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let mut config = tiny();
        config.replay.shards = n_shards;
        config.replay.data_dir = folder.path().join("data").display().to_string();
        let redis = with_redis.then(|| Redis::start(folder.path()));
        let addresses: Vec<String> = (0..n_shards).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        config.cluster.learner_listen = "127.0.0.1:0".into();
        config.cluster.replay_listen = "127.0.0.1:0".into();
        if let Some(redis) = &redis {
            config.cluster.redis = redis.url();
            config.cluster.learner = "redis".into();
            config.cluster.shards = vec!["redis".into()];
        } else {
            config.cluster.shards = addresses.clone();
            config.cluster.learner = format!("127.0.0.1:{}", free_port());
            config.cluster.learner_listen = config.cluster.learner.clone();
        }
        change(&mut config);
        config.validate().expect("the tests' settings are in range");
        std::fs::write(folder.path().join("cluster.toml"), config.to_toml()).expect("the folder is writable");
        let mut cluster = Self {
            config,
            redis,
            shards: Vec::new(),
            addresses,
            actors: Vec::new(),
            learners: Vec::new(),
            metrics: BTreeMap::new(),
            folder,
        };
        for shard in 0..n_shards {
            let process = cluster.shard(shard);
            cluster.shards.push(process);
        }
        cluster
    }

    /// The folder of logs, data, settings.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of settings.
    pub fn config_path(&self) -> PathBuf {
        self.folder().join("cluster.toml")
    }

    /// The learner's files.
    pub fn run_dir(&self) -> PathBuf {
        self.folder().join("run")
    }

    /// The folder of a shard's data.
    pub fn data_of(&self, shard: usize) -> PathBuf {
        PathBuf::from(&self.config.replay.data_dir).join(format!("shard-{shard}"))
    }

    fn arguments(&mut self, name: &str) -> Vec<String> {
        let port = *self.metrics.entry(name.to_owned()).or_insert_with(free_port);
        let config = self.config_path().display().to_string();
        vec!["--config".into(), config, "--set".into(), format!("cluster.metrics_listen=127.0.0.1:{port}")]
    }

    fn shard(&mut self, shard: usize) -> Process {
        let name = format!("replay-{shard}");
        let mut arguments = self.arguments(&name);
        arguments.extend(["--shard".into(), shard.to_string()]);
        if self.redis.is_none() {
            let listen = format!("cluster.replay_listen={}", self.addresses[shard]);
            arguments.extend(["--set".into(), listen]);
        }
        Process::new(&name, program("replay"), arguments, self.folder())
    }

    /// Adds an actor, not started.
    pub fn add_actor(&mut self, extra: &[&str]) -> usize {
        let name = format!("actor-{}", self.actors.len());
        let mut arguments = self.arguments(&name);
        arguments.extend(["--name".into(), name.clone()]);
        arguments.extend(extra.iter().map(|text| (*text).to_owned()));
        self.actors.push(Process::new(&name, program("actor"), arguments, self.folder()));
        self.actors.len() - 1
    }

    /// Adds a learner, not started.
    pub fn add_learner(&mut self) -> usize {
        self.add_learner_in(&self.run_dir())
    }

    /// Adds a learner of another run directory, not started.
    pub fn add_learner_in(&mut self, run_dir: &Path) -> usize {
        let name = format!("learner-{}", self.learners.len());
        let mut arguments = vec!["train".to_owned(), "--cluster".into(), "--no-table".into()];
        arguments.extend(["--run-dir".into(), run_dir.display().to_string()]);
        arguments.extend(self.arguments(&name));
        self.learners.push(Process::new(&name, program("learner"), arguments, self.folder()));
        self.learners.len() - 1
    }

    /// Another number of shards from now on, not started; those of before must have ended. The settings' file says so too.
    pub fn set_shards(&mut self, n_shards: usize) {
        self.config.replay.shards = n_shards;
        std::fs::write(self.config_path(), self.config.to_toml()).expect("the folder is writable");
        self.shards = (0..n_shards).map(|shard| self.shard(shard)).collect();
    }

    /// The tails of all logs.
    pub fn tails(&self) -> String {
        tails(self.folder())
    }

    /// What a process exports, by name and labels; empty while it does not answer.
    pub fn metrics(&self, process: &str) -> BTreeMap<String, f64> {
        self.metrics.get(process).map(|port| scrape(([127, 0, 0, 1], *port).into())).unwrap_or_default()
    }

    /// One value of [`Self::metrics`].
    pub fn metric(&self, process: &str, name: &str) -> Option<f64> {
        self.metrics(process).get(name).copied()
    }
}

/// Reads a page of metrics: values by name and labels; empty while nobody answers.
pub fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter(|line| line.starts_with("mahrl_")).filter_map(value).collect()
}
