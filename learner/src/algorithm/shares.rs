//! Eqs 12 and 13 as matrices. In: the division of a period, the form of the assignment; out: who gets which reward.

use common::{PeriodLayout, config::Assignment};

/// `[c, M]` 1 where a step's reward belongs to a sub-period.
pub fn of_steps(layout: &PeriodLayout) -> Vec<f64> {
    let (c, m) = (layout.n_steps, layout.n_goals);
    let mut belongs = vec![0.0; c * m];
    for position in 0..c {
        // Eq 12: phi_k = sum of r_ex over sub-period k
        if let Some(k) = layout.sub_period(position) {
            belongs[position * m + k] = 1.0;
        }
    }
    belongs
}

/// `[M, M]` the share of phi_k (row) in r^h_i (column).
pub fn of_sub_periods(m: usize, assignment: Assignment, beta: f64) -> Vec<f64> {
    let mut share = vec![0.0; m * m];
    for k in 0..m {
        for i in 0..m {
            // Eq 13: r^h_i = sum over k <= i of beta^(i-k) phi_k
            share[k * m + i] = match assignment {
                Assignment::Paper if k <= i => beta.powi((i - k) as i32),
                Assignment::Causal if k >= i => beta.powi((k - i) as i32),
                Assignment::Naive if k == i => 1.0,
                _ => 0.0,
            };
        }
    }
    share
}
