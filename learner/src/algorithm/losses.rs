//! Losses of critics and actors (Eqs 15, 16, 18, 19). In: `[B, H]` values and targets; out: one loss a head, `[H]`.
//!
//! Eqs 15 and 18 print the gradient of the squared error without its factor 2 and with its sign turned (D6); what is
//! minimised here is the mean squared error itself, or a Poisson likelihood (D29).

use common::config::CriticLoss;
use tch::Tensor;

use super::{assert_shape, settings::LOG_EPSILON};

/// Mean over the batch of `(y - Q)^2`, or of `Q - y ln(Q + 1e-8)` with targets from 0 on, a head: `[B, H]` to `[H]`.
/// `weights` `[B]` are the importance weights of rows that were drawn by priority (Schaul et al. 2016, Sec 3.4); `None`:
/// all are 1.
pub fn critic(form: CriticLoss, y: &Tensor, q: &Tensor, weights: Option<&Tensor>) -> Tensor {
    assert_shape("q", q, &y.size());
    let losses = match form {
        // Eqs 15, 18
        CriticLoss::Squared => (y - q).square(),
        // D29: the negative log likelihood of a Poisson variable y with mean Q, up to a constant
        CriticLoss::Poisson => q - y.clamp_min(0.0) * (q + LOG_EPSILON).log(),
    };
    let weighted = match weights {
        Some(weights) => {
            assert_shape("weights", weights, &[y.size()[0]]);
            losses * weights.unsqueeze(1)
        }
        None => losses,
    };
    weighted.mean_dim([0_i64].as_slice(), false, None)
}

/// Minus the mean value of the actor's own actions, a head: `[B, H]` to `[H]`. The critic that gave `q` is frozen.
pub fn actor(q: &Tensor) -> Tensor {
    assert_shape("q", q, &[-1, -1]);
    // Eqs 16, 19: the gradient is taken at the actor's present output, never at replayed actions
    -q.mean_dim([0_i64].as_slice(), false, None)
}

/// `weight` times the mean square, over batch and components, of what the pre-activations `[B, H, n]` exceed +-1 by, a
/// head: `[H]` (D8: keeps tanh out of its flat parts).
pub fn saturation(pre_activation: &Tensor, weight: f64) -> Tensor {
    assert_shape("pre_activation", pre_activation, &[-1, -1, -1]);
    let excess = (pre_activation.abs() - 1.0).relu();
    excess.square().mean_dim([0_i64, 2].as_slice(), false, None) * weight
}

/// How sharply the softmax of [`imitation`] tells cosines apart: 20 between opposite directions.
const SHARPNESS: f64 = 10.0;

/// Mean over the batch of `-log softmax(10 cos(a^, a_j))` at the item chosen, by `weights` `[B]`: a scalar (D25). `cosines`
/// `[B, V]` are those of the actor's actions with all items, `chosen` `[B]` rows of the item table.
pub fn imitation(cosines: &Tensor, chosen: &Tensor, weights: &Tensor) -> Tensor {
    assert_shape("chosen", chosen, &[cosines.size()[0]]);
    assert_shape("weights", weights, &[cosines.size()[0]]);
    let log_shares = (cosines * SHARPNESS).log_softmax(1, None);
    let of_chosen = log_shares.gather(1, &chosen.unsqueeze(1), false).squeeze_dim(1);
    -(of_chosen * weights).sum(None) / weights.sum(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imitation_is_the_weighted_cross_entropy_of_the_softmax() {
        let cosines = Tensor::from_slice(&[0.1_f64, 0.0, -0.2, 0.3, 0.3, 0.3]).view([2, 3]);
        let (chosen, weights) = (Tensor::from_slice(&[0_i64, 2]), Tensor::from_slice(&[1.0_f64, 5.0]));
        // -log(e / (e + 1 + e^-2)) and log 3.
        let e = 1_f64.exp();
        let expected = ((1.0 + (1.0 + (-2_f64).exp()) / e).ln() + 5.0 * 3_f64.ln()) / 6.0;
        let found = imitation(&cosines, &chosen, &weights).double_value(&[]);
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn a_critic_is_off_by_its_mean_square() {
        let y = Tensor::from_slice(&[1.0_f64, 0.0, 3.0, 0.0]).view([2, 2]);
        let q = Tensor::from_slice(&[0.0_f64, 2.0, 1.0, 0.0]).view([2, 2]);
        assert_eq!(critic(CriticLoss::Squared, &y, &q, None), Tensor::from_slice(&[2.5_f64, 2.0]));
    }

    #[test]
    fn a_poisson_critic_is_off_by_the_log_likelihood() {
        let (y, q) = ([3.0_f64, -0.1], [2.0_f64, 0.5]);
        let found = critic(
            CriticLoss::Poisson,
            &Tensor::from_slice(&y).view([2, 1]),
            &Tensor::from_slice(&q).view([2, 1]),
            None,
        );
        // A target below 0 counts as 0.
        let expected = ((2.0 - 3.0 * 2_f64.ln()) + 0.5) / 2.0;
        assert!((found.double_value(&[0]) - expected).abs() < 1e-7, "{found:?}, not {expected}");
    }

    #[test]
    fn a_row_counts_with_its_importance_weight() {
        let y = Tensor::from_slice(&[1.0_f64, 0.0, 3.0, 0.0]).view([2, 2]);
        let q = Tensor::from_slice(&[0.0_f64, 2.0, 1.0, 0.0]).view([2, 2]);
        let weights = Tensor::from_slice(&[1.0_f64, 0.25]);
        // (1 x 1 + .25 x 4) / 2 and (1 x 4 + .25 x 0) / 2
        assert_eq!(critic(CriticLoss::Squared, &y, &q, Some(&weights)), Tensor::from_slice(&[1.0_f64, 2.0]));
    }

    #[test]
    fn an_actor_climbs_the_value() {
        let q = Tensor::from_slice(&[1.0_f64, 4.0]).view([2, 1]);
        assert_eq!(actor(&q), Tensor::from_slice(&[-2.5_f64]));
    }

    #[test]
    fn pre_activations_within_one_are_free() {
        let u = Tensor::from_slice(&[0.9_f64, -1.0, 3.0, -2.0]).view([1, 2, 2]);
        assert_eq!(saturation(&u, 0.5), Tensor::from_slice(&[0.0_f64, 1.25]));
    }
}
