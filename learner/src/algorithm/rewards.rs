//! Rewards of both levels (Eqs 10-13). In: external rewards, goals, actions; out: r^l `[B]`, r^h `[B, M]`.

use common::{PeriodLayout, config::Assignment};
use tch::{Kind, Tensor};

use super::{assert_shape, state::ActiveGoals};

/// Norms below it count as it, so that a zero goal has a cosine of 0 and not of NaN.
const COSINE_EPSILON: f64 = 1e-12;

/// Internal reward `[B]` of actions `[B, n]` (the real items' embeddings) under goals `[B, M, n]`; 0 where no goal is
/// active.
pub fn internal(action: &Tensor, goals: &Tensor, active: &ActiveGoals) -> Tensor {
    let goal = active.select(goals);
    assert_shape("action", action, &goal.size());
    // Eq 11: r_in = cos(a, g^i)
    Tensor::cosine_similarity(action, &goal, 1, COSINE_EPSILON) * &active.is_active
}

/// Low-level reward `[B]` from the external and the internal one, `[B]` each.
pub fn low(external: &Tensor, internal: &Tensor, alpha: f64) -> Tensor {
    assert_shape("internal", internal, &external.size());
    // Eq 10: r^l = r_ex + alpha r_in
    external + internal * alpha
}

/// Rewards of the sub-periods, phi: external rewards `[B, c]` to `[B, M]`.
pub fn sub_period_sums(external: &Tensor, layout: &PeriodLayout) -> Tensor {
    let (c, m) = (layout.n_steps, layout.n_goals);
    assert_shape("external", external, &[-1, c as i64]);
    let mut belongs = vec![0.0_f64; c * m];
    for position in 0..c {
        if let Some(i) = layout.sub_period(position) {
            belongs[position * m + i] = 1.0;
        }
    }
    // Eq 12: phi_k = sum of r_ex over sub-period k
    external.mm(&constant(&belongs, [c, m], external))
}

/// High-level rewards `[B, M]` from the sub-periods' sums `[B, M]`.
pub fn high(phi: &Tensor, assignment: Assignment, beta: f64) -> Tensor {
    assert_shape("phi", phi, &[-1, -1]);
    let m = phi.size()[1] as usize;
    let mut share = vec![0.0_f64; m * m];
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
    phi.mm(&constant(&share, [m, m], phi))
}

/// A small constant matrix on the device and of the kind of `like`.
fn constant(values: &[f64], shape: [usize; 2], like: &Tensor) -> Tensor {
    let matrix = Tensor::from_slice(values).view(shape.map(|x| x as i64));
    debug_assert_eq!(matrix.kind(), Kind::Double);
    matrix.to_device(like.device()).to_kind(like.kind())
}

#[cfg(test)]
mod tests;
