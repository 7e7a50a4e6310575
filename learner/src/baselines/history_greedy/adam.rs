//! Adam over one tensor. In: values and gradient of one length; out: the values moved, in place.
//!
//! Equal to `torch.optim.Adam` with its defaults (betas 0.9 and 0.999, epsilon 1e-8).

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// The optimiser of one tensor.
#[derive(Clone, Debug)]
pub(super) struct Adam {
    learning_rate: f64,
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

impl Adam {
    pub(super) fn new(len: usize, learning_rate: f64) -> Self {
        Self { learning_rate, mean: vec![0.0; len], square: vec![0.0; len], steps: 0 }
    }

    pub(super) fn step(&mut self, values: &mut [f32], gradient: &[f32]) {
        assert_eq!((values.len(), gradient.len()), (self.mean.len(), self.mean.len()));
        self.steps += 1;
        let rate = (self.learning_rate / (1.0 - BETA_1.powi(self.steps))) as f32;
        let correction = (1.0 - BETA_2.powi(self.steps)).sqrt().recip() as f32;
        let (keep_1, keep_2) = (BETA_1 as f32, BETA_2 as f32);
        let (take_1, take_2) = ((1.0 - BETA_1) as f32, (1.0 - BETA_2) as f32);
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((value, &g), (mean, square)) in values.iter_mut().zip(gradient).zip(moments) {
            *mean = keep_1 * *mean + take_1 * g;
            *square = keep_2 * *square + take_2 * g * g;
            *value -= rate * *mean / (square.sqrt() * correction + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand in f64: gradients 1, then -2.
    #[test]
    fn two_steps_are_those_of_the_formula() {
        let mut adam = Adam::new(1, 0.1);
        let mut value = [0.5_f32];
        adam.step(&mut value, &[1.0]);
        assert!((value[0] - 0.4).abs() < 1e-6);
        adam.step(&mut value, &[-2.0]);
        let (mean, square): (f64, f64) = (0.9 * 0.1 - 0.2, 0.999 * 0.001 + 0.004);
        let expected = 0.4 - 0.1 * (mean / 0.19) / ((square / 0.001_999).sqrt() + 1e-8);
        assert!((f64::from(value[0]) - expected).abs() < 1e-6, "{} for {expected}", value[0]);
    }
}
