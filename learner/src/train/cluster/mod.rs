//! The learner of a cluster: actors and replay shards are processes of their own.
//!
//! In: minibatches of the shards, through a prefetch; out: weights to whoever subscribes, checkpoints in the run directory.
//! Environment steps are what the shards have stored, so that a step counts once whoever dies. A learner leads under a
//! fencing token: first it waits for the lease, then it takes up the newest checkpoint, whoever wrote it. Once another
//! one leads it stops without writing anything.
//!
//! | module | what it holds |
//! |---|---|
//! | [`admission`] | how actors enter the run |
//! | [`numbers`] | numbers that are never used twice |
//! | [`lead`] | the lease, the run directory, the checkpoint to go on from |
//! | [`services`] | the shards as one replay; what is served to actors |

mod admission;
mod lead;
mod numbers;
mod services;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use actor::Counts;
use anyhow::{Context, Result, ensure};
use common::config::{Config, Mode};
use node::metrics;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::{
    clock::Part,
    priorities,
    resume::{CLUSTER, put},
    runtime,
    trainer::Trainer,
};
use crate::{run_dir::RunDir, train::Interrupt, world::World};

use lead::Lead;
use numbers::Numbers;
use services::{Links, Services, counts};

/// How long the learner waits for a minibatch before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// What a checkpoint of a cluster holds beside the networks: the replay keeps its own contents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Standing {
    /// Of [`replay::client::Pacer::save`].
    pacer: Vec<u8>,
    /// What the shards had stored, as far as it is in the averages.
    seen: Counts,
    /// `train.steps`, once all of them were done, and all that there was to learn from them; 0 before. A run that is
    /// made longer goes on.
    finished: u64,
}

/// How a learner's time in a cluster ended.
#[derive(Debug)]
pub struct Ended {
    /// The run that it led; `None`: it was interrupted while it stood by.
    pub run_dir: Option<RunDir>,
    /// All environment steps are done, and this still says so to whoever asks; drop it to end.
    pub finished: Option<Finished>,
}

/// A run that is over, still served: actors and evaluators that come get the last weights and hear that no others follow;
/// probes find this learner ready.
pub struct Finished {
    // In the order in which they are dropped.
    services: Option<Services>,
    lead: Option<Lead>,
    runtime: Runtime,
}

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finished").field("lead", &self.lead).finish_non_exhaustive()
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        if let Some(services) = self.services.take() {
            services.stop(&self.runtime);
        }
        if let Some(lead) = self.lead.take() {
            lead.resign(&self.runtime);
        }
    }
}

/// Stands by until this learner may lead, then trains until all environment steps are done or until interrupted. The run
/// in `path` goes on if there is one. `world` is that of [`super::prepare`]. `probes` are told when this learner leads.
///
/// # Errors
/// Among others once another learner leads; then nothing was written.
pub fn run_cluster(
    config: &Config,
    world: &World,
    path: &Path,
    interrupt: &Interrupt,
    probes: Option<node::Health>,
) -> Result<Ended> {
    ensure!(
        config.train.mode == Mode::Async,
        "train.mode is lockstep, which a cluster cannot be: set it to async, or leave --cluster out"
    );
    let runtime = runtime()?;
    let mut links = Links::open(config, world.items().n_items(), &runtime)?;
    links.probes = probes;
    let address = links.address(config)?;
    tracing::info!("run {}: waiting for the lead, at {address}", config.cluster.run);
    let parts = (&links.control, &links.shards);
    let Some(lead) = Lead::campaign(config, path, parts, &address, interrupt, &runtime)? else {
        return Ok(Ended { run_dir: None, finished: None });
    };
    let (run_dir, fence) = (lead.run_dir.clone(), lead.fence);
    tracing::info!(fence, shards = config.replay.shards, "leading; waiting for the replay shards");
    let finished = train(config, world, (links, lead), interrupt, runtime)?;
    Ok(Ended { run_dir: Some(run_dir), finished })
}

fn train(
    config: &Config,
    world: &World,
    (links, mut lead): (Links, Lead),
    interrupt: &Interrupt,
    runtime: Runtime,
) -> Result<Option<Finished>> {
    let run_dir = lead.run_dir.clone();
    let (mut trainer, resumed) = Trainer::new(config, world, &run_dir, interrupt, lead.resumes)?;
    let (numbers, fence) = (RunDir::numbers_of(run_dir.path()), lead.fence);
    trainer.may_write = Box::new(move || Numbers::check_lead(&numbers, fence).map_err(io::Error::other));
    let standing = match resumed {
        Some(mut resumed) => {
            resumed.check_kind(true)?;
            resumed.decode::<Standing>(CLUSTER)?
        }
        None => Standing::default(),
    };
    let mut services = Services::start(&trainer, &runtime, links, &mut lead, &standing.pacer)?;
    let learned = learn(&mut trainer, &runtime, &mut services, &lead, standing);
    let finished = matches!(learned, Ok(true));
    if finished {
        services.finish();
    }
    // Ends everything on the way out, whatever is wrong.
    let all = Finished { services: Some(services), lead: Some(lead), runtime };
    learned?;
    trainer.finish()?;
    Ok(finished.then_some(all))
}

/// Waits for the shards, then updates and broadcasts until all steps are stored and nothing is left to learn from (true),
/// or until interrupted; ends with a checkpoint.
fn learn(
    trainer: &mut Trainer<'_>,
    runtime: &Runtime,
    services: &mut Services,
    lead: &Lead,
    standing: Standing,
) -> Result<bool> {
    publish(trainer, services)?;
    if standing.finished >= trainer.config.train.steps {
        services.ready();
        return Ok(true);
    }
    let contact = services.pacer.clone();
    let answered = runtime.block_on(async {
        tokio::select! {
            answered = contact.meet() => answered.map(|()| true),
            () = lead::interrupted(trainer.interrupt()) => Ok(false),
        }
    });
    if !answered.context("cannot reach the replay shards")? {
        return Ok(false);
    }
    // Before anything is granted. Rows that were dealt out count for no shard, but are held.
    let totals = services.totals();
    trainer.with_room(|_| services.admission.numbers().begin(totals.env_steps.max(totals.sizes.low)))?;
    services.pacer.begin();
    services.ready();
    let mut seen = standing.seen;
    loop {
        lead.check()?;
        let starved = !take_and_update(trainer, runtime, services)?;
        let totals = services.totals();
        // After a restart of the learner, what came meanwhile is in the shards; one of them may be away for now.
        let now = counts(&totals).at_least(seen);
        let due = trainer.advance(now.steps, now.since(seen))?;
        seen = now;
        services.note(trainer, &totals);
        let all_done = trainer.all_steps_done() || totals.is_spent;
        // Once no step is left to take, the learner does what the ratio still allows: then it starves.
        let finished = all_done && starved;
        if finished {
            trainer.evaluate_at_the_end()?;
        }
        if due || finished || trainer.interrupted() {
            checkpoint(trainer, runtime, services, lead, (seen, finished))?;
        }
        if finished || trainer.interrupted() {
            return Ok(finished);
        }
    }
}

/// One update, if a minibatch comes in time.
fn take_and_update(trainer: &mut Trainer<'_>, runtime: &Runtime, services: &mut Services) -> Result<bool> {
    let begun = Instant::now();
    let taken = trainer.timed(Part::Sample, |_| services.take(LOOK_AROUND));
    metrics::LEARNER_SAMPLE_WAIT_SECONDS.record(begun.elapsed().as_secs_f64(), []);
    let batch = match taken {
        Ok(batch) => batch,
        Err(replay::Error::Deadline { .. }) => return Ok(false),
        Err(error @ replay::Error::Fenced(_)) => return Err(error).context("another learner leads this run"),
        Err(error) => return Err(error).context("cannot sample from the replay"),
    };
    let begun = Instant::now();
    let measured = trainer.update(&batch.high, &batch.low)?;
    metrics::LEARNER_UPDATE_SECONDS.record(begun.elapsed().as_secs_f64(), []);
    metrics::LEARNER_UPDATES.increment(1, []);
    for (level, measured) in [("high", &measured.high), ("low", &measured.low)] {
        if let Some(measured) = measured {
            metrics::LEARNER_DEAD_SHARE.set(measured.dead_share, [level]);
        }
    }
    priorities::update(runtime, &services.sampler, &batch, &measured)?;
    if trainer.engine.updates().is_multiple_of(trainer.config.train.publish_every) {
        publish(trainer, services)?;
    }
    Ok(true)
}

/// Broadcasts the weights under a version that nobody has seen.
fn publish(trainer: &mut Trainer<'_>, services: &Services) -> Result<()> {
    let version =
        trainer.with_room(|trainer| services.admission.numbers().next_version(trainer.state.version))?;
    trainer.timed(Part::Publish, |trainer| {
        let weights = trainer.broadcast_as(version);
        services.publish(version, trainer.engine.updates(), weights)
    })
}

/// Writes a checkpoint, if this learner still leads.
fn checkpoint(
    trainer: &mut Trainer<'_>,
    runtime: &Runtime,
    services: &mut Services,
    lead: &Lead,
    (seen, finished): (Counts, bool),
) -> Result<()> {
    lead.check()?;
    (trainer.may_write)()?;
    let mut extra = BTreeMap::new();
    let finished = if finished { trainer.config.train.steps } else { 0 };
    put(&mut extra, CLUSTER, &Standing { pacer: services.pacer.save(), seen, finished });
    let begun = Instant::now();
    let path = trainer.checkpoint(extra).or_else(|error| {
        // One that was held up in here may have been replaced: that is why, then.
        lead.check()?;
        (trainer.may_write)()?;
        Err(error)
    })?;
    metrics::CHECKPOINT_SECONDS.record(begun.elapsed().as_secs_f64(), []);
    services.catalogue(trainer, &path, runtime);
    Ok(())
}
