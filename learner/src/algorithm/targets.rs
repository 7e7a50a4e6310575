//! Targets of the critics (Eqs 14, 17). In: rewards `[B, H]`, values of the next state under the target networks `[B, H]`,
//! `terminated` `[B]`; out: y `[B, H]`.
//!
//! `terminated` is 1 where the user left, and only there: a session cut at its fixed length is truncated, which is a
//! property of the experiment and not of the user, and bootstraps.

use tch::Tensor;

use super::assert_shape;

/// `y = r + discount (1 - terminated) Q_target(s', pi_target(s'))`.
pub fn bootstrap(reward: &Tensor, next_value: &Tensor, terminated: &Tensor, discount: f64) -> Tensor {
    let shape = reward.size();
    assert_shape("next_value", next_value, &shape);
    assert_shape("terminated", terminated, &shape[..1]);
    let continues: Tensor = (1.0 - terminated) * discount;
    // Eq 14: y^h_i = r^h_i + gamma Q^h_i(s', pi^h_i(s'; Psi_-); Theta_-); Eq 17: the same at the low level
    reward + continues.unsqueeze(1) * next_value
}

/// The smaller of two critics' values, head by head (Fujimoto et al. 2018, Eq 10): one that is too high by chance is not
/// climbed (D21).
pub fn smaller(one: &Tensor, other: &Tensor) -> Tensor {
    assert_shape("other", other, &one.size());
    one.minimum(other)
}

/// Target policy smoothing (Fujimoto et al. 2018, Eq 14): actions with their noise, kept in [-bound, bound] (D22).
pub fn smoothed(action: &Tensor, noise: &Tensor, bound: f64) -> Tensor {
    assert_shape("noise", noise, &action.size());
    (action + noise).clamp(-bound, bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_value_counts_head_by_head() {
        let one = Tensor::from_slice(&[1.0_f64, -2.0, 3.0, 0.5]).view([2, 2]);
        let other = Tensor::from_slice(&[0.5_f64, 4.0, 7.0, -1.0]).view([2, 2]);
        let expected = Tensor::from_slice(&[0.5_f64, -2.0, 3.0, -1.0]).view([2, 2]);
        assert_eq!(smaller(&one, &other), expected);
    }

    #[test]
    fn smoothed_actions_stay_in_the_box() {
        let action = Tensor::from_slice(&[1.5_f64, -1.9, 0.0]).view([1, 1, 3]);
        let noise = Tensor::from_slice(&[0.6_f64, -0.5, 0.25]).view([1, 1, 3]);
        let expected = Tensor::from_slice(&[1.94_f64, -1.94, 0.25]).view([1, 1, 3]);
        assert_eq!(smoothed(&action, &noise, 1.94), expected);
    }

    #[test]
    fn truncation_bootstraps_and_termination_does_not() {
        let reward = Tensor::from_slice(&[1.0_f64, 0.0, 1.0, 0.0]).view([2, 2]);
        let next = Tensor::from_slice(&[10.0_f64, 20.0, 10.0, 20.0]).view([2, 2]);
        let y = bootstrap(&reward, &next, &Tensor::from_slice(&[0.0_f64, 1.0]), 0.5);
        assert_eq!(y, Tensor::from_slice(&[6.0_f64, 10.0, 1.0, 0.0]).view([2, 2]));
    }
}
