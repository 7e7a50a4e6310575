//! Matrix product. In: A `[m, k]` by strides, B `[k, n]` row-major; out: C `[m, n]` row-major, C = init + A B.
//!
//! Every element of C is summed over k in ascending order (of pairs of 16 bits in that of the pairs) in one accumulator that
//! starts at its initial value, so its bits depend neither on m nor on where the element lies in a tile. Register tiles of
//! up to 6 rows; the last vector of a row is masked. No packing: meant for weights that fit the L2 cache.

use crate::{
    dispatch::{Kernel, dispatch},
    level::Level,
    simd::{
        Simd,
        halves::{Product, Whole},
    },
};

/// Rows of a register tile.
const TILE_ROWS: usize = 6;

/// A matrix whose element (i, j) is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T = f32> {
    /// The elements and what lies between.
    pub data: &'a [T],
    /// From a row to the next.
    pub row_stride: usize,
    /// From a column to the next.
    pub column_stride: usize,
}

impl<'a, T> Strided<'a, T> {
    /// A row-major matrix with rows `stride` apart.
    pub fn rows(data: &'a [T], stride: usize) -> Self {
        Self { data, row_stride: stride, column_stride: 1 }
    }

    /// The transpose of a row-major matrix with rows `stride` apart.
    pub fn transposed(data: &'a [T], stride: usize) -> Self {
        Self { data, row_stride: 1, column_stride: stride }
    }
}

/// A matrix whose rows are contiguous and `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct RowMajor<'a, T = f32> {
    /// The elements and what lies between the rows.
    pub data: &'a [T],
    /// From a row to the next, at least the number of columns.
    pub stride: usize,
}

/// Distance, in numbers of 4 bytes, of the rows of a matrix that products read column by column: an odd number of cache lines, so that the rows
/// of a panel do not share a few sets of the cache.
pub fn row_stride(columns: usize) -> usize {
    const LINE: usize = 16;
    let lines = columns.div_ceil(LINE);
    LINE * (lines + usize::from(lines.is_multiple_of(2)))
}

/// A [`RowMajor`] matrix to write to. What lies between its rows is not touched.
#[derive(Debug)]
pub struct RowMajorMut<'a> {
    /// The elements and what lies between the rows.
    pub data: &'a mut [f32],
    /// From a row to the next, at least the number of columns.
    pub stride: usize,
}

impl<'a, T> RowMajor<'a, T> {
    /// What begins at a row and a column of it.
    ///
    /// # Panics
    /// If that lies outside.
    pub fn at(self, row: usize, column: usize) -> Self {
        Self { data: &self.data[row * self.stride + column..], stride: self.stride }
    }

    /// The same, by strides.
    pub fn strided(self) -> Strided<'a, T> {
        Strided::rows(self.data, self.stride)
    }

    /// Its transpose.
    pub fn transposed(self) -> Strided<'a, T> {
        Strided::transposed(self.data, self.stride)
    }
}

/// Refuses a row-major matrix whose rows overlap, or do not fit in so many numbers so far apart.
#[inline]
pub(crate) fn assert_fits(name: &str, (rows, columns): (usize, usize), (len, stride): (usize, usize)) {
    assert!(stride >= columns, "{name}rows of {columns} are {stride} apart");
    let needed = if rows == 0 { Some(0) } else { end((rows - 1, stride), (columns, 1)) };
    let fits = needed.is_some_and(|needed| needed <= len);
    assert!(fits, "{name}[{rows}, {columns}] does not fit in {len} numbers");
}

/// The sum of two products, if there is such a number.
#[inline]
fn end(a: (usize, usize), b: (usize, usize)) -> Option<usize> {
    a.0.checked_mul(a.1)?.checked_add(b.0.checked_mul(b.1)?)
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Init<'a> {
    /// Zero.
    Zero,
    /// What C holds.
    Accumulate,
    /// This row `[n]` in every row.
    Bias(&'a [f32]),
}

/// C `[m, n]` = `init` + A `[m, k]` B `[k, n]` for `(m, n, k)`, any of which may be 0.
///
/// # Panics
/// If a slice is too short for its matrix, a bias is not `[n]`, or a stride is less than the columns it spans.
pub fn gemm(
    level: Level,
    (m, n, k): (usize, usize, usize),
    a: Strided<'_>,
    b: RowMajor<'_>,
    c: RowMajorMut<'_>,
    init: Init<'_>,
) {
    let Some(kernel) = Gemm::checked((m, n), [Term { k, a, b }], c, init) else { return };
    // SAFETY: a checked product keeps inside its slices.
    unsafe { dispatch(level, kernel) }
}

/// C `[m, n]` = `init` + A `[m, k]` B `[k, n]` + A' `[m, k']` B' `[k', n]`, the terms one after the other: C is read and written once.
/// Not generic over the number of terms: it would be compiled where it is used, unoptimised in builds for tests.
///
/// # Panics
/// As [`gemm`](fn@gemm).
pub fn gemm_of_two(
    level: Level,
    size: (usize, usize),
    terms: [Term<'_>; 2],
    c: RowMajorMut<'_>,
    init: Init<'_>,
) {
    let Some(kernel) = Gemm::checked(size, terms, c, init) else { return };
    // SAFETY: a checked product keeps inside its slices.
    unsafe { dispatch(level, kernel) }
}

/// A `[m, k]` B `[k, n]`.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a, T = f32> {
    /// Columns of A, rows of B.
    pub k: usize,
    /// The left side.
    pub a: Strided<'a, T>,
    /// The right side.
    pub b: RowMajor<'a, T>,
}

/// A product whose operands are in their slices.
pub(crate) struct Gemm<'a, T, const TERMS: usize> {
    m: usize,
    n: usize,
    terms: [Term<'a, T>; TERMS],
    c: *mut f32,
    c_stride: usize,
    init: Init<'a>,
}

impl<'a, T, const TERMS: usize> Gemm<'a, T, TERMS> {
    /// Nothing where C has no elements. A T is as large as an f32.
    ///
    /// # Panics
    /// As [`gemm`](fn@gemm).
    #[inline]
    pub(crate) fn checked(
        (m, n): (usize, usize),
        terms: [Term<'a, T>; TERMS],
        c: RowMajorMut<'a>,
        init: Init<'a>,
    ) -> Option<Self> {
        const { assert!(size_of::<T>() == size_of::<f32>() && align_of::<T>() == align_of::<f32>()) };
        if m == 0 || n == 0 {
            return None;
        }
        for Term { k, a, b } in terms.iter().filter(|term| term.k > 0) {
            let last = end((m - 1, a.row_stride), (k - 1, a.column_stride));
            let fits = last.is_some_and(|last| last < a.data.len());
            assert!(fits, "A: [{m}, {k}] does not fit in {} numbers", a.data.len());
            assert_fits("B: ", (*k, n), (b.data.len(), b.stride));
        }
        assert_fits("C: ", (m, n), (c.data.len(), c.stride));
        if let Init::Bias(bias) = init {
            assert_eq!(bias.len(), n, "the bias is a row of C");
        }
        Some(Self { m, n, terms, c: c.data.as_mut_ptr(), c_stride: c.stride, init })
    }
}

impl<const TERMS: usize> Kernel for Gemm<'_, f32, TERMS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.multiply::<S, Whole>() }
    }
}

impl<T, const TERMS: usize> Gemm<'_, T, TERMS> {
    /// # Safety
    /// The CPU has the instructions of `S` and `P`.
    #[inline(always)]
    pub(crate) unsafe fn multiply<S: Simd, P: Product<S>>(self) {
        let mut column = 0;
        while column < self.n {
            let vectors = (self.n - column).div_ceil(S::LANES).min(S::TILE_VECTORS);
            let width = (vectors * S::LANES).min(self.n - column);
            // SAFETY: the panel is `width` columns from `column`, all inside C.
            unsafe {
                if width == vectors * S::LANES {
                    self.panel::<S, P, false>(column, vectors, S::LANES);
                } else {
                    self.panel::<S, P, true>(column, vectors, width - (vectors - 1) * S::LANES);
                }
            }
            column += width;
        }
    }

    /// Columns from `column`, `vectors` vectors wide, of which the last has `tail` lanes.
    #[inline(always)]
    unsafe fn panel<S: Simd, P: Product<S>, const MASKED: bool>(
        &self,
        column: usize,
        vectors: usize,
        tail: usize,
    ) {
        // SAFETY: the caller's panel lies inside C. A branch that is taken has `vectors <= TILE_VECTORS`.
        unsafe {
            match vectors {
                1 => self.rows::<S, P, 1, MASKED>(column, tail),
                2 => self.rows::<S, P, 2, MASKED>(column, tail),
                3 => self.rows::<S, P, 3, MASKED>(column, tail),
                _ => self.rows::<S, P, 4, MASKED>(column, tail),
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<S: Simd, P: Product<S>, const VECTORS: usize, const MASKED: bool>(
        &self,
        column: usize,
        tail: usize,
    ) {
        // Known at compile time: no code for tiles that would not fit the registers.
        if VECTORS > S::TILE_VECTORS {
            return;
        }
        // SAFETY: tiles end at or before row m.
        unsafe {
            let mut row = 0;
            while row + TILE_ROWS <= self.m {
                self.tile::<S, P, TILE_ROWS, VECTORS, MASKED>(row, column, tail);
                row += TILE_ROWS;
            }
            match self.m - row {
                1 => self.tile::<S, P, 1, VECTORS, MASKED>(row, column, tail),
                2 => self.tile::<S, P, 2, VECTORS, MASKED>(row, column, tail),
                3 => self.tile::<S, P, 3, VECTORS, MASKED>(row, column, tail),
                4 => self.tile::<S, P, 4, VECTORS, MASKED>(row, column, tail),
                5 => self.tile::<S, P, 5, VECTORS, MASKED>(row, column, tail),
                _ => {}
            }
        }
    }

    /// `ROWS` rows by `VECTORS` vectors of C, kept in registers over all of k.
    #[inline(always)]
    unsafe fn tile<S: Simd, P: Product<S>, const ROWS: usize, const VECTORS: usize, const MASKED: bool>(
        &self,
        row: usize,
        column: usize,
        tail: usize,
    ) {
        // SAFETY: the tile lies inside C, so rows and columns of A, B and the bias are inside theirs; only the last
        // vector reaches beyond column n, and it is masked.
        unsafe {
            let mask = S::mask(tail);
            let c = self.c.add(row * self.c_stride + column);
            let mut sums = [[S::zero(); VECTORS]; ROWS];
            match self.init {
                Init::Zero => {}
                Init::Accumulate => {
                    for r in 0..ROWS {
                        sums[r] = load_row::<S, VECTORS, MASKED>(c.add(r * self.c_stride), mask);
                    }
                }
                Init::Bias(bias) => {
                    sums = [load_row::<S, VECTORS, MASKED>(bias.as_ptr().add(column), mask); ROWS];
                }
            }
            // Wrapping: after the last step these may point behind their slices, but are not read there.
            for term in &self.terms {
                let mut a = term.a.data.as_ptr().cast::<f32>().wrapping_add(row * term.a.row_stride);
                let mut b = term.b.data.as_ptr().cast::<f32>().wrapping_add(column);
                for _ in 0..term.k {
                    let b_row = load_row::<S, VECTORS, MASKED>(b, mask);
                    for r in 0..ROWS {
                        let factor = S::splat(*a.add(r * term.a.row_stride));
                        for v in 0..VECTORS {
                            sums[r][v] = P::add_product(factor, b_row[v], sums[r][v]);
                        }
                    }
                    a = a.wrapping_add(term.a.column_stride);
                    b = b.wrapping_add(term.b.stride);
                }
            }
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    let p = c.add(r * self.c_stride + v * S::LANES);
                    if MASKED && v + 1 == VECTORS {
                        S::store_masked(p, sums[r][v], mask);
                    } else {
                        S::store(p, sums[r][v]);
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load_row<S: Simd, const VECTORS: usize, const MASKED: bool>(
    p: *const f32,
    mask: S::Mask,
) -> [S::V; VECTORS] {
    // SAFETY: the caller gives a row of `VECTORS` vectors, of which the last is masked if `MASKED`.
    unsafe {
        let mut out = [S::zero(); VECTORS];
        for v in 0..VECTORS {
            let p = p.add(v * S::LANES);
            out[v] = if MASKED && v + 1 == VECTORS { S::load_masked(p, mask) } else { S::load(p) };
        }
        out
    }
}
