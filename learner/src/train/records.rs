//! What a run measures and writes: means of updates and rollouts, evaluations, rates and shares of time.
//!
//! In: a [`Trainer`]; out: lines of metrics.jsonl and timing.jsonl, TensorBoard scalars.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use node::metrics;

use super::{clock::Part, trainer::Trainer};
use crate::{
    evaluation::{
        AgentPolicy, EvaluationResult, EvaluationSettings, MonteCarloReturns, Users, rank_agreement, roll_out,
    },
    run_dir::metrics::{EvaluationRecord, LevelMeans, Record, TimingRecord, TrainRecord},
};

/// Seconds since 1970.
pub(super) fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Trainer<'_> {
    /// Writes what was measured since the last record.
    pub(super) fn record(&mut self) -> Result<()> {
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
            staleness_p50: averages.staleness_quantile(0.5),
            staleness_p99: averages.staleness_quantile(0.99),
            high: averages.high(),
            low: averages.low(),
        };
        self.mean_q = record.low.as_ref().map(|low| low.mean_q[0]).or(self.mean_q);
        self.add_scalars(&train_scalars(&record))?;
        let record = Record::Train(record);
        self.with_room(|trainer| Ok(trainer.metrics.push(&record)?))?;
        self.record_timing()
    }

    fn record_timing(&mut self) -> Result<()> {
        let updates = self.engine.updates();
        let lap = self.clock.lap(Instant::now(), self.env_steps, updates);
        let record = TimingRecord {
            env_steps: self.env_steps,
            updates,
            seconds: lap.since_start,
            steps_per_second: lap.env_steps as f64 / lap.seconds,
            updates_per_second: lap.updates as f64 / lap.seconds,
            update_share: lap.share(Part::Update),
            sample_share: lap.share(Part::Sample),
            rollout_share: lap.share(Part::Rollout),
            publish_share: lap.share(Part::Publish),
            evaluation_share: lap.share(Part::Evaluation),
            actor_forward_share: lap.actor_share(lap.actors.forward),
            actor_environment_share: lap.actor_share(lap.actors.environment),
            actor_write_share: lap.actor_share(lap.actors.write),
            actor_wait_share: lap.actor_share(lap.actors.wait),
        };
        self.with_room(|trainer| Ok(trainer.timing.push(&record)?))
    }

    fn add_scalars(&mut self, scalars: &[(String, f64)]) -> Result<()> {
        self.with_room(|trainer| Ok(trainer.events.scalars(wall_time(), trainer.env_steps, scalars)?))
    }

    /// Plays validation sessions without exploration.
    pub(super) fn evaluate(&mut self) -> Result<()> {
        let settings = EvaluationSettings {
            users: Users::Validation,
            sessions: self.config.train.evaluation_sessions,
            length: self.config.environment.session_length,
            seed: 0,
            slots: 64,
            threads: 1,
        };
        let record = self.timed(Part::Evaluation, |trainer| -> Result<EvaluationRecord> {
            let agents = Arc::new(trainer.policy(&trainer.engine.weights(true))?);
            let (layout, worlds) = (trainer.config.period_layout(), trainer.world.for_evaluation());
            let method = trainer.config.method();
            let mut policy = AgentPolicy::new(method, Arc::clone(&agents), layout);
            let rollouts = roll_out(&mut policy, &worlds, &settings)?;
            let result = EvaluationResult::new(method, &rollouts, &settings);
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
                rank_agreement: rank_agreement(&agents, layout, &worlds, &settings)?,
            })
        })?;
        // Minutes may have gone by.
        (self.may_write)()?;
        self.reward = Some(record.total.value);
        metrics::EVALUATION_RETURN.set(record.total.value, []);
        metrics::EVALUATION_ENV_STEPS.set(self.env_steps as f64, []);
        metrics::EVALUATION_STEP.set(self.engine.updates() as f64, []);
        let mut scalars = vec![
            ("evaluation/total", record.total.value),
            ("evaluation/click", record.click.value),
            ("evaluation/order", record.order.value),
            ("evaluation/ctr", record.ctr.value),
            ("evaluation/cvr", record.cvr.value),
            ("evaluation/low_return", record.returns.low.from_every_step.value),
        ];
        scalars.extend(record.rank_agreement.map(|agreement| ("evaluation/rank_agreement", agreement.value)));
        let scalars: Vec<_> = scalars.into_iter().map(|(tag, value)| (tag.to_owned(), value)).collect();
        self.add_scalars(&scalars)?;
        let record = Record::Evaluation(Box::new(record));
        self.with_room(|trainer| Ok(trainer.metrics.push(&record)?))?;
        let status = self.status();
        self.progress.line(&status);
        Ok(())
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
    scalars.extend(record.staleness_p99.map(|value| ("update/staleness_p99".to_owned(), value)));
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
