//! exp, sigmoid and tanh in plain f32 arithmetic.
//!
//! Branch-free, so that loops over a thousand candidates vectorise, which calls into the C library do not. Worlds use
//! them everywhere: what `probabilities` reports is then bit for bit what a step draws from.

/// `e^x` within 2e-7 relative for x in [-87, 88]; outside it the value at the nearer end, so never 0 or infinite.
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it rounds to the nearest integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has 15 significant bits, so that n * LN_2_HIGH is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Cephes' minimax polynomial of e^r on [-ln 2 / 2, ln 2 / 2].
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh within 2e-7 absolute.
pub(crate) fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_library_in_double_precision() {
        for k in -87_000..=88_000 {
            let x = k as f32 / 1_000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-7, "exp({x}) = {}, not {exact}", exp(x));
        }
        for k in -20_000..=20_000 {
            let x = k as f32 / 1_000.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) / exact - 1.0).abs() < 3e-7, "sigmoid({x})");
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x})");
        }
    }

    #[test]
    fn the_ends_are_finite() {
        for x in [f32::NEG_INFINITY, -1e30, -87.5, 88.5, 1e30, f32::INFINITY] {
            assert!(exp(x) > 0.0 && exp(x).is_finite());
            assert!((0.0..=1.0).contains(&sigmoid(x)) && (-1.0..=1.0).contains(&tanh(x)));
        }
    }
}
