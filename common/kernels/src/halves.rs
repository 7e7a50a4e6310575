//! Matrix product of numbers rounded to 16 bits (bf16: sign, 8 bits of exponent, 7 of fraction), summed in f32. In: f32 matrices, made
//! into pairs; out: C `[m, n]` in f32.
//!
//! The instruction multiplies two pairs lane by lane and adds both products to a sum: pairs lie along the dimension that is summed over,
//! and the last of an odd number has a 0 beside it. CPUs with AVX-512 BF16 have it; elsewhere it is emulated, which is slower than f32.
//! Both round to the same numbers, but that the instruction takes denormal ones for 0; sums may differ in their last bits.

use crate::{
    dispatch::{HalfKernel, dispatch_halves, has_bf16},
    gemm::{Gemm, Init, RowMajor, RowMajorMut, Strided, Term, assert_fits, row_stride},
    level::Level,
    simd::{Simd, halves::Halves},
};

/// Two numbers of 16 bits, the first one in the lower half.
pub type Pair = u32;

/// The bits of the nearest number of 16 bits, the upper half of an f32; ties go to the even one, NaN stays NaN.
#[inline(always)]
pub fn rounded(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // A quiet one, whose payload is not lost to 0.
        return (bits >> 16) as u16 | 0x40;
    }
    // Half of the last place, less one where the place is even already; infinity stays itself.
    ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

/// Whether a level has instructions for these products on this CPU.
pub fn is_native(level: Level) -> bool {
    has_bf16(level)
}

/// C `[m, n]` = `init` + A `[m, 2k]` B `[2k, n]` for `(m, n, k)` with k pairs.
///
/// # Panics
/// As [`gemm`](fn@crate::gemm), of pairs.
pub fn gemm(
    level: Level,
    (m, n, k): (usize, usize, usize),
    a: Strided<'_, Pair>,
    b: RowMajor<'_, Pair>,
    c: RowMajorMut<'_>,
    init: Init<'_>,
) {
    let Some(kernel) = Gemm::checked((m, n), [Term { k, a, b }], c, init) else { return };
    // SAFETY: a checked product keeps inside its slices.
    unsafe { dispatch_halves(level, kernel) }
}

/// The sum of two, as [`gemm_of_two`](fn@crate::gemm_of_two).
///
/// # Panics
/// As [`gemm`](fn@crate::gemm), of pairs.
pub fn gemm_of_two(
    level: Level,
    size: (usize, usize),
    terms: [Term<'_, Pair>; 2],
    c: RowMajorMut<'_>,
    init: Init<'_>,
) {
    let Some(kernel) = Gemm::checked(size, terms, c, init) else { return };
    // SAFETY: a checked product keeps inside its slices.
    unsafe { dispatch_halves(level, kernel) }
}

impl<const TERMS: usize> HalfKernel for Gemm<'_, Pair, TERMS> {
    #[inline(always)]
    unsafe fn run<S: Simd, H: Halves<S>>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.multiply::<S, H>() }
    }
}

/// Memory for a matrix in pairs; grows to what it needs and stays.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<Pair>);

impl Pairs {
    /// Pairs of neighbours of each row: `[m, k]` to `[m, ceil(k / 2)]`, what a product reads on its left.
    ///
    /// # Panics
    /// If `from` is too short, or its stride less than k.
    pub fn of_neighbours(
        &mut self,
        level: Level,
        (m, k): (usize, usize),
        from: RowMajor<'_>,
    ) -> RowMajor<'_, Pair> {
        assert_fits("", (m, k), (from.data.len(), from.stride));
        let stride = self.resize(m, k.div_ceil(2));
        let to = self.0.as_mut_ptr();
        // SAFETY: `from` is checked; `to` has m rows of ceil(k / 2).
        unsafe { dispatch_halves(level, Neighbours { m, k, from, to, to_stride: stride }) }
        RowMajor { data: &self.0[..m * stride], stride }
    }

    /// Pairs of rows 2p and 2p + 1: `[k, n]` to `[ceil(k / 2), n]`, what a product reads on its right, or its transpose on its left.
    ///
    /// # Panics
    /// If `from` is too short, or its stride less than n.
    pub fn of_rows(
        &mut self,
        level: Level,
        (k, n): (usize, usize),
        from: RowMajor<'_>,
    ) -> RowMajor<'_, Pair> {
        assert_fits("", (k, n), (from.data.len(), from.stride));
        let pairs = k.div_ceil(2);
        let stride = self.resize(pairs, n);
        let to = self.0.as_mut_ptr();
        // SAFETY: `from` is checked; `to` has ceil(k / 2) rows of n.
        unsafe { dispatch_halves(level, RowPairs { k, n, from, to, to_stride: stride }) }
        RowMajor { data: &self.0[..pairs * stride], stride }
    }

    /// Makes room, and says how far apart rows are.
    fn resize(&mut self, rows: usize, columns: usize) -> usize {
        let stride = row_stride(columns);
        if self.0.len() < rows * stride {
            self.0.resize(rows * stride, 0);
        }
        stride
    }
}

struct Neighbours<'a> {
    m: usize,
    k: usize,
    from: RowMajor<'a>,
    to: *mut Pair,
    to_stride: usize,
}

impl HalfKernel for Neighbours<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, H: Halves<S>>(self) {
        let whole = self.k / (2 * S::LANES) * (2 * S::LANES);
        let rest = self.k - whole;
        // SAFETY: whole vectors of pairs end at or before column k; masks cover exactly the rest.
        unsafe {
            let front = S::mask(rest.min(S::LANES));
            let back = S::mask(rest.saturating_sub(S::LANES));
            let pairs = S::mask(rest.div_ceil(2));
            for row in 0..self.m {
                let from = self.from.data.as_ptr().add(row * self.from.stride);
                let to = self.to.cast::<f32>().add(row * self.to_stride);
                for column in (0..whole).step_by(2 * S::LANES) {
                    let from = from.add(column);
                    S::store(to.add(column / 2), H::pair_up(S::load(from), S::load(from.add(S::LANES))));
                }
                if rest > 0 {
                    let from = from.add(whole);
                    let last = H::pair_up(
                        S::load_masked(from, front),
                        S::load_masked(from.wrapping_add(S::LANES), back),
                    );
                    S::store_masked(to.add(whole / 2), last, pairs);
                }
            }
        }
    }
}

struct RowPairs<'a> {
    k: usize,
    n: usize,
    from: RowMajor<'a>,
    to: *mut Pair,
    to_stride: usize,
}

impl HalfKernel for RowPairs<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, H: Halves<S>>(self) {
        // SAFETY: full vectors end at or before column n, the masked one covers exactly the rest; there is no row k to be read.
        unsafe {
            let tail = S::mask(self.n % S::LANES);
            for pair in 0..self.k.div_ceil(2) {
                let from = self.from.data.as_ptr().add(2 * pair * self.from.stride);
                let second = if 2 * pair + 1 < self.k { Some(from.add(self.from.stride)) } else { None };
                let to = self.to.cast::<f32>().add(pair * self.to_stride);
                let mut column = 0;
                while column + S::LANES <= self.n {
                    let high = match second {
                        Some(second) => S::load(second.add(column)),
                        None => S::zero(),
                    };
                    S::store(to.add(column), H::zip(S::load(from.add(column)), high));
                    column += S::LANES;
                }
                if column < self.n {
                    let high = match second {
                        Some(second) => S::load_masked(second.add(column), tail),
                        None => S::zero(),
                    };
                    let low = S::load_masked(from.add(column), tail);
                    S::store_masked(to.add(column), H::zip(low, high), tail);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{ByEmulation, dispatch};

    /// C of 7 x 19 and 2 k + 1 numbers, all from one kind of instructions.
    fn product(k: usize, emulated: Option<Level>) -> Vec<f32> {
        let (m, n, numbers) = (7, 19, 2 * k + 1);
        let number = |i: usize| ((i * 7_919) % 1_009) as f32 / 509.0 - 0.99;
        let a: Vec<f32> = (0..m * numbers).map(number).collect();
        let b: Vec<f32> = (0..n * numbers).map(|i| number(i + 13)).collect();
        let (mut left, mut right, mut c) = (vec![0; m * (k + 1)], vec![0; n * (k + 1)], vec![0.0; m * n]);
        let neighbours = Neighbours {
            m,
            k: numbers,
            from: RowMajor { data: &a, stride: numbers },
            to: left.as_mut_ptr(),
            to_stride: k + 1,
        };
        let rows = RowPairs {
            k: numbers,
            n,
            from: RowMajor { data: &b, stride: n },
            to: right.as_mut_ptr(),
            to_stride: n,
        };
        // SAFETY: all matrices hold what is said of them.
        unsafe {
            match emulated {
                Some(level) => {
                    dispatch(level, ByEmulation(neighbours));
                    dispatch(level, ByEmulation(rows));
                }
                None => {
                    dispatch_halves(Level::best(), neighbours);
                    dispatch_halves(Level::best(), rows);
                }
            }
        }
        let (a, b) = (Strided::rows(&left, k + 1), RowMajor { data: &right, stride: n });
        let out = RowMajorMut { data: &mut c, stride: n };
        let term = Term { k: k + 1, a, b };
        let kernel = Gemm::checked((m, n), [term], out, Init::Zero).expect("C has elements");
        // SAFETY: a checked product keeps inside its slices.
        unsafe {
            match emulated {
                Some(level) => dispatch(level, ByEmulation(kernel)),
                None => dispatch_halves(Level::best(), kernel),
            }
        }
        c
    }

    #[test]
    fn a_rounded_number_is_the_nearest_with_ties_to_even() {
        // 1 + k/256 lies half way between neighbours of 7-bit fractions where k is odd.
        for (x, expected) in [(1.0, 1.0), (1.0 + 1.0 / 256.0, 1.0), (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0)] {
            assert_eq!(f32::from_bits(u32::from(rounded(x)) << 16), expected, "{x}");
        }
        assert_eq!(rounded(f32::NEG_INFINITY), 0xff80);
        assert!(f32::from_bits(u32::from(rounded(f32::NAN)) << 16).is_nan());
    }

    #[test]
    fn emulation_is_what_the_instructions_do_but_for_the_last_bits() {
        for k in [0, 1, 6, 7, 8, 15, 16, 17, 40] {
            let native = product(k, None);
            for level in Level::available() {
                for (found, expected) in product(k, Some(level)).into_iter().zip(&native) {
                    assert!(
                        (found - expected).abs() <= 1e-6 * (1 + k) as f32,
                        "{level}: {found} is not {expected}"
                    );
                }
            }
        }
    }
}
