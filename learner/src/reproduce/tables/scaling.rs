//! The scaling study as a section: how long rows of different numbers of actors took to a return, and what follows.

use super::super::{
    Table,
    figure::{Bar, Figure},
};
use crate::scaling::{
    Study, Target, predict,
    study::{Group, Spread, name},
    tables,
};

/// The study's table with its conclusions, seconds to the target as bars, returns over steps as curves.
pub(super) fn section(study: &Study) -> (Vec<Table>, Vec<Figure>) {
    let target = study.target(Target::Auto);
    let cells = tables::study(study, target);
    let table = Table {
        id: "scaling".to_owned(),
        title: target.map_or_else(
            || "Time to a return against the number of actors".to_owned(),
            |target| format!("Time to an evaluation return of {target:.2} against the number of actors"),
        ),
        header: cells.header.iter().map(|&name| name.to_owned()).collect(),
        rows: cells.rows,
        notes: conclusions(study, target),
    };
    let mut figures = vec![curves(study)];
    figures.extend(target.map(|target| seconds(study, target)));
    (vec![table], figures)
}

/// Sentences: whether the rows may be compared, what more actors brought, what limits them.
fn conclusions(study: &Study, target: Option<f64>) -> Vec<String> {
    let mut notes: Vec<String> =
        study.unfair().into_iter().map(|reason| format!("NOT COMPARABLE: {reason}.")).collect();
    if notes.is_empty() {
        notes.push("Comparable: equal budgets and shards, update ratios within 5%.".to_owned());
    }
    let groups = study.groups();
    let reached: Vec<(&Group<'_>, Spread)> =
        groups.iter().filter_map(|group| Some((group, group.reached(target?)?.0))).collect();
    match (target, reached.as_slice()) {
        (None, _) => notes.push("No target: the runs did not end higher than they began.".to_owned()),
        (Some(_), [first, .., last]) => notes.push(comparison(first, last)),
        (Some(_), _) => {
            notes.push("Too few rows reached the target in every seed to compare them.".to_owned())
        }
    }
    notes.extend(study.case.map(|case| {
        format!(
            "The model (docs/scaling.md) says that {} is what limits {}.",
            predict(&case).saturated.name(),
            groups.first().map_or_else(String::new, |group| name(group.actors))
        )
    }));
    notes.push(
        "Whole clusters on this machine, one after the other, with times by the clock: other figures each time.".to_owned(),
    );
    notes
}

fn comparison((few, slow): &(&Group<'_>, Spread), (many, fast): &(&Group<'_>, Spread)) -> String {
    let ranges = format!(
        "{}: {:.0} s ({:.0} to {:.0}); {}: {:.0} s ({:.0} to {:.0})",
        name(few.actors),
        slow.mean,
        slow.low,
        slow.high,
        name(many.actors),
        fast.mean,
        fast.low,
        fast.high
    );
    let verdict = if few.rows.len() < 2 {
        "one seed, so that nothing follows"
    } else if fast.high < slow.low {
        "more actors are faster, ranges over seeds apart"
    } else if slow.high < fast.low {
        "more actors are slower, ranges over seeds apart"
    } else {
        "no difference beyond the range over seeds"
    };
    format!("{ranges}: {verdict}.")
}

/// Evaluation return over environment steps, a curve a run.
fn curves(study: &Study) -> Figure {
    let series = study.rows.iter().map(|row| {
        let points = row.run.evaluations.iter().map(|e| (e.env_steps as f64, e.total.value)).collect();
        (format!("{}, seed {}", name(row.actors), row.run.seed), points)
    });
    Figure::Curves {
        id: "scaling-curves".to_owned(),
        title: "Evaluation return over environment steps".to_owned(),
        unit: "mean reward a validation session",
        series: series.collect(),
    }
}

fn seconds(study: &Study, target: f64) -> Figure {
    let bar = |group: &Group<'_>| {
        let (spread, _) = group.reached(target)?;
        let interval = (spread.low, spread.high);
        Some(Bar { name: name(group.actors), parts: vec![spread.mean], interval, is_subject: false })
    };
    Figure::Bars {
        id: "scaling-seconds".to_owned(),
        title: "Seconds to the target return".to_owned(),
        unit: format!("seconds until an evaluation of {target:.2} or more; the line is the range over seeds"),
        bars: study.groups().iter().filter_map(bar).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::study::tests::row;

    fn notes(rows: Vec<crate::scaling::Row>) -> Vec<String> {
        let (tables, figures) = section(&Study::new(Vec::new(), rows, None).unwrap());
        assert!(!tables[0].rows.is_empty() && !figures.is_empty());
        tables.into_iter().flat_map(|table| table.notes).collect()
    }

    #[test]
    fn actors_are_faster_only_where_the_ranges_are_apart() {
        let returns = [1.0, 2.0, 3.0, 3.0];
        let two =
            |actors, seconds: [f64; 2]| [0, 1].map(|seed| row(actors, seed, seconds[seed as usize], returns));
        let apart = notes([two(1, [4.0, 5.0]), two(4, [1.0, 2.0])].concat());
        assert!(apart[0].starts_with("Comparable"), "{apart:?}");
        assert!(apart[1].ends_with("more actors are faster, ranges over seeds apart."), "{apart:?}");
        let over = notes([two(1, [2.0, 5.0]), two(4, [1.0, 3.0])].concat());
        assert!(over[1].ends_with("no difference beyond the range over seeds."), "{over:?}");
        let one = notes(vec![row(1, 0, 5.0, returns), row(4, 0, 1.0, returns)]);
        assert!(one[1].ends_with("one seed, so that nothing follows."), "{one:?}");
    }

    #[test]
    fn runs_that_learned_nothing_have_no_target() {
        let flat = notes(vec![row(1, 0, 2.0, [2.0; 4]), row(4, 0, 1.0, [2.0; 4])]);
        assert!(flat[1].starts_with("No target"), "{flat:?}");
    }
}
