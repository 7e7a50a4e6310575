//! The target networks (Algorithm 1, lines 28-30). In: online and target parameters; out: the target moved by tau.

use tch::Tensor;

use super::assert_shape;

/// `target <- tau online + (1 - tau) target`, in place; flat vectors of one length.
pub fn soft_update(target: &Tensor, online: &Tensor, tau: f64) {
    assert_shape("online", online, &target.size());
    let _ = target.shallow_clone().lerp_(online, tau);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_after_k_steps_match_the_closed_form() {
        let online = Tensor::from_slice(&[1.0_f64, -3.0]);
        let target = Tensor::from_slice(&[0.0_f64, 5.0]);
        let (tau, k) = (0.01, 250);
        let expected = &online + (&target - &online) * (1.0_f64 - tau).powi(k);
        for _ in 0..k {
            soft_update(&target, &online, tau);
        }
        assert!((&target - expected).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn tau_of_one_copies() {
        let target = Tensor::from_slice(&[0.25_f64, 5.0]);
        soft_update(&target, &Tensor::from_slice(&[1.0_f64, 2.0]), 1.0);
        assert_eq!(target, Tensor::from_slice(&[1.0_f64, 2.0]));
    }
}
