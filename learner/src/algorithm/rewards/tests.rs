//! Golden tables of Eqs 10-13, computed by hand.

use common::{
    Remainder::{self, Drop, Last},
    config::Assignment::{self, Causal, Naive, Paper},
};

use super::*;

/// Feedback of one period: an order at 0, clicks at 2, 3 and 7, orders at 8 and at the last two of twelve steps.
const REWARDS: [f64; 12] = [5.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 5.0, 1.0, 5.0, 5.0];

fn row(values: &Tensor) -> Vec<f64> {
    (0..values.size()[1]).map(|i| values.double_value(&[0, i])).collect()
}

fn phi(c: usize, m: usize, remainder: Remainder) -> Vec<f64> {
    let layout = PeriodLayout { n_goals: m, n_steps: c, remainder };
    row(&sub_period_sums(&Tensor::from_slice(&REWARDS[..c]).view([1, c as i64]), &layout))
}

#[test]
fn golden_table_of_eq_12() {
    for remainder in [Last, Drop] {
        assert_eq!(phi(10, 1, remainder), [14.0]);
        assert_eq!(phi(10, 2, remainder), [7.0, 7.0]);
        assert_eq!(phi(12, 3, remainder), [7.0, 1.0, 16.0]);
    }
    // L = 3: steps 0-2, 3-5, 6-8, and step 9 is left over.
    assert_eq!(phi(10, 3, Last), [6.0, 1.0, 7.0]);
    assert_eq!(phi(10, 3, Drop), [6.0, 1.0, 6.0]);
    // L = 2: steps 0-1, 2-3, 4-5, 6-7, and steps 8-9 are left over.
    assert_eq!(phi(10, 4, Last), [5.0, 2.0, 0.0, 7.0]);
    assert_eq!(phi(10, 4, Drop), [5.0, 2.0, 0.0, 1.0]);
}

fn r_h(c: usize, m: usize, remainder: Remainder, assignment: Assignment, beta: f64) -> Vec<f64> {
    let phi = Tensor::from_slice(&phi(c, m, remainder)).view([1, m as i64]);
    row(&high(&phi, assignment, beta))
}

#[test]
fn golden_table_of_eq_13() {
    let half = |c, m, remainder| r_h(c, m, remainder, Paper, 0.5);
    for remainder in [Last, Drop] {
        assert_eq!(half(10, 1, remainder), [14.0]);
        assert_eq!(half(10, 2, remainder), [7.0, 10.5]);
        assert_eq!(half(12, 3, remainder), [7.0, 4.5, 18.25]);
    }
    assert_eq!(half(10, 3, Last), [6.0, 4.0, 9.0]);
    assert_eq!(half(10, 3, Drop), [6.0, 4.0, 8.0]);
    assert_eq!(half(10, 4, Last), [5.0, 4.5, 2.25, 8.125]);
    assert_eq!(half(10, 4, Drop), [5.0, 4.5, 2.25, 2.125]);
    assert_eq!(r_h(10, 4, Last, Paper, 1.0), [5.0, 7.0, 7.0, 14.0]);
}

#[test]
fn naive_rewards_a_goal_for_its_own_sub_period_only() {
    assert_eq!(r_h(10, 4, Last, Naive, 0.5), phi(10, 4, Last));
    assert_eq!(r_h(10, 4, Last, Paper, 0.0), phi(10, 4, Last));
}

#[test]
fn causal_rewards_a_goal_for_what_comes_after_it() {
    assert_eq!(r_h(12, 3, Last, Causal, 0.5), [7.0 + 0.5 + 4.0, 1.0 + 8.0, 16.0]);
    assert_eq!(r_h(10, 4, Drop, Causal, 1.0), [8.0, 3.0, 1.0, 1.0]);
}

/// Eq 11 at every position of a period, with item (1, 0) and goals that point along, across, against and at 60 degrees.
fn r_in(c: usize, m: usize, remainder: Remainder) -> Vec<f64> {
    let directions = [[2.0, 0.0], [0.0, 1.0], [-0.5, 0.0], [0.5, 0.75_f64.sqrt()]];
    let goals: Vec<f64> = directions[..m].concat();
    let goals = Tensor::from_slice(&goals).view([1, m as i64, 2]).repeat([c as i64, 1, 1]);
    let layout = PeriodLayout { n_goals: m, n_steps: c, remainder };
    let active = ActiveGoals::new(&layout, &(0..c).collect::<Vec<_>>(), &goals);
    let action = Tensor::from_slice(&[1.0, 0.0]).repeat([c as i64, 1]);
    row(&internal(&action, &goals, &active).unsqueeze(0))
}

#[test]
fn golden_table_of_eq_11() {
    let close = |found: Vec<f64>, expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{found:?} is not {expected:?}");
        }
    };
    for remainder in [Last, Drop] {
        close(r_in(10, 1, remainder), &[1.0; 10]);
        close(r_in(10, 2, remainder), &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        close(r_in(12, 3, remainder), &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0]);
    }
    close(r_in(10, 3, Last), &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0]);
    close(r_in(10, 3, Drop), &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, 0.0]);
    close(r_in(10, 4, Last), &[1.0, 1.0, 0.0, 0.0, -1.0, -1.0, 0.5, 0.5, 0.5, 0.5]);
    close(r_in(10, 4, Drop), &[1.0, 1.0, 0.0, 0.0, -1.0, -1.0, 0.5, 0.5, 0.0, 0.0]);
}

#[test]
fn eq_10_adds_the_weighted_internal_reward() {
    let r = low(&Tensor::from_slice(&[0.0, 1.0, 5.0]), &Tensor::from_slice(&[-1.0, 0.5, 0.0]), 0.5);
    assert_eq!(row(&r.unsqueeze(0)), [-0.5, 1.25, 5.0]);
}

#[test]
fn a_zero_goal_earns_nothing() {
    let goals = Tensor::from_slice(&[0.0_f64, 0.0]).view([1, 1, 2]);
    let layout = PeriodLayout { n_goals: 1, n_steps: 1, remainder: Last };
    let active = ActiveGoals::new(&layout, &[0], &goals);
    let r = internal(&Tensor::from_slice(&[1.0_f64, 0.0]).view([1, 2]), &goals, &active);
    assert_eq!(r.double_value(&[0]), 0.0);
}
