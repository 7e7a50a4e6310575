//! The factorisation machine of degree 2 (Rendle 2010, Eqs 1, 4, 5): prediction and gradient.
//!
//! In: features (index, x); out: the logit.
//!
//! ```text
//! y(x)    = w_0 + sum_i w_i x_i + 1/2 sum_f [(sum_i v_if x_i)^2 - sum_i v_if^2 x_i^2]
//! dy/dw_i = x_i
//! dy/dv_if = x_i (sum_j v_jf x_j - v_if x_i)
//! ```

use common::seed::Streams;
use rand_distr::{Distribution, Normal};

/// A feature that is not zero: its index in `0..F`, its value.
pub(super) type Feature = (u32, f32);

/// The parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    /// k.
    pub(super) factors: usize,
    /// w_0.
    pub(super) bias: f32,
    /// `[F]`.
    pub(super) linear: Vec<f32>,
    /// `[F, k]`.
    pub(super) factorised: Vec<f32>,
}

/// What some features add up to: two groups of features combine by their sums alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Partial {
    /// Their logit among themselves, without w_0.
    pub(super) logit: f32,
    /// `[k]` sum of v_i x_i.
    pub(super) sum: Vec<f32>,
}

impl Model {
    /// Linear weights zero, factors normal with this deviation.
    pub(super) fn new(n_features: usize, factors: usize, deviation: f32, streams: &Streams) -> Self {
        let normal = Normal::new(0.0, deviation).expect("the deviation was checked with the settings");
        let mut rng = streams.sequential();
        let factorised = (0..n_features * factors).map(|_| normal.sample(&mut rng)).collect();
        Self { factors, bias: 0.0, linear: vec![0.0; n_features], factorised }
    }

    /// The factors `[k]` of a feature.
    fn factors_of(&self, index: u32) -> &[f32] {
        &self.factorised[index as usize * self.factors..][..self.factors]
    }

    /// Sums up some features.
    pub(super) fn sum_up(&self, features: &[Feature], partial: &mut Partial) {
        partial.sum.clear();
        partial.sum.resize(self.factors, 0.0);
        let (mut linear, mut squares) = (0.0, 0.0);
        for &(index, x) in features {
            linear += self.linear[index as usize] * x;
            for (sum, v) in partial.sum.iter_mut().zip(self.factors_of(index)) {
                *sum += v * x;
                squares += (v * x) * (v * x);
            }
        }
        let square_of_sums: f32 = partial.sum.iter().map(|sum| sum * sum).sum();
        // Rendle 2010, Lemma 3.1: all pairs in linear time.
        partial.logit = linear + 0.5 * (square_of_sums - squares);
    }

    /// The logit of two groups of features together.
    pub(super) fn join(&self, a: &Partial, b: &Partial) -> f32 {
        let pairs: f32 = a.sum.iter().zip(&b.sum).map(|(a, b)| a * b).sum();
        self.bias + a.logit + b.logit + pairs
    }
}

/// Derivative of the logit by a factor v of a feature x, given the sum of that factor over all features (Rendle 2010, Eq 4).
pub(super) fn factor_gradient(x: f32, sum: f32, v: f32) -> f32 {
    x * (sum - v * x)
}

/// Log loss of a label under a logit, and its derivative by the logit.
pub(super) fn log_loss(logit: f32, label: bool) -> (f32, f32) {
    let signed = if label { -logit } else { logit };
    // ln(1 + e^x) without overflow.
    let loss = signed.max(0.0) + (-signed.abs()).exp().ln_1p();
    let slope = 1.0 / (1.0 + (-signed).exp());
    (loss, if label { -slope } else { slope })
}
