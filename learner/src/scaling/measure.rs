//! What a run came to.
//!
//! In: a run directory (config.toml, metrics.jsonl, timing.jsonl), whoever ran it; out: [`RunFigures`]. Nothing is made up:
//! what a run did not write is `None`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use common::config::{Batch, Config};
use serde::{Deserialize, Serialize};

use crate::{
    checkpoint,
    evaluation::Estimate,
    run_dir::{
        RunDir,
        metrics::{Record, TimingRecord, TrainRecord},
        read_lines,
    },
};

/// An evaluation and when its steps were done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Environment steps.
    pub env_steps: u64,
    /// Seconds of training until then, start-up included, this evaluation not.
    pub seconds: f64,
    /// Mean total reward a session.
    pub total: Estimate,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFigures {
    /// Seed of the run.
    pub seed: u64,
    /// Environment steps that it was to do.
    pub budget: u64,
    /// Environment steps that it did, as the newest checkpoint or record says.
    pub env_steps: u64,
    /// Updates of both levels by then.
    pub updates: u64,
    /// Seconds of training until the last record.
    pub seconds: f64,
    /// Environment steps a second until then.
    pub steps_per_second: f64,
    /// Updates a second until then.
    pub updates_per_second: f64,
    /// Updates an environment step that the settings ask for, warm-up counted in.
    pub asked_ratio: f64,
    /// Low-level rows sampled for each step stored; `None` where the size of minibatches changes.
    pub samples_per_insert: Option<f64>,
    /// Versions of the weights between the choice of the goals and the update, mean over the updates.
    pub staleness: Option<f64>,
    /// 99th percentile of the same over the rows of a record, mean over the updates.
    #[serde(default)]
    pub staleness_p99: Option<f64>,
    /// In the order of the steps.
    pub evaluations: Vec<Evaluated>,
    /// Share of the learner's time in updates.
    pub update_share: f64,
    /// Share of the learner's time waiting for minibatches.
    pub sample_share: f64,
    /// Share of the learner's time in evaluations.
    pub evaluation_share: f64,
    /// Share of the learner's time publishing weights.
    pub publish_share: f64,
    /// Updates between versions of the weights.
    pub publish_every: u64,
}

impl RunFigures {
    /// Reads a run.
    ///
    /// # Errors
    /// A folder that is no run, a damaged file, a run without any record.
    pub fn read(path: &Path) -> Result<Self> {
        let run_dir = RunDir::open(path)?;
        let config = Config::load_run(&run_dir.config_path(), &[])?;
        let timing: Vec<TimingRecord> = read_lines(&run_dir.timing_path())?;
        let records: Vec<Record> = read_lines(&run_dir.metrics_path())?;
        // Behind the last record the learner does the updates that are left.
        let newest = checkpoint::load_newest(&run_dir.checkpoints_path())?;
        let end = newest.map(|(_, checkpoint)| (checkpoint.step, checkpoint.updates));
        Self::of(&config, &timing, &records, end).with_context(|| format!("cannot use {}", path.display()))
    }

    fn of(
        config: &Config,
        timing: &[TimingRecord],
        records: &[Record],
        end: Option<(u64, u64)>,
    ) -> Result<Self> {
        ensure!(!timing.is_empty(), "timing.jsonl is empty: the run has done nothing yet");
        let clock = Clock::of(timing);
        let TimingRecord { env_steps, updates, seconds, .. } = *clock.last();
        let per_second = |count: u64| count as f64 / seconds.max(1e-9);
        let (steps_per_second, updates_per_second) = (per_second(env_steps), per_second(updates));
        let (env_steps, updates) = end.filter(|end| end.0 >= env_steps).unwrap_or((env_steps, updates));
        let evaluations = records.iter().filter_map(|record| match record {
            Record::Evaluation(e) => {
                Some(Evaluated { env_steps: e.env_steps, seconds: clock.at(e.env_steps), total: e.total })
            }
            Record::Train(_) => None,
        });
        let warm_up = (config.replay.low.min_size as u64).min(env_steps);
        let asked = config.train.updates_per_step * (env_steps - warm_up) as f64;
        let ratio = updates as f64 / env_steps.max(1) as f64;
        Ok(Self {
            seed: config.seed,
            budget: config.train.steps,
            env_steps,
            updates,
            seconds,
            steps_per_second,
            updates_per_second,
            asked_ratio: asked / env_steps.max(1) as f64,
            samples_per_insert: match config.replay.low.batch {
                Batch::Rows(rows) => Some(ratio * rows as f64),
                Batch::Share(_) => None,
            },
            staleness: over_updates(records, |record| record.staleness),
            staleness_p99: over_updates(records, |record| record.staleness_p99),
            evaluations: evaluations.collect(),
            update_share: clock.share(|t| t.update_share),
            sample_share: clock.share(|t| t.sample_share),
            evaluation_share: clock.share(|t| t.evaluation_share),
            publish_share: clock.share(|t| t.publish_share),
            publish_every: config.train.publish_every,
        })
    }

    /// Updates an environment step, over the whole run.
    pub fn update_ratio(&self) -> f64 {
        self.updates as f64 / self.env_steps.max(1) as f64
    }

    /// The first evaluation at or above `target`.
    pub fn reached(&self, target: f64) -> Option<Evaluated> {
        self.evaluations.iter().find(|e| e.total.value >= target).copied()
    }

    /// Mean of the last two evaluations.
    pub fn end(&self) -> Option<f64> {
        let last = &self.evaluations[self.evaluations.len().saturating_sub(2)..];
        (!last.is_empty()).then(|| last.iter().map(|e| e.total.value).sum::<f64>() / last.len() as f64)
    }
}

/// Mean of a figure, every record weighing as much as the updates since the one before.
fn over_updates(records: &[Record], of: impl Fn(&TrainRecord) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut weight, mut before) = (0.0, 0.0, 0);
    for record in records {
        let Record::Train(record) = record else { continue };
        let new = record.updates.saturating_sub(before) as f64;
        before = record.updates;
        if let Some(value) = of(record) {
            sum += new * value;
            weight += new;
        }
    }
    (weight > 0.0).then(|| sum / weight)
}

/// The records of timing.jsonl with the seconds of all processes added up: each one's clock begins at 0.
struct Clock(Vec<TimingRecord>);

impl Clock {
    fn of(timing: &[TimingRecord]) -> Self {
        let (mut before, mut last) = (0.0, 0.0);
        let whole = |record: &TimingRecord| {
            if record.seconds < last {
                before += last;
            }
            last = record.seconds;
            TimingRecord { seconds: before + record.seconds, ..record.clone() }
        };
        Self(timing.iter().map(whole).collect())
    }

    fn last(&self) -> &TimingRecord {
        self.0.last().expect("made of at least one record")
    }

    /// When so many steps were done, linear between records.
    fn at(&self, env_steps: u64) -> f64 {
        let mut before = (0.0, 0.0);
        for record in &self.0 {
            let (steps, seconds) = (record.env_steps as f64, record.seconds);
            if record.env_steps >= env_steps {
                let share = (env_steps as f64 - before.0) / (steps - before.0).max(1.0);
                return before.1 + share.clamp(0.0, 1.0) * (seconds - before.1);
            }
            before = (steps, seconds);
        }
        before.1
    }

    /// Mean of a share over the time.
    fn share(&self, of: impl Fn(&TimingRecord) -> f64) -> f64 {
        let (mut sum, mut before) = (0.0, 0.0);
        for record in &self.0 {
            sum += of(record) * (record.seconds - before);
            before = record.seconds;
        }
        sum / before.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(env_steps: u64, updates: u64, seconds: f64, update_share: f64) -> TimingRecord {
        TimingRecord { env_steps, updates, seconds, update_share, ..TimingRecord::default() }
    }

    #[test]
    fn the_clocks_of_all_processes_of_a_run_count() {
        let clock = Clock::of(&[timing(10, 0, 1.0, 0.0), timing(20, 5, 3.0, 0.5), timing(30, 9, 2.0, 1.0)]);
        assert_eq!((clock.at(15), clock.at(20), clock.at(25), clock.at(99)), (2.0, 3.0, 4.0, 5.0));
        assert!((clock.share(|t| t.update_share) - (2.0 * 0.5 + 2.0) / 5.0).abs() < 1e-12);
    }

    #[test]
    fn the_warm_up_counts_into_the_ratio_that_was_asked_for() {
        let mut config = Config::default();
        config.train.updates_per_step = 0.01;
        config.replay.low.min_size = 500;
        config.replay.low.batch = Batch::Rows(64);
        let figures = RunFigures::of(&config, &[timing(1000, 5, 2.0, 0.5)], &[], None).unwrap();
        assert!((figures.asked_ratio - 0.005).abs() < 1e-12 && figures.update_ratio() == 0.005);
        assert_eq!(figures.samples_per_insert, Some(0.32));
        assert_eq!((figures.staleness, figures.end(), figures.reached(0.0)), (None, None, None));
        let message = RunFigures::of(&config, &[], &[], None).unwrap_err().to_string();
        assert!(message.contains("done nothing yet"), "{message}");
    }
}
