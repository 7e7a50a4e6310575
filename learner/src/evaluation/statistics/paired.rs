//! The difference of two methods on the same sessions, resampled by user.
//!
//! In: a difference for each session and the user it belongs to; out: the mean difference with its 95% interval and a
//! two-sided p-value. Sessions of one user resemble each other, so users are drawn with replacement, each with all of
//! his sessions. Where every session has a user of its own this is the bootstrap over sessions.

use std::collections::BTreeMap;

use super::{Estimate, RESAMPLES, estimate, resample};

/// What a paired comparison says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// Mean difference a session.
    pub mean: Estimate,
    /// Two-sided p-value of "no difference": the smallest level whose percentile interval leaves out 0. At least
    /// 2 / (resamples + 1).
    pub p_value: f64,
}

/// Compares by the `differences` `[S]` of sessions whose users are `users` `[S]`.
///
/// # Panics
/// Without a session, or if the two differ in length.
pub fn by_user(differences: &[f64], users: &[u64], seed: u64) -> PairedDifference {
    assert_eq!(differences.len(), users.len(), "one user a session");
    // In the order of the ids: sums do not depend on how sessions stand.
    let mut sums = BTreeMap::<u64, (f64, f64)>::new();
    for (&difference, &user) in differences.iter().zip(users) {
        let (sum, sessions) = sums.entry(user).or_default();
        *sum += difference;
        *sessions += 1.0;
    }
    let groups: Vec<(f64, f64)> = sums.into_values().collect();
    let ([value], [mut resampled]) = resample(groups.len(), seed, |drawn| {
        let add = |(sum, n), &g: &usize| (sum + groups[g].0, n + groups[g].1);
        let (sum, sessions) = drawn.iter().fold((0.0, 0.0), add);
        [sum / sessions]
    });
    let count = |is_beyond: fn(f64) -> bool| resampled.iter().filter(|&&mean| is_beyond(mean)).count();
    let beyond = count(|mean| mean <= 0.0).min(count(|mean| mean >= 0.0));
    let tail = (1 + beyond) as f64 / (RESAMPLES + 1) as f64;
    PairedDifference { mean: estimate(value, &mut resampled), p_value: (2.0 * tail).min(1.0) }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::evaluation::statistics::mean;

    fn normals(n: usize, shift: f64) -> Vec<f64> {
        let mut rng = Streams::new(4, "test").sequential();
        let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
        (0..n).map(|_| draw() + shift).collect()
    }

    #[test]
    fn one_session_a_user_is_the_bootstrap_over_sessions() {
        let differences = normals(60, 0.1);
        let users: Vec<u64> = (0..60).collect();
        assert_eq!(by_user(&differences, &users, 3).mean, mean(&differences, 3));
    }

    #[test]
    fn copies_of_a_users_session_narrow_nothing() {
        let differences = normals(60, 0.1);
        let users: Vec<u64> = (0..60).collect();
        let once = by_user(&differences, &users, 3);
        let thrice = by_user(&differences.repeat(3), &users.repeat(3), 3);
        assert!((once.mean.low - thrice.mean.low).abs() < 1e-12, "{once:?} {thrice:?}");
        assert!(mean(&differences.repeat(3), 3).margin() < 0.7 * once.mean.margin());
    }

    #[test]
    fn the_p_value_is_that_of_the_normal_theory_and_agrees_with_the_interval() {
        // z = mean / (sd / sqrt(n)); P(|Z| > z) from a table: 2.0 is 0.0455, 1.0 is 0.317.
        for (z, expected) in [(2.0, 0.0455), (1.0, 0.317)] {
            let n = 400;
            let raw = normals(n, 0.0);
            let centre = raw.iter().sum::<f64>() / n as f64;
            let sd = (raw.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / n as f64).sqrt();
            let shifted: Vec<f64> = raw.iter().map(|x| (x - centre) / sd + z / (n as f64).sqrt()).collect();
            let found = by_user(&shifted, &(0..n as u64).collect::<Vec<_>>(), 1);
            // 2,000 resamples: four standard errors of a tail, doubled.
            let tolerance = 8.0 * (expected / 2.0 / RESAMPLES as f64).sqrt();
            assert!((found.p_value - expected).abs() < tolerance, "{found:?}, expected {expected}");
        }
    }

    #[test]
    fn no_difference_has_p_value_one_and_a_constant_one_the_least() {
        let users: Vec<u64> = (0..9).collect();
        assert_eq!(by_user(&[0.0; 9], &users, 0).p_value, 1.0);
        let constant = by_user(&[0.5; 9], &users, 0);
        assert_eq!(constant.mean, Estimate { value: 0.5, low: 0.5, high: 0.5 });
        assert_eq!(constant.p_value, 2.0 / (RESAMPLES + 1) as f64);
    }
}
