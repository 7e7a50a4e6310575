//! The parts of the loop, one by one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actor::{Rollout, Share, VersionedPolicy};
use agent::{Explorer, Policy};
use anyhow::{Context, Result};
use common::{
    Feedback, ItemId, SessionId,
    config::{Batch, Config},
    seed::Streams,
    transition::{Ending, PeriodStart, Step},
};
use learner::{
    engine::{Engine, torch::TorchEngine},
    evaluation::Users,
    weights::{Publisher, WeightsService, serve_in_memory},
    world::World,
};
use rand::RngExt;
use replay::{LocalReplay, Settings, Shards, TransitionSink, WriterSettings, client::Request, wire};
use sim::Outcome;
use tokio::runtime::Runtime;

use crate::{
    arithmetic,
    machine::{Machine, median, seconds},
};

/// A line of the table.
pub(crate) struct Row {
    pub(crate) part: &'static str,
    pub(crate) rate: String,
    pub(crate) size: String,
    pub(crate) floor: String,
    pub(crate) reached: String,
}

/// Steps of all sessions behind a rate of the rollouts.
const ROLLOUT_STEPS: usize = 150;
/// Rounds behind the other rates.
const ROUNDS: usize = 40;

/// Takes everything and keeps nothing.
struct NullSink;

impl TransitionSink for NullSink {
    fn begin_period(&mut self, _: &PeriodStart) -> Result<(), replay::Error> {
        Ok(())
    }

    fn step(&mut self, _: SessionId, _: Step) -> Result<(), replay::Error> {
        Ok(())
    }

    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
}

/// Everything.
pub(crate) fn measure(config: &Config, world: &World, machine: &Machine) -> Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let random = world_alone(config, world)?;
    let mut rows = vec![Row {
        part: "environment steps, random items",
        rate: format!("{random:.0} steps/s"),
        size: format!("{} sessions", config.actor.sessions),
        floor: "the world itself".into(),
        reached: String::new(),
    }];
    rows.push(with_policy(config, world, random)?);
    let (shards, _replay) = replay(config, world, &runtime)?;
    rows.push(fill(config, world, &runtime, &shards, machine)?);
    rows.extend(learn(config, world, &runtime, &shards, machine)?);
    rows.push(broadcast(config, world, &runtime, machine)?);
    Ok(rows)
}

/// Steps a second of the world with random candidates.
fn world_alone(config: &Config, world: &World) -> Result<f64> {
    let e = config.actor.sessions;
    let mut environment = world.build(Users::Training, e, config.environment.session_length)?;
    let mut next = 0;
    for slot in 0..e {
        environment.begin(slot, next);
        next += 1;
    }
    let mut rng = Streams::new(0, "bench/items").sequential();
    let mut items = vec![ItemId::PADDING; e];
    let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; e];
    let begun = Instant::now();
    for _ in 0..ROLLOUT_STEPS {
        for (item, recall) in items.iter_mut().zip(environment.recall()) {
            let k = rng.random_range(0..recall.n_left());
            *item = recall.candidates()[recall.nth_left(k).context("a candidate is left")?];
        }
        environment.step(&items, &mut outcomes)?;
        for (slot, outcome) in outcomes.iter().enumerate() {
            if outcome.ending != Ending::None {
                environment.begin(slot, next);
                next += 1;
            }
        }
    }
    Ok((ROLLOUT_STEPS * e) as f64 / begun.elapsed().as_secs_f64())
}

fn rollout(config: &Config, world: &World) -> Result<Rollout> {
    let policy = Policy::random(&config.model, Arc::clone(world.items()), 1)?;
    let policy = Arc::new(VersionedPolicy { version: 1, learner_step: 0, policy });
    let environment =
        world.build(Users::Training, config.actor.sessions, config.environment.session_length)?;
    let mut exploration = config.exploration.clone();
    exploration.random_steps = 0;
    let explorer = Explorer::new(&exploration, config.model.bound, 1);
    let share = Share { actor: 0, n_actors: 1 };
    Ok(Rollout::new(environment, policy, explorer, config.period_layout(), share)?)
}

/// A whole step of an actor, up to its sink.
fn with_policy(config: &Config, world: &World, random: f64) -> Result<Row> {
    let mut rollout = rollout(config, world)?;
    let begun = Instant::now();
    for _ in 0..ROLLOUT_STEPS {
        rollout.step(&mut NullSink)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = rollout.steps() as f64 / seconds;
    let times = rollout.times();
    let share = |time: Duration| 100.0 * time.as_secs_f64() / seconds;
    Ok(Row {
        part: "environment steps, with the policy",
        rate: format!("{rate:.0} steps/s"),
        size: format!("forward {:.0}%, world {:.0}%", share(times.forward), share(times.environment)),
        floor: format!("world alone {random:.0}/s"),
        reached: format!("{:.0}%", 100.0 * rate / random),
    })
}

fn replay(config: &Config, world: &World, runtime: &Runtime) -> Result<(Shards, LocalReplay)> {
    let mut settings = Settings::from_config(config, "bench", world.items().n_items());
    settings.ratio = None;
    Ok(LocalReplay::start(&settings, config.replay.shards, runtime.handle())?)
}

/// Real transitions into the replay; only the time of the writer and the service counts, not the world's.
fn fill(
    config: &Config,
    world: &World,
    runtime: &Runtime,
    shards: &Shards,
    machine: &Machine,
) -> Result<Row> {
    let mut writer = runtime.block_on(shards.writer(WriterSettings::new(0)))?;
    let mut rollout = rollout(config, world)?;
    let mut waited = 0.0;
    for _ in 0..ROLLOUT_STEPS {
        rollout.step(&mut writer)?;
        let mut flushed = Ok(());
        waited += seconds(|| flushed = writer.flush());
        flushed?;
    }
    let times = rollout.times();
    let rate = rollout.steps() as f64 / ((times.write + times.wait).as_secs_f64() + waited);
    let info = runtime.block_on(shards.info())?;
    let held: u64 = info.iter().filter_map(|shard| shard.low.as_ref()).map(|low| low.size).sum();
    let bytes: u64 = info.iter().map(|shard| shard.bytes).sum();
    let shape = config.shape();
    let sent = wire::STEP_BYTES as f64 + wire::period_bytes(&shape) as f64 / shape.n_steps as f64;
    let floor = machine.copy_gbps * 1e9 / sent;
    Ok(Row {
        part: "transitions into the replay",
        rate: format!("{rate:.0} steps/s"),
        size: format!("{sent:.0} bytes sent, {:.0} held a step", bytes as f64 / held.max(1) as f64),
        floor: format!("copy {floor:.0}/s"),
        reached: format!("{:.1}%", 100.0 * rate / floor),
    })
}

/// Minibatches and updates at the sizes of the settings.
fn learn(
    config: &Config,
    world: &World,
    runtime: &Runtime,
    shards: &Shards,
    machine: &Machine,
) -> Result<Vec<Row>> {
    let sampler = shards.sampler(Duration::from_secs(10));
    let request =
        |key| Request { low: Some(config.replay.low.batch), high: Some(config.replay.high.batch), key };
    let mut engine = TorchEngine::new(config, world.items())?;
    let (mut sampling, mut updating, mut gflop) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows_and_bytes = (0, 0);
    for number in 0..ROUNDS as u64 {
        let begun = Instant::now();
        let batch = runtime.block_on(sampler.minibatch(number, request(number)))?;
        sampling.push(begun.elapsed().as_secs_f64());
        gflop.push(arithmetic::update(config, world.items().n_items(), &batch.high, &batch.low));
        rows_and_bytes = (batch.low.len() + batch.high.len(), bytes(&batch));
        let begun = Instant::now();
        engine.update(&batch.high, &batch.low)?;
        updating.push(begun.elapsed().as_secs_f64());
    }
    let (sampling, updating, gflop) = (median(sampling), median(updating), median(gflop));
    let (rows, bytes) = rows_and_bytes;
    let copied = bytes as f64 / sampling / 1e9;
    let reached = gflop / updating;
    Ok(vec![
        Row {
            part: "samples (a minibatch of both levels)",
            rate: format!("{:.0} rows/s, {:.0}/s", rows as f64 / sampling, 1.0 / sampling),
            size: format!(
                "{} + {} rows, {:.2} MB",
                named(config.replay.low.batch),
                named(config.replay.high.batch),
                bytes as f64 / 1e6
            ),
            floor: format!("copy {:.1} GB/s", machine.copy_gbps),
            reached: format!("{copied:.2} GB/s, {:.0}%", 100.0 * copied / machine.copy_gbps),
        },
        Row {
            part: "updates of both levels",
            rate: format!("{:.1} updates/s ({:.1} ms)", 1.0 / updating, 1e3 * updating),
            size: format!("{gflop:.2} GFLOP"),
            floor: format!("product {:.0} GFLOP/s", machine.gflops),
            reached: format!("{reached:.0} GFLOP/s, {:.0}%", 100.0 * reached / machine.gflops),
        },
    ])
}

fn named(batch: Batch) -> String {
    match batch {
        Batch::Rows(rows) => rows.to_string(),
        Batch::Share(share) => format!("{:.0}%", 100.0 * share),
    }
}

/// Bytes of a minibatch in memory.
fn bytes(batch: &replay::client::Minibatch) -> usize {
    let (low, high) = (&batch.low, &batch.high);
    let windows = low.windows.len() + low.next_windows.len() + high.windows.len() + high.next_windows.len();
    let goals = low.goals.len() + high.goals.len();
    let small = low.feedback.len() + low.positions.len() + low.terminated.len() + high.feedback.len();
    4 * (windows + goals + low.items.len()) + small + 8 * (low.len() + high.len())
}

/// Weights from the engine to a decoded policy at a subscriber.
fn broadcast(config: &Config, world: &World, runtime: &Runtime, machine: &Machine) -> Result<Row> {
    let engine = TorchEngine::new(config, world.items())?;
    let publisher = Publisher::new();
    let mut subscription = {
        let _guard = runtime.enter();
        let (channel, server) = serve_in_memory(WeightsService::new("bench", 0, &publisher));
        runtime.spawn(server);
        let (model, items) = (config.model.clone(), Arc::clone(world.items()));
        let decode = move |version: actor::weights::Version| {
            Policy::from_safetensors(&version.data, &model, Arc::clone(&items)).map(|_| version.version)
        };
        actor::weights::Subscription::start(
            runtime.handle(),
            node::Bearer::none(channel),
            "bench",
            "bench",
            decode,
        )
    };
    publisher.publish(1, 0, engine.weights(false))?;
    runtime.block_on(subscription.first()).context("the first version arrives")?;
    let mut feed = subscription.feed();
    let (mut times, mut size) = (Vec::new(), 0);
    for version in 2..2 + ROUNDS as u64 {
        let begun = Instant::now();
        let weights = engine.weights(false);
        size = weights.len();
        publisher.publish(version, 0, weights)?;
        runtime.block_on(feed.wait_for(|newest| newest.as_deref() == Some(&version)))?;
        times.push(begun.elapsed().as_secs_f64());
    }
    let time = median(times);
    let rate = size as f64 / time / 1e6;
    Ok(Row {
        part: "weights, engine to decoded policy",
        rate: format!("{rate:.0} MB/s ({:.1} ms)", 1e3 * time),
        size: format!("{:.2} MB", size as f64 / 1e6),
        floor: format!("copy {:.1} GB/s", machine.copy_gbps),
        reached: format!("{:.1}%", 0.1 * rate / machine.copy_gbps),
    })
}
