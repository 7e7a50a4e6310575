//! What both modes share: the engine, the schedule of records, evaluations and checkpoints, and the files of the run.
//!
//! Owner: the learner's thread, the only one that touches tensors.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Instant};

use actor::{Counts, VersionedPolicy};
use agent::{Explorer, Policy};
use anyhow::{Context, Result, bail};
use common::{
    PolicyVersion,
    config::Config,
    files,
    transition::{HighBatch, LowBatch},
};
use node::metrics;

use super::{
    Interrupt,
    ages::Ages,
    averages::Averages,
    clock::{Clock, Part},
    progress::{Progress, Status},
    records::wall_time,
    relabel,
    resume::{LoopState, Resumed, check_settings, has_moved, put, timing_bytes},
    warm_start,
};
use crate::{
    checkpoint::{self, Checkpoint},
    engine::{Engine, UpdateMetrics, choice},
    run_dir::{self, JsonLines, RunDir, tensorboard::EventFile},
    world::World,
};

/// Records of metrics.jsonl between two evaluations.
const RECORDS_PER_EVALUATION: u64 = 10;

/// A run in progress.
pub(super) struct Trainer<'a> {
    pub(super) config: &'a Config,
    pub(super) world: &'a World,
    pub(super) engine: Box<dyn Engine>,
    pub(super) averages: Averages,
    /// Environment steps so far.
    pub(super) env_steps: u64,
    /// Where the loop stands besides.
    pub(super) state: LoopState,
    /// What was broadcast last.
    broadcast: Vec<u8>,
    run_dir: &'a RunDir,
    interrupt: &'a Interrupt,
    /// Fails once another learner writes into the run directory: asked before a file gets its name, and after what takes long.
    pub(super) may_write: Box<dyn Fn() -> io::Result<()> + 'a>,
    pub(super) metrics: JsonLines,
    pub(super) timing: JsonLines,
    pub(super) events: EventFile,
    pub(super) progress: Progress,
    pub(super) clock: Clock,
    /// Mean total reward a session of the last evaluation.
    pub(super) reward: Option<f64>,
    /// Mean low-level Q of the last record.
    pub(super) mean_q: Option<f64>,
    /// Versions by which the last low-level minibatch was behind.
    pub(super) staleness: Option<f64>,
    next_record: u64,
    next_evaluation: u64,
    next_checkpoint: u64,
}

/// A run without checkpoints begins again: unless it had some, whose policy would be overwritten by one that has learned nothing.
fn begin_again(run_dir: &RunDir) -> Result<()> {
    let (path, policy) = (run_dir.path().display(), run_dir.policy_path());
    if policy.exists() {
        bail!(
            "{path} holds a policy, but the checkpoints that the run would go on from are gone: put them back, or begin \
             another run"
        );
    }
    tracing::warn!("{path} has no checkpoint yet: the run begins again");
    Ok(())
}

/// Refuses an end that the run is beyond, unless it was its own: then it had come to it.
fn check_length(config: &Config, run_dir: &RunDir, env_steps: u64) -> Result<()> {
    let (steps, own) = (config.train.steps, Config::load_run(&run_dir.config_path(), &[])?.train.steps);
    if steps < env_steps && steps != own {
        bail!("{} has done {env_steps} steps: it cannot end at {steps}", run_dir.path().display());
    }
    Ok(())
}

/// Environment steps of a run that come before its first update, about: until the replay holds enough, and until a period
/// of the sessions side by side is over.
pub fn steps_before_learning(config: &Config) -> u64 {
    let (replay, actor, period) = (&config.replay, &config.actor, config.model.high_steps());
    let first_periods = actor.actors * actor.sessions * period;
    replay.low.min_size.max(replay.high.min_size * period).max(first_periods) as u64
}

/// The first multiple of `every` beyond `now`.
fn next(now: u64, every: u64) -> u64 {
    (now / every + 1) * every
}

impl<'a> Trainer<'a> {
    /// A run at its beginning, or with `resume` at its newest whole checkpoint, with the parts that the mode takes from
    /// it (none if the run had not come to its first one).
    pub(super) fn new(
        config: &'a Config,
        world: &'a World,
        run_dir: &'a RunDir,
        interrupt: &'a Interrupt,
        resume: bool,
    ) -> Result<(Self, Option<Resumed>)> {
        let knows_items = run_dir.keep_items(world.items(), world.name())?;
        let mut engine = choice::open(config, world.items()).context("cannot start the learner")?;
        let (mut averages, mut state, mut env_steps, mut resumed) =
            (Averages::default(), LoopState::default(), 0, None);
        let found = if resume { checkpoint::load_newest(&run_dir.checkpoints_path())? } else { None };
        if let Some((path, checkpoint)) = found {
            check_settings(config, &path, &checkpoint.config_toml)?;
            if has_moved(config, &checkpoint.config_toml) && !knows_items {
                bail!(
                    "{} has not noted its items: whether a log is its own cannot be told",
                    run_dir.path().display()
                );
            }
            engine
                .load_state(&checkpoint.tensors)
                .with_context(|| format!("checkpoint {} does not fit this run's settings", path.display()))?;
            env_steps = checkpoint.step;
            let mut parts = Resumed::new(path, checkpoint);
            (state, averages) = (parts.decode("loop")?, parts.decode("averages")?);
            tracing::info!(env_steps, updates = engine.updates(), "going on from a checkpoint");
            resumed = Some(parts);
        } else {
            if resume {
                begin_again(run_dir)?;
            }
            if let Some([first, last]) = warm_start::imitate(&mut *engine, config, world)? {
                tracing::info!("imitated the log: loss {first:.3} in the first pass, {last:.3} in the last");
            }
        }
        if resume {
            check_length(config, run_dir, env_steps)?;
            // What was changed holds from now on, for evaluations too.
            run_dir::write_whole(&run_dir.config_path(), config.to_toml().as_bytes())?;
        }
        let timing_path = run_dir.timing_path();
        let status = Status { env_steps, updates: engine.updates(), ..Status::default() };
        let mut trainer = Self {
            metrics: JsonLines::append_behind(&run_dir.metrics_path(), state.metrics_bytes)?,
            timing: JsonLines::append_behind(&timing_path, timing_bytes(&timing_path, env_steps))?,
            events: EventFile::create(&run_dir.events_path(), wall_time(), env_steps)?,
            progress: Progress::new(config.train.steps, status),
            clock: Clock::start(env_steps, engine.updates()),
            broadcast: Vec::new(),
            reward: None,
            mean_q: None,
            staleness: None,
            next_record: 0,
            next_evaluation: next(env_steps, config.train.evaluate_every),
            next_checkpoint: next(env_steps, config.train.checkpoint_every),
            config,
            world,
            engine,
            averages,
            env_steps,
            state,
            run_dir,
            interrupt,
            may_write: Box::new(|| Ok(())),
        };
        trainer.next_record = next(env_steps, trainer.record_every());
        Ok((trainer, resumed))
    }

    fn record_every(&self) -> u64 {
        (self.config.train.evaluate_every / RECORDS_PER_EVALUATION).max(1)
    }

    /// Figures of the moment.
    pub(super) fn status(&self) -> Status {
        Status {
            env_steps: self.env_steps,
            updates: self.engine.updates(),
            mean_q: self.mean_q,
            reward: self.reward,
        }
    }

    /// Whether the run should stop before its end.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupt.raised()
    }

    /// What asks the run to end.
    pub(super) fn interrupt(&self) -> &'a Interrupt {
        self.interrupt
    }

    /// Whether all environment steps are done.
    pub(super) fn all_steps_done(&self) -> bool {
        self.env_steps >= self.config.train.steps
    }

    /// Runs a part of the work on the clock.
    pub(super) fn timed<T>(&mut self, part: Part, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let result = work(self);
        self.clock.add(part, start.elapsed());
        result
    }

    /// One update of both levels (Algorithm 1, lines 24-30).
    pub(super) fn update(&mut self, high: &HighBatch, low: &LowBatch) -> Result<UpdateMetrics> {
        let rows = relabel::relabel(low, self.config, self.world.items(), self.engine.updates());
        self.engine.set_progress(self.env_steps as f64 / self.config.train.steps as f64);
        let metrics = self.timed(Part::Update, |trainer| trainer.engine.update(high, &rows))?;
        self.averages.add(&metrics);
        let ages = low.policy_versions.iter().map(|&v| self.state.version.saturating_sub(v));
        let staleness = ages.clone().sum::<u64>() as f64 / low.len().max(1) as f64;
        self.averages.add_staleness(staleness, &Ages::of(ages));
        self.staleness = Some(staleness);
        Ok(metrics)
    }

    /// The online actors, serialised under the next version.
    pub(super) fn next_broadcast(&mut self) -> (PolicyVersion, Vec<u8>) {
        let version = self.state.version + 1;
        (version, self.broadcast_as(version))
    }

    /// The online actors, serialised under a version above all before.
    pub(super) fn broadcast_as(&mut self, version: PolicyVersion) -> Vec<u8> {
        self.state.version = version;
        self.broadcast = self.engine.weights(false);
        self.broadcast.clone()
    }

    /// The online actors as rollouts use them, under the next version.
    pub(super) fn next_policy(&mut self) -> Result<Arc<VersionedPolicy>> {
        let (_, weights) = self.next_broadcast();
        self.versioned(weights)
    }

    /// Serialised actors as rollouts use them, under the current version.
    pub(super) fn versioned(&mut self, weights: Vec<u8>) -> Result<Arc<VersionedPolicy>> {
        let policy = self.policy(&weights)?;
        self.broadcast = weights;
        Ok(Arc::new(VersionedPolicy {
            version: self.state.version,
            learner_step: self.engine.updates(),
            policy,
        }))
    }

    /// The serialised actors of the last broadcast.
    pub(super) fn broadcast(&self) -> &[u8] {
        &self.broadcast
    }

    /// A policy of serialised weights.
    pub(super) fn policy(&self, weights: &[u8]) -> Result<Policy> {
        Policy::from_safetensors(weights, &self.config.model, Arc::clone(self.world.items()))
            .context("the learner's weights are no policy")
    }

    /// The noise of the rollouts.
    pub(super) fn explorer(&self) -> Explorer {
        Explorer::new(&self.config.exploration, self.config.model.bound, self.config.seed)
    }

    /// Takes note of rollouts and does what is due: a record, an evaluation. True if a checkpoint is due.
    pub(super) fn advance(&mut self, env_steps: u64, counts: Counts) -> Result<bool> {
        self.env_steps = env_steps;
        self.averages.counts += counts;
        if env_steps >= self.next_record {
            self.next_record = next(env_steps, self.record_every());
            self.record()?;
        }
        if env_steps >= self.next_evaluation {
            self.next_evaluation = next(env_steps, self.config.train.evaluate_every);
            self.evaluate()?;
        }
        let status = self.status();
        self.progress.show(&status);
        if env_steps >= self.next_checkpoint {
            self.next_checkpoint = next(env_steps, self.config.train.checkpoint_every);
            return Ok(true);
        }
        Ok(false)
    }

    /// The evaluation that was all but due when the steps ended: those of a cluster end a batch or so before.
    pub(super) fn evaluate_at_the_end(&mut self) -> Result<()> {
        if self.next_evaluation - self.env_steps >= self.config.train.evaluate_every / 2 {
            return Ok(());
        }
        self.next_evaluation = next(self.next_evaluation, self.config.train.evaluate_every);
        self.record()?;
        self.evaluate()
    }

    /// Writes a checkpoint with the parts that the mode needs besides, and the policy; the checkpoint's path.
    pub(super) fn checkpoint(&mut self, mut extra: BTreeMap<String, Vec<u8>>) -> Result<PathBuf> {
        // What the checkpoint counts on must not be lost behind it.
        self.with_room(|trainer| Ok(trainer.metrics.sync()?))?;
        self.state.metrics_bytes = self.metrics.bytes();
        put(&mut extra, "loop", &self.state);
        put(&mut extra, "averages", &self.averages);
        let checkpoint = Checkpoint {
            step: self.env_steps,
            updates: self.engine.updates(),
            config_toml: self.config.to_toml(),
            tensors: self.engine.state(),
            extra,
        };
        let folder = self.run_dir.checkpoints_path();
        let keep = self.config.train.keep_checkpoints;
        let path = self.with_room(|trainer| {
            let written = checkpoint::write(&folder, &checkpoint, keep, &*trainer.may_write);
            Ok(written.inspect_err(|_| metrics::CHECKPOINT_FAILURES.increment(1, []))?)
        })?;
        self.with_room(|trainer| trainer.write_policy())?;
        Ok(path)
    }

    fn write_policy(&self) -> Result<()> {
        let policy = self.run_dir.policy_path();
        files::write_whole_if(&policy, &self.engine.weights(true), &*self.may_write)
            .with_context(|| format!("cannot write {}", policy.display()))
    }

    /// Ends the run; true if all environment steps are done.
    pub(super) fn finish(self) -> Result<bool> {
        self.progress.finish();
        if self.engine.updates() > 0 && !self.run_dir.policy_path().exists() {
            // Removed since: a run that was at its end has written none again.
            self.write_policy()?;
        }
        if self.engine.updates() == 0 && self.all_steps_done() {
            let (replay, actor, period) =
                (&self.config.replay, &self.config.actor, self.config.model.high_steps());
            let high = if period == 0 { 0 } else { replay.high.min_size };
            let first = match actor.actors * actor.sessions * period {
                0 => String::new(),
                first => format!(
                    "; {} x {} sessions (actor.actors, actor.sessions) with periods of {period} steps have the first high-level \
                     ones after {first} steps",
                    actor.actors, actor.sessions
                ),
            };
            bail!(
                "{} environment steps ended before the first update: the replay needs {} low-level and {high} \
                 high-level transitions first (replay.low.min_size, replay.high.min_size){first}",
                self.env_steps,
                replay.low.min_size,
            );
        }
        Ok(self.all_steps_done())
    }
}
