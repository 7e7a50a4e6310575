//! The last steps of a period that M does not divide (D5): the last goal's, or nobody's?
//!
//! In: summaries; out: the points of Fig 9 with a remainder, each both ways.

use common::Remainder;

use super::{
    super::{Summary, methods::SUBJECT},
    Compared, points, settings, steps_without_goal,
};

/// A point of Fig 9 whose M does not divide c, with goals for the remainder and without.
#[derive(Clone, Copy, Debug)]
pub struct RemainderPair<'a> {
    /// The last goal's.
    pub last: &'a Summary,
    /// Nobody's.
    pub dropped: &'a Summary,
    /// The same M in the period of Fig 9 that it divides, if there is one.
    pub divided: Option<&'a Summary>,
    /// Share of the steps without a goal.
    pub share: f64,
}

/// The pairs, in the order of Fig 9.
pub fn pairs<'a>(summaries: &'a [Summary]) -> Vec<RemainderPair<'a>> {
    let points = points(summaries);
    let is_dropped = |summary: &&Summary| settings(summary).algorithm.remainder == Remainder::Drop;
    let dropped: Vec<&Summary> =
        summaries.iter().filter(|summary| summary.method == SUBJECT).filter(is_dropped).collect();
    let pair = |last: &'a Summary| {
        let config = settings(last);
        let mut wanted = config.clone();
        wanted.algorithm.remainder = Remainder::Drop;
        Some(RemainderPair {
            last,
            dropped: dropped.iter().find(|summary| settings(summary) == wanted)?,
            divided: points.iter().copied().find(|point| {
                let other = settings(point);
                other.model.n_goals == config.model.n_goals && steps_without_goal(&other) == 0
            }),
            share: steps_without_goal(&config) as f64 / config.model.period_steps as f64,
        })
    };
    points.iter().copied().filter_map(pair).collect()
}

impl<'a> RemainderPair<'a> {
    /// Sessions of one length: what goals for the remainder bring, and a period without one over a dropped one.
    pub fn compared(&self, length: (usize, usize)) -> Vec<Compared<'a>> {
        let named = |summary: &'a Summary| (summary.name.as_str(), summary);
        let over_dropped = |ours| ([named(ours), named(self.dropped)], length);
        [Some(self.last), self.divided].into_iter().flatten().map(over_dropped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Difference, tests::summaries};
    use super::*;

    #[test]
    fn every_point_with_a_remainder_has_a_run_without_goals_there() {
        let all = summaries(|_| vec![(5, 1), (6, 1)]);
        let shown: Vec<_> = pairs(&all)
            .iter()
            .map(|pair| (pair.dropped.name.as_str(), pair.divided.unwrap().name.as_str(), pair.share))
            .collect();
        assert_eq!(
            shown,
            [
                ("M = 3, c = 10 (dropped)", "M = 3, c = 12", 0.1),
                ("M = 4, c = 10 (dropped)", "M = 4, c = 12", 0.2)
            ]
        );
        let names: Vec<String> =
            Difference::all(&pairs(&all)[0].compared((0, 50))).into_iter().map(|row| row.what).collect();
        assert_eq!(
            names,
            [
                "M = 3, c = 10 minus M = 3, c = 10 (dropped), sessions of 50",
                "M = 3, c = 12 minus M = 3, c = 10 (dropped), sessions of 50"
            ]
        );
    }
}
