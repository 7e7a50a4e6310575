//! FTRL-Proximal with L1 and L2 (McMahan et al. 2013, Algorithm 1), per coordinate.
//!
//! In: gradients; out: weights, exactly zero where the evidence is weaker than L1.
//!
//! ```text
//! w = 0 if |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2)
//! sigma = (sqrt(n + g^2) - sqrt(n)) / alpha;  z += g - sigma w;  n += g^2
//! ```

/// Rates and penalties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FtrlSettings {
    /// Learning rate.
    pub alpha: f32,
    /// Damps the first steps.
    pub beta: f32,
    /// L1.
    pub l1: f32,
    /// L2.
    pub l2: f32,
}

/// Weights under training.
#[derive(Clone, Debug)]
pub(super) struct Ftrl {
    settings: FtrlSettings,
    z: Vec<f32>,
    n: Vec<f32>,
}

impl Ftrl {
    /// `size` weights, all zero.
    pub(super) fn new(size: usize, settings: FtrlSettings) -> Self {
        Self { settings, z: vec![0.0; size], n: vec![0.0; size] }
    }

    /// A weight.
    pub(super) fn weight(&self, i: usize) -> f32 {
        let FtrlSettings { alpha, beta, l1, l2 } = self.settings;
        let (z, n) = (self.z[i], self.n[i]);
        if z.abs() <= l1 { 0.0 } else { -(z - z.signum() * l1) / ((beta + n.sqrt()) / alpha + l2) }
    }

    /// Learns from a gradient of one weight.
    pub(super) fn step(&mut self, i: usize, gradient: f32) {
        let square = gradient * gradient;
        let sigma = ((self.n[i] + square).sqrt() - self.n[i].sqrt()) / self.settings.alpha;
        self.z[i] += gradient - sigma * self.weight(i);
        self.n[i] += square;
    }

    /// All weights.
    pub(super) fn weights(&self) -> Vec<f32> {
        (0..self.z.len()).map(|i| self.weight(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What learner/tests/golden/ftrl.py wrote.
    #[derive(Deserialize)]
    struct Golden {
        alpha: f32,
        beta: f32,
        l1: f32,
        l2: f32,
        /// `[T, 4]`.
        gradients: Vec<Vec<f32>>,
        /// `[T, 4]` after each step.
        weights: Vec<Vec<f32>>,
    }

    #[test]
    fn weights_are_those_of_an_independent_program() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/ftrl.json")).unwrap();
        let Golden { alpha, beta, l1, l2, gradients, weights } = golden;
        let mut ftrl = Ftrl::new(4, FtrlSettings { alpha, beta, l1, l2 });
        for (gradients, expected) in gradients.iter().zip(&weights) {
            gradients.iter().enumerate().for_each(|(i, &gradient)| ftrl.step(i, gradient));
            for (found, expected) in ftrl.weights().iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
            }
        }
        assert!(weights.iter().flatten().any(|&w| w == 0.0), "L1 holds some weights at zero");
    }
}
