//! `learner evaluator`: a process of a cluster that evaluates the learner's policies as they come.
//!
//! In: the weights broadcast; out: a line of the log and metrics for each evaluation. It plays validation users without
//! exploration, always the same ones; it stores nothing, and nobody waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actor::weights::{Feed, Learner, Subscription, Version, connections};
use agent::Policy;
use anyhow::{Context, Result};
use common::config::Config;
use control::{Control, Discovery};
use node::{Security, Shutdown, metrics};
use tokio::runtime::Runtime;

use super::{Outcome, count::count};
use crate::{
    evaluation::{AgentPolicy, EvaluationSettings, Users, evaluate},
    world::World,
};

/// Between two looks at the subscription while no version comes.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Arguments of `learner evaluator`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: node::cli::Settings,
    /// Sessions of an evaluation.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = count::<usize>)]
    sessions: usize,
    /// Least time between the beginnings of two evaluations.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    every: f64,
    /// Serve gRPC health here, for probes; ready once weights are there.
    #[arg(long, value_name = "HOST:PORT", env = "MAHRL_HEALTH_LISTEN")]
    health: Option<String>,
    /// When the run is over, wait for SIGTERM instead of ending.
    #[arg(long)]
    stay: bool,
}

/// A version of the broadcast.
struct Broadcast {
    version: u64,
    updates: u64,
    policy: Arc<Policy>,
}

/// Evaluates until the run is over, or a signal comes.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let config = args.settings.begin("evaluator", &[])?;
    let every = Duration::try_from_secs_f64(args.every).context("--every")?;
    let settings = EvaluationSettings {
        users: Users::Validation,
        sessions: args.sessions,
        length: config.environment.session_length,
        seed: 0,
        slots: 64,
        threads: 1,
    };
    settings.validate()?;
    let world = World::open(&config)?;
    let security = Security::load(&config.cluster)?;
    if !config.cluster.metrics_listen.is_empty() {
        metrics::serve(&config.cluster.metrics_listen, "evaluator")?;
    }
    let shutdown = Shutdown::on_signals(Duration::from_secs_f64(config.cluster.grace_seconds))?;
    let health = args.health.as_deref().map(|listen| node::health::serve(listen, &security, &shutdown));
    let health = health.transpose()?;
    let runtime = crate::train::runtime()?;
    let weights = subscribe(&config, &security, &world, &runtime)?;
    let mut feed = weights.feed();
    while let Some(newest) = next(&mut feed, &weights, &runtime, &shutdown) {
        if let Some(health) = &health {
            health.set_ready(true);
        }
        let begun = Instant::now();
        one(&newest, &config, &world, &settings)?;
        let rest = every.saturating_sub(begun.elapsed());
        runtime.block_on(async { tokio::time::timeout(rest, shutdown.wait()).await.ok() });
    }
    if shutdown.is_begun() {
        runtime.block_on(shutdown.released());
        return Ok(Outcome::Done);
    }
    runtime.block_on(weights.end())?;
    tracing::info!("the run is over");
    if args.stay {
        runtime.block_on(shutdown.wait());
    }
    Ok(Outcome::Done)
}

fn subscribe(
    config: &Config,
    security: &Security,
    world: &World,
    runtime: &Runtime,
) -> Result<Subscription<Broadcast>> {
    let _guard = runtime.enter();
    let control = Control::open(&config.cluster)?;
    let learner = Learner {
        peer: connections(Discovery::learner(&config.cluster, &control), security.clone()),
        run_id: config.cluster.run.clone(),
        subscriber: "evaluator".to_owned(),
        form: config.actor.weights,
        observes: true,
        items_sha256: world.items().fingerprint(),
    };
    let (model, items) = (config.model.clone(), Arc::clone(world.items()));
    let decode = move |Version { version, learner_step, data }| {
        let policy = Arc::new(Policy::from_safetensors(&data, &model, Arc::clone(&items))?);
        Ok::<_, agent::Error>(Broadcast { version, updates: learner_step, policy })
    };
    Ok(Subscription::keep(runtime.handle(), learner, decode))
}

/// The next version that has not been evaluated; `None` once none will come, or the process is to end.
fn next(
    feed: &mut Feed<Broadcast>,
    weights: &Subscription<Broadcast>,
    runtime: &Runtime,
    shutdown: &Shutdown,
) -> Option<Arc<Broadcast>> {
    loop {
        if shutdown.is_begun() {
            return None;
        }
        let is_last = weights.is_finished();
        if feed.has_changed().unwrap_or(false) {
            return feed.borrow_and_update().clone();
        }
        if is_last {
            return None;
        }
        runtime.block_on(async { tokio::time::timeout(LOOK_AROUND, shutdown.wait()).await.ok() });
    }
}

fn one(newest: &Broadcast, config: &Config, world: &World, settings: &EvaluationSettings) -> Result<()> {
    let begun = Instant::now();
    let mut policy = AgentPolicy::new(config.method(), Arc::clone(&newest.policy), config.period_layout());
    let result = evaluate(&mut policy, &world.for_evaluation(), settings)?;
    metrics::EVALUATION_RETURN.set(result.total.value, []);
    metrics::EVALUATION_STEP.set(newest.updates as f64, []);
    tracing::info!(
        version = newest.version,
        updates = newest.updates,
        reward = result.total.value,
        low = result.total.low,
        high = result.total.high,
        click = result.click.value,
        order = result.order.value,
        ctr = result.ctr.value,
        cvr = result.cvr.value,
        sessions = settings.sessions,
        seconds = begun.elapsed().as_secs_f64(),
        "evaluated"
    );
    Ok(())
}
