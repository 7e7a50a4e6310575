//! Actors and critics on the state (Eqs 4, 5, 7, 8). In: `[B, D]`; out: pre-activations and actions `[B, H, n]`, values
//! `[B, H]`.
//!
//! The low level is the case H = 1. All heads of a network are computed at once. Written for autograd: the parameters
//! come as slices of tensors in the order of the layout, so that a caller may pass leaves of a graph.

use common::config::{CriticAction, CriticOutput};
use tch::Tensor;

use super::{affinity, assert_shape, settings::NORM_EPSILON, window::Windows};

pub use super::settings::DIRECTION_LENGTH;

/// Blocks of an actor's heads: weight `[H, n, D]`, bias `[H, n]`.
pub const N_ACTOR_BLOCKS: usize = 2;

/// Blocks of a critic's heads: state weight `[H, k, D]` and bias `[H, k]`, action weight `[H, k, n]`, output weight
/// `[H, 1, k]` and bias `[H, 1]`. A critic with an affinity (D30) has three more, all of one head: projection `[1, K, n]`,
/// places `[1, windows, N]`, weight `[1, k, 4 windows]`.
pub const N_CRITIC_BLOCKS: usize = 5;

/// What the actor's tanh is applied to, `W_i s + b_i`: `[B, D]` to `[B, H, n]`.
pub fn pre_activation(blocks: &[Tensor], state: &Tensor) -> Tensor {
    let [weight, bias] = blocks else { panic!("an actor has {N_ACTOR_BLOCKS} blocks of heads") };
    let [heads, n, d] = weight.size()[..] else { panic!("actor weights have three axes") };
    assert_shape("state", state, &[-1, d]);
    state.linear(&weight.view([heads * n, d]), Some(bias.view([heads * n]))).view([-1, heads, n])
}

/// Goals or virtual actions, `B tanh(u)`: `[B, H, n]`, every component in [-B, B] (tanh rounds to 1).
pub fn action(pre_activation: &Tensor, bound: f64) -> Tensor {
    // Eq 4: g^i = B tanh(W_i s + b_i); Eq 7: a^ = B tanh(W s + b)
    pre_activation.tanh() * bound
}

/// The form in which critics see an action `[..., n]` (D8): as it is, or `7 a / |a|`.
pub fn seen_by_critic(action: &Tensor, form: CriticAction) -> Tensor {
    match form {
        CriticAction::Raw => action.shallow_clone(),
        CriticAction::Direction => {
            let length = action.norm_scalaropt_dim(2, [-1_i64].as_slice(), true);
            action * (DIRECTION_LENGTH / length.clamp_min(1e-12))
        }
    }
}

/// The forms of a critic's heads that are not parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticForms {
    /// How it sees actions (D8).
    pub action: CriticAction,
    /// Whether its hidden layer is normalised (D24).
    pub norm: bool,
    /// Its output (D2).
    pub output: CriticOutput,
}

/// Ba et al. 2016 without gain and bias (D24): the last k numbers get mean 0 and variance 1, `[..., k]`.
pub fn normalised(hidden: &Tensor, k: i64) -> Tensor {
    hidden.layer_norm([k].as_slice(), None::<&Tensor>, None::<&Tensor>, NORM_EPSILON, false)
}

/// q before the output's activation: states `[B, D]`, actions `[B, H, n]` (head i sees action i only), out `[B, H]`.
/// `windows` are those of the states.
fn pre_output(
    blocks: &[Tensor],
    windows: Option<&Windows>,
    (state, action): (&Tensor, &Tensor),
    norm: bool,
) -> Tensor {
    let [w_state, b_state, w_action, w_out, b_out, affinity @ ..] = blocks else {
        panic!("a critic has {N_CRITIC_BLOCKS} blocks of heads")
    };
    let [heads, k, d] = w_state.size()[..] else { panic!("critic weights have three axes") };
    assert_shape("state", state, &[-1, d]);
    assert_shape("action", action, &[state.size()[0], heads, w_action.size()[2]]);
    let of_state =
        state.linear(&w_state.view([heads * k, d]), Some(b_state.view([heads * k]))).view([-1, heads, k]);
    let of_action = action.transpose(0, 1).bmm(&w_action.transpose(1, 2)).transpose(0, 1);
    let mut hidden = of_state + of_action;
    if let [projection, place, weight] = affinity {
        let windows = windows.expect("a critic with an affinity is asked about windows");
        hidden += affinity::features(projection, place, windows, action)
            .linear(&weight.squeeze_dim(0), None::<&Tensor>);
    }
    if norm {
        hidden = normalised(&hidden, k);
    }
    // Eqs 5, 8: v_i = ReLU(W1_i s + W2_i g^i + b_i)
    let v = hidden.relu();
    (v * w_out.view([heads, k])).sum_dim_intlist([-1_i64].as_slice(), false, None) + b_out.view([heads])
}

/// Values `[B, H]` of actions `[B, H, n]` in states `[B, D]`. A critic with an affinity needs the states' windows.
pub fn value(
    blocks: &[Tensor],
    windows: Option<&Windows>,
    (state, action): (&Tensor, &Tensor),
    forms: CriticForms,
) -> Tensor {
    let q = pre_output(blocks, windows, (state, &seen_by_critic(action, forms.action)), forms.norm);
    match forms.output {
        // Eqs 5, 8: q_i = ReLU(w_i v_i + b'_i)
        CriticOutput::Relu => q.relu(),
        CriticOutput::Softplus => q.softplus(),
        CriticOutput::Linear => q,
        CriticOutput::Exponential => exponential(&q),
    }
}

/// e^x, beyond x = 8 along its tangent, so that it cannot overflow (D29).
pub fn exponential(x: &Tensor) -> Tensor {
    let tangent = f64::from(CriticOutput::TANGENT);
    x.clamp_max(tangent).exp() * ((x - tangent).relu() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64], shape: &[i64]) -> Tensor {
        Tensor::from_slice(values).view(shape)
    }

    /// Two heads, D = 2, k = 1, n = 2: v_i = ReLU(s_i + a_i . (1, 10) + 0.5), q_i = 2 v_i - 3.
    fn critic() -> Vec<Tensor> {
        vec![
            tensor(&[1.0, 0.0, 0.0, 1.0], &[2, 1, 2]),
            tensor(&[0.5, 0.5], &[2, 1]),
            tensor(&[1.0, 10.0, 1.0, 10.0], &[2, 1, 2]),
            tensor(&[2.0, 2.0], &[2, 1, 1]),
            tensor(&[-3.0, -3.0], &[2, 1]),
        ]
    }

    fn q(action: &[f64], form: CriticAction, output: CriticOutput) -> Vec<f64> {
        let state = tensor(&[1.0, -1.0], &[1, 2]);
        let forms = CriticForms { action: form, norm: false, output };
        let q = value(&critic(), None, (&state, &tensor(action, &[1, 2, 2])), forms);
        (0..2).map(|i| q.double_value(&[0, i])).collect()
    }

    #[test]
    fn a_head_sees_its_own_action_only() {
        let one = q(&[1.0, 0.0, 0.0, 1.0], CriticAction::Raw, CriticOutput::Linear);
        assert_eq!(one, [2.0 * 2.5 - 3.0, 2.0 * 9.5 - 3.0]);
        let other = q(&[1.0, 0.0, 5.0, 1.0], CriticAction::Raw, CriticOutput::Linear);
        assert_eq!(one[0], other[0]);
        assert_ne!(one[1], other[1]);
    }

    #[test]
    fn the_output_is_cut_softened_exponential_or_free() {
        let action = [-1.0, 0.0, 0.0, 1.0];
        assert_eq!(q(&action, CriticAction::Raw, CriticOutput::Linear), [-2.0, 16.0]);
        assert_eq!(q(&action, CriticAction::Raw, CriticOutput::Relu), [0.0, 16.0]);
        let soft = q(&action, CriticAction::Raw, CriticOutput::Softplus);
        assert!((soft[0] - (-2.0_f64).exp().ln_1p()).abs() < 1e-12, "{soft:?}");
        // 16 lies 8 beyond the place where e^x goes on along its tangent.
        let exponential = q(&action, CriticAction::Raw, CriticOutput::Exponential);
        let expected = [(-2.0_f64).exp(), 9.0 * 8.0_f64.exp()];
        let is_near = |(found, expected): (&f64, &f64)| (found / expected - 1.0).abs() < 1e-12;
        assert!(exponential.iter().zip(&expected).all(is_near), "{exponential:?}");
    }

    #[test]
    fn direction_critics_see_no_length() {
        let near = [0.3, 0.4, 0.0, 0.01];
        let far = [3.0, 4.0, 0.0, 100.0];
        let direction = |a: &[f64]| q(a, CriticAction::Direction, CriticOutput::Linear);
        for (a, b) in direction(&near).iter().zip(direction(&far)) {
            assert!((a - b).abs() < 1e-12);
        }
        // 7 (0.6, 0.8) . (1, 10) + 1.5 = 61.7
        assert!((direction(&near)[0] - (2.0 * 61.7 - 3.0)).abs() < 1e-12);
        assert_ne!(q(&near, CriticAction::Raw, CriticOutput::Linear)[0], direction(&near)[0]);
    }

    #[test]
    fn a_normalised_layer_has_mean_0_and_variance_1_a_head() {
        // One head of k = 3 whose hidden numbers are 1, 2, 6 before: mean 3, variance 14/3.
        let blocks = [
            tensor(&[1.0, 2.0, 6.0], &[1, 3, 1]),
            tensor(&[0.0; 3], &[1, 3]),
            tensor(&[0.0; 3], &[1, 3, 1]),
            tensor(&[1.0, 10.0, 100.0], &[1, 1, 3]),
            tensor(&[0.25], &[1, 1]),
        ];
        let forms = CriticForms { action: CriticAction::Raw, norm: true, output: CriticOutput::Linear };
        let (state, action) = (tensor(&[1.0], &[1, 1]), tensor(&[0.0], &[1, 1, 1]));
        let q = value(&blocks, None, (&state, &action), forms).double_value(&[0, 0]);
        // Only the third number is above the mean.
        let expected = 100.0 * 3.0 / (14.0_f64 / 3.0 + 1e-5).sqrt() + 0.25;
        assert!((q - expected).abs() < 1e-12, "{q}, not {expected}");
    }

    #[test]
    fn goals_stay_inside_the_box() {
        let weight = tensor(&[100.0, -100.0, 0.0, 0.0], &[2, 2, 1]);
        let bias = tensor(&[0.0, 0.0, 0.1, 0.0], &[2, 2]);
        let goals = action(&pre_activation(&[weight, bias], &tensor(&[1.0], &[1, 1])), 1.94);
        assert_eq!(goals.size(), [1, 2, 2]);
        assert!(goals.abs().max().double_value(&[]) <= 1.94);
        assert_eq!(goals.double_value(&[0, 1, 0]), 1.94 * 0.1_f64.tanh());
    }
}
