//! Numbers for tests, and when two of them are equal.

mod numbers;

pub(crate) use numbers::numbers;

/// Relative to sums of at most a few hundred products of magnitude 1.
const TOLERANCE: f64 = 2e-6;

/// Whether a number is what it should be, relative to a scale.
pub(crate) fn close(found: f32, expected: f64, scale: f64) -> bool {
    (f64::from(found) - expected).abs() <= TOLERANCE * scale
}
