//! Adam over a flat parameter vector. In: parameters and gradient `[len]`; out: the parameters moved, in place.
//!
//! Equal to `torch.optim.Adam` (betas 0.9 and 0.999, epsilon 1e-8, no weight decay). With `encoder_update = sequential`
//! the encoder and every head have a step count of their own, that is an optimiser of their own (Sec 2.2.2).

use std::ops::Range;

use common::config::EncoderUpdate;
use tch::Tensor;

use super::{
    assert_shape,
    groups::{self, BETA_1, BETA_2, EPSILON},
    layout::Layout,
};

/// Parameters that always move together.
#[derive(Clone, Debug)]
struct Group {
    ranges: Vec<Range<usize>>,
    steps: i64,
}

/// The optimiser of one network.
#[derive(Debug)]
pub struct Adam {
    learning_rate: f64,
    /// Share of the learning rate in force.
    scale: f64,
    /// `[len]` running mean of the gradient.
    mean: Tensor,
    /// `[len]` running mean of its square.
    square: Tensor,
    groups: Vec<Group>,
}

impl Adam {
    /// Its groups are those of [`groups::of`].
    pub fn new(layout: &Layout, update: EncoderUpdate, learning_rate: f64, like: &Tensor) -> Self {
        let groups =
            groups::of(layout, update).into_iter().map(|ranges| Group { ranges, steps: 0 }).collect();
        Self { learning_rate, scale: 1.0, mean: like.zeros_like(), square: like.zeros_like(), groups }
    }

    /// One group of all parameters `like` `[len]`.
    pub fn single(learning_rate: f64, like: &Tensor) -> Self {
        let all = 0..like.numel();
        let groups = vec![Group { ranges: std::iter::once(all).collect(), steps: 0 }];
        Self { learning_rate, scale: 1.0, mean: like.zeros_like(), square: like.zeros_like(), groups }
    }

    /// From now on the learning rate is this share of the one given at the start.
    pub fn scale_learning_rate(&mut self, share: f64) {
        self.scale = share;
    }

    /// Moves the parameters of one group.
    pub fn step(&mut self, group: usize, parameters: &Tensor, gradient: &Tensor) {
        assert_shape("gradient", gradient, &self.mean.size());
        assert_shape("parameters", parameters, &self.mean.size());
        let group = &mut self.groups[group];
        group.steps += 1;
        let correction_1 = 1.0 - BETA_1.powi(group.steps as i32);
        let correction_2 = 1.0 - BETA_2.powi(group.steps as i32);
        for range in &group.ranges {
            let part = |t: &Tensor| t.narrow(0, range.start as i64, range.len() as i64);
            let gradient = part(gradient);
            let (mut mean, mut square) = (part(&self.mean), part(&self.square));
            let _ = mean.lerp_(&gradient, 1.0 - BETA_1);
            let _ = square.g_mul_scalar_(BETA_2);
            let _ = square.addcmul_(&gradient, &(&gradient * (1.0 - BETA_2)));
            let mut step = square.sqrt();
            let _ = step.g_div_scalar_(correction_2.sqrt());
            let _ = step.g_add_scalar_(EPSILON);
            let _ =
                part(parameters).addcdiv_(&(mean * (-self.learning_rate * self.scale / correction_1)), &step);
        }
    }

    /// Running means of the gradient and of its square, `[len]` each.
    pub fn moments(&self) -> [&Tensor; 2] {
        [&self.mean, &self.square]
    }

    /// Steps done, a group.
    pub fn steps(&self) -> Vec<i64> {
        self.groups.iter().map(|group| group.steps).collect()
    }

    /// Sets the step counts; their number must be that of [`Self::steps`].
    pub fn set_steps(&mut self, steps: &[i64]) {
        assert_eq!(steps.len(), self.groups.len(), "one step count a group");
        self.groups.iter_mut().zip(steps).for_each(|(group, &steps)| group.steps = steps);
    }
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Preset};

    use super::*;
    use crate::algorithm::{
        layout::Role,
        settings::{LevelKind, Settings},
    };

    fn layout() -> Layout {
        Layout::new(&Settings::new(&Config::preset(Preset::Paper)), LevelKind::High, Role::Critic)
    }

    fn vector(f: impl Fn(f64) -> f64) -> Tensor {
        Tensor::from_slice(&(0..layout().len()).map(|i| f(i as f64)).collect::<Vec<_>>())
    }

    #[test]
    fn steps_follow_the_published_recursion() {
        let parameters = vector(|i| i.sin());
        let mut adam = Adam::new(&layout(), EncoderUpdate::Summed, 1e-3, &parameters);
        let mut expected: Vec<f64> = (0..5).map(|i| f64::from(i).sin()).collect();
        let (mut m, mut v) = ([0.0; 5], [0.0; 5]);
        for t in 1..=7 {
            let gradient = |i: f64| (i + f64::from(t)).cos();
            adam.step(0, &parameters, &vector(gradient));
            for i in 0..5 {
                let g = gradient(i as f64);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m_hat, v_hat) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                expected[i] -= 1e-3 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        for (i, expected) in expected.iter().enumerate() {
            assert!((parameters.double_value(&[i as i64]) - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn a_group_moves_its_own_parameters_only() {
        let parameters = vector(|_| 0.0);
        let mut adam = Adam::new(&layout(), EncoderUpdate::Sequential, 1e-3, &parameters);
        adam.step(2, &parameters, &vector(|_| 1.0));
        let moved = parameters.ne(0.0).sum(None).int64_value(&[]) as usize;
        assert_eq!(moved, layout().head_ranges(1).iter().map(Range::len).sum::<usize>());
        assert_eq!(adam.steps(), [0, 0, 1]);
        adam.step(0, &parameters, &vector(|_| 1.0));
        let moved_too = parameters.ne(0.0).sum(None).int64_value(&[]) as usize;
        assert_eq!(moved_too - moved, layout().encoder_range().len());
    }
}
