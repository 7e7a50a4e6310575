//! The loss of DEERS (Zhao et al. 2018, Eqs 5 to 8). In: values `[B]` and `[B, K]`; out: y `[B]`, scalar losses.

use tch::Tensor;

use super::Pairwise;
use crate::algorithm::assert_shape;

/// `y = r + discount max over the valid a' of Q'(s', a')`, r alone in rows without one. `next_values` and `is_valid` (1 or 0)
/// are `[B, K]`.
pub(super) fn targets(reward: &Tensor, next_values: &Tensor, is_valid: &Tensor, discount: f64) -> Tensor {
    let shape = next_values.size();
    assert_shape("reward", reward, &shape[..1]);
    assert_shape("is_valid", is_valid, &shape);
    let best = next_values.masked_fill(&is_valid.eq(0.0), f64::NEG_INFINITY).amax([1_i64].as_slice(), false);
    let goes_on = is_valid.amax([1_i64].as_slice(), false).gt(0.0);
    reward + best.where_self(&goes_on, &Tensor::zeros_like(&best)) * discount
}

/// Mean over the batch of `(y - Q(s, a))^2`.
pub(super) fn squared_error(y: &Tensor, q: &Tensor) -> Tensor {
    assert_shape("q", q, &y.size());
    (y - q).square().mean(y.kind())
}

/// The regularizer, a mean over the batch in which rows without a competing item count as 0. `q` is that of the item
/// shown, `q_competitor` that of a^E, `sign` +1 where the item shown is the positive one of the two, -1 where a^E is, 0
/// where there is none; `[B]` each.
pub(super) fn pairwise(form: Pairwise, q: &Tensor, q_competitor: &Tensor, sign: &Tensor) -> Tensor {
    assert_shape("q_competitor", q_competitor, &q.size());
    assert_shape("sign", sign, &q.size());
    let distance = q - q_competitor;
    let (terms, weight) = match form {
        // Eq 8: - alpha (Q(s, a) - Q(s, a^E))^2
        Pairwise::Squared { weight, clip } => (distance.square().clamp_max(clip), -weight),
        Pairwise::Hinge { weight, margin } => ((margin - distance * sign).softplus(), weight),
    };
    (terms * sign.abs()).mean(q.kind()) * weight
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What learner/tests/golden/deers.py computed.
    fn golden() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/deers.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        match value.as_array() {
            Some(values) => values.iter().flat_map(numbers).collect(),
            None => vec![value.as_f64().unwrap()],
        }
    }

    fn vector(golden: &Value, name: &str) -> Tensor {
        Tensor::from_slice(&numbers(&golden[name]))
    }

    #[track_caller]
    fn assert_close(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size());
        assert!((found - expected).abs().max().double_value(&[]) < 1e-12, "{found:?} {expected:?}");
    }

    #[test]
    fn targets_and_both_regularizers_are_the_golden_ones() {
        let golden = golden();
        let number = |name: &str| golden[name].as_f64().unwrap();
        let scalar = |name: &str| Tensor::from(number(name));
        let reward = vector(&golden, "reward");
        let rows = reward.size()[0];
        let matrix = |name: &str| vector(&golden, name).view([rows, -1]);
        let y = targets(&reward, &matrix("next_values"), &matrix("is_valid"), number("discount"));
        assert_close(&y, &vector(&golden, "y"));
        let (q, competing, sign) =
            (vector(&golden, "shown"), vector(&golden, "competing"), vector(&golden, "sign"));
        assert_close(&squared_error(&y, &q), &scalar("squared_error"));
        let weight = number("weight");
        let squared = Pairwise::Squared { weight, clip: number("clip") };
        assert_close(&pairwise(squared, &q, &competing, &sign), &scalar("squared"));
        let hinge = Pairwise::Hinge { weight, margin: number("margin") };
        assert_close(&pairwise(hinge, &q, &competing, &sign), &scalar("hinge"));
    }

    #[test]
    fn descending_either_regularizer_moves_competing_items_apart() {
        let leaf = |x: f64| Tensor::from_slice(&[x]).set_requires_grad(true);
        for form in
            [Pairwise::Squared { weight: 0.5, clip: 9.0 }, Pairwise::Hinge { weight: 0.5, margin: 1.0 }]
        {
            for sign in [1.0_f64, -1.0] {
                let (q, competing) = (leaf(0.2 * sign), leaf(0.0));
                let loss = pairwise(form, &q, &competing, &Tensor::from_slice(&[sign]));
                let gradients = Tensor::run_backward(&[loss], &[&q, &competing], false, false);
                // The positive one rises.
                assert!(gradients[0].double_value(&[0]) * sign < 0.0, "{form:?} {sign}");
                assert!(gradients[1].double_value(&[0]) * sign > 0.0, "{form:?} {sign}");
            }
        }
    }

    #[test]
    fn pairs_that_are_far_enough_apart_are_left_alone() {
        let q = Tensor::from_slice(&[5.0_f64]).set_requires_grad(true);
        let zero = Tensor::from_slice(&[0.0_f64]);
        let form = Pairwise::Squared { weight: 1.0, clip: 4.0 };
        let loss = pairwise(form, &q, &zero, &Tensor::from_slice(&[1.0_f64]));
        let gradient = &Tensor::run_backward(&[loss], &[&q], false, false)[0];
        assert_eq!(gradient.double_value(&[0]), 0.0);
    }
}
