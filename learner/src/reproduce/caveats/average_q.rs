//! Average Q of different M beside its Monte-Carlo return and the reward (D7).
//!
//! In: summaries; out: what the critics of each point of Fig 9 say, and whether their order is that of the rewards.

use super::{
    super::{Summary, paper::decide, summary::Reward},
    points,
};
use crate::evaluation::statistics::ranks::spearman;

/// What the critics of one M say of their policy after training, beside what it brings. Means over seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct AverageQ {
    /// M and c.
    pub name: String,
    /// Mean Q over the minibatches and heads of the high level, and its Monte-Carlo return.
    pub high: (f64, f64),
    /// The same of the low level.
    pub low: (f64, f64),
}

/// Of every point of Fig 9 with an evaluation after its first updates.
pub fn of_points(summaries: &[Summary]) -> Vec<(AverageQ, &Summary)> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let of = |summary: &Summary| -> Option<AverageQ> {
        // [(high Q, high return, low Q, low return)], one a seed.
        let seeds: Option<Vec<[f64; 4]>> = summary
            .results
            .iter()
            .map(|result| {
                let last = result.curve.last().filter(|point| !point.high_q.is_empty())?;
                let returns: Vec<f64> =
                    last.returns.high.iter().map(|head| head.extrapolated.value).collect();
                Some([mean(&last.high_q), mean(&returns), last.low_q?, last.returns.low.extrapolated.value])
            })
            .collect();
        let seeds = seeds?;
        let over = |k: usize| mean(&seeds.iter().map(|seed| seed[k]).collect::<Vec<_>>());
        Some(AverageQ { name: summary.name.clone(), high: (over(0), over(1)), low: (over(2), over(3)) })
    };
    points(summaries).into_iter().filter_map(|summary| Some((of(summary)?, summary))).collect()
}

/// Whether the order by `q` is that by the values of something, in words.
pub fn same_order(q: &[f64], (what, values): (&str, &[f64])) -> String {
    match spearman(q, values) {
        None => format!("cannot be held against that by {what}"),
        Some(agreement) if agreement > 1.0 - 1e-9 => format!("is that by {what}"),
        Some(agreement) => format!("is not that by {what} (Spearman's correlation {agreement:.2})"),
    }
}

/// In how many pairs whose mean rewards in sessions of the k-th length are apart, all pairs decided together, the larger `q` has
/// the larger one, in words.
pub fn pairs_in_order(q: &[f64], summaries: &[&Summary], k: usize) -> String {
    let (mut contrasts, mut q_is_more) = (Vec::new(), Vec::new());
    for (i, first) in summaries.iter().enumerate() {
        for (j, second) in summaries.iter().enumerate().skip(i + 1) {
            contrasts.push(first.against(second, 1.0, k, Reward::Total));
            q_is_more.push(q[i] > q[j]);
        }
    }
    let (mut decided, mut right) = (0, 0);
    for ((_, is_more), of_q) in decide(&contrasts).into_iter().zip(q_is_more) {
        if let Some(is_more) = is_more {
            decided += 1;
            right += usize::from(is_more == of_q);
        }
    }
    let pairs = contrasts.len();
    match decided {
        0 => format!("undecided, as none of {pairs} pairs differs in reward beyond noise"),
        _ if right == decided => {
            format!("right in all {decided} of {pairs} pairs that differ in reward beyond noise")
        }
        _ => format!("wrong in {} of {decided} pairs that differ in reward beyond noise", decided - right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evaluation::{Estimate, LevelReturn, MonteCarloReturns},
        reproduce::{cell::CurvePoint, methods::SUBJECT, test_summary::summary},
    };

    #[test]
    fn the_order_by_q_is_held_against_that_of_the_rewards() {
        let all = [3, 5, 9].map(|clicks| summary(SUBJECT, &[], &[(clicks, 0), (clicks, 0)]));
        let words = |q: &[f64]| pairs_in_order(q, &all.iter().collect::<Vec<_>>(), 0);
        assert_eq!(words(&[1.0, 2.0, 3.0]), "right in all 3 of 3 pairs that differ in reward beyond noise");
        assert_eq!(words(&[3.0, 2.0, 4.0]), "wrong in 1 of 3 pairs that differ in reward beyond noise");
        // Seeds that turn the order round leave nothing decided.
        let noisy = [[(3, 0), (9, 0)], [(5, 0), (6, 0)]].map(|seeds| summary(SUBJECT, &[], &seeds));
        let words = pairs_in_order(&[1.0, 2.0], &noisy.iter().collect::<Vec<_>>(), 0);
        assert_eq!(words, "undecided, as none of 1 pairs differs in reward beyond noise");
        let same = |q: &[f64], values: &[f64]| same_order(q, ("reward", values));
        assert_eq!(same(&[1.0, 2.0, 3.0], &[4.0, 5.0, 9.0]), "is that by reward");
        assert_eq!(
            same(&[1.0, 2.0, 3.0], &[9.0, 5.0, 4.0]),
            "is not that by reward (Spearman's correlation -1.00)"
        );
        assert_eq!(same(&[1.0, 2.0], &[4.0, 4.0]), "cannot be held against that by reward");
    }

    #[test]
    fn q_and_its_return_are_means_over_heads_and_seeds() {
        let level = |value: f64| {
            let of = Estimate { value, low: value, high: value };
            LevelReturn { from_start: of, from_every_step: of, extrapolated: of }
        };
        let point = |high_q: Vec<f64>, low_q: f64| CurvePoint {
            env_steps: 0,
            updates: 0,
            total: 0.0,
            high_q,
            low_q: Some(low_q),
            returns: MonteCarloReturns {
                low_external: level(0.0),
                low: level(3.0),
                high: vec![level(1.0), level(2.0)],
            },
        };
        let mut all = [summary(SUBJECT, &[], &[(1, 0), (1, 0)])];
        assert!(of_points(&all).is_empty(), "no evaluation");
        all[0].results[0].curve = vec![point(vec![1.0, 3.0], 1.0)];
        all[0].results[1].curve = vec![point(vec![9.0, 9.0], 9.0), point(vec![5.0, 7.0], 2.0)];
        let found = of_points(&all);
        assert_eq!((found[0].0.high, found[0].0.low), ((4.0, 1.5), (1.5, 3.0)));
        all[0].results[0].curve.push(point(Vec::new(), 1.0));
        assert!(of_points(&all).is_empty(), "no update before the last evaluation");
    }
}
