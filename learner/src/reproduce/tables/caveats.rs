//! The caveats: a table each with its verdict in words.

use super::{
    super::{
        Budget, Summary, Table,
        caveats::{
            Difference,
            average_q::{self, AverageQ},
            encoder, remainder,
        },
        methods::SUBJECT,
        paper::places,
        summary::Reward,
    },
    with_interval,
};

/// Of the tables with differences.
const D: &str = "`difference`: of the total reward a session, paired by user and seed, with its 95% interval (Student's t over both); \
                 `verdict`: beside all rows of the table (Holm, 0.05).";

/// The tables; one whose runs are not there is left out.
pub(super) fn tables(summaries: &[Summary], budget: &Budget) -> Vec<Table> {
    let mut tables = Vec::new();
    tables.extend(q(summaries, budget));
    tables.extend(updates(summaries, budget));
    tables.extend(remainders(summaries, budget));
    tables
}

fn lengths(budget: &Budget) -> impl Iterator<Item = (usize, usize)> {
    budget.lengths.iter().copied().enumerate()
}

/// Columns of a difference: its mean with the interval, and what it says.
fn difference(row: &Difference) -> [String; 2] {
    [with_interval(row.difference), row.words()]
}

fn q(summaries: &[Summary], budget: &Budget) -> Option<Table> {
    let (q, summaries): (Vec<AverageQ>, Vec<&Summary>) = average_q::of_points(summaries).into_iter().unzip();
    if q.len() < 2 {
        return None;
    }
    let [high, low] = [|q: &AverageQ| q.high, |q: &AverageQ| q.low]
        .map(|of| q.iter().map(|q| of(q).0).collect::<Vec<f64>>());
    let rewards: Vec<Vec<f64>> = lengths(budget)
        .map(|(k, _)| summaries.iter().map(|summary| summary.mean(k, Reward::Total).value).collect())
        .collect();
    let columns: Vec<Vec<f64>> = [high.clone(), low.clone()].into_iter().chain(rewards.clone()).collect();
    let ranked: Vec<Vec<f64>> = columns.iter().map(|values| places(values)).collect();
    let row = |i: usize| {
        let q = &q[i];
        let mut row = vec![q.name.clone()];
        for (of_critic, of_return) in [q.high, q.low] {
            row.extend([of_critic, of_return, of_critic - of_return].map(|value| format!("{value:.2}")));
        }
        row.extend(rewards.iter().map(|values| format!("{:.2}", values[i])));
        row.push(ranked.iter().map(|places| places[i].to_string()).collect::<Vec<_>>().join(", "));
        row
    };
    let mut header: Vec<String> = ["setting", "high: average Q", "its return", "Q minus it"]
        .into_iter()
        .chain(["low: average Q", "its return", "Q minus it"])
        .map(str::to_owned)
        .collect();
    header.extend(lengths(budget).map(|(_, length)| format!("reward, {length} steps")));
    header.push("places: high Q, low Q, rewards".to_owned());
    let mut notes = Vec::new();
    let of_return =
        [|q: &AverageQ| q.high.1, |q: &AverageQ| q.low.1].map(|of| q.iter().map(of).collect::<Vec<f64>>());
    for (level, (values, returns)) in
        ["high", "low"].into_iter().zip([&high, &low].into_iter().zip(&of_return))
    {
        notes.push(format!(
            "The order by average Q of the {level} level {}.",
            average_q::same_order(values, ("its Monte-Carlo return", returns))
        ));
        for (k, length) in lengths(budget) {
            let what = format!("reward in sessions of {length}");
            notes.push(format!(
                "The order by average Q of the {level} level {}; it is {}.",
                average_q::same_order(values, (&what, &rewards[k])),
                average_q::pairs_in_order(values, &summaries, k)
            ));
        }
    }
    notes.push(
        "Average Q: mean over heads, seeds and the minibatches since the evaluation before the last. Its return: the Monte-Carlo \
         return of the rewards that the critic learns, from every period or step of validation sessions on, as if they went on as \
         they were where they are cut off: a critic looks beyond. With beta = 1 head i \
         counts the sub-periods 0 to i (Eq 13): of a period's reward the heads see (M + 1) / (2 M) on average, and a longer period \
         has more of it, whatever the policy is worth."
            .to_owned(),
    );
    Some(Table {
        id: "caveats-q".to_owned(),
        title: "Average Q of different M, its Monte-Carlo return and the reward".to_owned(),
        header,
        rows: (0..q.len()).map(row).collect(),
        notes,
    })
}

fn updates(summaries: &[Summary], budget: &Budget) -> Option<Table> {
    let runs = encoder::runs(summaries)?;
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    let lengths: Vec<(usize, usize)> = lengths(budget).collect();
    for (&(k, length), differences) in lengths.iter().zip(runs.differences(&lengths)) {
        for (found, [ours, theirs]) in differences.iter().zip(runs.pairs()) {
            let mut row = vec![found.what.clone()];
            row.push(
                [ours, theirs]
                    .map(|(_, run)| format!("{:.0}", run.over_seeds(|r| r.updates as f64)))
                    .join(" : "),
            );
            row.push([ours, theirs].map(|(_, run)| format!("{:.0}", encoder::updates(run))).join(" : "));
            row.push([ours, theirs].map(|(_, run)| with_interval(run.mean(k, Reward::Total))).join(" : "));
            row.extend(difference(found));
            rows.push(row);
        }
        notes.push(format!(
            "Sessions of {length}: {}.",
            encoder::is_gain_of_updates([&differences[0], &differences[1]])
        ));
    }
    notes.push(format!(
        "All learn from {:.0} environment steps. `sequential`: a step a head, each moving the encoder as well (Sec 2.2.2); \
         else one step over all heads. More updates are more of both levels. {D}",
        runs.summed.1.over_seeds(|result| result.env_steps as f64)
    ));
    Some(Table {
        id: "caveats-updates".to_owned(),
        title: "Goals, or the encoder updates that come with them".to_owned(),
        header: ["what", "updates", "of the high encoder", "total", "difference", "verdict"]
            .map(str::to_owned)
            .into(),
        rows,
        notes,
    })
}

fn remainders(summaries: &[Summary], budget: &Budget) -> Option<Table> {
    let (mut shares, mut compared) = (Vec::new(), Vec::new());
    for pair in &remainder::pairs(summaries) {
        for length in lengths(budget) {
            compared.extend(pair.compared(length));
            shares.resize(compared.len(), pair.share);
        }
    }
    let row = |(found, share): (&Difference, f64)| {
        let mut row = vec![found.what.clone(), format!("{:.0}%", 100.0 * share)];
        row.extend(difference(found));
        row
    };
    let rows: Vec<Vec<String>> = Difference::all(&compared).iter().zip(shares).map(row).collect();
    (!rows.is_empty()).then(|| Table {
        id: "caveats-remainder".to_owned(),
        title: "Steps left over where M does not divide c: the last goal's, or nobody's".to_owned(),
        header: ["what", "steps without a goal", "difference", "verdict"].map(str::to_owned).into(),
        rows,
        notes: vec![format!(
            "`dropped`: the formulas taken literally; the last steps of a period have no goal, no internal reward and count in no \
             phi. Else, as in the preset `{SUBJECT}`, they are the last goal's. {D}"
        )],
    })
}
