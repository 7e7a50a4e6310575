//! Vectors of the two spaces in which users and items meet: interests (clicks) and needs (orders).

use common::seed::Rng;
use rand::RngExt;
use rand_distr::StandardNormal;

/// Dimensions k of each space.
pub(crate) const N_FACTORS: usize = 16;

/// A vector of one of them.
pub(crate) type Factors = [f32; N_FACTORS];

/// Inner product; four running sums, so that it vectorises.
pub(crate) fn dot(a: &Factors, b: &Factors) -> f32 {
    let mut sums = [0.0; 4];
    for start in (0..N_FACTORS).step_by(4) {
        for lane in 0..4 {
            sums[lane] += a[start + lane] * b[start + lane];
        }
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}

/// `a + weight * b`.
pub(crate) fn add(a: Factors, weight: f32, b: &Factors) -> Factors {
    std::array::from_fn(|i| a[i] + weight * b[i])
}

/// Of length 1. The zero vector stays what it is.
pub(crate) fn normalised(a: Factors) -> Factors {
    let length = dot(&a, &a).sqrt();
    if length > 0.0 { a.map(|x| x / length) } else { a }
}

/// Gaussian of expected squared length 1: xi / 4 with xi ~ N(0, I_16).
pub(crate) fn noise(rng: &mut Rng) -> Factors {
    let scale = 1.0 / (N_FACTORS as f32).sqrt();
    std::array::from_fn(|_| scale * rng.sample::<f32, _>(StandardNormal))
}
