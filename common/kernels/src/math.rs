//! Element-wise functions. In: a slice; out: the same slice.
//!
//! Relative error against the exact function, tested against f64: sigmoid [`RELATIVE_ERROR`] for |x| <= 87 (it stays
//! there beyond, at 1.6e-38 or 1), tanh [`RELATIVE_ERROR`] everywhere but in the denormal range. NaN stays NaN.

use crate::{
    dispatch::{Kernel, dispatch},
    level::Level,
    simd::Simd,
};

/// Bound of the relative error of [`sigmoid`] and [`tanh`].
pub const RELATIVE_ERROR: f32 = 5e-7;

/// `x[i] = 1 / (1 + e^-x[i])`.
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
            Function::Sigmoid => sigmoid_v::<S>(x),
            Function::Tanh { scale, limit } => {
                let y = S::mul(S::splat(scale), tanh_v::<S>(x));
                S::min(S::splat(limit), S::max(S::splat(-limit), y))
            }
        }
    }
}

/// `e^x`, x limited to +-87: the result and its reciprocal are then normal numbers. Cody-Waite reduction to
/// |r| <= ln(2)/2, then the polynomial of Cephes' expf.
///
/// # Safety
/// The CPU has the instructions of `S`.
#[inline(always)]
unsafe fn exp_v<S: Simd>(x: S::V) -> S::V {
    // Adding and subtracting this rounds to a whole number, for |x| < 2^22.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the product of a whole number below 2^8 and the first is exact, with and without FMA.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // SAFETY: vector arithmetic only.
    unsafe {
        let x = S::max(S::splat(-87.0), S::min(S::splat(87.0), x));
        let scaled = S::mul(x, S::splat(std::f32::consts::LOG2_E));
        let whole = S::sub(S::add(scaled, S::splat(ROUND)), S::splat(ROUND));
        let r = S::neg_mul_add(whole, S::splat(LN_2_HIGH), x);
        let r = S::neg_mul_add(whole, S::splat(LN_2_LOW), r);
        let mut p = S::splat(POLYNOMIAL[0]);
        let mut i = 1;
        while i < POLYNOMIAL.len() {
            p = S::mul_add(p, r, S::splat(POLYNOMIAL[i]));
            i += 1;
        }
        let p = S::add(S::mul_add(p, S::mul(r, r), r), S::splat(1.0));
        S::mul(p, S::exp2_whole(whole))
    }
}

/// Sigmoid of a vector.
///
/// # Safety
/// The CPU has the instructions of `S`.
#[inline(always)]
pub(crate) unsafe fn sigmoid_v<S: Simd>(x: S::V) -> S::V {
    // SAFETY: vector arithmetic only. The denominator lies in [1, 6.1e37], where `reciprocal` is good.
    unsafe { S::reciprocal(S::add(S::splat(1.0), exp_v::<S>(S::sub(S::zero(), x)))) }
}

/// Hyperbolic tangent of a vector: an odd polynomial over an even one (the minimax fit of Eigen's `ptanh`), which
/// keeps its relative accuracy at 0, where `(1 - e) / (1 + e)` loses it.
///
/// # Safety
/// The CPU has the instructions of `S`.
#[inline(always)]
pub(crate) unsafe fn tanh_v<S: Simd>(x: S::V) -> S::V {
    /// Beyond, tanh rounds to 1.
    const LIMIT: f32 = 7.905_311;
    const ODD: [f32; 7] = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297e-8,
        1.485_722_4e-5,
        6.372_619e-4,
        4.893_524_6e-3,
    ];
    const EVEN: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    // SAFETY: vector arithmetic only. The denominator lies in [0.004, 1], where `reciprocal` is good.
    unsafe {
        let x = S::max(S::splat(-LIMIT), S::min(S::splat(LIMIT), x));
        let square = S::mul(x, x);
        let mut odd = S::splat(ODD[0]);
        let mut i = 1;
        while i < ODD.len() {
            odd = S::mul_add(odd, square, S::splat(ODD[i]));
            i += 1;
        }
        let mut even = S::splat(EVEN[0]);
        i = 1;
        while i < EVEN.len() {
            even = S::mul_add(even, square, S::splat(EVEN[i]));
            i += 1;
        }
        let y = S::mul(S::mul(odd, x), S::reciprocal(even));
        S::max(S::splat(-1.0), S::min(S::splat(1.0), y))
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

    fn worst(level: Level, fast: fn(Level, &mut [f32]), exact: fn(f64) -> f64) -> f64 {
        let x = inputs();
        let mut y = x.clone();
        fast(level, &mut y);
        let error = |(x, y): (&f32, &f32)| {
            let exact = exact(f64::from(*x));
            if exact == 0.0 { f64::from(y.abs()) } else { (f64::from(*y) / exact - 1.0).abs() }
        };
        x.iter().zip(&y).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn relative_errors_are_as_documented_at_every_level() {
        for level in Level::available() {
            let errors = [worst(level, sigmoid, |x| 1.0 / (1.0 + (-x).exp())), worst(level, tanh, f64::tanh)];
            assert!(errors.iter().all(|e| *e < f64::from(RELATIVE_ERROR)), "{level}: {errors:?}");
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
                assert!(x.iter().all(|x| *x > 0.0 && *x < 2e-38));
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
