//! Means of several comparisons whose 95% intervals hold all at once (Bonferroni), with few seeds too.
//!
//! In: `[seeds, users]` values, the number of comparisons; out: the mean with its interval. A resampled interval of two or
//! three seeds is hardly wider than the seeds lie apart; where an effect that is *not* there is to be shown that
//! would find one too often. So the variances of the seeds' and of the users' means are added up (which counts what the two have in
//! common twice, on the safe side), and Student's t has the degrees of freedom of Welch and Satterthwaite.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Estimate;

/// The mean of `values` `[seeds, users]`, one of `comparisons`. Rows are equally long, with at least two users.
///
/// # Panics
/// Without values.
pub fn mean(values: &[Vec<f64>], comparisons: usize) -> Estimate {
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
        return Estimate { value, low: value, high: value };
    }
    let weights: f64 = parts
        .iter()
        .filter(|(variance, _)| *variance > 0.0)
        .map(|(variance, freedom)| variance * variance / freedom)
        .sum();
    let t = StudentsT::new(0.0, 1.0, variance * variance / weights)
        .expect("a variance above zero has degrees of freedom above zero");
    let margin = t.inverse_cdf(1.0 - 0.025 / comparisons as f64) * variance.sqrt();
    Estimate { value, low: value - margin, high: value + margin }
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
