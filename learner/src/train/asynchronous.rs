//! Actors and learner running freely: threads of rollouts write, a task prefetches minibatches, the learner's thread
//! updates and broadcasts. The rate limiter of the replay holds whoever is ahead.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actor::{Actors, Counts, RolloutThread, VersionedPolicy, weights::Subscription};
use anyhow::{Context, Result};
use replay::client::Prefetch;
use tokio::runtime::Runtime;

use super::{
    resume::{Resumed, put},
    services::{RUN_ID, open_rollout, open_writer, request, start_replay},
    trainer::{Part, Trainer},
};
use crate::{
    engine::Engine,
    weights::{Publisher, WeightsService, serve_in_memory},
};

/// Minibatches sampled ahead.
const PREFETCH: usize = 2;
/// How long the learner waits for a minibatch before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Runs until the last step, or until interrupted; ends with a checkpoint.
pub(super) fn run(trainer: &mut Trainer<'_>, runtime: &Runtime, resumed: Option<Resumed>) -> Result<()> {
    let config = trainer.config;
    let (shards, _servers) = start_replay(trainer, runtime)?;
    if let Some(mut resumed) = resumed
        && let Some(snapshots) = resumed.take_optional("replay")
    {
        let snapshots = common::codec::decode(&snapshots).context("the checkpoint's part `replay` is damaged")?;
        runtime.block_on(shards.restore(snapshots)).context("cannot restore the replay")?;
    }

    let publisher = Publisher::new();
    let policy = trainer.next_policy()?;
    publisher.publish(policy.version, policy.learner_step, trainer.broadcast().to_vec())?;
    let subscription = subscribe(trainer, runtime, &publisher)?;
    let first_steps = trainer.env_steps;
    let rollouts = (0..config.actor.actors)
        .map(|actor| {
            // A resumed run plays on with sessions of its own: those in progress at the checkpoint were not kept.
            let rollout = open_rollout(trainer, &policy, actor)?;
            let sink = Box::new(open_writer(&shards, runtime, actor)?);
            Ok(RolloutThread { rollout, sink })
        })
        .collect::<Result<Vec<_>>>()?;
    let actors = Actors::start(rollouts, Some(subscription.feed()), config.train.steps - first_steps)?;
    let requests = config.clone();
    let mut prefetch = shards.sampler(LOOK_AROUND).prefetch(trainer.engine.updates(), PREFETCH, move |number| {
        request(&requests, number)
    });

    let mut seen = Counts::default();
    loop {
        let starved = !take_and_update(trainer, &mut prefetch, &publisher)?;
        let counts = actors.progress().counts;
        let due = trainer.advance(first_steps + counts.steps, counts.since(seen))?;
        seen = counts;
        if due {
            checkpoint(trainer, runtime, &shards)?;
        }
        // Once the actors have ended, the learner does what the ratio still allows: then it starves.
        if trainer.interrupted() || (actors.is_finished() && starved) {
            break;
        }
    }
    actors.stop();
    drop(prefetch);
    if trainer.interrupted() {
        // Writers may be waiting for samples that nobody takes any more: end the service under them.
        checkpoint(trainer, runtime, &shards)?;
        runtime.block_on(_servers.stop());
        actors.join().context("the rollouts failed")?;
    } else {
        actors.join().context("the rollouts failed")?;
        checkpoint(trainer, runtime, &shards)?;
    }
    subscription.stop();
    Ok(())
}

/// One update, if a minibatch comes in time.
fn take_and_update(trainer: &mut Trainer<'_>, prefetch: &mut Prefetch, publisher: &Publisher) -> Result<bool> {
    let batch = match trainer.timed(Part::Sample, |_| prefetch.take()) {
        Ok(batch) => batch,
        Err(replay::Error::Deadline { .. }) => return Ok(false),
        Err(error) => return Err(error).context("cannot sample from the replay"),
    };
    trainer.update(&batch.high, &batch.low)?;
    if trainer.engine.updates().is_multiple_of(trainer.config.train.publish_every) {
        trainer.timed(Part::Publish, |trainer| -> Result<()> {
            let (version, weights) = trainer.next_broadcast();
            Ok(publisher.publish(version, trainer.engine.updates(), weights)?)
        })?;
    }
    Ok(true)
}

/// The rollouts' side of the weights service.
fn subscribe(
    trainer: &Trainer<'_>,
    runtime: &Runtime,
    publisher: &Publisher,
) -> Result<Subscription<VersionedPolicy>> {
    let _guard = runtime.enter();
    let (channel, server) = serve_in_memory(WeightsService::new(RUN_ID, publisher));
    runtime.spawn(server);
    let (model, items) = (trainer.config.model.clone(), Arc::clone(trainer.world.items()));
    let decode = move |version: actor::weights::Version| {
        agent::Policy::from_safetensors(&version.data, &model, Arc::clone(&items)).map(|policy| VersionedPolicy {
            version: version.version,
            learner_step: version.learner_step,
            policy,
        })
    };
    Ok(Subscription::start(runtime.handle(), channel, RUN_ID, "actors", decode))
}

fn checkpoint(trainer: &mut Trainer<'_>, runtime: &Runtime, shards: &replay::Shards) -> Result<()> {
    let mut extra = BTreeMap::new();
    put(&mut extra, "replay", &runtime.block_on(shards.snapshot())?);
    trainer.checkpoint(0.0, extra)
}
