//! The command line of `actor`.
//!
//! In: arguments, settings, signals; out: a [`Process`] that runs until the run is over.

use std::time::Duration;

use anyhow::{Context, Result};
use common::config::Config;
use control::{Control, Discovery};
use node::{Dialer, Health, Security, Shutdown};
use replay::{Settings, Shards};
use sim::OpenWorld;
use tokio::runtime::Runtime;

use crate::{process::Process, weights};

/// Rolls out the policy of a run and streams what happens to its replay shards.
///
/// An actor needs the run's settings (--config), and finds the rest by them: the learner that leads (cluster.learner) gives
/// it sessions of its own and the newest weights; the shards (cluster.shards) take its transitions. Start as many as you
/// like, on as many machines; each may die and come back at any time. It ends by itself when the run is over, and within
/// cluster.grace_seconds of SIGTERM or Ctrl-C, with everything handed over that the shards take.
#[derive(Debug, clap::Parser)]
#[command(name = "actor", version = node::VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    settings: node::cli::Settings,
    /// Name of this actor in logs and metrics [default: HOSTNAME, or actor-PID].
    #[arg(long, value_name = "NAME", env = "MAHRL_ACTOR")]
    name: Option<String>,
    /// Rollout threads (actor.actors).
    #[arg(long, value_name = "N")]
    threads: Option<i64>,
    /// Where the learner is (cluster.learner).
    #[arg(long, value_name = "HOST:PORT")]
    learner: Option<String>,
    /// Serve gRPC health here, for probes; ready once weights are there.
    #[arg(long, value_name = "HOST:PORT", env = "MAHRL_HEALTH_LISTEN")]
    health: Option<String>,
    /// Serve Prometheus's /metrics here (cluster.metrics_listen).
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,
    /// When the run is over, wait for SIGTERM instead of ending: for a supervisor that would start it again.
    #[arg(long)]
    stay: bool,
    #[command(subcommand)]
    command: Option<node::operate::Operate>,
}

impl Cli {
    fn begin(&self) -> Result<Config> {
        let mut flags: Vec<(&str, toml::Value)> = Vec::new();
        flags.extend(self.threads.map(|n| ("actor.actors", n.into())));
        flags.extend(self.learner.clone().map(|address| ("cluster.learner", address.into())));
        flags.extend(self.metrics.clone().map(|address| ("cluster.metrics_listen", address.into())));
        Ok(self.settings.begin("actor", &flags)?)
    }

    fn name(&self) -> String {
        let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        self.name.clone().or_else(host).unwrap_or_else(|| format!("actor-{}", std::process::id()))
    }
}

/// Runs until the run is over, or a signal comes; or does what the subcommand says.
pub fn run(cli: &Cli) -> Result<()> {
    if let Some(operate) = &cli.command {
        return node::operate::run(operate);
    }
    let config = cli.begin()?;
    let security = Security::load(&config.cluster)?;
    let world = OpenWorld::for_training(&config.environment.name)
        .with_context(|| format!("cannot open the world `{}`", config.environment.name))?;
    if !config.cluster.metrics_listen.is_empty() {
        node::metrics::serve(&config.cluster.metrics_listen, "actor")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("services")
        .enable_all()
        .build()
        .context("cannot start the services' threads")?;
    let grace = Duration::from_secs_f64(config.cluster.grace_seconds);
    let shutdown = Shutdown::on_signals(grace)?;
    // Answers until the process is gone: whoever drains it asks when it is done.
    let health = cli.health.as_deref().map(|listen| node::health::serve(listen, &security, &Shutdown::new()));
    let health = health.transpose()?;
    let probes = health.clone();
    let process = assemble(cli.name(), config, (&security, world), &runtime, (shutdown.clone(), health))?;
    let ended = process.run().context("the actor failed");
    if ended.is_ok() && cli.stay && !shutdown.is_begun() {
        tracing::info!("waiting for SIGTERM, as --stay says");
        runtime.block_on(shutdown.wait());
    }
    if ended.is_ok() && shutdown.is_begun() {
        if let Some(probes) = &probes {
            probes.set_ready(false);
        }
        // At once, unless this was a drain.
        runtime.block_on(shutdown.released());
    }
    // Not dropped: a rollout thread that waits for a shard still waits on it, until the process is gone.
    std::mem::forget(runtime);
    ended
}

fn assemble(
    name: String,
    config: Config,
    (security, world): (&Security, OpenWorld),
    runtime: &Runtime,
    (shutdown, health): (Shutdown, Option<Health>),
) -> Result<Process> {
    let _guard = runtime.enter();
    let control = Control::open(&config.cluster)?;
    let addresses = Discovery::start(&config.cluster, &control);
    let settings = Settings::from_config(&config, &config.cluster.run, world.items().n_items());
    let shards = Shards::discover(addresses, Dialer::new(security), &settings, runtime.handle().clone());
    let learner = weights::connections(Discovery::learner(&config.cluster, &control), security.clone());
    let on_ready = Box::new(move || {
        if let Some(health) = &health {
            health.set_ready(true);
        }
    });
    let runtime = runtime.handle().clone();
    let fingerprint = world.fingerprint(&config.environment.name)?;
    Ok(Process { config, name, learner, shards, world, fingerprint, runtime, shutdown, on_ready })
}
