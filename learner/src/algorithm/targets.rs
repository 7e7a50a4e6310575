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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_bootstraps_and_termination_does_not() {
        let reward = Tensor::from_slice(&[1.0_f64, 0.0, 1.0, 0.0]).view([2, 2]);
        let next = Tensor::from_slice(&[10.0_f64, 20.0, 10.0, 20.0]).view([2, 2]);
        let y = bootstrap(&reward, &next, &Tensor::from_slice(&[0.0_f64, 1.0]), 0.5);
        assert_eq!(y, Tensor::from_slice(&[6.0_f64, 10.0, 1.0, 0.0]).view([2, 2]));
    }
}
