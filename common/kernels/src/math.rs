//! Element-wise functions. In: a slice; out: the same slice, or slices of its length.
//!
//! Error against the exact function, tested against f64: tanh [`RELATIVE_ERROR`] everywhere but in the denormal range,
//! sigmoid [`SIGMOID_ERROR`], which is absolute, decays [`DECAY_ERROR`]. NaN stays NaN.

use crate::{
    dispatch::{Kernel, dispatch},
    level::Level,
    simd::Simd,
};

/// Bound of the relative error of [`tanh`].
pub const RELATIVE_ERROR: f32 = 5e-7;

/// Bound of the absolute error of [`sigmoid`].
pub const SIGMOID_ERROR: f32 = 2e-7;

/// Bound of the relative error of [`decays`].
pub const DECAY_ERROR: f32 = 4e-6;

/// s of the two functions of [`decays`].
pub const SHARPNESS: [f32; 2] = [3.0, 8.0];

/// `x[i] = 1 / (1 + e^-x[i])`, in `[0, 1]`.
pub fn sigmoid(level: Level, x: &mut [f32]) {
    // SAFETY: the slice is valid for its length.
    unsafe { dispatch(level, Map { x, function: Function::Sigmoid }) }
}

/// `x[i] = tanh(x[i])`, never beyond 1.
pub fn tanh(level: Level, x: &mut [f32]) {
    // SAFETY: the slice is valid for its length.
    unsafe { dispatch(level, Map { x, function: Function::Tanh { scale: 1.0, limit: 1.0 } }) }
}

/// `x[i] = bound * tanh(x[i])`, strictly inside `(-bound, bound)` even where tanh rounds to 1.
pub fn bounded_tanh(level: Level, bound: f32, x: &mut [f32]) {
    let function = Function::Tanh { scale: bound, limit: bound.next_down() };
    // SAFETY: the slice is valid for its length.
    unsafe { dispatch(level, Map { x, function }) }
}

/// `out[j][i] = e^(s_j (c[i] - 1))` of cosines c, s the [`SHARPNESS`].
///
/// # Panics
/// If the slices have different lengths.
pub fn decays(level: Level, c: &[f32], [wide, narrow]: [&mut [f32]; 2]) {
    assert_eq!([wide.len(), narrow.len()], [c.len(); 2], "one value a cosine");
    // SAFETY: the slices are valid for the same length.
    unsafe { dispatch(level, Decays { c, wide: wide.as_mut_ptr(), narrow: narrow.as_mut_ptr() }) }
}

struct Decays<'a> {
    c: &'a [f32],
    wide: *mut f32,
    narrow: *mut f32,
}

impl Kernel for Decays<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.c.len();
        let mut i = 0;
        while i < n {
            // SAFETY: the mask ends at `n`.
            unsafe {
                let mask = S::mask((n - i).min(S::LANES));
                let [wide, narrow] = decays_v::<S>(S::load_masked(self.c.as_ptr().add(i), mask));
                S::store_masked(self.wide.add(i), wide, mask);
                S::store_masked(self.narrow.add(i), narrow, mask);
            }
            i += S::LANES;
        }
    }
}

/// Powers of `p = e^(c / 4)`: `e^(3 c) = p^12`, `e^(8 c) = p^32`.
#[inline(always)]
unsafe fn decays_v<S: Simd>(c: S::V) -> [S::V; 2] {
    /// 1 / i! from 6 down; what is left out of the series is below 2e-8 for |c| <= 1.
    const SERIES: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    /// e^-3, e^-8
    const AT_ZERO: [f32; 2] = [0.049_787_07, 3.354_626_3e-4];
    // SAFETY: vector arithmetic only.
    unsafe {
        let x = S::mul(c, S::splat(0.25));
        let mut p = S::splat(SERIES[0]);
        let mut i = 1;
        while i < SERIES.len() {
            p = S::mul_add(p, x, S::splat(SERIES[i]));
            i += 1;
        }
        let square = S::mul(p, p);
        let fourth = S::mul(square, square);
        let eighth = S::mul(fourth, fourth);
        let sixteenth = S::mul(eighth, eighth);
        [
            S::mul(S::mul(eighth, fourth), S::splat(AT_ZERO[0])),
            S::mul(S::mul(sixteenth, sixteenth), S::splat(AT_ZERO[1])),
        ]
    }
}

#[derive(Clone, Copy)]
enum Function {
    Sigmoid,
    Tanh { scale: f32, limit: f32 },
}

struct Map<'a> {
    x: &'a mut [f32],
    function: Function,
}

impl Kernel for Map<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (n, x) = (self.x.len(), self.x.as_mut_ptr());
        // SAFETY: full vectors end at or before `n`, the masked one covers exactly the rest.
        unsafe {
            let mut i = 0;
            while i + S::LANES <= n {
                S::store(x.add(i), apply::<S>(self.function, S::load(x.add(i))));
                i += S::LANES;
            }
            if i < n {
                let mask = S::mask(n - i);
                S::store_masked(x.add(i), apply::<S>(self.function, S::load_masked(x.add(i), mask)), mask);
            }
        }
    }
}

#[inline(always)]
unsafe fn apply<S: Simd>(function: Function, x: S::V) -> S::V {
    // SAFETY: vector arithmetic only.
    unsafe {
        match function {
            Function::Sigmoid => {
                let [y, _] = two_sigmoids::<S>([x, x]);
                S::min(S::splat(1.0), S::max(S::zero(), y))
            }
            Function::Tanh { scale, limit } => {
                let y = S::mul(S::splat(scale), tanh_v::<S>(x));
                S::min(S::splat(limit), S::max(S::splat(-limit), y))
            }
        }
    }
}

/// Coefficients of `odd(x^2) x / even(x^2)`, the highest power first: tanh by a minimax fit of the relative error
/// (least squares, weighted anew by the error until it is even), which stays accurate at 0, where `(1 - e) / (1 + e)` does not. In exact arithmetic
/// it is off by less than 1e-8; all coefficients are positive, so that no digits are lost.
struct Fit {
    /// Beyond, the function is constant.
    limit: f32,
    odd: [f32; 5],
    even: [f32; 5],
}

const TANH: Fit = Fit {
    // Beyond, tanh differs from 1 by less than 2.8e-7.
    limit: 7.905_311,
    odd: [1.541_746_1e-8, 2.201_643_5e-5, 3.578_601_4e-3, 1.345_029_7e-1, 1.0],
    even: [8.594_729e-7, 3.422_997e-4, 2.619_077e-2, 4.678_362_5e-1, 1.0],
};

/// `tanh(x / 2) / 2`, which sigmoid is 1/2 more than. Powers of two change no digit of the coefficients.
const HALF_TANH: Fit = {
    let mut fit = Fit { limit: 2.0 * TANH.limit, ..TANH };
    let (mut i, mut factor) = (fit.odd.len(), 0.25);
    while i > 0 {
        i -= 1;
        fit.odd[i] *= factor;
        factor *= 0.25;
    }
    (i, factor) = (fit.even.len(), 1.0);
    while i > 0 {
        i -= 1;
        fit.even[i] *= factor;
        factor *= 0.25;
    }
    fit
};

/// Numerator and denominator of a fit. The denominator lies in [1, 230].
#[inline(always)]
unsafe fn fraction<S: Simd>(fit: &Fit, x: S::V) -> [S::V; 2] {
    // SAFETY: vector arithmetic only.
    unsafe {
        // In this order NaN stays NaN.
        let x = S::max(S::splat(-fit.limit), S::min(S::splat(fit.limit), x));
        let square = S::mul(x, x);
        let mut odd = S::splat(fit.odd[0]);
        let mut i = 1;
        while i < fit.odd.len() {
            odd = S::mul_add(odd, square, S::splat(fit.odd[i]));
            i += 1;
        }
        let mut even = S::splat(fit.even[0]);
        i = 1;
        while i < fit.even.len() {
            even = S::mul_add(even, square, S::splat(fit.even[i]));
            i += 1;
        }
        [S::mul(odd, x), even]
    }
}

/// Sigmoids of two vectors, beyond `[0, 1]` by no more than their error. One reciprocal serves both.
///
/// # Safety
/// The CPU has the instructions of `S`.
#[inline(always)]
pub(crate) unsafe fn two_sigmoids<S: Simd>(x: [S::V; 2]) -> [S::V; 2] {
    // SAFETY: vector arithmetic only. The product of the denominators lies in [1, 53,000], where `reciprocal` is good.
    unsafe {
        let [[a, under_a], [b, under_b]] = [fraction::<S>(&HALF_TANH, x[0]), fraction::<S>(&HALF_TANH, x[1])];
        let (inverse, half) = (S::reciprocal(S::mul(under_a, under_b)), S::splat(0.5));
        [S::mul_add(S::mul(a, under_b), inverse, half), S::mul_add(S::mul(b, under_a), inverse, half)]
    }
}

/// Hyperbolic tangent of a vector, beyond 1 by no more than its error.
///
/// # Safety
/// The CPU has the instructions of `S`.
#[inline(always)]
pub(crate) unsafe fn tanh_v<S: Simd>(x: S::V) -> S::V {
    // SAFETY: vector arithmetic only; `reciprocal` is good where denominators lie.
    unsafe {
        let [numerator, denominator] = fraction::<S>(&TANH, x);
        S::mul(numerator, S::reciprocal(denominator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of all magnitudes and both signs.
    fn inputs() -> Vec<f32> {
        let mut x: Vec<f32> = (-87_000..=87_000).map(|i| i as f32 / 1e3).collect();
        x.extend((-90..0).flat_map(|e| [1.0, 1.37].map(|m| m * (e as f32 / 3.0).exp2())));
        x.extend(x.clone().iter().map(|x| -x));
        x
    }

    /// The largest error, given what is found and what is exact.
    fn worst(
        level: Level,
        fast: fn(Level, &mut [f32]),
        exact: fn(f64) -> f64,
        error: fn(f64, f64) -> f64,
    ) -> f64 {
        let x = inputs();
        let mut y = x.clone();
        fast(level, &mut y);
        let errors = x.iter().zip(&y).map(|(&x, &y)| error(y.into(), exact(x.into())));
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_as_documented_at_every_level() {
        for level in Level::available() {
            let relative = |y: f64, exact: f64| if exact == 0.0 { y.abs() } else { (y / exact - 1.0).abs() };
            let error = worst(level, tanh, f64::tanh, relative);
            assert!(error < f64::from(RELATIVE_ERROR), "tanh, {level}: {error:e}");
            let exact = |x: f64| 1.0 / (1.0 + (-x).exp());
            let error = worst(level, sigmoid, exact, |y, exact| (y - exact).abs());
            assert!(error < f64::from(SIGMOID_ERROR), "sigmoid, {level}: {error:e}");
        }
    }

    #[test]
    fn decays_are_as_documented_at_every_level() {
        let c: Vec<f32> = (-1_001..=1_001).map(|i| i as f32 / 1e3).collect();
        for level in Level::available() {
            for length in [0, 1, 7, 8, 16, 21, c.len()] {
                // One more at the end, which stays.
                let [mut wide, mut narrow] = [(); 2].map(|()| vec![-1.0; length + 1]);
                decays(level, &c[..length], [&mut wide[..length], &mut narrow[..length]]);
                for (sharpness, values) in SHARPNESS.iter().zip([&wide, &narrow]) {
                    for (c, y) in c.iter().zip(&values[..length]) {
                        let exact = (f64::from(*sharpness) * (f64::from(*c) - 1.0)).exp();
                        let error = (f64::from(*y) / exact - 1.0).abs();
                        assert!(error < DECAY_ERROR.into(), "e^({sharpness} ({c} - 1)), {level}: {error:e}");
                    }
                    assert_eq!(values[length], -1.0);
                }
            }
            let [mut wide, mut narrow] = [[0.0; 1]; 2];
            decays(level, &[f32::NAN], [&mut wide, &mut narrow]);
            assert!(wide[0].is_nan() && narrow[0].is_nan());
        }
    }

    #[test]
    fn extremes_saturate_and_nan_stays() {
        for level in Level::available() {
            for length in [1, 7, 8, 16, 21] {
                let mut x = vec![f32::NAN; length];
                tanh(level, &mut x);
                assert!(x.iter().all(|x| x.is_nan()));
                sigmoid(level, &mut x);
                assert!(x.iter().all(|x| x.is_nan()));
                let mut x = vec![f32::INFINITY; length];
                tanh(level, &mut x);
                assert!(x.iter().all(|x| (1.0 - RELATIVE_ERROR..=1.0).contains(x)));
                let mut x = vec![f32::NEG_INFINITY; length];
                sigmoid(level, &mut x);
                assert!(x.iter().all(|x| (0.0..=SIGMOID_ERROR).contains(x)));
            }
        }
    }

    #[test]
    fn bounded_tanh_stays_strictly_inside() {
        for level in Level::available() {
            let mut x = [50.0, -50.0, 0.5];
            bounded_tanh(level, 1.94, &mut x);
            assert!(x[0] < 1.94 && x[0] > 1.939 && x[1] == -x[0], "{x:?}");
            assert!((x[2] - 1.94 * 0.5f32.tanh()).abs() < 1e-6);
        }
    }
}
