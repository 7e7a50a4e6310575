//! The command line of `actor`.
//!
//! In: arguments, settings, signals; out: a [`Process`] that runs until the run is over.

use std::time::Duration;

use anyhow::{Context, Result};
use common::config::Config;
use control::{Control, Discovery, Leader};
use node::{Connection, Health, Limits, Security, Server, Shutdown};
use replay::{Settings, Shards};
use sim::OpenWorld;
use tokio::{runtime::Runtime, sync::watch};
use tonic::service::Routes;

use crate::process::Process;

/// Rolls out the policy of a run and streams what happens to its replay shards.
///
/// An actor needs the run's settings (--config), and finds the rest by them: the learner that leads (cluster.learner) gives
/// it sessions of its own and the newest weights; the shards (cluster.shards) take its transitions. Start as many as you
/// like, on as many machines; each may die and come back at any time. It ends by itself when the run is over, and within
/// cluster.grace_seconds of SIGTERM or Ctrl-C, with everything handed over that the shards take.
#[derive(Debug, clap::Parser)]
#[command(name = "actor", version)]
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
}

impl Cli {
    fn load(&self) -> Result<Config> {
        let mut flags: Vec<(&str, toml::Value)> = Vec::new();
        flags.extend(self.threads.map(|n| ("actor.actors", n.into())));
        flags.extend(self.learner.clone().map(|address| ("cluster.learner", address.into())));
        flags.extend(self.metrics.clone().map(|address| ("cluster.metrics_listen", address.into())));
        Ok(self.settings.load(&flags)?)
    }

    fn name(&self) -> String {
        let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        self.name.clone().or_else(host).unwrap_or_else(|| format!("actor-{}", std::process::id()))
    }
}

/// Runs until the run is over, or a signal comes.
pub fn run(cli: &Cli) -> Result<()> {
    cli.settings.start_logs();
    let config = cli.load()?;
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
    let shutdown = Shutdown::on_signals()?;
    let health = cli.health.as_deref().map(|listen| serve_health(listen, &security, &runtime, &shutdown));
    let health = health.transpose()?;
    let process = assemble(cli.name(), config, (&security, world), &runtime, (shutdown, health))?;
    let ended = process.run().context("the actor failed");
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
    let connect = {
        let security = security.clone();
        move |address: &str| node::connect(address, &security)
    };
    let shards = Shards::discover(addresses, connect, &settings, runtime.handle().clone());
    let learner = connections(Discovery::learner(&config.cluster, &control), security.clone());
    let on_ready = Box::new(move || {
        if let Some(health) = &health {
            health.set_ready(true);
        }
    });
    let runtime = runtime.handle().clone();
    Ok(Process { config, name, learner, shards, world, runtime, shutdown, on_ready })
}

/// Connections to whoever leads.
fn connections(
    mut leaders: watch::Receiver<Option<Leader>>,
    security: Security,
) -> watch::Receiver<Option<Connection>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let leader = leaders.borrow_and_update().clone();
            if let Some(leader) = leader {
                match node::connect(&leader.address, &security) {
                    Ok(connection) => drop(sender.send_replace(Some(connection))),
                    Err(error) => {
                        tracing::error!(%error, address = leader.address, "cannot connect to the learner")
                    }
                }
            }
            if leaders.changed().await.is_err() {
                // A fixed address: the connection stays.
                sender.closed().await;
                return;
            }
        }
    });
    receiver
}

/// Health alone: an actor has no other service.
fn serve_health(listen: &str, security: &Security, runtime: &Runtime, shutdown: &Shutdown) -> Result<Health> {
    let _guard = runtime.enter();
    let server = runtime.block_on(Server::bind(listen, security, Limits::default()))?;
    let health = server.health();
    let serve = server.serve(Routes::default(), shutdown.clone(), Duration::from_secs(1));
    runtime.spawn(async move {
        if let Err(error) = serve.await {
            tracing::warn!(%error, "the health service ended");
        }
    });
    Ok(health)
}
