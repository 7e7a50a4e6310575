//! Rewards of both levels (Eqs 10-13). In: external rewards, goals, actions; out: r^l `[B]`, r^h `[B, M]`.

use common::{PeriodLayout, config::Assignment};
use tch::Tensor;

use super::{assert_shape, shares, state::ActiveGoals, upload::upload};

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
    // Eq 12: phi_k = sum of r_ex over sub-period k
    external.mm(&constant(&shares::of_steps(layout), [c, m], external))
}

/// High-level rewards `[B, M]` from the sub-periods' sums `[B, M]`.
pub fn high(phi: &Tensor, assignment: Assignment, beta: f64) -> Tensor {
    assert_shape("phi", phi, &[-1, -1]);
    let m = phi.size()[1] as usize;
    // Eq 13
    phi.mm(&constant(&shares::of_sub_periods(m, assignment, beta), [m, m], phi))
}

/// A small constant matrix on the device and of the kind of `like`.
fn constant(values: &[f64], shape: [usize; 2], like: &Tensor) -> Tensor {
    upload(values, like.device()).view(shape.map(|x| x as i64)).to_kind(like.kind())
}

#[cfg(test)]
mod tests;
