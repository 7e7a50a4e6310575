//! The paper's own numbers beside ours, as far as they are known.

use super::{
    super::{
        Experiment, Summary, Table,
        methods::SUBJECT,
        paper::{self, Rate},
        summary::Reward,
    },
    with_interval,
};
use crate::baselines::InteractionLog;

/// How verdicts of a table are reached.
pub(super) const DECIDED: &str = "Differences are paired by user and seed; their 95% intervals, Student's t over seeds and users, \
    are each for itself. A verdict takes the p-value corrected for all rows of the table (Holm) to be below 0.05; else it is \
    `undecided`.";

/// Table 1's rates; `None` where no logged session has a click.
pub(super) fn rates(train: &InteractionLog, test: &InteractionLog) -> Option<Table> {
    let (train, test) = (paper::rates(train), paper::rates(test));
    let beside = |rate: &Rate| format!("{:.2} ({:+.1}%)", rate.ours, 100.0 * (rate.ours / rate.paper - 1.0));
    let row = |(train, test): (&Rate, &Rate)| {
        vec![train.what.to_owned(), format!("{:.2}", train.paper), beside(train), beside(test)]
    };
    let rows: Vec<Vec<String>> = train.iter().zip(&test).map(row).collect();
    (!rows.is_empty()).then(|| Table {
        id: "table1-paper".to_owned(),
        title: "Table 1's rates beside the paper's".to_owned(),
        header: ["sessions with a click", "the paper", "training", "test"].map(str::to_owned).into(),
        rows,
        notes: vec![
            "In brackets: relative to the paper's. Counts of users, sessions and items are of another log; a built-in world cuts its \
             sessions at `environment.session_length` and was calibrated to these rates with sessions that users leave."
                .to_owned(),
        ],
    })
}

/// Places of the methods that the paper compares, MaHRL being `subject`, in sessions of the k-th length; `None` where too few
/// of them were run.
pub(super) fn ranks(summaries: &[Summary], subject: &str, (k, length): (usize, usize)) -> Option<Table> {
    let methods = paper::compared(summaries, subject);
    let subject = methods.iter().copied().find(|summary| summary.method == subject)?;
    let [orders, totals] = [Reward::Order, Reward::Total].map(|reward| {
        let values: Vec<f64> = methods.iter().map(|summary| summary.mean(k, reward).value).collect();
        (paper::places(&values), values)
    });
    let mut by_place: Vec<usize> = (0..methods.len()).collect();
    by_place.sort_by(|&i, &j| orders.0[i].total_cmp(&orders.0[j]));
    let row = |i: usize| {
        let (method, value) = (methods[i], orders.1[i]);
        let is_subject = method.method == subject.method;
        let here = paper::gain(subject.mean(k, Reward::Order).value - value, value);
        let of_paper = paper::order_gain(&method.method, k);
        vec![
            method.name.clone(),
            if is_subject { "1" } else { "behind MaHRL" }.to_owned(),
            orders.0[i].to_string(),
            totals.0[i].to_string(),
            with_interval(method.mean(k, Reward::Order)),
            if is_subject { String::new() } else { here },
            match of_paper {
                Some(gain) => format!("{:+.1}%", 100.0 * gain),
                None if is_subject => String::new(),
                None => "not known".to_owned(),
            },
        ]
    };
    let agreement = |what: &str, places: &[f64]| {
        paper::agreement(&methods, &subject.method, places).map(|agreement| {
            format!(
                "Spearman's correlation of the places by {what} reward here with the paper's: {:+.2}, of at most {:.2}, since \
                 of the paper's order only its first place is known and the others share theirs.",
                agreement.found, agreement.most
            )
        })
    };
    let mut notes: Vec<String> =
        [agreement("order", &orders.0), agreement("total", &totals.0)].into_iter().flatten().collect();
    notes.push(
        "Places are of means; which differences are beyond noise is said below. The methods are those of Sec 4.1.2; \
         references, controls and other forms of a method are ours, and have no place in the paper."
            .to_owned(),
    );
    Some(Table {
        id: format!("fig7-ranks-{}-{length}", subject.method),
        title: format!(
            "The paper's methods by order reward in sessions of {length} steps, with {}",
            subject.name
        ),
        header: [
            "method",
            "place in the paper",
            "place here, orders",
            "place here, total",
            "order",
            "MaHRL over it, here",
            "in the paper",
        ]
        .map(str::to_owned)
        .into(),
        rows: by_place.into_iter().map(row).collect(),
        notes,
    })
}

/// What the paper claims of Fig 7, and whether it holds; `None` without a method of the paper.
pub(super) fn claims(summaries: &[Summary], lengths: &[usize]) -> Option<Table> {
    let claims = paper::online(summaries, lengths);
    (!claims.is_empty()).then(|| Table {
        id: "fig7-claims".to_owned(),
        title: "The paper's claims".to_owned(),
        header: ["the paper", "here", "p (Holm)", "verdict"].map(str::to_owned).into(),
        rows: claims
            .iter()
            .map(|claim| {
                let verdict = claim.verdict().to_owned();
                vec![claim.paper.clone(), claim.ours.clone(), format!("{:.3}", claim.p), verdict]
            })
            .collect(),
        notes: vec![
            DECIDED.to_owned(),
            "Rewards of the paper are of another world, so only signs, places and relative gains are compared; a gain holds where \
             MaHRL has more than so many times the other's reward."
                .to_owned(),
        ],
    })
}

/// Where MaHRL stands in Table 2, by one value a method of [`paper::compared`]; `None` where too few of them were run.
pub(super) fn of_ranking(summaries: &[Summary], value: impl Fn(&Summary) -> f64) -> Option<String> {
    let methods = paper::compared(summaries, SUBJECT);
    let at = methods.iter().position(|summary| summary.method == SUBJECT)?;
    let places = paper::places(&methods.iter().map(|summary| value(summary)).collect::<Vec<_>>());
    Some(format!(
        "By MAP {} has place {} among the {} methods here that the paper compares. The paper's own MAP, NDCG and places are not known \
         here.",
        methods[at].name,
        places[at],
        methods.len()
    ))
}

/// What the paper takes in Figs 8 and 9, and where that stands here.
pub(super) fn choice(experiment: Experiment, summaries: &[Summary], lengths: &[usize]) -> Vec<String> {
    let Some(name) = paper::choice(experiment) else { return Vec::new() };
    let mut notes =
        vec![format!("The paper takes {name}; what it earned with each value is not known here.")];
    let Some(at) = summaries.iter().position(|summary| summary.name == name) else { return notes };
    for (k, length) in lengths.iter().enumerate() {
        let values: Vec<f64> = summaries.iter().map(|summary| summary.mean(k, Reward::Total).value).collect();
        let places = paper::places(&values);
        let beside = summaries.iter().enumerate().filter(|&(i, _)| i != at);
        let Some((best, _)) = beside.max_by(|&(i, _), &(j, _)| values[i].total_cmp(&values[j])) else {
            continue;
        };
        let contrast = summaries[at].against(&summaries[best], 1.0, k, Reward::Total);
        // The best of the others was picked by looking at all of them.
        let verdict = match paper::decide(&vec![contrast; values.len() - 1])[0].1 {
            Some(true) => "better than all others beyond noise",
            Some(false) => "worse than the best beyond noise",
            None => "undecided",
        };
        notes.push(format!(
            "By mean total in sessions of {length} it has place {} of {} here; it minus the best of the others ({}): {}, {verdict}.",
            places[at],
            values.len(),
            summaries[best].name,
            with_interval(contrast.difference)
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::test_summary::summary;

    #[test]
    fn the_methods_of_the_paper_are_ranked_and_ours_left_out() {
        let all =
            [("random", 9), ("fm", 2), ("deers", 4), (SUBJECT, 3)].map(|(id, n)| summary(id, &[], &[(0, n)]));
        let table = ranks(&all, SUBJECT, (0, 50)).unwrap();
        let shown: Vec<&[String]> = table.rows.iter().map(|row| &row[..3]).collect();
        assert_eq!(
            shown,
            [["deers", "behind MaHRL", "1"], ["MaHRL (tuned)", "1", "2"], ["fm", "behind MaHRL", "3"]]
        );
        assert_eq!(table.rows[0][5..], ["-25.0%", "+30.6%"]);
        assert_eq!(table.rows[2][5..], ["+50.0%", "not known"]);
        assert!(table.notes[0].contains("+0.00, of at most 0.87"), "{:?}", table.notes);
        assert!(ranks(&all[..1], SUBJECT, (0, 50)).is_none() && ranks(&all, "best", (0, 50)).is_none());
        let note = of_ranking(&all, |summary| summary.mean(0, Reward::Order).value).unwrap();
        assert!(note.starts_with("By MAP MaHRL (tuned) has place 2 among the 3"), "{note}");
    }

    #[test]
    fn the_paper_s_choice_is_held_against_the_best_of_the_others() {
        let named = |name: &str, clicks| Summary {
            name: name.to_owned(),
            ..summary(SUBJECT, &[], &[(clicks, 0), (clicks, 0)])
        };
        let said = |alphas: [u32; 3]| {
            let names = ["alpha = 0.1", "alpha = 0.5", "alpha = 0.9"];
            let all: Vec<Summary> = names.into_iter().zip(alphas).map(|(name, n)| named(name, n)).collect();
            choice(Experiment::Fig8, &all, &[50]).remove(1)
        };
        let worse = said([7, 5, 1]);
        assert!(
            worse.contains("place 2 of 3") && worse.ends_with("worse than the best beyond noise."),
            "{worse}"
        );
        assert!(worse.contains("(alpha = 0.1): -2.00"), "{worse}");
        assert!(said([3, 5, 1]).ends_with("better than all others beyond noise."));
        assert!(said([5, 5, 1]).ends_with("undecided."));
    }
}
