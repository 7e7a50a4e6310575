//! Fig 6: how Q and the return move in training.

use super::super::{CellResult, Summary, Table, cell::CurvePoint, figure::Figure};

/// Share of the final return within which a run counts as converged.
const BAND: f64 = 0.05;
/// The final return is the mean of so many evaluations at the end.
const AT_THE_END: usize = 3;

/// Curves of the means over seeds, and where they settle.
pub(super) fn section(summaries: &[Summary]) -> (Vec<Table>, Vec<Figure>) {
    let figure = |id: &str, title: &str, unit, of: &dyn Fn(&CurvePoint) -> Option<f64>| Figure::Curves {
        id: format!("fig6-{id}"),
        title: title.to_owned(),
        unit,
        series: summaries.iter().map(|summary| (summary.name.clone(), curve(summary, of))).collect(),
    };
    let heads = |summary: &Summary| {
        summary
            .results
            .iter()
            .filter_map(|r| r.curve.last())
            .map(|point| point.high_q.len())
            .min()
            .unwrap_or(0)
    };
    // Every goal of every method.
    let by_goal = |id: &str, title: &str, unit, of: &dyn Fn(&CurvePoint, usize) -> Option<f64>| {
        let series = summaries.iter().flat_map(|summary| {
            (0..heads(summary)).map(|head| {
                (format!("{}, goal {}", summary.name, head + 1), curve(summary, &|point| of(point, head)))
            })
        });
        Figure::Curves { id: format!("fig6-{id}"), title: title.to_owned(), unit, series: series.collect() }
    };
    let figures = vec![
        figure("return", "Evaluation return", "mean reward a validation session", &|point| Some(point.total)),
        by_goal("high", "High level: average Q", "mean Q of the minibatches", &|point, head| {
            point.high_q.get(head).copied()
        }),
        by_goal("high-error", "High level: average Q minus Monte-Carlo return", "reward", &|point, head| {
            let value = point.returns.high.get(head)?.extrapolated.value;
            Some(point.high_q.get(head)? - value)
        }),
        figure("low", "Low level: average Q", "mean Q of the minibatches", &|point| point.low_q),
        figure("low-error", "Low level: average Q minus Monte-Carlo return", "reward", &|point| {
            Some(point.low_q? - point.returns.low.extrapolated.value)
        }),
    ];
    let row = |summary: &Summary| {
        let settled: Vec<Option<&CurvePoint>> = summary.results.iter().map(settled).collect();
        let mean = |of: fn(&CurvePoint) -> u64| {
            let sum: Option<u64> = settled.iter().map(|point| point.map(of)).sum();
            sum.map_or_else(
                || "not in every seed".to_owned(),
                |sum| format!("{:.0}", sum as f64 / settled.len() as f64),
            )
        };
        vec![
            summary.name.clone(),
            mean(|point| point.env_steps),
            mean(|point| point.updates),
            format!("{:.2}", summary.over_seeds(|result| final_return(result).unwrap_or(f64::NAN))),
        ]
    };
    let table = Table {
        id: "fig6".to_owned(),
        title: "Where the evaluation return settles".to_owned(),
        header: ["method", "environment steps", "updates", "final return"].map(str::to_owned).into(),
        rows: summaries.iter().map(row).collect(),
        notes: vec![
            "Settled: from there on every evaluation is within 5% of the final return, the mean of the last three. The steps between \
             evaluations are the curve's. Mean over seeds. Average Q of different M is \
             not comparable (Eq 13 adds up sub-periods), so that the error against the Monte-Carlo return stands beside it; \
             the section on caveats says whether its order is that of the rewards. The values of the paper's curves are not known here."
                .to_owned(),
        ],
    };
    (vec![table], figures)
}

/// (steps, mean over seeds), as far as all seeds have a value.
fn curve(summary: &Summary, of: &dyn Fn(&CurvePoint) -> Option<f64>) -> Vec<(f64, f64)> {
    let points = summary.results.iter().map(|result| result.curve.len()).min().unwrap_or(0);
    let at = |k: usize| {
        let sum: Option<f64> = summary.results.iter().map(|result| of(&result.curve[k])).sum();
        let steps = summary.over_seeds(|result| result.curve[k].env_steps as f64);
        sum.map(|sum| (steps, sum / summary.results.len() as f64))
    };
    (0..points).filter_map(at).collect()
}

/// The mean of the evaluations at the end; `None` without any.
fn final_return(result: &CellResult) -> Option<f64> {
    let tail = &result.curve[result.curve.len().saturating_sub(AT_THE_END)..];
    (!tail.is_empty()).then(|| tail.iter().map(|point| point.total).sum::<f64>() / tail.len() as f64)
}

/// The first evaluation from which on all are close to the final return; `None` where that is the last alone, or none is.
fn settled(result: &CellResult) -> Option<&CurvePoint> {
    let end = final_return(result)?;
    let close = |point: &&CurvePoint| (point.total - end).abs() <= BAND * end.abs();
    let tail = result.curve.iter().rev().take_while(close).count();
    (tail > 1).then(|| &result.curve[result.curve.len() - tail])
}
