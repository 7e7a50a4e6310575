//! Intervals by the percentile bootstrap, and what may be concluded from several comparisons at once.
//!
//! In: a statistic of a multiset of sessions; out: its value on all sessions with a 95% interval. Resample k draws n
//! sessions with replacement from the random stream (seed, k), so that equal seeds resample equally: differences and
//! ratios of several methods are resampled jointly, which keeps their pairing.
//!
//! | module | what it holds |
//! |---|---|
//! | [`seeds`] | a method over training seeds and tasks: interquartile mean, probability of improvement |
//! | [`paired`] | differences of two methods, resampled by user, with a p-value |
//! | [`together`] | means whose intervals hold all at once, with few seeds too |
//! | [`ranks`] | how far two orders agree |
//! | [`holm`] | p-values of a table's comparisons, corrected for their number |

pub mod holm;
pub mod paired;
pub mod ranks;
pub mod seeds;
pub mod together;

use common::seed::Streams;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Resamples behind an interval.
pub const RESAMPLES: usize = 2000;

/// A value with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// On all sessions.
    pub value: f64,
    /// 2.5th percentile of the resampled values.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

impl Estimate {
    /// Half the width of the interval.
    pub fn margin(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// Estimates `K` statistics of `n` sessions at once. `statistics` maps session indices (each in `0..n`, repeats
/// allowed, n of them) to values.
pub fn bootstrap<const K: usize>(
    n: usize,
    seed: u64,
    statistics: impl FnMut(&[usize]) -> [f64; K],
) -> [Estimate; K] {
    let (values, mut resampled) = resample(n, seed, statistics);
    std::array::from_fn(|k| estimate(values[k], &mut resampled[k]))
}

/// The statistics of all sessions, and of each resample.
fn resample<const K: usize>(
    n: usize,
    seed: u64,
    mut statistics: impl FnMut(&[usize]) -> [f64; K],
) -> ([f64; K], [Vec<f64>; K]) {
    assert!(n > 0, "a bootstrap needs a session");
    let mut indices: Vec<usize> = (0..n).collect();
    let values = statistics(&indices);
    let mut resampled: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(RESAMPLES));
    let streams = Streams::new(seed, "evaluation/bootstrap");
    for resample in 0..RESAMPLES {
        let mut rng = streams.at(resample as u64, 0);
        indices.fill_with(|| rng.random_range(0..n));
        for (column, value) in resampled.iter_mut().zip(statistics(&indices)) {
            column.push(value);
        }
    }
    (values, resampled)
}

/// A value with the 95% interval of its resampled values, which are sorted.
fn estimate(value: f64, resampled: &mut [f64]) -> Estimate {
    resampled.sort_unstable_by(f64::total_cmp);
    Estimate { value, low: percentile(resampled, 0.025), high: percentile(resampled, 0.975) }
}

/// The mean of one value a session.
pub fn mean(values: &[f64], seed: u64) -> Estimate {
    bootstrap(values.len(), seed, |indices| [mean_at(values, indices)])[0]
}

/// The mean of `values` at `indices`, summed in the order of the indices.
pub(super) fn mean_at(values: &[f64], indices: &[usize]) -> f64 {
    indices.iter().map(|&i| values[i]).sum::<f64>() / indices.len() as f64
}

/// The `share` quantile of sorted values, interpolated between neighbours.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, rest) = (position.floor() as usize, position.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + rest * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    fn normals(n: usize, seed: u64) -> Vec<f64> {
        let mut rng = Streams::new(seed, "test").sequential();
        (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    #[test]
    fn about_95_percent_of_the_intervals_cover_the_true_mean() {
        let covered = (0..60).filter(|&k| {
            let estimate = mean(&normals(80, k), k);
            estimate.low <= 0.0 && 0.0 <= estimate.high
        });
        // Binomial(60, 0.95): 51 to 60 with probability above 0.999.
        assert!((51..=60).contains(&covered.count()));
    }

    #[test]
    fn the_interval_has_the_width_of_the_normal_theory() {
        let estimate = mean(&normals(400, 1), 1);
        let expected = 1.96 / 20.0;
        assert!((estimate.margin() / expected - 1.0).abs() < 0.15, "{estimate:?}");
    }

    #[test]
    fn equal_seeds_give_equal_intervals_and_constants_have_none() {
        let values = normals(50, 3);
        assert_eq!(mean(&values, 9), mean(&values, 9));
        assert_ne!(mean(&values, 9), mean(&values, 10));
        assert_eq!(mean(&[2.0; 7], 0), Estimate { value: 2.0, low: 2.0, high: 2.0 });
    }

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile(&[0.0, 1.0, 2.0, 3.0], 0.5), 1.5);
        assert_eq!(percentile(&[5.0], 0.975), 5.0);
    }
}
