//! The BPR-max loss (Hidasi, Karatzoglou 2018, Eq 13 and Sec 3.3), on tch.
//!
//! In: scores `[B, S]` of a minibatch's items, the target of row b in column b; out: one number.
//!
//! ```text
//! s_j = softmax of r_j over the items j other than the target i
//! L   = -ln sum_j s_j sigmoid(r_i - r_j) + lambda sum_j s_j r_j^2
//! ```

use tch::{Kind, Tensor};

/// Keeps the logarithm finite, as in GRU4Rec's own code.
const TINY: f64 = 1e-24;
/// Stands for minus infinity where an item is no negative.
const NEVER: f64 = -1e9;

/// Mean of L over the rows, by `weights` `[B]` (sum above 0). `is_negative` `[B, S]` is 1 where an item is another than the
/// row's target, else 0.
pub(super) fn bpr_max(scores: &Tensor, is_negative: &Tensor, weights: &Tensor, lambda: f64) -> Tensor {
    let (rows, _) = scores.size2().expect("scores are [B, S]");
    let own = scores.narrow(1, 0, rows).diagonal(0, 0, 1).unsqueeze(1);
    let is_target: Tensor = 1.0 - is_negative;
    let softmax = (scores + is_target * NEVER).softmax(-1, Kind::Float) * is_negative;
    let sum = |x: Tensor| x.sum_dim_intlist(-1, false, Kind::Float);
    let ranking = (sum(&softmax * (own - scores).sigmoid()) + TINY).log();
    let regularisation = sum(&softmax * scores.square());
    ((regularisation * lambda - ranking) * weights).sum(Kind::Float) / weights.sum(Kind::Float)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What learner/tests/golden/bpr_max.py wrote.
    #[derive(Deserialize)]
    struct Golden {
        /// `[B, S]`.
        scores: Vec<Vec<f32>>,
        items: Vec<u32>,
        weights: Vec<f32>,
        lambda: f64,
        loss: f64,
        /// `[B, S]`.
        gradient: Vec<Vec<f64>>,
    }

    #[test]
    fn loss_and_gradient_are_those_of_an_independent_program() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../tests/golden/bpr_max.json")).unwrap();
        let Golden { scores, items, weights, lambda, loss, gradient } = golden;
        let rows = scores.len();
        let is_negative: Vec<f32> = (0..rows)
            .flat_map(|row| items.iter().map(move |item| (row, item)).collect::<Vec<_>>())
            .map(|(row, item)| f32::from(u8::from(*item != items[row])))
            .collect();
        let shape = [rows as i64, items.len() as i64];
        let scores = Tensor::from_slice(&scores.concat()).view(shape).set_requires_grad(true);
        let is_negative = Tensor::from_slice(&is_negative).view(shape);
        let found = bpr_max(&scores, &is_negative, &Tensor::from_slice(&weights), lambda);
        // f32 here, f64 there.
        assert!((found.double_value(&[]) - loss).abs() < 1e-5 * loss, "{found:?}, expected {loss}");
        let found = Tensor::run_backward(&[&found], &[&scores], false, false).remove(0);
        for (row, expected) in gradient.iter().enumerate() {
            for (column, expected) in expected.iter().enumerate() {
                let found = found.double_value(&[row as i64, column as i64]);
                assert!((found - expected).abs() < 1e-5, "[{row}, {column}]: {found}, expected {expected}");
            }
        }
    }
}
