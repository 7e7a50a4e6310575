//! Fig 7: rewards online, all methods, and what is held against what.

use super::{
    super::{
        Budget, Experiment, Summary, Table,
        figure::Figure,
        methods::SUBJECTS,
        paper,
        summary::{Contrast, Reward, minus_times, ratio},
    },
    bars,
    paper::DECIDED,
    with_interval,
};
use crate::evaluation::{
    EvaluationResult,
    statistics::seeds::{Scores, interquartile_mean, probability_of_improvement},
};

pub(super) fn section(summaries: &[Summary], budget: &Budget) -> (Vec<Table>, Vec<Figure>) {
    let (mut tables, mut figures) = (Vec::new(), Vec::new());
    let subjects: Vec<&Summary> =
        SUBJECTS.into_iter().filter_map(|id| summaries.iter().find(|summary| summary.method == id)).collect();
    let lengths = || budget.lengths.iter().copied().enumerate();
    for length in lengths() {
        tables.push(rewards(summaries, &subjects, budget, length));
        figures.push(bars(Experiment::Fig7, summaries, length));
        figures.push(cumulative_orders(summaries, length));
    }
    for subject in &subjects {
        tables.extend(lengths().filter_map(|length| against(subject, summaries, length)));
        tables.extend(lengths().filter_map(|length| super::paper::ranks(summaries, &subject.method, length)));
    }
    tables.extend(super::paper::claims(summaries, &budget.lengths));
    tables.extend(lengths().map(|length| runs(summaries, &subjects, length)));
    tables.push(seconds(summaries));
    (tables, figures)
}

fn rewards(
    summaries: &[Summary],
    subjects: &[&Summary],
    budget: &Budget,
    (k, length): (usize, usize),
) -> Table {
    let mut header: Vec<String> =
        ["method", "total", "click", "order", "CTR %", "CVR %", "coverage %", "expected"]
            .map(str::to_owned)
            .into();
    header.extend(subjects.iter().map(|subject| format!("{} minus it", subject.name)));
    header.extend(["steps", "updates"].map(str::to_owned));
    let row = |summary: &Summary| {
        let share =
            |of: &dyn Fn(&EvaluationResult) -> f64| summary.over_seeds(|result| of(&result.online[k]));
        let expected = summary
            .results
            .iter()
            .map(|result| result.online[k].expected.map(|expected| expected.value))
            .sum::<Option<f64>>()
            .map(|sum| sum / summary.results.len() as f64);
        let mut row = vec![
            summary.name.clone(),
            with_interval(summary.mean(k, Reward::Total)),
            with_interval(summary.mean(k, Reward::Click)),
            with_interval(summary.mean(k, Reward::Order)),
            format!("{:.2}", 100.0 * share(&|online| online.ctr.value)),
            format!("{:.2}", 100.0 * share(&|online| online.cvr.value)),
            format!("{:.1}", 100.0 * share(&|online| online.coverage)),
            expected.map_or_else(String::new, |value| format!("{value:.2}")),
        ];
        row.extend(subjects.iter().map(|subject| {
            if subject.name == summary.name {
                String::new()
            } else {
                with_interval(subject.minus(summary, k, Reward::Total))
            }
        }));
        row.extend([
            format!("{:.0}", summary.over_seeds(|result| result.env_steps as f64)),
            format!("{:.0}", summary.over_seeds(|result| result.updates as f64)),
        ]);
        row
    };
    Table {
        id: format!("fig7-{length}"),
        title: format!("Rewards online in sessions of {length} steps"),
        header,
        rows: summaries.iter().map(row).collect(),
        notes: vec![format!(
            "{} test sessions for each seed, the same users for all; {} seeds of what is trained. Intervals of rewards: 95%, \
             seeds and users resampled; of differences: Student's t over both. An order counts 5, a click 1. `steps`: environment \
             steps that it learned from.",
            budget.sessions, budget.seeds
        )],
    }
}

/// One method against each of the others, in sessions of the k-th length; `None` without another.
fn against(subject: &Summary, summaries: &[Summary], (k, length): (usize, usize)) -> Option<Table> {
    const REWARDS: [Reward; 2] = [Reward::Total, Reward::Order];
    let others: Vec<&Summary> = summaries.iter().filter(|other| other.name != subject.name).collect();
    let contrasts: Vec<Contrast> = others
        .iter()
        .flat_map(|other| REWARDS.map(|reward| subject.against(other, 1.0, k, reward)))
        .collect();
    let decided = paper::decide(&contrasts);
    let rows: Vec<Vec<String>> = others
        .iter()
        .enumerate()
        .map(|(i, other)| {
            let mut row = vec![other.name.clone()];
            for (j, reward) in REWARDS.into_iter().enumerate() {
                let (contrast, (p, is_above)) = (contrasts[2 * i + j], decided[2 * i + j]);
                let verdict = match is_above {
                    Some(true) => "above",
                    Some(false) => "below",
                    None => "undecided",
                };
                row.push(with_interval(contrast.difference));
                row.push(factor(&subject.rewards(k, reward), &other.rewards(k, reward)));
                let expected = subject.expectations(k, reward).zip(other.expectations(k, reward));
                row.extend(match &expected {
                    Some((ours, theirs)) => {
                        let difference = Contrast::of(&minus_times(ours, 1.0, theirs)).difference;
                        [with_interval(difference), factor(ours, theirs)]
                    }
                    None => [String::new(), String::new()],
                });
                row.push(format!("{verdict}, p = {p:.3}"));
            }
            row
        })
        .collect();
    let mut header = vec![format!("{} against", subject.name)];
    for what in ["total", "order"] {
        header.extend([
            format!("{what}: difference"),
            "factor".to_owned(),
            "difference, expected".to_owned(),
            "factor, expected".to_owned(),
            "verdict".to_owned(),
        ]);
    }
    (!rows.is_empty()).then(|| Table {
        id: format!("fig7-against-{}-{length}", subject.method),
        title: format!("{} against each, sessions of {length} steps", subject.name),
        header,
        rows,
        notes: vec![
            DECIDED.to_owned(),
            "Factors are ratios of means, their intervals by resampling seeds and users, the same for both. `expected`: in \
             expectation over the draws of users who are shown these items, which a built-in world knows; the same quantity \
             with less noise. Verdicts are of the rewards that were drawn."
                .to_owned(),
        ],
    })
}

/// `None` of ratios to nothing.
fn factor(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> String {
    let found = ratio(ours, theirs);
    if found.value.is_finite() && found.high.is_finite() {
        format!("{:.3} ({:.3} to {:.3})", found.value, found.low, found.high)
    } else {
        "no base".to_owned()
    }
}

/// Runs as what is sampled, sessions of the k-th length: how much one is worth, whichever seed it has.
fn runs(summaries: &[Summary], subjects: &[&Summary], (k, length): (usize, usize)) -> Table {
    let scores = |summary: &Summary| {
        let of_run = |sessions: &Vec<f64>| sessions.iter().sum::<f64>() / sessions.len() as f64;
        Scores::of_seeds(summary.rewards(k, Reward::Total).iter().map(of_run).collect())
    };
    let row = |summary: &Summary| {
        let of_runs = scores(summary);
        let mut sorted = of_runs.values().to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut row = vec![
            summary.name.clone(),
            of_runs.n_seeds().to_string(),
            with_interval(interquartile_mean(&of_runs, 0)),
            format!("{:.2}", sorted[0]),
            format!("{:.2}", sorted[sorted.len() - 1]),
        ];
        row.extend(subjects.iter().map(|subject| {
            if subject.name == summary.name {
                return String::new();
            }
            with_interval(probability_of_improvement(&scores(subject), &of_runs, 0))
        }));
        row
    };
    let mut header: Vec<String> =
        ["method", "runs", "interquartile mean", "lowest", "highest"].map(str::to_owned).into();
    header.extend(subjects.iter().map(|subject| format!("P({} is better)", subject.name)));
    Table {
        id: format!("fig7-runs-{length}"),
        title: format!("Total reward of whole runs in sessions of {length} steps"),
        header,
        rows: summaries.iter().map(row).collect(),
        notes: vec![
            "Over the means of runs, users being the same: intervals by the stratified bootstrap of Agarwal et al. (2021), which with \
             two or three runs is hardly wider than they lie apart. P: the chance that a run of it has more than a run of the row's."
                .to_owned(),
        ],
    }
}

/// Mean cumulative order reward by step of the k-th length.
fn cumulative_orders(summaries: &[Summary], (k, length): (usize, usize)) -> Figure {
    let series = |summary: &Summary| {
        let at = |step: usize| summary.over_seeds(|result| result.online[k].cumulative_order[step]);
        (summary.name.clone(), (0..length).map(|step| ((step + 1) as f64, at(step))).collect())
    };
    Figure::Curves {
        id: format!("fig7-orders-{length}"),
        title: format!("Order reward up to each step, sessions of {length} steps"),
        unit: "mean order reward a session",
        series: summaries.iter().map(series).collect(),
    }
}

fn seconds(summaries: &[Summary]) -> Table {
    Table {
        id: "fig7-seconds".to_owned(),
        title: "Seconds of training".to_owned(),
        header: ["method", "seconds"].map(str::to_owned).into(),
        rows: summaries
            .iter()
            .map(|summary| vec![summary.name.clone(), format!("{:.0}", summary.over_seeds(|r| r.seconds))])
            .collect(),
        notes: vec![
            "By the clock, beside whatever else ran: the only table of cells that another run changes."
                .to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::{Scale, test_summary::summary};

    #[test]
    fn each_subject_is_held_against_all_others() {
        let all = [("random", 4), ("tuned", 6), ("best", 8)]
            .map(|(id, clicks)| summary(id, &[], &[(clicks, 1), (clicks, 1)]));
        let budget = Budget { lengths: vec![50], seeds: 2, ..Budget::of(Scale::Quick) };
        // One length of one step is all that these summaries hold.
        let against = against(&all[2], &all, (0, 50)).unwrap();
        let found: Vec<_> = against.rows.iter().map(|row| [&row[0], &row[1], &row[2], &row[5]]).collect();
        assert_eq!(
            found,
            [
                ["random", "4.00 (4.00 to 4.00)", "1.444 (1.444 to 1.444)", "above, p = 0.000"],
                ["MaHRL (tuned)", "2.00 (2.00 to 2.00)", "1.182 (1.182 to 1.182)", "above, p = 0.000"],
            ]
        );
        assert_eq!(against.rows[0][10], "undecided, p = 1.000", "as many orders");
        assert!(against.rows.iter().all(|row| row.len() == against.header.len()));
        let subjects: Vec<&Summary> = all[1..].iter().collect();
        let runs = runs(&all, &subjects, (0, 50));
        assert_eq!(runs.rows[0][1..5], ["2", "9.00 (9.00 to 9.00)", "9.00", "9.00"]);
        assert_eq!(runs.rows[2][5..], ["0.00 (0.00 to 0.00)", ""], "tuned is never above best");
        let rewards = rewards(&all, &subjects, &budget, (0, 50));
        assert!(rewards.header.contains(&"MaHRL (best) minus it".to_owned()), "{:?}", rewards.header);
        assert_eq!(super::against(&all[2], &all[2..], (0, 50)), None);
    }

    #[test]
    fn a_factor_of_nothing_is_none() {
        assert_eq!(factor(&[vec![1.0, 2.0]], &[vec![0.0, 0.0]]), "no base");
    }
}
