//! What a run costs, and what it runs on: the inputs of the [model](super::model).
//!
//! In: measurements (`scaling.json`) or flags `KEY=VALUE`; out: checked numbers. Times are seconds of one core, sizes bytes.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the roles' work costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// An actor, an environment step: policy, world, writing.
    pub actor_step_s: f64,
    /// A shard, a step stored.
    pub insert_s: f64,
    /// A shard, a low-level row sampled, with its share of the high-level rows.
    pub row_s: f64,
    /// The learner's thread, an update of both levels.
    pub update_s: f64,
    /// The learner's other threads, a low-level row received.
    pub learner_row_s: f64,
    /// The learner's thread, a version of the weights.
    pub publish_s: f64,
    /// The learner's other threads, a version for one subscriber.
    pub send_s: f64,
    /// The learner's thread, an evaluation.
    pub evaluation_s: f64,
    /// A step on the wire from actor to shard, its share of the high level included.
    pub transition_bytes: f64,
    /// A low-level row on the wire from shard to learner, with its share of the high-level rows.
    pub row_bytes: f64,
    /// A version of the weights on the wire.
    pub weights_bytes: f64,
}

/// Who runs where, and what the run is set to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Actor processes.
    pub actors: u64,
    /// Rollout threads of an actor.
    pub threads: u64,
    /// Sessions of a thread; one step of all of them is one batch.
    pub sessions: u64,
    /// Replay shards.
    pub shards: u64,
    /// Cores of the one machine on which everything runs; 0: every process has a machine of its own.
    pub shared_cores: f64,
    /// Cores of an actor's machine.
    pub actor_cores: f64,
    /// Cores of a shard's machine.
    pub shard_cores: f64,
    /// Cores of the learner's machine, its own thread included.
    pub learner_cores: f64,
    /// Bytes a second of a machine, each way.
    pub bandwidth: f64,
    /// Seconds from one machine to another.
    pub latency_s: f64,
    /// Batches a thread may have unacknowledged at a shard.
    pub in_flight: u64,
    /// Updates an environment step.
    pub updates_per_step: f64,
    /// Low-level rows of a minibatch.
    pub rows: f64,
    /// Rows by which samples and inserts may be apart, each way.
    pub window_rows: f64,
    /// Minibatches sampled ahead.
    pub prefetch: u64,
    /// Updates between versions of the weights.
    pub publish_every: f64,
    /// Environment steps between evaluations.
    pub evaluate_every: f64,
    /// Steps of a period: its goals are chosen at its beginning.
    pub period_steps: u64,
    /// Steps stored before the first update.
    pub min_size: f64,
    /// Steps held at most.
    pub capacity: f64,
    /// Environment steps of the run.
    pub steps: f64,
}

impl Setup {
    /// Rollout threads of all actors.
    pub fn rollout_threads(&self) -> f64 {
        (self.actors * self.threads) as f64
    }

    /// Low-level rows sampled for each step stored.
    pub fn samples_per_insert(&self) -> f64 {
        self.updates_per_step * self.rows
    }
}

/// Costs and setup together, as a file keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What work costs.
    pub costs: Costs,
    /// Who runs where.
    pub setup: Setup,
}

impl Case {
    /// With some values replaced, each `KEY=NUMBER` named as the fields are.
    ///
    /// # Errors
    /// A key that there is not, a value that is no number or out of its range.
    pub fn with(self, assumptions: &[String]) -> Result<Self> {
        let mut value = serde_json::to_value(self).context("numbers are JSON")?;
        for text in assumptions {
            let (key, number) =
                text.split_once('=').with_context(|| format!("`{text}` is no KEY=NUMBER, e.g. shards=16"))?;
            let parsed: f64 =
                number.trim().parse().with_context(|| format!("{key}: `{number}` is no number"))?;
            let part = ["costs", "setup"].into_iter().find(|part| value[*part].get(key.trim()).is_some());
            let Some(part) = part else {
                bail!("there is no `{key}`; there are {}", keys(&value).join(", "));
            };
            let place = &mut value[part][key.trim()];
            *place = if place.is_u64() && parsed >= 0.0 && parsed.fract() == 0.0 {
                Value::from(parsed as u64)
            } else {
                Value::from(parsed)
            };
        }
        let case: Self =
            serde_json::from_value(value).context("an assumption does not fit (counts are whole)")?;
        case.validate()?;
        Ok(case)
    }

    /// Checks every number.
    ///
    /// # Errors
    /// The first one out of its range.
    pub fn validate(&self) -> Result<()> {
        let value = serde_json::to_value(self).context("numbers are JSON")?;
        let may_be_zero = [
            "shared_cores",
            "insert_s",
            "row_s",
            "learner_row_s",
            "publish_s",
            "send_s",
            "evaluation_s",
            "latency_s",
            "min_size",
            "prefetch",
        ];
        for part in ["costs", "setup"] {
            for (key, number) in value[part].as_object().into_iter().flatten() {
                let number = number.as_f64().unwrap_or(f64::NAN);
                let least_is_fine =
                    if may_be_zero.contains(&key.as_str()) { number >= 0.0 } else { number > 0.0 };
                ensure!(
                    number.is_finite() && least_is_fine,
                    "{key} is {number}, it must be {}",
                    if may_be_zero.contains(&key.as_str()) { "0 or more" } else { "above 0" }
                );
            }
        }
        Ok(())
    }
}

fn keys(value: &Value) -> Vec<String> {
    let parts = ["costs", "setup"].iter().filter_map(|part| value[*part].as_object());
    parts.flat_map(|part| part.keys().cloned()).collect()
}
