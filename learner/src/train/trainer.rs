//! What both modes share: the engine, the schedule of records, evaluations and checkpoints, and what is written.
//!
//! Owner: the learner's thread, the only one that touches tensors.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actor::{Counts, VersionedPolicy};
use agent::{Explorer, Policy};
use anyhow::{Context, Result, bail};
use common::{
    PolicyVersion,
    config::Config,
    transition::{HighBatch, LowBatch},
};

use super::{
    Interrupt,
    averages::Averages,
    progress::{Progress, Status},
    resume::{LoopState, Resumed, put},
};
use crate::{
    checkpoint::{self, Checkpoint},
    engine::{Engine, torch::TorchEngine},
    evaluation::{AgentPolicy, EvaluationResult, EvaluationSettings, MonteCarloReturns, Users, roll_out},
    run_dir::{
        self, JsonLines, RunDir,
        metrics::{EvaluationRecord, LevelMeans, Record, TimingRecord, TrainRecord},
        tensorboard::EventFile,
    },
    world::World,
};

/// Records of metrics.jsonl between two evaluations.
const RECORDS_PER_EVALUATION: u64 = 10;

/// Where the learner's time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Update,
    Sample,
    Rollout,
    Publish,
    Evaluation,
}

/// Seconds in each [`Part`] since the last timing record.
#[derive(Debug, Default)]
struct Shares([Duration; 5]);

/// A run in progress.
pub(super) struct Trainer<'a> {
    pub(super) config: &'a Config,
    pub(super) world: &'a World,
    pub(super) engine: TorchEngine,
    pub(super) averages: Averages,
    /// Environment steps so far.
    pub(super) env_steps: u64,
    /// Version of the last broadcast.
    pub(super) version: PolicyVersion,
    /// What was broadcast then.
    broadcast: Vec<u8>,
    run_dir: &'a RunDir,
    interrupt: &'a Interrupt,
    metrics: JsonLines,
    timing: JsonLines,
    events: EventFile,
    progress: Progress,
    reward: Option<f64>,
    mean_q: Option<f64>,
    next_record: u64,
    next_evaluation: u64,
    next_checkpoint: u64,
    started: Instant,
    shares: Shares,
    /// Time, steps and updates of the last timing record.
    last_timing: (Instant, u64, u64),
}

/// The first multiple of `every` beyond `now`.
fn next(now: u64, every: u64) -> u64 {
    (now / every + 1) * every
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl<'a> Trainer<'a> {
    /// A run at its beginning.
    pub(super) fn new(
        config: &'a Config,
        world: &'a World,
        run_dir: &'a RunDir,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let engine = TorchEngine::new(config, world.items()).context("cannot start the learner")?;
        let now = Instant::now();
        let mut trainer = Self {
            engine,
            averages: Averages::default(),
            env_steps: 0,
            version: 0,
            broadcast: Vec::new(),
            metrics: JsonLines::append_behind(&run_dir.metrics_path(), 0)?,
            timing: JsonLines::append_behind(&run_dir.timing_path(), 0)?,
            events: EventFile::create(&run_dir.events_path(), wall_time())?,
            progress: Progress::new(config.train.steps, Status::default()),
            reward: None,
            mean_q: None,
            next_record: 0,
            next_evaluation: 0,
            next_checkpoint: 0,
            started: now,
            shares: Shares::default(),
            last_timing: (now, 0, 0),
            config,
            world,
            run_dir,
            interrupt,
        };
        trainer.schedule();
        Ok(trainer)
    }

    /// Takes over the newest checkpoint of the run directory; `None` if the run had not come to its first one.
    pub(super) fn resume(&mut self) -> Result<Option<Resumed>> {
        let Some(path) = checkpoint::latest(&self.run_dir.checkpoints_path())? else { return Ok(None) };
        let checkpoint = checkpoint::file::load(&path)?;
        self.engine
            .load_state(&checkpoint.tensors)
            .with_context(|| format!("checkpoint {} does not fit this run", path.display()))?;
        self.env_steps = checkpoint.step;
        let mut resumed = Resumed::new(checkpoint);
        let state: LoopState = resumed.decode("loop")?;
        self.averages = resumed.decode("averages")?;
        self.version = state.version;
        self.metrics = JsonLines::append_behind(&self.run_dir.metrics_path(), state.metrics_bytes)?;
        self.schedule();
        self.progress = Progress::new(self.config.train.steps, self.status());
        self.last_timing = (Instant::now(), self.env_steps, self.engine.updates());
        Ok(Some(resumed))
    }

    /// The next record, evaluation and checkpoint from where the run stands.
    fn schedule(&mut self) {
        let train = &self.config.train;
        self.next_record = next(self.env_steps, self.record_every());
        self.next_evaluation = next(self.env_steps, train.evaluate_every);
        self.next_checkpoint = next(self.env_steps, train.checkpoint_every);
    }

    fn record_every(&self) -> u64 {
        (self.config.train.evaluate_every / RECORDS_PER_EVALUATION).max(1)
    }

    fn status(&self) -> Status {
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

    /// Whether all environment steps are done.
    pub(super) fn all_steps_done(&self) -> bool {
        self.env_steps >= self.config.train.steps
    }

    /// Runs a part of the work on the clock.
    pub(super) fn timed<T>(&mut self, part: Part, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let result = work(self);
        self.shares.0[part as usize] += start.elapsed();
        result
    }

    /// One update of both levels (Algorithm 1, lines 24-30).
    pub(super) fn update(&mut self, high: &HighBatch, low: &LowBatch) -> Result<()> {
        self.engine.set_progress(self.env_steps as f64 / self.config.train.steps as f64);
        let metrics = self.timed(Part::Update, |trainer| trainer.engine.update(high, low))?;
        self.averages.add(&metrics);
        let versions = low.policy_versions.iter().map(|&v| self.version.saturating_sub(v) as f64);
        self.averages.add_staleness(versions.sum::<f64>() / low.len().max(1) as f64);
        Ok(())
    }

    /// The online actors, serialised under the next version.
    pub(super) fn next_broadcast(&mut self) -> (PolicyVersion, Vec<u8>) {
        self.version += 1;
        self.broadcast = self.engine.weights(false);
        (self.version, self.broadcast.clone())
    }

    /// The online actors as rollouts use them, under the next version.
    pub(super) fn next_policy(&mut self) -> Result<Arc<VersionedPolicy>> {
        let (_, weights) = self.next_broadcast();
        self.versioned(&weights)
    }

    /// Serialised actors as rollouts use them, under the current version.
    pub(super) fn versioned(&mut self, weights: &[u8]) -> Result<Arc<VersionedPolicy>> {
        self.broadcast = weights.to_vec();
        Ok(Arc::new(VersionedPolicy {
            version: self.version,
            learner_step: self.engine.updates(),
            policy: self.policy(weights)?,
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

    /// Writes what was measured since the last record.
    fn record(&mut self) -> Result<()> {
        let averages = std::mem::take(&mut self.averages);
        let counts = averages.counts;
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let clicks = counts.clicks_only + counts.orders;
        let record = TrainRecord {
            env_steps: self.env_steps,
            updates: self.engine.updates(),
            reward_per_step: counts.reward() / counts.steps.max(1) as f64,
            ctr: share(clicks, counts.steps),
            cvr: share(counts.orders, clicks),
            random_share: share(counts.random_items, counts.steps),
            noise_share: share(counts.noise_changed, counts.noise_sampled),
            internal_reward: averages.internal_reward(),
            staleness: averages.staleness(),
            high: averages.high(),
            low: averages.low(),
        };
        self.mean_q = record.low.as_ref().map(|low| low.mean_q[0]).or(self.mean_q);
        self.events.scalars(wall_time(), self.env_steps, &train_scalars(&record))?;
        self.metrics.push(&Record::Train(record))?;
        self.record_timing()
    }

    fn record_timing(&mut self) -> Result<()> {
        let (now, updates) = (Instant::now(), self.engine.updates());
        let (before, steps_before, updates_before) = self.last_timing;
        let seconds = now.duration_since(before).as_secs_f64().max(1e-9);
        let shares = std::mem::take(&mut self.shares);
        let share = |part: Part| shares.0[part as usize].as_secs_f64() / seconds;
        let record = TimingRecord {
            env_steps: self.env_steps,
            updates,
            seconds: now.duration_since(self.started).as_secs_f64(),
            steps_per_second: (self.env_steps - steps_before) as f64 / seconds,
            updates_per_second: (updates - updates_before) as f64 / seconds,
            update_share: share(Part::Update),
            sample_share: share(Part::Sample),
            rollout_share: share(Part::Rollout),
            publish_share: share(Part::Publish),
            evaluation_share: share(Part::Evaluation),
        };
        self.last_timing = (now, self.env_steps, updates);
        Ok(self.timing.push(&record)?)
    }

    /// Plays validation sessions without exploration.
    fn evaluate(&mut self) -> Result<()> {
        let settings = EvaluationSettings {
            users: Users::Validation,
            sessions: self.config.train.evaluation_sessions,
            length: self.config.environment.session_length,
            seed: 0,
            slots: 64,
            threads: 1,
        };
        let record = self.timed(Part::Evaluation, |trainer| -> Result<EvaluationRecord> {
            let policy = trainer.policy(&trainer.engine.weights(false))?;
            let mut policy = AgentPolicy::new("MaHRL", Arc::new(policy), trainer.config.period_layout());
            let rollouts = roll_out(&mut policy, &trainer.world.for_evaluation(), &settings)?;
            let result = EvaluationResult::new("MaHRL", &rollouts, &settings);
            Ok(EvaluationRecord {
                env_steps: trainer.env_steps,
                updates: trainer.engine.updates(),
                total: result.total,
                click: result.click,
                order: result.order,
                expected: result.expected,
                ctr: result.ctr,
                cvr: result.cvr,
                returns: MonteCarloReturns::new(&rollouts.records, trainer.config, 0),
            })
        })?;
        self.reward = Some(record.total.value);
        let scalars = [
            ("evaluation/total", record.total.value),
            ("evaluation/click", record.click.value),
            ("evaluation/order", record.order.value),
            ("evaluation/ctr", record.ctr.value),
            ("evaluation/cvr", record.cvr.value),
            ("evaluation/low_return", record.returns.low.from_every_step.value),
        ]
        .map(|(tag, value)| (tag.to_owned(), value));
        self.events.scalars(wall_time(), self.env_steps, &scalars)?;
        self.metrics.push(&Record::Evaluation(Box::new(record)))?;
        let status = self.status();
        self.progress.line(&status);
        Ok(())
    }

    /// Writes a checkpoint with the parts that the mode needs besides, and the policy.
    pub(super) fn checkpoint(&mut self, earned: f64, mut extra: BTreeMap<String, Vec<u8>>) -> Result<()> {
        let state = LoopState { version: self.version, earned, metrics_bytes: self.metrics.bytes() };
        put(&mut extra, "loop", &state);
        put(&mut extra, "averages", &self.averages);
        let checkpoint = Checkpoint {
            step: self.env_steps,
            updates: self.engine.updates(),
            config_toml: self.config.to_toml(),
            tensors: self.engine.state(),
            extra,
        };
        let folder = self.run_dir.checkpoints_path();
        checkpoint::write(&folder, &checkpoint, self.config.train.keep_checkpoints)?;
        run_dir::write_whole(&self.run_dir.policy_path(), &self.engine.weights(true))?;
        Ok(())
    }

    /// Ends the run; true if all environment steps are done.
    pub(super) fn finish(self) -> Result<bool> {
        self.progress.finish();
        if self.engine.updates() == 0 && self.all_steps_done() {
            bail!(
                "{} environment steps ended before the first update: the replay needs {} low-level and {} high-level \
                 transitions first (replay.low.min_size, replay.high.min_size)",
                self.env_steps,
                self.config.replay.low.min_size,
                self.config.replay.high.min_size
            );
        }
        Ok(self.all_steps_done())
    }
}

/// The figures of a record for TensorBoard.
fn train_scalars(record: &TrainRecord) -> Vec<(String, f64)> {
    let mut scalars = vec![
        ("rollout/reward_per_step".to_owned(), record.reward_per_step),
        ("rollout/ctr".to_owned(), record.ctr),
        ("rollout/cvr".to_owned(), record.cvr),
        ("rollout/noise_share".to_owned(), record.noise_share),
    ];
    scalars.extend(record.internal_reward.map(|value| ("update/internal_reward".to_owned(), value)));
    scalars.extend(record.staleness.map(|value| ("update/staleness".to_owned(), value)));
    for (level, means) in [("high", &record.high), ("low", &record.low)] {
        let Some(means) = means else { continue };
        let LevelMeans { critic_loss, actor_loss, mean_q, mean_target, mean_reward, .. } = means;
        for (name, values) in [
            ("critic_loss", critic_loss),
            ("actor_loss", actor_loss),
            ("mean_q", mean_q),
            ("mean_target", mean_target),
            ("mean_reward", mean_reward),
        ] {
            let named = |(head, value): (usize, &f64)| (format!("{level}/{name}/{head}"), *value);
            scalars.extend(values.iter().enumerate().map(named));
        }
        for (name, value) in [
            ("critic_gradient_norm", means.critic_gradient_norm),
            ("actor_gradient_norm", means.actor_gradient_norm),
            ("saturated_share", means.saturated_share),
            ("dead_share", means.dead_share),
        ] {
            scalars.push((format!("{level}/{name}"), value));
        }
    }
    scalars
}
