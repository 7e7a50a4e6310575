//! The goal in the low-level state (`goal_conditioning = state | both`, D1). In: goals `[B, M, n]`, sub-periods; out:
//! `[B, n + M]`, the active goal and the one-hot of its index, to stand behind s^l.
//!
//! All zero where no goal is active (a dropped remainder). The goal stands as it is, not as a direction, in actor and
//! critic alike.

use common::PeriodLayout;
use tch::Tensor;

use super::{assert_shape, upload::upload};

/// The goals that guide a batch of steps.
#[derive(Debug)]
pub struct ActiveGoals {
    /// `[B]` i64, index of the goal; 0 where none is active.
    pub index: Tensor,
    /// `[B]` 1 where a goal is active, else 0.
    pub is_active: Tensor,
}

impl ActiveGoals {
    /// The sub-periods of `positions` (`0..c`), on the device and of the kind of `like`.
    pub fn new(layout: &PeriodLayout, positions: &[usize], like: &Tensor) -> Self {
        let sub_periods: Vec<Option<usize>> =
            positions.iter().map(|&position| layout.sub_period(position)).collect();
        let index: Vec<i64> = sub_periods.iter().map(|i| i.unwrap_or(0) as i64).collect();
        let active: Vec<f64> = sub_periods.iter().map(|i| if i.is_some() { 1.0 } else { 0.0 }).collect();
        Self {
            index: upload(&index, like.device()),
            is_active: upload(&active, like.device()).to_kind(like.kind()),
        }
    }

    /// The active goal of each row of `goals` `[B, M, n]`: `[B, n]`, zero where none is.
    pub fn select(&self, goals: &Tensor) -> Tensor {
        let [_, m, n] = goals.size()[..] else { panic!("goals have three axes") };
        assert_shape("goals", goals, &[self.index.size()[0], m, n]);
        if m == 0 {
            return Tensor::zeros([self.index.size()[0], n], (goals.kind(), goals.device()));
        }
        let index = self.index.view([-1, 1, 1]).expand([-1, 1, n], false);
        goals.gather(1, &index, false).squeeze_dim(1) * self.is_active.unsqueeze(1)
    }

    /// `[g_active; one-hot i]`: `[B, n + M]`.
    pub fn features(&self, goals: &Tensor) -> Tensor {
        let one_hot = self.index.one_hot(goals.size()[1]).to_kind(goals.kind());
        Tensor::cat(&[self.select(goals), one_hot * self.is_active.unsqueeze(1)], 1)
    }
}

/// Puts the features, if any, behind s: `[B, w]` to `[B, D]`.
pub fn join(s: Tensor, features: Option<&Tensor>) -> Tensor {
    match features {
        Some(features) => Tensor::cat(&[&s, features], 1),
        None => s,
    }
}

#[cfg(test)]
mod tests {
    use common::Remainder;

    use super::*;

    #[test]
    fn features_are_the_active_goal_and_its_index() {
        let layout = PeriodLayout { n_goals: 2, n_steps: 5, remainder: Remainder::Drop };
        let goals = Tensor::from_slice(&[1.0_f64, 2.0, 3.0, 4.0]).view([1, 2, 2]).repeat([3, 1, 1]);
        // Position 4 is the remainder: no goal.
        let features = ActiveGoals::new(&layout, &[0, 3, 4], &goals).features(&goals);
        let expected = [1.0_f64, 2.0, 1.0, 0.0, 3.0, 4.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(features, Tensor::from_slice(&expected).view([3, 4]));
    }

    #[test]
    fn where_nobody_sets_goals_none_is_active() {
        let layout = PeriodLayout { n_goals: 0, n_steps: 5, remainder: Remainder::Last };
        let goals = Tensor::zeros([2, 0, 3], (tch::Kind::Double, tch::Device::Cpu));
        let selected = ActiveGoals::new(&layout, &[0, 4], &goals).select(&goals);
        assert_eq!(selected, Tensor::zeros([2, 3], (tch::Kind::Double, tch::Device::Cpu)));
    }

    #[test]
    fn the_last_goal_may_own_the_remainder() {
        let layout = PeriodLayout { n_goals: 2, n_steps: 5, remainder: Remainder::Last };
        let goals = Tensor::from_slice(&[1.0_f64, 2.0]).view([1, 2, 1]);
        let features = ActiveGoals::new(&layout, &[4], &goals).features(&goals);
        assert_eq!(features, Tensor::from_slice(&[2.0_f64, 0.0, 1.0]).view([1, 3]));
    }
}
