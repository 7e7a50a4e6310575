//! A method over its seeds, and the differences of two.
//!
//! In: the results of its cells; out: means with 95% intervals that resample seeds and users both (crossed): neither
//! a lucky seed nor a lucky draw of users makes an interval narrow. Users are the same for all methods and seeds, so that
//! differences are paired by user. With a few seeds such an interval is still too narrow to decide by: what is said to be above
//! something else is decided by [`Contrast`]s.

use common::seed::Streams;
use rand::RngExt;
use serde::Serialize;

use super::CellResult;
use crate::evaluation::{
    Estimate,
    result::SessionRewards,
    statistics::{RESAMPLES, percentile, together},
};

/// A variant of an experiment with all its cells.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What tables call it.
    pub name: String,
    /// Id of its method.
    pub method: String,
    /// One a seed.
    pub results: Vec<CellResult>,
}

/// Which reward of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reward {
    /// Clicks and orders.
    Total,
    /// Clicks without an order.
    Click,
    /// Orders.
    Order,
}

impl Reward {
    /// Of a session.
    pub fn of(self, session: &SessionRewards) -> f64 {
        match self {
            Self::Total => session.total(),
            Self::Click => session.click_reward(),
            Self::Order => session.order_reward(),
        }
    }
}

impl Summary {
    /// `[seeds, sessions]` rewards in sessions of the k-th length of the budget.
    pub fn rewards(&self, length: usize, reward: Reward) -> Vec<Vec<f64>> {
        let of_seed = |result: &CellResult| {
            result.online[length].sessions.iter().map(|session| reward.of(session)).collect()
        };
        self.results.iter().map(of_seed).collect()
    }

    /// The same in expectation over the draws of users who are shown the same items, which a built-in world knows: less noise.
    /// `None` in another world, and of clicks.
    pub fn expectations(&self, length: usize, reward: Reward) -> Option<Vec<Vec<f64>>> {
        let of_session = |session: &SessionRewards| match reward {
            Reward::Total => session.expected,
            Reward::Click => None,
            Reward::Order => session.expected_order,
        };
        let of_seed = |result: &CellResult| result.online[length].sessions.iter().map(of_session).collect();
        self.results.iter().map(of_seed).collect()
    }

    /// Mean reward of a session.
    pub fn mean(&self, length: usize, reward: Reward) -> Estimate {
        crossed(&self.rewards(length, reward))
    }

    /// Mean of this minus another, with the interval of [`Contrast`].
    pub fn minus(&self, other: &Self, length: usize, reward: Reward) -> Estimate {
        self.against(other, 1.0, length, reward).difference
    }

    /// `[seeds, sessions]` of this minus another, paired by user, and by seed where both are trained.
    pub fn differences(&self, other: &Self, length: usize, reward: Reward) -> Vec<Vec<f64>> {
        minus_times(&self.rewards(length, reward), 1.0, &other.rewards(length, reward))
    }

    /// This against so many times another: above zero where the ratio of the two is above `times`.
    pub fn against(&self, other: &Self, times: f64, length: usize, reward: Reward) -> Contrast {
        Contrast::of(&minus_times(&self.rewards(length, reward), times, &other.rewards(length, reward)))
    }

    /// Mean over the seeds of a figure of each result.
    pub fn over_seeds(&self, of: impl Fn(&CellResult) -> f64) -> f64 {
        self.results.iter().map(of).sum::<f64>() / self.results.len() as f64
    }
}

/// A difference, and how sure it is. Student's t over seeds and users both ([`together`]), as right with two seeds as with ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The mean with its 95% interval, as if nothing else were compared.
    pub difference: Estimate,
    /// Two-sided p-value of no difference. Many of them are corrected by their reader.
    pub p: f64,
}

impl Contrast {
    /// The mean of `[seeds, users]` differences.
    pub fn of(differences: &[Vec<f64>]) -> Self {
        Self { difference: together::mean(differences, 1), p: together::p_value(differences) }
    }
}

/// Row k of a matrix, or of one that has a single row that stands for all.
fn row(values: &[Vec<f64>], k: usize) -> &[f64] {
    &values[k % values.len()]
}

/// `[seeds, users]`: one minus so many times the other, row by row.
pub fn minus_times(ours: &[Vec<f64>], times: f64, theirs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let difference =
        |k| row(ours, k).iter().zip(row(theirs, k)).map(|(ours, theirs)| ours - times * theirs).collect();
    (0..ours.len().max(theirs.len())).map(difference).collect()
}

/// The mean of `values` `[seeds, users]` with its interval. Rows are equally long.
pub fn crossed(values: &[Vec<f64>]) -> Estimate {
    resampled([values], |[mean]| mean)
}

/// The ratio of the means of two, paired as in [`minus_times`].
pub fn ratio(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> Estimate {
    resampled([ours, theirs], |[ours, theirs]| ours / theirs)
}

/// A figure of the means of matrices `[seeds, users]`, each resample being of the same seeds and users in all of them.
fn resampled<const K: usize>(matrices: [&[Vec<f64>]; K], figure: impl Fn([f64; K]) -> f64) -> Estimate {
    let seeds = matrices.iter().map(|values| values.len()).max().unwrap_or(0);
    let users = matrices[0][0].len();
    let streams = Streams::new(0, "reproduce/bootstrap");
    let mut figures = Vec::with_capacity(RESAMPLES);
    let mut drawn = vec![0; users];
    for resample in 0..RESAMPLES {
        let mut rng = streams.at(resample as u64, 0);
        drawn.fill_with(|| rng.random_range(0..users));
        let mut sums = [0.0; K];
        for _ in 0..seeds {
            let seed = rng.random_range(0..seeds);
            for (sum, values) in sums.iter_mut().zip(matrices) {
                let row = row(values, seed);
                *sum += drawn.iter().map(|&user| row[user]).sum::<f64>();
            }
        }
        figures.push(figure(sums.map(|sum| sum / (seeds * users) as f64)));
    }
    figures.sort_unstable_by(f64::total_cmp);
    let mean = |values: &[Vec<f64>]| values.iter().flatten().sum::<f64>() / (values.len() * users) as f64;
    Estimate {
        value: figure(matrices.map(mean)),
        low: percentile(&figures, 0.025),
        high: percentile(&figures, 0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_differ_widen_an_interval_that_users_alone_would_leave_narrow() {
        let row = |level: f64| (0..400).map(|k| level + f64::from(k % 2)).collect::<Vec<f64>>();
        let narrow = crossed(&[row(1.0), row(1.0)]);
        let wide = crossed(&[row(0.0), row(2.0)]);
        assert_eq!((narrow.value, wide.value), (1.5, 1.5));
        assert!(narrow.margin() < 0.06, "{narrow:?}");
        // Both seeds drawn alike happens half of the time.
        assert!(wide.low < 0.6 && wide.high > 2.4, "{wide:?}");
    }

    #[test]
    fn the_interval_of_one_seed_is_that_of_its_users() {
        let values: Vec<f64> = (0..1000).map(|k| f64::from(k % 10)).collect();
        let estimate = crossed(&[values]);
        // The standard error of the mean is 2.87 / sqrt(1000).
        assert!((estimate.margin() - 1.96 * 2.872 / 1000_f64.sqrt()).abs() < 0.02, "{estimate:?}");
    }

    #[test]
    fn a_ratio_is_paired_by_seed_and_user() {
        // Whoever is drawn, one is twice the other.
        let theirs: Vec<Vec<f64>> =
            (1..4).map(|seed| (1..50).map(|user| f64::from(seed * user)).collect()).collect();
        let ours = minus_times(&theirs, -1.0, &theirs);
        let found = ratio(&ours, &theirs);
        assert!((found.low - 2.0).abs() < 1e-12 && (found.high - 2.0).abs() < 1e-12, "{found:?}");
        let alone = ratio(&theirs[1..2], &theirs);
        assert_eq!(alone.value, 1.0, "a single row stands for all");
    }

    #[test]
    fn two_seeds_that_differ_are_no_proof() {
        let differences = [vec![0.5; 50], vec![3.0; 50]];
        assert!(crossed(&differences).low > 0.0, "resampled, the lower of the two is the lower end");
        let Contrast { difference, p } = Contrast::of(&differences);
        assert!(difference.low < 0.0 && p > 0.2, "{difference:?} {p}");
    }
}
