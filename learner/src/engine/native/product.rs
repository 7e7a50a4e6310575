//! The matrix products of the encoder's GRUs at the precision of the plan: nearly all arithmetic of an update. In: f32; out: f32.
//!
//! With `bf16` (D31) both sides are rounded to 16 bits, once for the products of a step or chunk that read them, and products are summed in
//! f32 ([`kernels::halves`]). What is between the products, the heads, gradients and parameters stay in f32.

use common::config::Precision;
use kernels::{Init, Level, Pairs, RowMajor, RowMajorMut, Strided, gemm, halves, halves::Pair};

use super::plan::Plan;

/// The left side of products, `[m, k]`.
#[derive(Clone, Copy, Debug)]
pub enum Left<'a> {
    /// As it is.
    Whole(Strided<'a>),
    /// Rounded.
    Halves(Strided<'a, Pair>),
}

impl<'a> Left<'a> {
    /// A matrix of size `[m, k]`; `memory` holds it where it is rounded.
    ///
    /// # Panics
    /// If the rows do not fit the size, where they are rounded.
    pub fn rows(plan: &Plan, size: (usize, usize), rows: RowMajor<'a>, memory: &'a mut Pairs) -> Self {
        match plan.precision {
            Precision::F32 => Self::Whole(Strided::rows(rows.data, rows.stride)),
            Precision::Bf16 => {
                let rows = memory.of_neighbours(plan.level, size, rows);
                Self::Halves(Strided::rows(rows.data, rows.stride))
            }
        }
    }

    /// The transpose of a matrix of size `[k, m]`; `memory` holds it where it is rounded.
    ///
    /// # Panics
    /// As [`Self::rows`].
    pub fn transposed(plan: &Plan, size: (usize, usize), rows: RowMajor<'a>, memory: &'a mut Pairs) -> Self {
        match plan.precision {
            Precision::F32 => Self::Whole(Strided::transposed(rows.data, rows.stride)),
            Precision::Bf16 => {
                let rows = memory.of_rows(plan.level, size, rows);
                Self::Halves(Strided::transposed(rows.data, rows.stride))
            }
        }
    }
}

/// The right side of products, `[k, n]`.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a> {
    /// As it is.
    Whole(RowMajor<'a>),
    /// Rounded.
    Halves(RowMajor<'a, Pair>),
}

impl<'a> Right<'a> {
    /// A matrix of size `[k, n]`; `memory` holds it where it is rounded.
    ///
    /// # Panics
    /// If the rows do not fit the size, where they are rounded.
    pub fn rows(plan: &Plan, size: (usize, usize), rows: RowMajor<'a>, memory: &'a mut Pairs) -> Self {
        match plan.precision {
            Precision::F32 => Self::Whole(rows),
            Precision::Bf16 => Self::Halves(memory.of_rows(plan.level, size, rows)),
        }
    }

    /// What begins at a row and a column of it.
    ///
    /// # Panics
    /// If that lies outside, or the row is odd.
    pub fn from(self, row: usize, column: usize) -> Self {
        assert!(row.is_multiple_of(2), "rows may be rounded two by two");
        match self {
            Self::Whole(rows) => Self::Whole(rows.from(row, column)),
            Self::Halves(rows) => Self::Halves(rows.from(row / 2, column)),
        }
    }
}

/// C `[m, n]` = `init` + A `[m, k]` B `[k, n]` for `(m, n, k)`.
///
/// # Panics
/// As [`gemm`](fn@gemm), or if the sides have different precisions.
pub fn product(
    level: Level,
    (m, n, k): (usize, usize, usize),
    a: Left<'_>,
    b: Right<'_>,
    c: RowMajorMut<'_>,
    init: Init<'_>,
) {
    match (a, b) {
        (Left::Whole(a), Right::Whole(b)) => gemm(level, (m, n, k), a, b, c, init),
        (Left::Halves(a), Right::Halves(b)) => halves::gemm(level, (m, n, k.div_ceil(2)), a, b, c, init),
        _ => unreachable!("both sides have the plan's precision"),
    }
}
