//! Means of several comparisons whose 95% intervals hold all at once (Bonferroni), with few seeds too.
//!
//! In: `[seeds, users]` values, the number of comparisons; out: the mean with its interval, and what could have been
//! found. A resampled interval of two or three seeds is hardly wider than the seeds lie apart; where an effect that is
//! *not* there is to be shown that would find one too often. So the variances of the seeds' and of the users' means are
//! added up (which counts what the two have in common twice, on the safe side), and Student's t has the degrees of freedom
//! of Welch and Satterthwaite.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Estimate;

/// Chance that [`detectable`] is found.
const POWER: f64 = 0.8;

/// The mean of `values` `[seeds, users]`, one of `comparisons`. Rows are equally long, with at least two users.
///
/// # Panics
/// Without values.
pub fn mean(values: &[Vec<f64>], comparisons: usize) -> Estimate {
    let (value, error) = spread(values);
    let margin =
        error.map_or(0.0, |(standard, t)| t.inverse_cdf(1.0 - 0.025 / comparisons as f64) * standard);
    Estimate { value, low: value - margin, high: value + margin }
}

/// Two-sided p-value of a mean of zero, of one comparison.
///
/// # Panics
/// As for [`mean`].
pub fn p_value(values: &[Vec<f64>]) -> f64 {
    let (value, error) = spread(values);
    match error {
        Some((standard, t)) => 2.0 * t.sf(value.abs() / standard),
        None => f64::from(u8::from(value == 0.0)),
    }
}

/// The smallest true mean whose interval would lie above zero four times in five, were another sample as wide as `values`.
///
/// # Panics
/// As for [`mean`].
pub fn detectable(values: &[Vec<f64>], comparisons: usize) -> f64 {
    let beyond = |t: StudentsT| t.inverse_cdf(1.0 - 0.025 / comparisons as f64) + t.inverse_cdf(POWER);
    spread(values).1.map_or(0.0, |(standard, t)| beyond(t) * standard)
}

/// The mean; its standard error with the distribution of errors in units of it, `None` where nothing varies.
fn spread(values: &[Vec<f64>]) -> (f64, Option<(f64, StudentsT)>) {
    let (seeds, users) = (values.len(), values[0].len());
    let of_seeds: Vec<f64> = values.iter().map(|row| row.iter().sum::<f64>() / users as f64).collect();
    let of_users: Vec<f64> =
        (0..users).map(|user| values.iter().map(|row| row[user]).sum::<f64>() / seeds as f64).collect();
    let value = of_seeds.iter().sum::<f64>() / seeds as f64;
    // (squared standard error, degrees of freedom) of each.
    let parts = [&of_seeds, &of_users].map(|means| {
        let freedom = means.len() as f64 - 1.0;
        let squares: f64 = means.iter().map(|mean| (mean - value).powi(2)).sum();
        (if freedom > 0.0 { squares / freedom / means.len() as f64 } else { 0.0 }, freedom)
    });
    let variance: f64 = parts.iter().map(|(variance, _)| variance).sum();
    if variance <= 0.0 {
        return (value, None);
    }
    let weights: f64 = parts
        .iter()
        .filter(|(variance, _)| *variance > 0.0)
        .map(|(variance, freedom)| variance * variance / freedom)
        .sum();
    let t = StudentsT::new(0.0, 1.0, variance * variance / weights)
        .expect("a variance above zero has degrees of freedom above zero");
    (value, Some((variance.sqrt(), t)))
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn with_one_seed_it_is_students_interval_of_the_users() {
        // t of 9 degrees of freedom, 97.5%: 2.262; the mean of 0..9 has a standard error of sqrt(82.5 / 9 / 10).
        let estimate = mean(&[(0..10).map(f64::from).collect()], 1);
        assert_eq!(estimate.value, 4.5);
        assert!((estimate.margin() - 2.262 * (82.5_f64 / 90.0).sqrt()).abs() < 1e-3, "{estimate:?}");
        // 99.75%, of ten comparisons: 3.690.
        let ten = mean(&[(0..10).map(f64::from).collect()], 10);
        assert!((ten.margin() / estimate.margin() - 3.690 / 2.262).abs() < 1e-3, "{ten:?}");
    }

    #[test]
    fn an_interval_ends_at_zero_where_the_p_value_is_a_twentieth() {
        let shifted = |by: f64| [(0..10).map(|k| f64::from(k) - by).collect::<Vec<f64>>()];
        let Estimate { low, high, .. } = mean(&shifted(0.0), 1);
        for end in [low, high] {
            let p = p_value(&shifted(end));
            assert!((p - 0.05).abs() < 1e-6, "{p}");
        }
        assert_eq!((p_value(&[vec![0.0; 9]]), p_value(&[vec![1.0; 9]])), (1.0, 0.0));
    }

    #[test]
    fn what_can_be_found_four_times_in_five_is_wider_than_the_interval() {
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        // t of 9 degrees of freedom, 97.5% and 80%: 2.262 and 0.883.
        let found = detectable(&[values], 1);
        assert!((found - (2.262 + 0.883) * (82.5_f64 / 90.0).sqrt()).abs() < 2e-3, "{found}");
        assert_eq!(detectable(&[vec![1.0; 50]], 1), 0.0, "nothing varies");
    }

    #[test]
    fn two_seeds_that_differ_decide_next_to_nothing() {
        // t of one degree of freedom, 97.5%: 12.71; the standard error of the seeds' mean is 0.5.
        let estimate = mean(&[vec![1.0; 50], vec![2.0; 50]], 1);
        assert!((estimate.margin() - 12.706 * 0.5).abs() < 0.01, "{estimate:?}");
        assert_eq!(mean(&[vec![1.0; 50]], 1), Estimate { value: 1.0, low: 1.0, high: 1.0 });
    }

    #[test]
    fn noise_of_three_seeds_and_users_is_hardly_ever_taken_for_an_effect() {
        let mut rng = Streams::new(1, "test").sequential();
        let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
        let found = (0..200)
            .filter(|_| {
                let users: Vec<f64> = (0..40).map(|_| draw()).collect();
                let values: Vec<Vec<f64>> = (0..3)
                    .map(|_| {
                        let seed = 0.3 * draw();
                        users.iter().map(|user| user + seed + draw()).collect()
                    })
                    .collect();
                let estimate = mean(&values, 1);
                estimate.low > 0.0 || estimate.high < 0.0
            })
            .count();
        // Binomial(200, 0.05): at most 20 with probability above 0.995.
        assert!(found <= 20, "{found} of 200");
    }
}
