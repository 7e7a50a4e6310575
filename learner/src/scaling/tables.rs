//! The study and the model as tables.
//!
//! In: [`Study`], [`Case`]; out: text for a terminal, CSV lines. A figure that is not known is written so.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use super::{
    costs::{Case, Setup},
    model::{Prediction, predict},
    study::{Group, Row, SINGLE_NODE, Spread, Study, name},
};
use crate::evaluation::Estimate;

/// Numbers of actors of the model's table: 1 to 4096.
pub const ACTORS: [u64; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/// Header and rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Names of the columns.
    pub header: Vec<&'static str>,
    /// One a number of actors.
    pub rows: Vec<Vec<String>>,
}

impl Cells {
    /// For a terminal, or Markdown.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

/// Three digits of what was measured.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.2e}"),
    }
}

/// The mean, and the range if there is one.
fn spread(value: Option<Spread>, unknown: &str) -> String {
    match value {
        None => unknown.to_owned(),
        Some(Spread { mean, low, high }) if low == high => figure(mean),
        Some(Spread { mean, low, high }) => format!("{} ({} to {})", figure(mean), figure(low), figure(high)),
    }
}

/// The study: a line for each number of actors. `target` as [`Study::target`] found it.
pub fn study(study: &Study, target: Option<f64>) -> Cells {
    let header = vec![
        "actors",
        "seconds to target",
        "steps to target",
        "last return",
        "env steps/s",
        "updates/s",
        "updates/step",
        "samples/insert",
        "staleness (versions)",
        "staleness p99",
        "cores busy / there",
    ];
    let line = |group: &Group<'_>| {
        let (seconds, steps) = match target.map(|target| (group.reached(target), group.n_reached(target))) {
            None => ("no target".to_owned(), "no target".to_owned()),
            Some((Some((seconds, steps)), _)) => (spread(Some(seconds), ""), spread(Some(steps), "")),
            Some((None, n)) => {
                let text = if n == 0 {
                    "not reached".to_owned()
                } else {
                    format!("not reached ({n} of {} did)", group.rows.len())
                };
                (text.clone(), text)
            }
        };
        let of = |value: &dyn Fn(&Row) -> Option<f64>| spread(group.spread(value), "unknown");
        vec![
            if group.actors == SINGLE_NODE { name(SINGLE_NODE) } else { group.actors.to_string() },
            seconds,
            steps,
            of(&|row| row.run.evaluations.last().map(|e| e.total.value)),
            of(&|row| Some(row.run.steps_per_second)),
            of(&|row| Some(row.run.updates_per_second)),
            of(&|row| Some(row.run.update_ratio())),
            of(&|row| row.run.samples_per_insert),
            of(&|row| row.run.staleness),
            of(&|row| row.run.staleness_p99),
            format!("{} / {}", of(&|row| row.cpu.map(|cpu| cpu.cores())), of(&|row| row.cores)),
        ]
    };
    Cells { header, rows: study.groups().iter().map(line).collect() }
}

/// Whether clusters arrive where the single node does, a sentence a cluster.
pub fn against_single_node(study: &Study) -> Vec<String> {
    let sentence = |(actors, difference, seeds): (u64, Estimate, usize)| {
        let Estimate { value, low, high } = difference;
        let verdict = if low > 0.0 {
            "above it, beyond chance"
        } else if high < 0.0 {
            "below it, beyond chance"
        } else {
            "the same within the interval"
        };
        format!(
            "{} against the single node: last return {value:+.2} ({low:+.2} to {high:+.2}) over {seeds} seeds, {verdict}",
            name(actors)
        )
    };
    study.above_single_node().into_iter().map(sentence).collect()
}

/// `scaling.csv`: a line for each run, empty where a figure is not known or the target was not reached.
pub fn csv(study: &Study, target: Option<f64>) -> String {
    let mut text = "actors,shards,seed,env_steps,updates,seconds,target,seconds_to_target,steps_to_target,last_return,\
                    steps_per_second,updates_per_second,updates_per_step,samples_per_insert,staleness_versions,\
                    staleness_p99_versions,cores,cores_busy\n"
        .to_owned();
    for row in &study.rows {
        let run = &row.run;
        let reached = target.and_then(|target| run.reached(target));
        let known = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let cells = [
            row.actors.to_string(),
            row.shards.to_string(),
            run.seed.to_string(),
            run.env_steps.to_string(),
            run.updates.to_string(),
            run.seconds.to_string(),
            known(target),
            known(reached.map(|e| e.seconds)),
            known(reached.map(|e| e.env_steps as f64)),
            known(run.evaluations.last().map(|e| e.total.value)),
            known(Some(run.steps_per_second)),
            known(Some(run.updates_per_second)),
            known(Some(run.update_ratio())),
            known(run.samples_per_insert),
            known(run.staleness),
            known(run.staleness_p99),
            known(row.cores),
            known(row.cpu.map(|cpu| cpu.cores())),
        ];
        text += &cells.join(",");
        text.push('\n');
    }
    text
}

/// The model from 1 to 4096 actors.
pub fn model(case: &Case) -> Cells {
    let header = vec![
        "actors",
        "env steps/s",
        "updates/s",
        "actors held",
        "learner idle",
        "staleness (versions)",
        "new weights every",
        "saturated",
    ];
    let line = |actors: u64| {
        let prediction = predict(&Case { setup: Setup { actors, ..case.setup }, ..*case });
        let Prediction { weights_every_s, weights_saturated, .. } = prediction;
        let weights = if weights_saturated { ", and the fan-out of the weights" } else { "" };
        vec![
            actors.to_string(),
            figure(prediction.steps_per_second),
            figure(prediction.updates_per_second),
            format!("{:.0}%", 100.0 * prediction.actors_held),
            format!("{:.0}%", 100.0 * prediction.learner_idle),
            figure(prediction.staleness),
            format!("{} s", figure(weights_every_s)),
            format!("{}{weights}", prediction.saturated.name()),
        ]
    };
    Cells { header, rows: ACTORS.into_iter().map(line).collect() }
}
