//! The tables and figures of each experiment.
//!
//! In: the summaries of its variants, in order; out: what stands in its section of the report.

use common::config::Preset;

use super::{
    Budget, Experiment, Summary, Table,
    figure::{Bar, Figure},
    methods::SUBJECTS,
    summary::Reward,
};
use crate::{baselines::InteractionLog, evaluation::Estimate, scaling::Study};

mod caveats;
mod controls;
mod logged;
mod online;
mod paper;
mod scaling;
mod training;

/// Everything that an experiment shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Which one.
    pub experiment: Experiment,
    /// In their order.
    pub tables: Vec<Table>,
    /// In their order.
    pub figures: Vec<Figure>,
}

/// The section of an experiment that needs no more than its cells.
pub fn section(experiment: Experiment, summaries: &[Summary], budget: &Budget) -> Section {
    let (tables, figures) = match experiment {
        Experiment::Table1 | Experiment::Table2 | Experiment::Controls | Experiment::Scaling => {
            (Vec::new(), Vec::new())
        }
        Experiment::Fig6 => training::section(summaries),
        Experiment::Fig7 => online::section(summaries, budget),
        Experiment::Fig8 | Experiment::Fig9 => sensitivity(experiment, summaries, budget),
        Experiment::Caveats => (caveats::tables(summaries, budget), Vec::new()),
        Experiment::Ablation => ablation(summaries, budget),
    };
    Section { experiment, tables, figures }
}

/// Table 1, which needs no cell.
pub fn statistics(train: &InteractionLog, test: &InteractionLog) -> Section {
    let tables =
        [Some(logged::statistics(train, test)), paper::rates(train, test)].into_iter().flatten().collect();
    Section { experiment: Experiment::Table1, tables, figures: Vec::new() }
}

/// Table 2. `test`: the logged test sessions of the report's world.
pub fn ranking(summaries: &[Summary], test: &InteractionLog) -> Section {
    let (tables, figures) = logged::ranking(summaries, test);
    Section { experiment: Experiment::Table2, tables, figures }
}

/// The negative controls. `test`: the logged test sessions of the report's world.
pub fn controls(summaries: &[Summary], budget: &Budget, test: &InteractionLog) -> Section {
    let tables = controls::tables(summaries, budget, test);
    Section { experiment: Experiment::Controls, tables, figures: Vec::new() }
}

/// The scaling study.
pub fn scaling(study: &Study) -> Section {
    let (tables, figures) = scaling::section(study);
    Section { experiment: Experiment::Scaling, tables, figures }
}

fn with_interval(estimate: Estimate) -> String {
    format!("{:.2} ({:.2} to {:.2})", estimate.value, estimate.low, estimate.high)
}

fn bar(summary: &Summary, length: usize) -> Bar {
    let total = summary.mean(length, Reward::Total);
    let order = summary.mean(length, Reward::Order).value;
    Bar {
        name: summary.name.clone(),
        parts: vec![order, (total.value - order).max(0.0)],
        interval: (total.low, total.high),
        is_subject: SUBJECTS.contains(&summary.method.as_str()),
    }
}

fn bars(experiment: Experiment, summaries: &[Summary], (k, length): (usize, usize)) -> Figure {
    Figure::Bars {
        id: format!("{}-{length}", experiment.id()),
        title: format!("{}, sessions of {length} steps", experiment.title()),
        unit: "mean reward a session: orders (strong) and clicks (light); the line is the 95% interval"
            .to_owned(),
        bars: summaries.iter().map(|summary| bar(summary, k)).collect(),
    }
}

/// What each setting of `best` brings: `best` minus the row without it, paired.
fn ablation(summaries: &[Summary], budget: &Budget) -> (Vec<Table>, Vec<Figure>) {
    let best = Preset::Best.name();
    let whole = summaries.iter().find(|s| s.method == best && s.results[0].cell.settings.is_empty());
    let mut header = vec!["method".to_owned()];
    for length in &budget.lengths {
        header.extend(["total", "order", "best minus it"].map(|name| format!("{name}, {length} steps")));
    }
    let row = |summary: &Summary| {
        let mut row = vec![summary.name.clone()];
        for k in 0..budget.lengths.len() {
            row.extend([Reward::Total, Reward::Order].map(|reward| with_interval(summary.mean(k, reward))));
            row.push(
                whole
                    .filter(|whole| whole.name != summary.name)
                    .map_or_else(String::new, |whole| with_interval(whole.minus(summary, k, Reward::Total))),
            );
        }
        row
    };
    let experiment = Experiment::Ablation;
    let table = Table {
        id: experiment.id().to_owned(),
        title: experiment.title().to_owned(),
        header,
        rows: summaries.iter().map(row).collect(),
        notes: vec![format!(
            "{} seeds, {} test sessions of each length. A setting helps where `best minus it` is above zero, interval \
             and all; one that `best` leaves off (`with`) would harm there.",
            budget.seeds, budget.sessions
        )],
    };
    let lengths = budget.lengths.iter().enumerate();
    let figures = lengths.map(|(k, &length)| bars(experiment, summaries, (k, length))).collect();
    (vec![table], figures)
}

fn sensitivity(experiment: Experiment, summaries: &[Summary], budget: &Budget) -> (Vec<Table>, Vec<Figure>) {
    let mut header = vec!["setting".to_owned()];
    for length in &budget.lengths {
        header.extend(["total", "order"].map(|reward| format!("{reward}, {length} steps")));
    }
    let row = |summary: &Summary| {
        let mut row = vec![summary.name.clone()];
        for k in 0..budget.lengths.len() {
            row.extend([Reward::Total, Reward::Order].map(|reward| with_interval(summary.mean(k, reward))));
        }
        row
    };
    let table = Table {
        id: experiment.id().to_owned(),
        title: experiment.title().to_owned(),
        header,
        rows: summaries.iter().map(row).collect(),
        notes: paper::choice(experiment, summaries, &budget.lengths),
    };
    let figures = budget
        .lengths
        .iter()
        .enumerate()
        .map(|(k, &length)| bars(experiment, summaries, (k, length)))
        .collect();
    (vec![table], figures)
}
