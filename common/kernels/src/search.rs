//! Choosing a row of a table. In: a query, row numbers, a mask; out: dot products and the position of the largest.
//!
//! Rows are read where they stand, in blocks of eight. Asking for the rows of later blocks in advance (prefetch)
//! gained 4% on a table twice the L2 cache, too little to keep.
//!
//! With unit rows the dot product is the cosine times the query's length, so its argmax is that of the cosine.

use crate::{
    dispatch::{Kernel, dispatch},
    level::Level,
    simd::Simd,
};

/// Rows whose products are formed together.
const BLOCK: usize = 8;

/// `out[i] = dot(table[rows[i]], query)`, table `[., n]` row-major, query `[n]`, rows and out `[R]`.
///
/// Equal rows of the table give bit-equal products, wherever they stand in `rows`.
///
/// # Panics
/// If `out` is not as long as `rows` or a row lies outside the table.
pub fn dot_rows(level: Level, table: &[f32], rows: &[u32], query: &[f32], out: &mut [f32]) {
    let n = query.len();
    assert_eq!(rows.len(), out.len(), "one product a row");
    assert!(n > 0, "rows of length 0");
    let n_rows = table.len() / n;
    let largest = rows.iter().copied().max().unwrap_or(0) as usize;
    assert!(rows.is_empty() || largest < n_rows, "row {largest} of a table of {n_rows}");
    // SAFETY: every row lies inside the table, and `out` is as long as `rows`.
    unsafe { dispatch(level, DotRows { table: table.as_ptr(), rows, query, out }) }
}

struct DotRows<'a> {
    table: *const f32,
    rows: &'a [u32],
    query: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for DotRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `block` is given positions of `rows` only, and those are inside the table.
        unsafe {
            // The common sizes keep the whole query in registers.
            match self.query.len().div_ceil(S::LANES) {
                1 => self.blocks::<S, 1>(),
                2 => self.blocks::<S, 2>(),
                3 => self.blocks::<S, 3>(),
                4 => self.blocks::<S, 4>(),
                _ => self.blocks::<S, 0>(),
            }
        }
    }
}

impl DotRows<'_> {
    /// `VECTORS` vectors a row, or any number if 0.
    #[inline(always)]
    unsafe fn blocks<S: Simd, const VECTORS: usize>(self) {
        let n_rows = self.rows.len();
        let n = self.query.len();
        let vectors = if VECTORS == 0 { n.div_ceil(S::LANES) } else { VECTORS };
        let mut start = 0;
        // SAFETY: pointers stay inside rows of the table and inside the query; the last vector of a row is masked.
        unsafe {
            let mask = S::mask(n - (vectors - 1) * S::LANES);
            let query = self.query.as_ptr();
            while start < n_rows {
                let mut row = [self.table; BLOCK];
                for i in 0..BLOCK {
                    // The last block repeats its last row.
                    let position = (start + i).min(n_rows - 1);
                    row[i] = self.table.add(*self.rows.get_unchecked(position) as usize * n);
                }
                let mut sums = [S::zero(); BLOCK];
                for v in 0..vectors - 1 {
                    let q = S::load(query.add(v * S::LANES));
                    for i in 0..BLOCK {
                        sums[i] = S::mul_add(S::load(row[i].add(v * S::LANES)), q, sums[i]);
                    }
                }
                let last = (vectors - 1) * S::LANES;
                let q = S::load_masked(query.add(last), mask);
                for i in 0..BLOCK {
                    sums[i] = S::mul_add(S::load_masked(row[i].add(last), mask), q, sums[i]);
                }
                let sums = S::sum_eight(sums);
                let count = BLOCK.min(n_rows - start);
                std::ptr::copy_nonoverlapping(sums.as_ptr(), self.out.as_mut_ptr().add(start), count);
                start += count;
            }
        }
    }
}

/// A number that is smaller the larger a score is, and of equal scores the smaller the position is, which is below 2^32.
#[inline]
pub fn key(score: f32, position: usize) -> u64 {
    // -0 becomes 0, its equal. A negative number's bits grow as it falls, a positive one's as it rises.
    let bits = (score + 0.0).to_bits();
    let descending = if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff };
    u64::from(descending) << 32 | position as u64
}

/// The position in a [`key`].
#[inline]
pub fn position(key: u64) -> usize {
    key as u32 as usize
}

/// Position of the largest score that is not masked, the first of equals; NaN never wins. `None` if all are masked
/// or NaN or -inf.
///
/// `masked` has bit `i % 64` of word `i / 64` set where score `i` is masked. Masked scores are overwritten by -inf.
///
/// # Panics
/// If the mask has another number of words than the scores need.
pub fn argmax_masked(level: Level, scores: &mut [f32], masked: &[u64]) -> Option<usize> {
    assert_eq!(masked.len(), scores.len().div_ceil(64), "one bit a score");
    for (word_index, &word) in masked.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            scores[word_index * 64 + rest.trailing_zeros() as usize] = f32::NEG_INFINITY;
            rest &= rest - 1;
        }
    }
    // SAFETY: the slice is valid for its length.
    unsafe { dispatch(level, Argmax { scores }) }
}

struct Argmax<'a> {
    scores: &'a [f32],
}

impl Kernel for Argmax<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Option<usize> {
        let n = self.scores.len();
        let full = n - n % S::LANES;
        let p = self.scores.as_ptr();
        // SAFETY: full vectors end at or before `full <= n`.
        unsafe {
            let mut best = S::splat(f32::NEG_INFINITY);
            let mut i = 0;
            while i < full {
                // In this order a NaN score leaves `best` as it is.
                best = S::max(S::load(p.add(i)), best);
                i += S::LANES;
            }
            let mut largest = S::largest(best);
            for score in &self.scores[full..] {
                if *score > largest {
                    largest = *score;
                }
            }
            if largest == f32::NEG_INFINITY {
                return None;
            }
            let largest_v = S::splat(largest);
            i = 0;
            while i < full {
                let bits = S::equal_bits(S::load(p.add(i)), largest_v);
                if bits != 0 {
                    return Some(i + bits.trailing_zeros() as usize);
                }
                i += S::LANES;
            }
            self.scores[full..].iter().position(|score| *score == largest).map(|position| full + position)
        }
    }
}

/// `dot(max(x, 0), weights)`: the last layer of a critic's head.
///
/// # Panics
/// If the slices have different lengths.
pub fn relu_dot(level: Level, x: &[f32], weights: &[f32]) -> f32 {
    assert_eq!(x.len(), weights.len(), "one weight a value");
    // SAFETY: both slices are valid for the same length.
    unsafe { dispatch(level, ReluDot { x, weights }) }
}

struct ReluDot<'a> {
    x: &'a [f32],
    weights: &'a [f32],
}

impl Kernel for ReluDot<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let n = self.x.len();
        let (x, w) = (self.x.as_ptr(), self.weights.as_ptr());
        // SAFETY: full vectors end at or before `n`, the masked one covers exactly the rest.
        unsafe {
            let mut sum = S::zero();
            let mut i = 0;
            while i + S::LANES <= n {
                sum = S::mul_add(S::max(S::zero(), S::load(x.add(i))), S::load(w.add(i)), sum);
                i += S::LANES;
            }
            let mask = S::mask(n - i);
            let (x, w) = (S::load_masked(x.add(i), mask), S::load_masked(w.add(i), mask));
            sum = S::mul_add(S::max(S::zero(), x), w, sum);
            let zero = S::zero();
            S::sum_eight([sum, zero, zero, zero, zero, zero, zero, zero])[0]
        }
    }
}

/// `out[i] = dot(max(base[i] + table[rows[i]], 0), weights)`: many rows through the last layer of a critic's head, whose hidden
/// layer is a sum of a part that was computed for them, `base` `[rows, k]`, or `[k]` if they share it, and one of their own,
/// in `table` `[., k]` row-major.
///
/// # Panics
/// If the lengths do not fit or a row lies outside the table.
pub fn relu_dot_rows(
    level: Level,
    table: &[f32],
    rows: &[u32],
    (base, weights): (&[f32], &[f32]),
    out: &mut [f32],
) {
    let k = weights.len();
    let is_shared = base.len() == k;
    let is_whole = is_shared || rows.len().checked_mul(k) == Some(base.len());
    assert!(is_whole, "base: {} floats for {} rows", base.len(), rows.len());
    assert_eq!(out.len(), rows.len(), "one product a row");
    assert!(k > 0, "rows of length 0");
    let largest = rows.iter().copied().max().unwrap_or(0) as usize;
    assert!(rows.is_empty() || largest < table.len() / k, "row {largest} of a table of {}", table.len() / k);
    let table = table.as_ptr();
    // SAFETY: every row lies inside the table; the weights are as long as one, the base as one or as all of `rows`, `out` as `rows`.
    unsafe {
        if is_shared {
            dispatch(level, ReluDotRows::<true> { table, rows, base, weights, out });
        } else {
            dispatch(level, ReluDotRows::<false> { table, rows, base, weights, out });
        }
    }
}

struct ReluDotRows<'a, const SHARED: bool> {
    table: *const f32,
    rows: &'a [u32],
    base: &'a [f32],
    weights: &'a [f32],
    out: &'a mut [f32],
}

impl<const SHARED: bool> Kernel for ReluDotRows<'_, SHARED> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let k = self.weights.len();
        let weights = self.weights.as_ptr();
        for (block, (rows, out)) in self.rows.chunks(BLOCK).zip(self.out.chunks_mut(BLOCK)).enumerate() {
            // SAFETY: pointers stay inside rows of the table, the base and the weights; the last vector is masked.
            unsafe {
                // A short block repeats its last row.
                let row: [*const f32; BLOCK] =
                    std::array::from_fn(|i| self.table.add(rows[i.min(rows.len() - 1)] as usize * k));
                let first = if SHARED { 0 } else { block * BLOCK };
                let base: [*const f32; BLOCK] = std::array::from_fn(|i| {
                    let own = if SHARED { 0 } else { i.min(rows.len() - 1) };
                    self.base.as_ptr().add((first + own) * k)
                });
                let mut sums = [S::zero(); BLOCK];
                let mut v = 0;
                while v + S::LANES <= k {
                    let (shared, w) = (S::load(base[0].add(v)), S::load(weights.add(v)));
                    for i in 0..BLOCK {
                        let b = if SHARED { shared } else { S::load(base[i].add(v)) };
                        let hidden = S::add(b, S::load(row[i].add(v)));
                        sums[i] = S::mul_add(S::max(S::zero(), hidden), w, sums[i]);
                    }
                    v += S::LANES;
                }
                if v < k {
                    let mask = S::mask(k - v);
                    let w = S::load_masked(weights.add(v), mask);
                    for i in 0..BLOCK {
                        let b = S::load_masked(base[i].add(v), mask);
                        let hidden = S::add(b, S::load_masked(row[i].add(v), mask));
                        sums[i] = S::mul_add(S::max(S::zero(), hidden), w, sums[i]);
                    }
                }
                out.copy_from_slice(&S::sum_eight(sums)[..out.len()]);
            }
        }
    }
}
