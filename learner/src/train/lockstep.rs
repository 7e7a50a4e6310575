//! Algorithm 1 serially: one step of all sessions, then the updates it has earned.
//!
//! Everything is in one order that follows from the seed, so that two runs give the same bytes, and a killed and resumed
//! one those of an unbroken one: checkpoints hold the replay, the sessions and what is earned.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use replay::TransitionSink;
use tokio::runtime::Runtime;

use super::{
    resume::{LoopState, Resumed, put},
    services::{open_rollout, open_writer, request, start_replay},
    trainer::{Part, Trainer},
};
use crate::engine::Engine;

/// Longest wait for a minibatch that is known to be there.
const SAMPLE_WAIT: Duration = Duration::from_secs(60);

/// Runs until the last step, or until interrupted; ends with a checkpoint.
pub(super) fn run(trainer: &mut Trainer<'_>, runtime: &Runtime, resumed: Option<Resumed>) -> Result<()> {
    let config = trainer.config;
    let (shards, _servers) = start_replay(trainer, runtime)?;
    let sampler = shards.sampler(SAMPLE_WAIT);
    let policy = trainer.next_policy()?;
    let n_actors = config.actor.actors;
    let mut rollouts =
        (0..n_actors).map(|actor| open_rollout(trainer, &policy, actor)).collect::<Result<Vec<_>>>()?;
    let mut earned = 0.0;
    if let Some(mut resumed) = resumed {
        let state: LoopState = resumed.decode("loop")?;
        (trainer.version, earned) = (state.version, state.earned);
        let snapshots: Vec<Vec<u8>> = resumed.decode("replay")?;
        runtime.block_on(shards.restore(snapshots)).context("cannot restore the replay")?;
        // The weights that the rollouts used last are not those of the last update, unless they are broadcast at
        // every update: keep them.
        let weights = resumed.take("weights")?;
        let policy = trainer.versioned(&weights)?;
        let states: Vec<Vec<u8>> = resumed.decode("rollouts")?;
        for (rollout, state) in rollouts.iter_mut().zip(states) {
            rollout.set_policy(policy.clone())?;
            rollout.restore(&state)?;
        }
    }
    let mut writers =
        (0..n_actors).map(|actor| open_writer(&shards, runtime, actor)).collect::<Result<Vec<_>>>()?;

    let mut checkpointed = None;
    while !trainer.all_steps_done() && !trainer.interrupted() {
        let mut counts = actor::Counts::default();
        trainer.timed(Part::Rollout, |_| -> Result<()> {
            for (rollout, writer) in rollouts.iter_mut().zip(&mut writers) {
                counts += rollout.step(writer)?;
                writer.flush()?;
            }
            Ok(())
        })?;
        let sizes = runtime.block_on(sampler.sizes())?;
        let ready = sizes.low >= config.replay.low.min_size as u64 && sizes.high >= config.replay.high.min_size as u64;
        earned = if ready { earned + counts.steps as f64 * config.train.updates_per_step } else { 0.0 };
        while earned >= 1.0 {
            earned -= 1.0;
            let number = trainer.engine.updates();
            let batch = trainer.timed(Part::Sample, |_| {
                runtime.block_on(sampler.minibatch(number, request(config, number)))
            })?;
            trainer.update(&batch.high, &batch.low)?;
            if (number + 1).is_multiple_of(config.train.publish_every) {
                let policy = trainer.timed(Part::Publish, Trainer::next_policy)?;
                for rollout in &mut rollouts {
                    rollout.set_policy(policy.clone())?;
                }
            }
        }
        let env_steps = trainer.env_steps + counts.steps;
        if trainer.advance(env_steps, counts)? {
            let extra = parts(trainer, &rollouts, runtime, &shards)?;
            trainer.checkpoint(earned, extra)?;
            checkpointed = Some(env_steps);
        }
    }
    if checkpointed != Some(trainer.env_steps) {
        let extra = parts(trainer, &rollouts, runtime, &shards)?;
        trainer.checkpoint(earned, extra)?;
    }
    Ok(())
}

/// The parts of a checkpoint that lockstep needs: rollouts, their weights, the replay.
fn parts(
    trainer: &Trainer<'_>,
    rollouts: &[actor::Rollout],
    runtime: &Runtime,
    shards: &replay::Shards,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut extra = BTreeMap::new();
    put(&mut extra, "replay", &runtime.block_on(shards.snapshot())?);
    put(&mut extra, "rollouts", &rollouts.iter().map(actor::Rollout::save).collect::<Vec<_>>());
    extra.insert("weights".into(), trainer.broadcast().to_vec());
    Ok(extra)
}
