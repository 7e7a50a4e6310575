//! A step of Adam with the soft update of a target behind it. In: parameters, gradient, moments; out: all of them moved,
//! the gradient zero again for the next one.
//!
//! One pass: each of up to five vectors is read once and written once.

use crate::{
    dispatch::{Kernel, dispatch},
    level::Level,
    simd::{Simd, load, store},
};

/// The numbers of a step (Kingma and Ba 2015, Algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate over `1 - beta_1^t`.
    pub rate: f32,
    /// `1 / sqrt(1 - beta_2^t)`.
    pub correction: f32,
    /// Factor of the gradient: below 1 where it is clipped.
    pub scale: f32,
    /// Decay of the mean.
    pub beta_1: f32,
    /// Decay of the square.
    pub beta_2: f32,
    /// Added to the root of the square.
    pub epsilon: f32,
}

/// The vectors of a step, all of one length.
#[derive(Debug)]
pub struct AdamState<'a> {
    /// Moved.
    pub parameters: &'a mut [f32],
    /// Zero afterwards.
    pub gradient: &'a mut [f32],
    /// Running mean of the gradient.
    pub mean: &'a mut [f32],
    /// Running mean of its square.
    pub square: &'a mut [f32],
}

/// Moves the parameters, then `target` by tau towards them: `tau p + (1 - tau) target`.
///
/// # Panics
/// If the vectors have different lengths.
pub fn adam(level: Level, step: AdamStep, state: AdamState<'_>, target: Option<(&mut [f32], f32)>) {
    let n = state.parameters.len();
    assert_eq!(state.gradient.len(), n, "one gradient a parameter");
    assert_eq!(state.mean.len(), n, "one mean a parameter");
    assert_eq!(state.square.len(), n, "one square a parameter");
    let target = target.map(|(target, tau)| {
        assert_eq!(target.len(), n, "one target a parameter");
        (target.as_mut_ptr(), tau)
    });
    let [parameters, gradient, mean, square] =
        [state.parameters, state.gradient, state.mean, state.square].map(<[f32]>::as_mut_ptr);
    // SAFETY: all vectors are valid for n numbers.
    unsafe { dispatch(level, Adam { n, step, parameters, gradient, mean, square, target }) }
}

struct Adam {
    n: usize,
    step: AdamStep,
    parameters: *mut f32,
    gradient: *mut f32,
    mean: *mut f32,
    square: *mut f32,
    target: Option<(*mut f32, f32)>,
}

impl Kernel for Adam {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: full vectors end at or before `n`, the masked one covers exactly the rest.
        unsafe {
            let tail = S::mask(self.n % S::LANES);
            let mut i = 0;
            while i + S::LANES <= self.n {
                self.vector::<S, false>(i, tail);
                i += S::LANES;
            }
            if i < self.n {
                self.vector::<S, true>(i, tail);
            }
        }
    }
}

impl Adam {
    #[inline(always)]
    unsafe fn vector<S: Simd, const MASKED: bool>(&self, i: usize, tail: S::Mask) {
        /// Where the reciprocal is still good; what is beyond moves nothing.
        const LARGEST: f32 = 1e37;
        let AdamStep { rate, correction, scale, beta_1, beta_2, epsilon } = self.step;
        // SAFETY: the caller gives the place of a vector, or of its masked lanes.
        unsafe {
            let g = S::mul(load::<S, MASKED>(self.gradient.add(i), tail), S::splat(scale));
            let mean = load::<S, MASKED>(self.mean.add(i), tail);
            let square = load::<S, MASKED>(self.square.add(i), tail);
            let mean = S::mul_add(S::splat(1.0 - beta_1), S::sub(g, mean), mean);
            let share = S::mul(g, S::splat(1.0 - beta_2));
            let square = S::mul_add(g, share, S::mul(S::splat(beta_2), square));
            let root = S::mul_add(S::sqrt(square), S::splat(correction), S::splat(epsilon));
            // In this order NaN stays NaN.
            let root = S::min(S::splat(LARGEST), root);
            let parameter = load::<S, MASKED>(self.parameters.add(i), tail);
            let step = S::mul(S::mul(mean, S::splat(rate)), S::reciprocal(root));
            let parameter = S::sub(parameter, step);
            store::<S, MASKED>(self.parameters.add(i), parameter, tail);
            store::<S, MASKED>(self.mean.add(i), mean, tail);
            store::<S, MASKED>(self.square.add(i), square, tail);
            store::<S, MASKED>(self.gradient.add(i), S::zero(), tail);
            if let Some((target, tau)) = self.target {
                let before = load::<S, MASKED>(target.add(i), tail);
                let way = S::sub(parameter, before);
                // Exact at both ends: tau = 0 keeps the target, tau = 1 copies.
                let after = if tau < 0.5 {
                    S::mul_add(S::splat(tau), way, before)
                } else {
                    S::neg_mul_add(S::splat(1.0 - tau), way, parameter)
                };
                store::<S, MASKED>(target.add(i), after, tail);
            }
        }
    }
}
