//! The convergence study: runs of different numbers of actors side by side, with the single-node run as their control.
//!
//! In: [`Row`]s of runs; out: the return that all are held to, the time and the steps each took to it, whether clusters
//! arrive where a single node does, and whether the rows may be compared at all. A run that did not get there has no
//! number.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{costs::Case, cpu::CpuUse, measure::RunFigures};
use crate::evaluation::{Estimate, statistics::together};

#[cfg(test)]
pub(crate) mod tests;

/// Update ratios that differ by more than this are no fair comparison.
pub const RATIO_TOLERANCE: f64 = 0.05;
/// Actors of a row whose one process holds everything, replay and rollouts included: `learner train`.
pub const SINGLE_NODE: u64 = 0;
/// `auto`: this share of the way from the first evaluations to the end of the row that ended lowest.
pub const AUTO_SHARE: f64 = 0.9;

/// One run of the study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Actor processes, or [`SINGLE_NODE`].
    pub actors: u64,
    /// Replay shards.
    pub shards: u64,
    /// Cores of the machine, or of all machines; `None`: nobody said.
    pub cores: Option<f64>,
    /// What was measured.
    pub run: RunFigures,
    /// CPU of the processes, where the study started them itself.
    pub cpu: Option<CpuUse>,
}

/// What a whole study leaves: `scaling.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Version of this form.
    pub version: u32,
    /// When, where, by what; for people.
    pub about: Vec<String>,
    /// In the order of actors, then seeds.
    pub rows: Vec<Row>,
    /// Costs and setup for the model, if they were measured; of the cluster with the fewest actors.
    pub case: Option<Case>,
}

/// The return that rows are held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So much.
    Return(f64),
    /// See [`AUTO_SHARE`].
    Auto,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Self::Return(value)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err(format!("`{text}` is neither a return nor `auto`")),
        }
    }
}

/// What a row is called.
pub fn name(actors: u64) -> String {
    match actors {
        SINGLE_NODE => "single node".to_owned(),
        1 => "1 actor".to_owned(),
        _ => format!("{actors} actors"),
    }
}

/// All seeds of one number of actors.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<'a> {
    /// Actor processes, or [`SINGLE_NODE`].
    pub actors: u64,
    /// Its runs, by seed.
    pub rows: Vec<&'a Row>,
}

/// A mean with the smallest and the largest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

impl Spread {
    /// Of values; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let low = values.iter().copied().min_by(f64::total_cmp)?;
        let high = values.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { mean, low, high })
    }
}

impl Group<'_> {
    /// A figure of all its runs.
    pub fn spread(&self, of: impl Fn(&Row) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rows.iter().filter_map(|row| of(row)))
    }

    /// Seconds and steps to the target, `None` unless every seed got there.
    pub fn reached(&self, target: f64) -> Option<(Spread, Spread)> {
        let all: Option<Vec<_>> = self.rows.iter().map(|row| row.run.reached(target)).collect();
        let all = all?;
        Some((
            Spread::of(all.iter().map(|e| e.seconds))?,
            Spread::of(all.iter().map(|e| e.env_steps as f64))?,
        ))
    }

    /// Runs that got there.
    pub fn n_reached(&self, target: f64) -> usize {
        self.rows.iter().filter(|row| row.run.reached(target).is_some()).count()
    }
}

impl Study {
    /// A study in order.
    pub fn new(about: Vec<String>, mut rows: Vec<Row>, case: Option<Case>) -> Result<Self> {
        ensure!(!rows.is_empty(), "there is no run to tell of");
        rows.sort_by_key(|row| (row.actors, row.run.seed));
        Ok(Self { version: 1, about, rows, case })
    }

    /// Runs by actors.
    pub fn groups(&self) -> Vec<Group<'_>> {
        self.rows
            .chunk_by(|a, b| a.actors == b.actors)
            .map(|rows| Group { actors: rows[0].actors, rows: rows.iter().collect() })
            .collect()
    }

    /// The return that all rows are held to; `None` if `auto` finds that nothing was learned.
    pub fn target(&self, target: Target) -> Option<f64> {
        if let Target::Return(value) = target {
            return Some(value);
        }
        let first = self.rows.iter().filter_map(|row| row.run.evaluations.first());
        let first = Spread::of(first.map(|e| e.total.value))?.mean;
        let end = self.rows.iter().map(|row| row.run.end()).collect::<Option<Vec<f64>>>()?;
        let end = Spread::of(end)?.low;
        (end > first).then_some(first + AUTO_SHARE * (end - first))
    }

    /// What clusters end above the single node, in reward a session: the mean over the seeds that both have of the
    /// differences of their last evaluations, with Student's interval (95% for all clusters together), and the number
    /// of those seeds. Empty without a single node, or where fewer than two seeds are shared.
    pub fn above_single_node(&self) -> Vec<(u64, Estimate, usize)> {
        let groups = self.groups();
        let Some((control, clusters)) = groups.split_first().filter(|(first, _)| first.actors == SINGLE_NODE)
        else {
            return Vec::new();
        };
        let end = |row: &Row| row.run.evaluations.last().map(|e| e.total.value);
        let differences = |cluster: &Group<'_>| -> Vec<f64> {
            let control =
                |seed| control.rows.iter().find(|row| row.run.seed == seed).and_then(|row| end(row));
            cluster.rows.iter().filter_map(|row| Some(end(row)? - control(row.run.seed)?)).collect()
        };
        let all = clusters.iter().map(|cluster| (cluster.actors, differences(cluster)));
        let all: Vec<_> = all.filter(|(_, values)| values.len() > 1).collect();
        let comparisons = all.len();
        all.into_iter()
            .map(|(actors, values)| {
                let seeds = values.len();
                (actors, together::mean(&[values], comparisons), seeds)
            })
            .collect()
    }

    /// Why the rows are no fair comparison; empty if they are one.
    pub fn unfair(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for row in &self.rows {
            let RunFigures { env_steps, budget, asked_ratio, seed, .. } = row.run;
            let name = format!("{}, seed {seed}", name(row.actors));
            // The last record may lie a little before the end.
            if (env_steps as f64) < budget as f64 * (1.0 - RATIO_TOLERANCE) {
                reasons.push(format!("{name}: ended after {env_steps} of {budget} environment steps"));
            }
            let ratio = row.run.update_ratio();
            let off = (ratio / asked_ratio - 1.0).abs();
            // Nothing was asked for: NaN.
            if off.is_nan() || off > RATIO_TOLERANCE {
                reasons.push(format!(
                    "{name}: {ratio:.3e} updates an environment step, {asked_ratio:.3e} were asked for"
                ));
            }
        }
        let differ_in =
            |rows: &mut dyn Iterator<Item = &Row>, what: &str, of: &dyn Fn(&Row) -> f64, tolerance: f64| {
                let Spread { low, high, .. } = Spread::of(rows.map(of))?;
                let text = format!("{what} differ between rows, from {low:.3e} to {high:.3e}");
                (high > low * (1.0 + tolerance)).then_some(text)
            };
        let differ = |what: &str, of: &dyn Fn(&Row) -> f64, tolerance| {
            differ_in(&mut self.rows.iter(), what, of, tolerance)
        };
        reasons.extend(differ("budgets of environment steps", &|row| row.run.budget as f64, 0.0));
        reasons.extend(differ("updates an environment step", &|row| row.run.update_ratio(), RATIO_TOLERANCE));
        let mut clusters = self.rows.iter().filter(|row| row.actors != SINGLE_NODE);
        reasons.extend(differ_in(&mut clusters, "shards", &|row| row.shards as f64, 0.0));
        reasons.extend(differ("cores", &|row| row.cores.unwrap_or(0.0), 0.0));
        reasons.extend(differ("updates between versions", &|row| row.run.publish_every as f64, 0.0));
        reasons
    }
}
