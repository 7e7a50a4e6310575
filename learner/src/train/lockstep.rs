//! Algorithm 1 serially: one step of all sessions, then the updates it has earned.
//!
//! Everything is in one order that follows from the seed, so that two runs give the same bytes, and a killed and resumed
//! one those of an unbroken one: checkpoints hold the replay, the sessions and what is earned.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actor::{Counts, Origin, Rollout, Times};
use anyhow::{Context, Result, ensure};
use replay::{Shards, TransitionSink, Writer};
use tokio::runtime::Runtime;

use super::{
    clock::Part,
    priorities,
    resume::{Resumed, put_all},
    services::{open_rollout, open_sampler, open_writer, request, start_replay},
    trainer::Trainer,
};

/// Longest wait for a minibatch that is known to be there.
const SAMPLE_WAIT: Duration = Duration::from_secs(60);

/// Runs until the last step, or until interrupted; ends with a checkpoint.
pub(super) fn run(trainer: &mut Trainer<'_>, runtime: &Runtime, resumed: Option<Resumed>) -> Result<()> {
    let config = trainer.config;
    let (shards, _servers) = start_replay(trainer, runtime)?;
    let sampler = open_sampler(&shards, SAMPLE_WAIT, config);
    let mut rollouts = match resumed {
        Some(resumed) => restore(trainer, runtime, &shards, resumed)?,
        None => {
            let policy = trainer.next_policy()?;
            (0..config.actor.actors)
                .map(|actor| open_rollout(trainer, &policy, actor, Origin::default()))
                .collect::<Result<_>>()?
        }
    };
    // Restored shards know the writers and their sessions in progress by these numbers.
    let mut writers = (0..config.actor.actors as u64)
        .map(|writer| open_writer(&shards, runtime, writer))
        .collect::<Result<Vec<_>>>()?;

    let mut checkpointed = None;
    while !trainer.all_steps_done() && !trainer.interrupted() {
        let counts = trainer.timed(Part::Rollout, |_| step(&mut rollouts, &mut writers))?;
        trainer.clock.note_actors(times(&rollouts), 1);
        let sizes = runtime.block_on(sampler.sizes())?;
        let ready = sizes.low >= config.replay.low.min_size as u64
            && (sizes.high >= config.replay.high.min_size as u64 || !config.model.has_high_level());
        let earned = trainer.state.earned + counts.steps as f64 * config.train.updates_per_step;
        trainer.state.earned = if ready { earned } else { 0.0 };
        while trainer.state.earned >= 1.0 {
            trainer.state.earned -= 1.0;
            let number = trainer.engine.updates();
            let batch = trainer.timed(Part::Sample, |_| {
                runtime.block_on(sampler.minibatch(number, request(config, number)))
            })?;
            let measured = trainer.update(&batch.high, &batch.low)?;
            priorities::update(runtime, &sampler, &batch, &measured)?;
            if (number + 1).is_multiple_of(config.train.publish_every) {
                let policy = trainer.timed(Part::Publish, Trainer::next_policy)?;
                for rollout in &mut rollouts {
                    rollout.set_policy(Arc::clone(&policy))?;
                }
            }
        }
        let env_steps = trainer.env_steps + counts.steps;
        if trainer.advance(env_steps, counts)? {
            let parts = parts(trainer, &rollouts, runtime, &shards)?;
            trainer.checkpoint(parts)?;
            checkpointed = Some(env_steps);
        }
    }
    if checkpointed != Some(trainer.env_steps) {
        let parts = parts(trainer, &rollouts, runtime, &shards)?;
        trainer.checkpoint(parts)?;
    }
    Ok(())
}

/// One step of all sessions, stored.
fn step(rollouts: &mut [Rollout], writers: &mut [Writer]) -> Result<Counts> {
    let mut counts = Counts::default();
    for (rollout, writer) in rollouts.iter_mut().zip(writers) {
        counts += rollout.step(writer)?;
        writer.flush()?;
    }
    Ok(counts)
}

fn times(rollouts: &[Rollout]) -> Times {
    let mut sum = Times::default();
    rollouts.iter().for_each(|rollout| sum += rollout.times());
    sum
}

/// The parts of a checkpoint that lockstep needs: rollouts, their weights, the replay.
fn parts(
    trainer: &Trainer<'_>,
    rollouts: &[Rollout],
    runtime: &Runtime,
    shards: &Shards,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut extra = BTreeMap::new();
    put_all(&mut extra, "replay", runtime.block_on(shards.snapshot())?);
    put_all(&mut extra, "rollouts", rollouts.iter().map(Rollout::save).collect());
    // The weights that the rollouts use are not those of the last update, unless they are broadcast at every update.
    extra.insert("weights".into(), trainer.broadcast().to_vec());
    Ok(extra)
}

/// Takes up what [`parts`] gave.
fn restore(
    trainer: &mut Trainer<'_>,
    runtime: &Runtime,
    shards: &Shards,
    mut resumed: Resumed,
) -> Result<Vec<Rollout>> {
    let path = resumed.path().to_owned();
    let damaged = |part: &str| format!("checkpoint {}: cannot restore the part `{part}`", path.display());
    let weights = resumed.take("weights")?;
    let policy = trainer.versioned(weights).with_context(|| damaged("weights"))?;
    runtime.block_on(shards.restore(resumed.take_all("replay"))).with_context(|| damaged("replay"))?;
    let (states, n_actors) = (resumed.take_all("rollouts"), trainer.config.actor.actors);
    ensure!(
        states.len() == n_actors,
        "checkpoint {} has {} actors, not {n_actors} (`actor.actors`): lockstep keeps their number",
        path.display(),
        states.len()
    );
    let restored = states.into_iter().enumerate().map(|(actor, state)| {
        let mut rollout = open_rollout(trainer, &policy, actor, Origin::default())?;
        rollout.restore(&state).with_context(|| damaged(&format!("rollouts/{actor}")))?;
        Ok(rollout)
    });
    restored.collect()
}
