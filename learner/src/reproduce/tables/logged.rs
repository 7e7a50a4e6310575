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
use crate::{
    baselines::InteractionLog,
    evaluation::{Estimate, offline::Ranking},
};

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

/// A table a mode, and MAP of the headline mode as bars. `test`: the sessions that were ordered.
pub(super) fn ranking(summaries: &[Summary], test: &InteractionLog) -> (Vec<Table>, Vec<Figure>) {
    let modes = summaries.first().map_or(0, |summary| summary.results[0].ranked.len());
    let as_logged: Vec<Ranks> = Ranking::logged_order(test).sessions.into_iter().flatten().collect();
    let mut tables: Vec<Table> = (0..modes).map(|mode| table(summaries, &as_logged, mode)).collect();
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

fn table(summaries: &[Summary], as_logged: &[Ranks], mode: usize) -> Table {
    let name = &summaries[0].results[0].ranked[mode].mode;
    let row = |name: &str, runs: &[&[Ranks]]| {
        let measured = |of: &dyn Fn(&Ranks) -> Option<f64>, none: &str| {
            let rows: Vec<Vec<f64>> =
                runs.iter().map(|sessions| sessions.iter().filter_map(of).collect()).collect();
            if rows[0].is_empty() {
                return none.to_owned();
            }
            let Estimate { value, low, high } = crossed(&rows);
            format!("{value:.4} ({low:.4} to {high:.4})")
        };
        let mut row = vec![name.to_owned()];
        row.extend(MEASURES.map(|(_, of)| measured(&|ranks| Some(of(ranks)), "no click")));
        row.push(measured(&|ranks| ranks.order_rr, "no order"));
        row
    };
    let mut rows = vec![row("as logged", &[as_logged])];
    rows.extend(summaries.iter().map(|summary| {
        let runs: Vec<&[Ranks]> =
            summary.results.iter().map(|result| &*result.ranked[mode].sessions).collect();
        row(&summary.name, &runs)
    }));
    let mut header = vec!["method".to_owned()];
    header.extend(MEASURES.map(|(name, _)| name.to_owned()));
    header.push("order MRR".to_owned());
    Table {
        id: format!("table2-{name}"),
        title: format!("Logged test sessions ordered anew, {name}"),
        header,
        rows,
        notes: vec![format!(
            "{} sessions with a click, of at most `--sessions` at equal distances in a log; those without have no measures. `as logged`: in the order in which items were shown. Ties \
             are broken by chance. MaHRL and its variants order by the low-level critic. Intervals: 95%, seeds and sessions resampled.",
            as_logged.len()
        )],
    }
}

fn mean(summary: &Summary, mode: usize, of: impl Fn(&Ranks) -> f64) -> Estimate {
    let seed = |ranked: &Ranked| ranked.sessions.iter().map(&of).collect::<Vec<f64>>();
    crossed(&summary.results.iter().map(|result| seed(&result.ranked[mode])).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evaluation::offline::order::tests::log, reproduce::test_summary::summary};

    #[test]
    fn the_logged_order_stands_above_the_methods() {
        use common::Feedback::{Click, Order, Skip};
        let log = log(&[Skip, Click, Skip, Order]);
        let ranks: Vec<Ranks> = Ranking::logged_order(&log).sessions.into_iter().flatten().collect();
        let mut method = summary("random", &[], &[(1, 1)]);
        method.results[0].ranked = vec![Ranked { mode: "static".to_owned(), sessions: ranks }];
        let (tables, _) = ranking(&[method], &log);
        assert_eq!(tables[0].rows[0][0], "as logged");
        assert_eq!(tables[0].rows[0][1..], tables[0].rows[1][1..], "it ordered them as they were");
        // Hits at the second and the fourth place: (1/2 + 2/4) / 2; the order is the fourth.
        assert!(tables[0].rows[0][1].starts_with("0.5000"), "{:?}", tables[0].rows[0]);
        assert!(tables[0].rows[0][4].starts_with("0.2500"), "{:?}", tables[0].rows[0]);
    }
}
