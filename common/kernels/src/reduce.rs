//! Sums for gradients. In: matrices and vectors; out: sums over rows, a sum of squares, a matrix turned over.

use crate::{
    dispatch::{Kernel, dispatch},
    gemm::{RowMajor, RowMajorMut, assert_fits},
    level::Level,
    simd::{Simd, load, store},
};

/// `out[j] += sum over i of a[i, j]`, A `[m, n]`, rows from the first on.
///
/// # Panics
/// If A does not fit its slice or `out` is not `[n]`.
pub fn add_column_sums(level: Level, (m, n): (usize, usize), a: RowMajor<'_>, out: &mut [f32]) {
    assert_eq!(out.len(), n, "one sum a column");
    if m == 0 || n == 0 {
        return;
    }
    assert_fits("A: ", (m, n), (a.data.len(), a.stride));
    // SAFETY: checked above.
    unsafe { dispatch(level, ColumnSums { m, n, a, out: out.as_mut_ptr() }) }
}

struct ColumnSums<'a> {
    m: usize,
    n: usize,
    a: RowMajor<'a>,
    out: *mut f32,
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: full vectors end at or before n, the masked one covers exactly the rest.
        unsafe {
            let tail = S::mask(self.n % S::LANES);
            let mut j = 0;
            // Four columns of vectors at a time: a sum is a chain, four of them hide its latency.
            while j + 4 * S::LANES <= self.n {
                self.columns::<S, 4, false>(j, tail);
                j += 4 * S::LANES;
            }
            while j + S::LANES <= self.n {
                self.columns::<S, 1, false>(j, tail);
                j += S::LANES;
            }
            if j < self.n {
                self.columns::<S, 1, true>(j, tail);
            }
        }
    }
}

impl ColumnSums<'_> {
    #[inline(always)]
    unsafe fn columns<S: Simd, const VECTORS: usize, const MASKED: bool>(&self, j: usize, tail: S::Mask) {
        // SAFETY: the caller gives columns inside A; a masked vector is a single one.
        unsafe {
            let mut sums = [S::zero(); VECTORS];
            for v in 0..VECTORS {
                sums[v] = load::<S, MASKED>(self.out.add(j + v * S::LANES), tail);
            }
            for i in 0..self.m {
                let row = self.a.data.as_ptr().add(i * self.a.stride + j);
                for v in 0..VECTORS {
                    sums[v] = S::add(sums[v], load::<S, MASKED>(row.add(v * S::LANES), tail));
                }
            }
            for v in 0..VECTORS {
                store::<S, MASKED>(self.out.add(j + v * S::LANES), sums[v], tail);
            }
        }
    }
}

/// The sum of the squares, in f64 over blocks of f32.
pub fn sum_of_squares(level: Level, x: &[f32]) -> f64 {
    const BLOCK: usize = 4096;
    // SAFETY: a chunk is valid for its length.
    x.chunks(BLOCK).map(|x| f64::from(unsafe { dispatch(level, Squares { x }) })).sum()
}

struct Squares<'a> {
    x: &'a [f32],
}

impl Kernel for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let (n, p) = (self.x.len(), self.x.as_ptr());
        // SAFETY: full vectors end at or before n, the masked one covers exactly the rest.
        unsafe {
            let mut sums = [S::zero(); 8];
            let mut i = 0;
            while i + 8 * S::LANES <= n {
                for v in 0..8 {
                    let x = S::load(p.add(i + v * S::LANES));
                    sums[v] = S::mul_add(x, x, sums[v]);
                }
                i += 8 * S::LANES;
            }
            while i < n {
                let x = S::load_masked(p.add(i), S::mask((n - i).min(S::LANES)));
                sums[0] = S::mul_add(x, x, sums[0]);
                i += S::LANES;
            }
            S::sum_eight(sums).iter().sum()
        }
    }
}

/// `out[j, i] = a[i, j]`, A `[rows, columns]` without gaps.
///
/// # Panics
/// If a slice is not `[rows, columns]`.
pub fn transpose_into(level: Level, (rows, columns): (usize, usize), a: &[f32], out: &mut [f32]) {
    let n = rows.checked_mul(columns);
    assert_eq!(Some(a.len()), n, "A is [{rows}, {columns}]");
    assert_eq!(Some(out.len()), n, "out is [{columns}, {rows}]");
    // SAFETY: checked above.
    unsafe { dispatch(level, Transpose { rows, columns, a: a.as_ptr(), out: out.as_mut_ptr() }) }
}

/// `[rows, columns]` to `[columns, rows]`: from PyTorch's layout of a weight to the one products read row by row.
///
/// # Panics
/// If these are no rows of so many columns.
pub fn transpose(a: &[f32], columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len()];
    transpose_into(Level::best(), (a.len() / columns, columns), a, &mut out);
    out
}

struct Transpose {
    rows: usize,
    columns: usize,
    a: *const f32,
    out: *mut f32,
}

impl Kernel for Transpose {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, columns, a, out } = self;
        let whole = |n: usize| n - n % S::LANES;
        // SAFETY: tiles end before `whole`; what is left is copied element by element.
        unsafe {
            for i in (0..whole(rows)).step_by(S::LANES) {
                for j in (0..whole(columns)).step_by(S::LANES) {
                    S::transpose_tile((a.add(i * columns + j), columns), (out.add(j * rows + i), rows));
                }
            }
            for i in 0..rows {
                for j in if i < whole(rows) { whole(columns) } else { 0 }..columns {
                    *out.add(j * rows + i) = *a.add(i * columns + j);
                }
            }
        }
    }
}

/// `x[i] *= bound (1 - t[i]^2)`: from the gradient of `bound tanh(u)` to that of u, t = tanh(u).
///
/// # Panics
/// If a matrix `[m, n]` does not fit its slice.
pub fn tanh_backward(level: Level, (m, n): (usize, usize), bound: f32, t: RowMajor<'_>, x: RowMajorMut<'_>) {
    if m == 0 || n == 0 {
        return;
    }
    assert_fits("t: ", (m, n), (t.data.len(), t.stride));
    assert_fits("x: ", (m, n), (x.data.len(), x.stride));
    let (x, x_stride) = (x.data.as_mut_ptr(), x.stride);
    // SAFETY: checked above.
    unsafe { dispatch(level, TanhBackward { m, n, bound, t, x, x_stride }) }
}

struct TanhBackward<'a> {
    m: usize,
    n: usize,
    bound: f32,
    t: RowMajor<'a>,
    x: *mut f32,
    x_stride: usize,
}

impl Kernel for TanhBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the masks cover what is left of a row.
        unsafe {
            for i in 0..self.m {
                let t = self.t.data.as_ptr().add(i * self.t.stride);
                let x = self.x.add(i * self.x_stride);
                let mut j = 0;
                while j < self.n {
                    let mask = S::mask((self.n - j).min(S::LANES));
                    let t = S::load_masked(t.add(j), mask);
                    let slope = S::mul(S::splat(self.bound), S::neg_mul_add(t, t, S::splat(1.0)));
                    S::store_masked(x.add(j), S::mul(S::load_masked(x.add(j), mask), slope), mask);
                    j += S::LANES;
                }
            }
        }
    }
}

/// Inner product of short vectors of equal length; eight running sums, so that it vectorises.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
