//! Table 1: what the sessions hold. Table 2: how well each method orders those of the test users.

use std::collections::HashSet;

use super::{
    super::{
        Summary, Table,
        cell::{Ranked, Ranks},
        figure::{Bar, Figure},
        methods::SUBJECT,
        summary::crossed,
    },
    paper,
};
use crate::{baselines::InteractionLog, evaluation::Estimate};

/// A row for the training sessions, one for the test sessions.
pub(super) fn statistics(train: &InteractionLog, test: &InteractionLog) -> Table {
    let row = |(name, log): (&str, &InteractionLog)| {
        let users: HashSet<u64> = log.sessions().map(|session| session.user).collect();
        let items: HashSet<u32> = log.steps().iter().map(|step| step.item.0).collect();
        let n = log.n_steps().max(1) as f64;
        let share = |of: fn(common::Feedback) -> bool| {
            let count = log.steps().iter().filter(|step| of(step.feedback)).count();
            format!("{count} ({:.2}%)", 100.0 * count as f64 / n)
        };
        vec![
            name.to_owned(),
            users.len().to_string(),
            log.n_sessions().to_string(),
            items.len().to_string(),
            log.n_steps().to_string(),
            share(|feedback| !feedback.clicked()),
            share(|feedback| feedback.clicked()),
            share(|feedback| feedback.ordered()),
        ]
    };
    Table {
        id: "table1".to_owned(),
        title: "What the sessions hold".to_owned(),
        header: ["sessions", "users", "number", "items", "impressions", "skips", "clicks", "orders"]
            .map(str::to_owned)
            .into(),
        rows: [("training", train), ("test", test)].map(row).into(),
        notes: vec![
            "An order is a click too. In a built-in world the logging policy chose what was shown."
                .to_owned(),
        ],
    }
}

/// Name and value of a session's measure.
type Measure = (&'static str, fn(&Ranks) -> f64);

const MEASURES: [Measure; 3] =
    [("MAP", |ranks| ranks.ap), ("NDCG@20", |ranks| ranks.ndcg_20), ("NDCG@40", |ranks| ranks.ndcg_40)];

/// A table a mode, and MAP of the headline mode as bars.
pub(super) fn ranking(summaries: &[Summary]) -> (Vec<Table>, Vec<Figure>) {
    let modes = summaries.first().map_or(0, |summary| summary.results[0].ranked.len());
    let mut tables: Vec<Table> = (0..modes).map(|mode| table(summaries, mode)).collect();
    if let Some(headline) = tables.first_mut() {
        headline.notes.extend(paper::of_ranking(summaries, |summary| mean(summary, 0, MEASURES[0].1).value));
    }
    let bars = summaries.iter().map(|summary| {
        let estimate = mean(summary, 0, MEASURES[0].1);
        Bar {
            name: summary.name.clone(),
            parts: vec![estimate.value],
            interval: (estimate.low, estimate.high),
            is_subject: summary.method == SUBJECT,
        }
    });
    let figure = Figure::Bars {
        id: "table2-map".to_owned(),
        title: "MAP of logged test sessions, static".to_owned(),
        unit: "mean average precision; the line is the 95% interval".to_owned(),
        bars: bars.collect(),
    };
    (tables, vec![figure])
}

fn table(summaries: &[Summary], mode: usize) -> Table {
    let name = &summaries[0].results[0].ranked[mode].mode;
    let cell =
        |estimate: Estimate| format!("{:.4} ({:.4} to {:.4})", estimate.value, estimate.low, estimate.high);
    let row = |summary: &Summary| {
        let mut row = vec![summary.name.clone()];
        row.extend(MEASURES.map(|(_, of)| cell(mean(summary, mode, of))));
        row.push(order_mrr(summary, mode).map_or_else(|| "no order".to_owned(), cell));
        row
    };
    let mut header = vec!["method".to_owned()];
    header.extend(MEASURES.map(|(name, _)| name.to_owned()));
    header.push("order MRR".to_owned());
    let scored = summaries[0].results[0].ranked[mode].sessions.len();
    Table {
        id: format!("table2-{name}"),
        title: format!("Logged test sessions ordered anew, {name}"),
        header,
        rows: summaries.iter().map(row).collect(),
        notes: vec![format!(
            "{scored} sessions with a click; those without have no measures. Ties are broken by chance. MaHRL and its variants \
             order by the low-level critic. Intervals: 95%, seeds and sessions resampled."
        )],
    }
}

fn mean(summary: &Summary, mode: usize, of: impl Fn(&Ranks) -> f64) -> Estimate {
    let seed = |ranked: &Ranked| ranked.sessions.iter().map(&of).collect::<Vec<f64>>();
    crossed(&summary.results.iter().map(|result| seed(&result.ranked[mode])).collect::<Vec<_>>())
}

/// Over sessions with an order.
fn order_mrr(summary: &Summary, mode: usize) -> Option<Estimate> {
    let seed =
        |ranked: &Ranked| ranked.sessions.iter().filter_map(|ranks| ranks.order_rr).collect::<Vec<f64>>();
    let values: Vec<Vec<f64>> = summary.results.iter().map(|result| seed(&result.ranked[mode])).collect();
    (!values[0].is_empty()).then(|| crossed(&values))
}
