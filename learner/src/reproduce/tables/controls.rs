//! The negative controls: a table each, with its verdict.

use super::super::{
    Budget, Summary, Table,
    controls::{self, Finding},
};
use crate::baselines::InteractionLog;

/// Of the tables with trained methods.
const T: &str =
    "Intervals hold together, 95% for all rows of the table (Student's t over seeds and users, Bonferroni).";

/// The tables. `test`: the logged test sessions of the report's world.
pub(super) fn tables(summaries: &[Summary], budget: &Budget, test: &InteractionLog) -> Vec<Table> {
    let seeds = |env: &str| {
        summaries
            .iter()
            .filter(|summary| summary.results[0].cell.env == env)
            .map(|summary| summary.results.len())
            .max()
            .unwrap_or(0)
    };
    [
        table(
            ("controls-hierarchy", "Nothing is delayed: the hierarchy must gain nothing"),
            &controls::hierarchy(summaries, &budget.lengths),
            ("nothing beyond noise", "a gain beyond noise"),
            format!(
                "{}, {} seeds, the same users. A gain below the upper end of an interval could not have been seen here. {T}",
                controls::NO_DELAY,
                seeds(controls::NO_DELAY)
            ),
        ),
        table(
            ("controls-orders", "Orders fall by chance: no method must earn more of them than random"),
            &controls::orders(summaries, &budget.lengths),
            ("nothing beyond noise", "a gain beyond noise"),
            format!(
                "{}: an order is as likely at every step, whatever is shown. Methods learned in that world. {T}",
                controls::SHUFFLED_ORDERS
            ),
        ),
        table(
            ("controls-ranking", "A random scorer must have the measures of chance"),
            &controls::random_scorer(summaries, test),
            ("matches", "differs beyond noise"),
            "Expected: the mean over all orders of each session's items, in closed form. Intervals hold together, 95% for all \
             rows of the table: what 2000 draws of random orders differ by (Bonferroni)."
                .to_owned(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `None` without a finding: the control says nothing of this world.
fn table(
    (id, title): (&str, &str),
    findings: &[Finding],
    (good, bad): (&str, &str),
    note: String,
) -> Option<Table> {
    let row = |finding: &Finding| {
        let d = finding.difference;
        vec![
            finding.what.clone(),
            format!("{:+.3} ({:+.3} to {:+.3})", d.value, d.low, d.high),
            if finding.holds { good } else { bad }.to_owned(),
        ]
    };
    let failed = findings.iter().filter(|finding| !finding.holds).count();
    let verdict = match failed {
        0 => "The control is negative, as it must be.".to_owned(),
        _ => format!("THE CONTROL FAILS in {failed} of {} rows.", findings.len()),
    };
    (!findings.is_empty()).then(|| Table {
        id: id.to_owned(),
        title: title.to_owned(),
        header: ["what", "difference", "verdict"].map(str::to_owned).into(),
        rows: findings.iter().map(row).collect(),
        notes: vec![verdict, note],
    })
}
