//! Actors and learner running freely: threads of rollouts write, a task prefetches minibatches, the learner's thread
//! updates and broadcasts. The rate limiter of the replay holds whoever is ahead.
//!
//! Whatever ends the run - its steps, a signal, a failure of the learner, of an actor thread or of a replay shard - the
//! actors are stopped, then the services, and all threads are waited for; every end but a failure of the learner or of
//! the replay leaves a checkpoint. A resumed run plays sessions of its own ([`origin`]): those in progress at a
//! checkpoint are not kept, so that the number of actors and of shards may change.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actor::{Actors, Counts, NewWeights, Origin, RolloutThread, VersionedPolicy, weights::Subscription};
use anyhow::{Context, Result};
use node::Bearer;
use replay::{LocalReplay, Sampler, Settings, Shards, TransitionSink, Writer, client::Prefetch};
use tokio::runtime::Runtime;

use super::{
    clock::Part,
    priorities,
    resume::{Resumed, put_all},
    services::{LONG, RUN_ID, open_rollout, open_sampler, open_writer, request, start_replay},
    trainer::Trainer,
};
use crate::weights::{Publisher, WeightsService, serve_in_memory};

/// Minibatches sampled ahead.
const PREFETCH: usize = 2;
/// How long the learner waits for a minibatch before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(200);
/// How long the actors may take to end by themselves, and then the services.
const GRACE: Duration = Duration::from_secs(2);
/// Sessions that a process may play before the ids of the next one begin: 4,096 resumes stay below those of evaluations.
const SESSIONS_PER_EPOCH: u64 = 1 << 28;
/// Writers of an epoch.
const WRITERS_PER_EPOCH: u64 = 1 << 16;

/// Runs until the last step, or until interrupted; ends with a checkpoint.
pub(super) fn run(trainer: &mut Trainer<'_>, runtime: &Runtime, resumed: Option<Resumed>) -> Result<()> {
    if trainer.all_steps_done() {
        return Ok(());
    }
    let services = Services::start(trainer, runtime, resumed, &|writer| Box::new(writer))?;
    conduct(trainer, runtime, services)
}

/// Everything that runs beside the learner's thread.
struct Services {
    shards: Shards,
    /// `None` once it was stopped.
    replay: Option<LocalReplay>,
    publisher: Publisher,
    subscription: Subscription<VersionedPolicy>,
    sampler: Sampler,
    prefetch: Prefetch,
    actors: Actors,
}

impl Services {
    /// Starts it all; the actors' transitions go through `sink`.
    fn start(
        trainer: &mut Trainer<'_>,
        runtime: &Runtime,
        resumed: Option<Resumed>,
        sink: &dyn Fn(Writer) -> Box<dyn TransitionSink>,
    ) -> Result<Self> {
        let (shards, replay) = start_replay(trainer, runtime)?;
        if let Some(resumed) = resumed {
            trainer.state.epoch += 1;
            restore(trainer, runtime, &shards, resumed)?;
        }
        let publisher = Publisher::new();
        let policy = trainer.next_policy()?;
        publisher.publish(policy.version, policy.learner_step, trainer.broadcast().to_vec())?;
        let subscription = subscribe(trainer, runtime, &publisher);
        let (requests, first) = (trainer.config.clone(), trainer.engine.updates());
        let sampler = open_sampler(&shards, LONG, trainer.config);
        let prefetch = sampler.clone().prefetch(first, PREFETCH, move |number| request(&requests, number));
        let open = |actor: usize| {
            let rollout = open_rollout(trainer, &policy, actor, origin(trainer))?;
            let writer = trainer.state.epoch * WRITERS_PER_EPOCH + actor as u64;
            Ok(RolloutThread { rollout, sink: sink(open_writer(&shards, runtime, writer)?) })
        };
        let rollouts = (0..trainer.config.actor.actors).map(open).collect::<Result<_>>()?;
        let left = trainer.config.train.steps - trainer.env_steps;
        let actors = Actors::start(rollouts, Some(NewWeights::local(subscription.feed())), left)?;
        Ok(Self { shards, replay: Some(replay), publisher, subscription, sampler, prefetch, actors })
    }
}

/// Learns until the end, then ends everything in order.
fn conduct(trainer: &mut Trainer<'_>, runtime: &Runtime, mut services: Services) -> Result<()> {
    let learned = learn(trainer, runtime, &mut services);
    let Services { shards, replay, publisher, subscription, mut prefetch, actors, .. } = services;
    actors.stop();
    if learned.is_ok() {
        release(&actors, &mut prefetch);
    }
    drop(prefetch);
    let saved = learned.and_then(|()| checkpoint(trainer, runtime, &shards));
    if let Some(replay) = replay {
        stop(runtime, replay);
    }
    let joined = actors.join();
    // The learner's own failure first: it may be why the actors failed. Of two others, the actors' explains more.
    saved?;
    if let Err(error) = joined {
        let cause = ended_broadcast(&error, runtime, subscription);
        let error = anyhow::Error::new(error).context("the rollouts failed");
        return Err(match cause {
            Some(cause) => error.context(cause),
            None => error,
        });
    }
    // In this order: actors that lose the broadcast while they run fail.
    subscription.stop();
    drop(publisher);
    Ok(())
}

/// Updates and broadcasts until the actors have ended and nothing is left to learn from, or until interrupted.
fn learn(trainer: &mut Trainer<'_>, runtime: &Runtime, services: &mut Services) -> Result<()> {
    let (first_steps, mut seen) = (trainer.env_steps, Counts::default());
    loop {
        let starved = !take_and_update(trainer, runtime, services)?;
        // Looked at before the counts: what a finished actor has done is in them.
        let finished = services.actors.is_finished();
        let progress = services.actors.progress();
        trainer.clock.note_actors(progress.times, trainer.config.actor.actors);
        let due = trainer.advance(first_steps + progress.counts.steps, progress.counts.since(seen))?;
        seen = progress.counts;
        if due {
            checkpoint(trainer, runtime, &services.shards)?;
        }
        // Once the actors have ended, the learner does what the ratio still allows: then it starves.
        if trainer.interrupted() || (finished && starved) {
            return Ok(());
        }
    }
}

/// One update, if a minibatch comes in time.
fn take_and_update(trainer: &mut Trainer<'_>, runtime: &Runtime, services: &mut Services) -> Result<bool> {
    let batch = match trainer.timed(Part::Sample, |_| services.prefetch.take(LOOK_AROUND)) {
        Ok(batch) => batch,
        Err(replay::Error::Deadline { .. }) => return Ok(false),
        Err(error) => return Err(error).context("cannot sample from the replay"),
    };
    let measured = trainer.update(&batch.high, &batch.low)?;
    priorities::update(runtime, &services.sampler, &batch, &measured)?;
    if trainer.engine.updates().is_multiple_of(trainer.config.train.publish_every) {
        trainer.timed(Part::Publish, |trainer| -> Result<()> {
            let (version, weights) = trainer.next_broadcast();
            Ok(services.publisher.publish(version, trainer.engine.updates(), weights)?)
        })?;
    }
    Ok(true)
}

/// Lets actors that wait for the learner get through the step they are in: takes minibatches that nobody uses.
fn release(actors: &Actors, prefetch: &mut Prefetch) {
    let begun = Instant::now();
    while !actors.is_finished() && begun.elapsed() < GRACE {
        if let Err(error) = prefetch.take(LOOK_AROUND)
            && !matches!(error, replay::Error::Deadline { .. })
        {
            return;
        }
    }
}

/// Ends the services; writers that still wait fail now.
fn stop(runtime: &Runtime, servers: LocalReplay) {
    let stopped = runtime.block_on(async { tokio::time::timeout(GRACE, servers.stop()).await });
    if stopped.is_err() {
        tracing::info!("the replay service did not end in time");
    }
}

/// Why the weights stopped coming, if that is what failed the rollouts.
fn ended_broadcast(
    error: &actor::Error,
    runtime: &Runtime,
    subscription: Subscription<VersionedPolicy>,
) -> Option<String> {
    let actor::Error::Thread { source, .. } = error else { return None };
    let actor::Error::BroadcastEnded = **source else { return None };
    let end = runtime.block_on(async { tokio::time::timeout(GRACE, subscription.end()).await });
    end.ok().and_then(Result::err).map(|cause| format!("the weight broadcast failed: {cause}"))
}

/// Sessions and steps from which the rollouts of this process go on.
fn origin(trainer: &Trainer<'_>) -> Origin {
    Origin { first_session: trainer.state.epoch * SESSIONS_PER_EPOCH, steps: trainer.env_steps, pace: 0 }
}

/// Takes up the contents of the replay, dealt out to the shards there are now, without the writers of the last process.
fn restore(trainer: &Trainer<'_>, runtime: &Runtime, shards: &Shards, mut resumed: Resumed) -> Result<()> {
    let settings = Settings::from_config(trainer.config, RUN_ID, trainer.world.items().n_items());
    let snapshots = resumed.take_all("replay");
    let restored = replay::reshard(&settings, &snapshots, shards.n_shards())
        .and_then(|snapshots| runtime.block_on(shards.restore(snapshots)));
    restored
        .with_context(|| format!("checkpoint {}: cannot restore the part `replay`", resumed.path().display()))
}

/// The rollouts' side of the weights service.
fn subscribe(
    trainer: &Trainer<'_>,
    runtime: &Runtime,
    publisher: &Publisher,
) -> Subscription<VersionedPolicy> {
    let _guard = runtime.enter();
    let (channel, server) = serve_in_memory(WeightsService::new(RUN_ID, 0, publisher));
    runtime.spawn(server);
    let items = Arc::clone(trainer.world.items());
    let decode = VersionedPolicy::decoder(trainer.config.model.clone(), items);
    Subscription::start(runtime.handle(), Bearer::none(channel), RUN_ID, "actors", decode)
}

fn checkpoint(trainer: &mut Trainer<'_>, runtime: &Runtime, shards: &Shards) -> Result<()> {
    let mut extra = BTreeMap::new();
    put_all(&mut extra, "replay", runtime.block_on(shards.snapshot())?);
    trainer.checkpoint(extra).map(drop)
}
