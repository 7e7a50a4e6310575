//! Calibration of a fitted network: p = softmax(scale z + bias) of its logits z.
//!
//! In: logits `[n][3]` and what happened; out: a scale (the inverse of a temperature) and three biases. The scale
//! minimises the log loss on held-out impressions, where an overfitted network is too sure. The biases then make the
//! mean probability of each class its rate over all impressions but the judged ones: rates of rare orders are known better
//! from those than from the held-out few.

use common::Feedback;

use super::metrics::Probabilities;

/// Newton steps to find the scale.
const NEWTON_STEPS: usize = 50;
/// Rounds of matching the rates, and the relative error that ends them.
const MATCHING_ROUNDS: usize = 500;
const MATCHED: f64 = 1e-5;
/// Scales beyond this range would make a network deterministic or mute.
const SCALES: std::ops::RangeInclusive<f64> = 0.05..=5.0;

/// p = softmax(scale z + bias).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Calibration {
    pub(super) scale: f64,
    pub(super) bias: [f64; 3],
}

impl Calibration {
    /// Scale from held-out rows, biases from the logits of many rows and their rates (positive, sum 1).
    pub(super) fn fit(
        held_out: (&[Probabilities], &[Feedback]),
        logits: &[Probabilities],
        rates: [f64; 3],
    ) -> Self {
        let scale = best_scale(held_out.0, held_out.1);
        let mut calibration = Self { scale, bias: [0.0; 3] };
        calibration.match_rates(logits, rates);
        calibration
    }

    /// Probabilities of a row of logits.
    pub(super) fn apply(&self, logits: &Probabilities) -> [f64; 3] {
        softmax(std::array::from_fn(|c| self.scale * f64::from(logits[c]) + self.bias[c]))
    }

    /// Moves the biases until the mean probabilities are the rates.
    fn match_rates(&mut self, logits: &[Probabilities], rates: [f64; 3]) {
        for _ in 0..MATCHING_ROUNDS {
            let mut sums = [0.0; 3];
            for row in logits {
                let p = self.apply(row);
                (0..3).for_each(|c| sums[c] += p[c]);
            }
            let ratios: [f64; 3] = std::array::from_fn(|c| rates[c] * logits.len() as f64 / sums[c]);
            (0..3).for_each(|c| self.bias[c] += ratios[c].ln());
            if ratios.iter().all(|ratio| (ratio - 1.0).abs() < MATCHED) {
                return;
            }
        }
    }
}

fn softmax(logits: [f64; 3]) -> [f64; 3] {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers = logits.map(|z| (z - largest).exp());
    let sum: f64 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// The scale that minimises the log loss with biases of its own (thrown away here): Newton's method on a convex function
/// of (scale, bias of click, bias of order). A class that never happens keeps its bias.
fn best_scale(logits: &[Probabilities], happened: &[Feedback]) -> f64 {
    let present = |class: usize| happened.iter().any(|&f| f as usize == class);
    let free = [true, present(1), present(2)];
    if !present(0) || !(free[1] || free[2]) {
        return 1.0;
    }
    let mut parameters = [1.0, 0.0, 0.0];
    let mut state = Derivatives::at(parameters, logits, happened);
    for _ in 0..NEWTON_STEPS {
        let Some(step) = state.newton_step(free) else { break };
        // Half steps until the loss falls; a convex function always lets one.
        let mut size = 1.0;
        let next = loop {
            let candidate: [f64; 3] = std::array::from_fn(|i| parameters[i] - size * step[i]);
            let next = Derivatives::at(candidate, logits, happened);
            if next.loss <= state.loss {
                break Some((candidate, next));
            }
            size /= 2.0;
            if size < 1e-6 {
                break None;
            }
        };
        let Some((candidate, next)) = next else { break };
        let gain = state.loss - next.loss;
        (parameters, state) = (candidate, next);
        if gain < 1e-12 {
            break;
        }
    }
    parameters[0].clamp(*SCALES.start(), *SCALES.end())
}

/// Log loss, gradient and Hessian in (scale, bias of click, bias of order).
struct Derivatives {
    loss: f64,
    gradient: [f64; 3],
    hessian: [[f64; 3]; 3],
}

impl Derivatives {
    fn at(parameters: [f64; 3], logits: &[Probabilities], happened: &[Feedback]) -> Self {
        let [scale, click, order] = parameters;
        let calibration = Calibration { scale, bias: [0.0, click, order] };
        let mut sum = Self { loss: 0.0, gradient: [0.0; 3], hessian: [[0.0; 3]; 3] };
        for (row, &feedback) in logits.iter().zip(happened) {
            let p = calibration.apply(row);
            let target = feedback as usize;
            sum.loss -= p[target].max(f64::MIN_POSITIVE).ln();
            // Derivative of class c's logit by each parameter.
            let by = |c: usize| [f64::from(row[c]), f64::from(u8::from(c == 1)), f64::from(u8::from(c == 2))];
            let mut mean = [0.0; 3];
            for c in 0..3 {
                let by = by(c);
                let error = p[c] - f64::from(u8::from(c == target));
                for i in 0..3 {
                    sum.gradient[i] += error * by[i];
                    mean[i] += p[c] * by[i];
                    for j in 0..3 {
                        sum.hessian[i][j] += p[c] * by[i] * by[j];
                    }
                }
            }
            for i in 0..3 {
                for j in 0..3 {
                    sum.hessian[i][j] -= mean[i] * mean[j];
                }
            }
        }
        let n = logits.len().max(1) as f64;
        sum.loss /= n;
        sum.gradient.iter_mut().for_each(|g| *g /= n);
        sum.hessian.iter_mut().flatten().for_each(|h| *h /= n);
        sum
    }

    /// Hessian^-1 gradient over the free parameters, by Gauss elimination of the 3x3 system; `None` where singular.
    fn newton_step(&self, free: [bool; 3]) -> Option<[f64; 3]> {
        let (mut a, mut b) = (self.hessian, self.gradient);
        for i in 0..3 {
            a[i][i] += 1e-12;
            if !free[i] {
                (0..3).for_each(|j| (a[i][j], a[j][i]) = (0.0, 0.0));
                (a[i][i], b[i]) = (1.0, 0.0);
            }
        }
        // The Hessian is positive semi-definite: no pivoting needed.
        for i in 0..3 {
            if a[i][i] < 1e-14 {
                return None;
            }
            for row in i + 1..3 {
                let factor = a[row][i] / a[i][i];
                (i..3).for_each(|column| a[row][column] -= factor * a[i][column]);
                b[row] -= factor * b[i];
            }
        }
        for i in (0..3).rev() {
            let known: f64 = (i + 1..3).map(|column| a[i][column] * b[column]).sum();
            b[i] = (b[i] - known) / a[i][i];
        }
        Some(b)
    }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;
    use rand::RngExt;

    use super::*;

    /// Logits and feedback drawn from softmax(true_scale z + true_bias).
    fn drawn(true_scale: f64, true_bias: [f64; 3], n: usize) -> (Vec<Probabilities>, Vec<Feedback>) {
        let mut rng = Streams::new(1, "test").sequential();
        let truth = Calibration { scale: true_scale, bias: true_bias };
        (0..n)
            .map(|_| {
                let logits: Probabilities = std::array::from_fn(|_| rng.random_range(-3.0..3.0));
                let p = truth.apply(&logits);
                let draw: f64 = rng.random();
                let class = usize::from(draw > p[0]) + usize::from(draw > p[0] + p[1]);
                (logits, Feedback::ALL[class])
            })
            .unzip()
    }

    #[test]
    fn the_scale_that_made_the_feedback_is_found() {
        let (logits, happened) = drawn(0.5, [1.0, 0.0, -1.0], 20_000);
        let scale = best_scale(&logits, &happened);
        // Standard error about 0.5 %.
        assert!((scale - 0.5).abs() < 0.02, "{scale}");
    }

    #[test]
    fn mean_probabilities_become_the_rates() {
        let (logits, happened) = drawn(1.0, [2.0, 0.0, -1.0], 3_000);
        let rates = [0.9, 0.08, 0.02];
        let calibration = Calibration::fit((&logits, &happened), &logits, rates);
        for class in 0..3 {
            let mean = logits.iter().map(|row| calibration.apply(row)[class]).sum::<f64>() / 3_000.0;
            assert!((mean / rates[class] - 1.0).abs() < 1e-4, "{mean}");
        }
    }

    #[test]
    fn a_class_that_never_happens_does_not_drive_the_scale_away() {
        let (logits, mut happened) = drawn(1.0, [1.0, 0.0, -1.0], 5_000);
        happened.iter_mut().filter(|f| f.ordered()).for_each(|f| *f = Feedback::Click);
        let scale = best_scale(&logits, &happened);
        assert!((0.3..1.2).contains(&scale), "{scale}");
        assert_eq!(best_scale(&logits, &[Feedback::Skip; 5_000]), 1.0);
    }
}
