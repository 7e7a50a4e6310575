//! Statistics over seeds, users and comparisons against rliable, arch and statsmodels. Inputs and golden values are those
//! that golden/statistics.py wrote.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use learner::evaluation::{
    Estimate,
    statistics::{
        holm::holm,
        paired::by_user,
        seeds::{self, Scores, interquartile_mean, probability_of_improvement},
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    methods: Vec<Methods>,
    by_user: ByUser,
    p_values: Vec<f64>,
    holm: Vec<f64>,
}

/// Two methods `[seeds, tasks]`; estimates are value, low, high.
#[derive(Deserialize)]
struct Methods {
    tasks: usize,
    x: Vec<f64>,
    y: Vec<f64>,
    iqm: [f64; 3],
    mean: [f64; 3],
    improvement: [f64; 3],
}

#[derive(Deserialize)]
struct ByUser {
    users: Vec<u64>,
    differences: Vec<f64>,
    mean: [f64; 3],
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/statistics.json")).unwrap()
}

/// The value is the same to the six digits written; ends of intervals within what resampling leaves to chance: the
/// 2.5% quantile of k draws of a normal has a standard error of 0.68 / sqrt(k) of the interval's width, which makes 1.9%
/// for the difference of 2,000 draws and the 4,000 of the other program; five of them.
fn assert_close(what: &str, found: Estimate, [value, low, high]: [f64; 3]) {
    assert!((found.value - value).abs() < 1e-6, "{what}: {found:?}, expected {value}");
    // An interval of one point has no width to be off by.
    let tolerance = 5.0 * 0.019 * (high - low) + 1e-9;
    for (found, expected) in [(found.low, low), (found.high, high)] {
        assert!((found - expected).abs() < tolerance, "{what}: {found}, expected {expected} ± {tolerance}");
    }
}

#[test]
fn aggregates_over_seeds_and_tasks_are_those_of_rliable() {
    for (number, case) in golden().methods.iter().enumerate() {
        let [x, y] = [&case.x, &case.y].map(|values| Scores::new(case.tasks, values.clone()));
        assert_close(&format!("{number}: IQM"), interquartile_mean(&x, 7), case.iqm);
        assert_close(&format!("{number}: mean"), seeds::mean(&x, 7), case.mean);
        let improvement = probability_of_improvement(&y, &x, 7);
        assert_close(&format!("{number}: improvement"), improvement, case.improvement);
    }
}

#[test]
fn the_bootstrap_by_user_is_that_of_arch_over_users() {
    let ByUser { users, differences, mean } = golden().by_user;
    assert_close("by user", by_user(&differences, &users, 7).mean, mean);
}

#[test]
fn holm_is_that_of_statsmodels() {
    let golden = golden();
    for (found, expected) in holm(&golden.p_values).iter().zip(&golden.holm) {
        assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
    }
}
