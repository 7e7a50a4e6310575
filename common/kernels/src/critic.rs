//! The last layer of a critic's head. In: its hidden layer `[m, k]` before the ReLU; out: values `[m]`, and the way back.
//!
//! Before the ReLU the layer may be normalised (Ba et al. 2016, without gain and bias).

use crate::{
    dispatch::{Kernel, dispatch},
    gemm::{RowMajor, RowMajorMut, assert_fits},
    level::Level,
    simd::{Simd, load, store},
};

/// Rows whose sums are formed together.
const ROWS: usize = 8;

/// `hidden = max(hidden, 0)` in place, `out[i] = dot(hidden[i], weights)`.
///
/// # Panics
/// If `hidden` `[m, k]` does not fit its slice, `weights` is not `[k]` or `out` not `[m]`.
pub fn output(level: Level, hidden: RowMajorMut<'_>, weights: &[f32], out: &mut [f32]) {
    assert_fits("hidden: ", (out.len(), weights.len()), (hidden.data.len(), hidden.stride));
    let (hidden, stride) = (hidden.data.as_mut_ptr(), hidden.stride);
    // SAFETY: checked above.
    unsafe { dispatch(level, Output { hidden, stride, weights, out }) }
}

struct Output<'a> {
    hidden: *mut f32,
    stride: usize,
    weights: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Output<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (m, k) = (self.out.len(), self.weights.len());
        // SAFETY: rows end at m, the masks cover what is left of a row.
        unsafe {
            let mut row = 0;
            while row < m {
                let count = ROWS.min(m - row);
                let mut sums = [S::zero(); ROWS];
                let mut j = 0;
                while j < k {
                    let mask = S::mask((k - j).min(S::LANES));
                    let weights = S::load_masked(self.weights.as_ptr().add(j), mask);
                    for i in 0..count {
                        let p = self.hidden.add((row + i) * self.stride + j);
                        // In this order NaN stays NaN.
                        let x = S::max(S::zero(), S::load_masked(p, mask));
                        S::store_masked(p, x, mask);
                        sums[i] = S::mul_add(x, weights, sums[i]);
                    }
                    j += S::LANES;
                }
                let sums = S::sum_eight(sums);
                std::ptr::copy_nonoverlapping(sums.as_ptr(), self.out.as_mut_ptr().add(row), count);
                row += count;
            }
        }
    }
}

/// The way back through [`output`]: from `hidden` as it left it and the gradient `d_out` `[m]` to the gradient of the
/// hidden layer before the ReLU, in place. That of the weights is added to `d_weights` `[k]` if it is wanted.
///
/// # Panics
/// If `hidden` `[m, k]` does not fit its slice, or weights are not `[k]`.
pub fn output_backward(
    level: Level,
    hidden: RowMajorMut<'_>,
    d_out: &[f32],
    weights: &[f32],
    d_weights: Option<&mut [f32]>,
) {
    assert_fits("hidden: ", (d_out.len(), weights.len()), (hidden.data.len(), hidden.stride));
    let d_weights = d_weights.map(|d_weights| {
        assert_eq!(d_weights.len(), weights.len(), "one gradient a weight");
        d_weights.as_mut_ptr()
    });
    let (hidden, stride) = (hidden.data.as_mut_ptr(), hidden.stride);
    // SAFETY: checked above.
    unsafe { dispatch(level, OutputBackward { hidden, stride, d_out, weights, d_weights }) }
}

struct OutputBackward<'a> {
    hidden: *mut f32,
    stride: usize,
    d_out: &'a [f32],
    weights: &'a [f32],
    d_weights: Option<*mut f32>,
}

impl Kernel for OutputBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let k = self.weights.len();
        // SAFETY: full vectors end at or before k, the masked one covers exactly the rest.
        unsafe {
            let tail = S::mask(k % S::LANES);
            let mut j = 0;
            while j + S::LANES <= k {
                self.column::<S, false>(j, tail);
                j += S::LANES;
            }
            if j < k {
                self.column::<S, true>(j, tail);
            }
        }
    }
}

impl OutputBackward<'_> {
    #[inline(always)]
    unsafe fn column<S: Simd, const MASKED: bool>(&self, j: usize, tail: S::Mask) {
        // SAFETY: the caller gives the column of a vector, or of its masked lanes.
        unsafe {
            let weights = load::<S, MASKED>(self.weights.as_ptr().add(j), tail);
            let mut sum = S::zero();
            for (row, &d_out) in self.d_out.iter().enumerate() {
                let p = self.hidden.add(row * self.stride + j);
                let (x, d_out) = (load::<S, MASKED>(p, tail), S::splat(d_out));
                sum = S::mul_add(d_out, x, sum);
                store::<S, MASKED>(p, S::keep_positive(x, S::mul(d_out, weights)), tail);
            }
            if let Some(d_weights) = self.d_weights {
                let p = d_weights.add(j);
                store::<S, MASKED>(p, S::add(load::<S, MASKED>(p, tail), sum), tail);
            }
        }
    }
}

/// Gives each row of `[m, k]` mean 0 and variance 1; `inverse_deviation` `[m]` keeps what it was divided by, inverted.
///
/// # Panics
/// If the matrix does not fit its slice.
pub fn normalise(
    level: Level,
    k: usize,
    epsilon: f32,
    hidden: RowMajorMut<'_>,
    inverse_deviation: &mut [f32],
) {
    assert_fits("hidden: ", (inverse_deviation.len(), k), (hidden.data.len(), hidden.stride));
    let (hidden, stride) = (hidden.data.as_mut_ptr(), hidden.stride);
    // SAFETY: checked above.
    unsafe { dispatch(level, Normalise { k, epsilon, hidden, stride, inverse_deviation }) }
}

struct Normalise<'a> {
    k: usize,
    epsilon: f32,
    hidden: *mut f32,
    stride: usize,
    inverse_deviation: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (k, share) = (self.k, 1.0 / self.k as f32);
        // SAFETY: the masks cover what is left of a row.
        unsafe {
            for (row, inverse_deviation) in self.inverse_deviation.iter_mut().enumerate() {
                let p = self.hidden.add(row * self.stride);
                let mut sum = S::zero();
                let mut j = 0;
                while j < k {
                    sum = S::add(sum, S::load_masked(p.add(j), S::mask((k - j).min(S::LANES))));
                    j += S::LANES;
                }
                let mean = S::splat(total::<S>(sum) * share);
                // Lanes beyond the row are 0 in the sum of squares because they are not stored and not read.
                let mut squares = S::zero();
                j = 0;
                while j < k {
                    let mask = S::mask((k - j).min(S::LANES));
                    S::store_masked(p.add(j), S::sub(S::load_masked(p.add(j), mask), mean), mask);
                    let x = S::load_masked(p.add(j), mask);
                    squares = S::mul_add(x, x, squares);
                    j += S::LANES;
                }
                *inverse_deviation = 1.0 / (total::<S>(squares) * share + self.epsilon).sqrt();
                let factor = S::splat(*inverse_deviation);
                j = 0;
                while j < k {
                    let mask = S::mask((k - j).min(S::LANES));
                    S::store_masked(p.add(j), S::mul(S::load_masked(p.add(j), mask), factor), mask);
                    j += S::LANES;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn total<S: Simd>(v: S::V) -> f32 {
    // SAFETY: vector arithmetic only.
    unsafe {
        let zero = S::zero();
        S::sum_eight([v, zero, zero, zero, zero, zero, zero, zero])[0]
    }
}

/// The way back through [`normalise`]: from the gradient of the normalised rows to that of the rows, in place.
/// `normalised` is what the forward pass gave.
///
/// # Panics
/// If a matrix `[m, k]` does not fit its slice.
pub fn normalise_backward(
    level: Level,
    k: usize,
    normalised: RowMajor<'_>,
    inverse_deviation: &[f32],
    gradient: RowMajorMut<'_>,
) {
    assert_fits("normalised: ", (inverse_deviation.len(), k), (normalised.data.len(), normalised.stride));
    assert_fits("gradient: ", (inverse_deviation.len(), k), (gradient.data.len(), gradient.stride));
    let (gradient, stride) = (gradient.data.as_mut_ptr(), gradient.stride);
    // SAFETY: checked above.
    unsafe { dispatch(level, NormaliseBackward { k, normalised, inverse_deviation, gradient, stride }) }
}

struct NormaliseBackward<'a> {
    k: usize,
    normalised: RowMajor<'a>,
    inverse_deviation: &'a [f32],
    gradient: *mut f32,
    stride: usize,
}

impl Kernel for NormaliseBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (k, share) = (self.k, 1.0 / self.k as f32);
        // SAFETY: the masks cover what is left of a row.
        unsafe {
            for (row, &inverse_deviation) in self.inverse_deviation.iter().enumerate() {
                let y = self.normalised.data.as_ptr().add(row * self.normalised.stride);
                let d = self.gradient.add(row * self.stride);
                let (mut sum, mut along) = (S::zero(), S::zero());
                let mut j = 0;
                while j < k {
                    let mask = S::mask((k - j).min(S::LANES));
                    let gradient = S::load_masked(d.add(j), mask);
                    sum = S::add(sum, gradient);
                    along = S::mul_add(gradient, S::load_masked(y.add(j), mask), along);
                    j += S::LANES;
                }
                // d_x = (d_y - mean(d_y) - y mean(d_y y)) / deviation
                let (mean, along) = (S::splat(total::<S>(sum) * share), S::splat(total::<S>(along) * share));
                j = 0;
                while j < k {
                    let mask = S::mask((k - j).min(S::LANES));
                    let gradient = S::sub(S::load_masked(d.add(j), mask), mean);
                    let gradient = S::neg_mul_add(along, S::load_masked(y.add(j), mask), gradient);
                    S::store_masked(d.add(j), S::mul(gradient, S::splat(inverse_deviation)), mask);
                    j += S::LANES;
                }
            }
        }
    }
}
