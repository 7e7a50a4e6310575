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
            ("no gain", "a gain beyond noise"),
            format!(
                "{}, {} seeds, the same users. Margin: a tenth of the flat method's reward. {T}",
                controls::NO_DELAY,
                seeds(controls::NO_DELAY)
            ),
        ),
        table(
            ("controls-orders", "Orders fall by chance: no method must earn more of them than random"),
            &controls::orders(summaries, &budget.lengths),
            ("no gain", "a gain beyond noise"),
            format!(
                "{}: an order is as likely at every step, whatever is shown. Methods learned in that world. Margin: half of \
                 random's. {T}",
                controls::SHUFFLED_ORDERS
            ),
        ),
        table(
            ("controls-ranking", "A random scorer must have the measures of chance"),
            &controls::random_scorer(summaries, test),
            ("matches", "differs beyond noise"),
            "Expected: the mean over all orders of each session's items, in closed form. Intervals hold together, 95% for all \
             rows of the table: what 2000 draws of random orders differ by (Bonferroni). Margin: a fifth of what is expected."
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
        let verdict = match finding.holds {
            Some(true) => good,
            Some(false) => bad,
            None => "undecided",
        };
        vec![
            finding.what.clone(),
            format!("{:+.3} ({:+.3} to {:+.3})", d.value, d.low, d.high),
            format!("{:.3}", finding.detectable),
            format!("{:.3}", finding.margin),
            verdict.to_owned(),
        ]
    };
    let meaning = "`could be found`: the smallest true difference that would be found four times in five. `undecided`: a \
                   difference as large as the margin could have been missed; more seeds and sessions make it smaller.";
    (!findings.is_empty()).then(|| Table {
        id: id.to_owned(),
        title: title.to_owned(),
        header: ["what", "difference", "could be found", "margin", "verdict"].map(str::to_owned).into(),
        rows: findings.iter().map(row).collect(),
        notes: vec![verdict(findings), meaning.to_owned(), note],
    })
}

/// Of the whole control.
fn verdict(findings: &[Finding]) -> String {
    let [failed, undecided] =
        [Some(false), None].map(|holds| findings.iter().filter(|finding| finding.holds == holds).count());
    let rows = findings.len();
    match (failed, undecided) {
        (0, 0) => "The control is negative, as it must be.".to_owned(),
        (0, _) if undecided == rows => {
            "The control shows nothing: a difference that matters could have been missed in every row."
                .to_owned()
        }
        (0, _) => format!(
            "The control is negative, as it must be, in {} of {rows} rows; {undecided} are undecided.",
            rows - undecided
        ),
        _ => format!("THE CONTROL FAILS in {failed} of {rows} rows; {undecided} are undecided."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Estimate;

    #[test]
    fn a_control_says_in_words_that_it_failed_or_showed_nothing() {
        let finding = |holds| Finding {
            what: String::new(),
            difference: Estimate { value: 0.0, low: -1.0, high: 1.0 },
            detectable: 1.3,
            margin: 0.5,
            holds,
        };
        let of = |all: &[Option<bool>]| verdict(&all.iter().map(|&holds| finding(holds)).collect::<Vec<_>>());
        assert_eq!(of(&[Some(true), Some(true)]), "The control is negative, as it must be.");
        assert!(of(&[None, None]).starts_with("The control shows nothing"));
        assert!(of(&[Some(true), None]).ends_with("in 1 of 2 rows; 1 are undecided."));
        assert!(of(&[Some(false), None]).starts_with("THE CONTROL FAILS in 1 of 2"));
    }
}
