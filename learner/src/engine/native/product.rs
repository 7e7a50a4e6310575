//! The matrix products of the encoder's GRUs at the precision of the plan: nearly all arithmetic of an update. In: f32; out: f32.
//!
//! With `bf16` (D31) both sides are rounded to 16 bits, once for the products of a step or chunk that read them, and products are summed in
//! f32 ([`kernels::halves`]). What is between the products, the heads, gradients and parameters stay in f32.

use common::config::Precision;
use kernels::{
    Init, Level, Pairs, RowMajor, RowMajorMut, Strided, Term, gemm, gemm_of_two, halves, halves::Pair,
};

use super::plan::Plan;

/// A side of products.
#[derive(Clone, Copy, Debug)]
pub enum Side<W, H> {
    /// As it is.
    Whole(W),
    /// Rounded.
    Halves(H),
}

/// The left side, `[m, k]`.
pub type Left<'a> = Side<Strided<'a>, Strided<'a, Pair>>;

/// The right side, `[k, n]`.
pub type Right<'a> = Side<RowMajor<'a>, RowMajor<'a, Pair>>;

/// A matrix of size `[m, k]` on the left; `memory` holds it where it is rounded.
///
/// # Panics
/// If the rows do not fit the size, where they are rounded.
pub fn left<'a>(plan: &Plan, size: (usize, usize), rows: RowMajor<'a>, memory: &'a mut Pairs) -> Left<'a> {
    match plan.precision {
        Precision::F32 => Side::Whole(rows.strided()),
        Precision::Bf16 => Side::Halves(memory.of_neighbours(plan.level, size, rows).strided()),
    }
}

/// The transpose of a matrix of size `[k, m]` on the left.
///
/// # Panics
/// As [`left`].
pub fn left_transposed<'a>(
    plan: &Plan,
    size: (usize, usize),
    rows: RowMajor<'a>,
    memory: &'a mut Pairs,
) -> Left<'a> {
    match right(plan, size, rows, memory) {
        Side::Whole(rows) => Side::Whole(rows.transposed()),
        Side::Halves(rows) => Side::Halves(rows.transposed()),
    }
}

/// A matrix of size `[k, n]` on the right; `memory` holds it where it is rounded.
///
/// # Panics
/// If the rows do not fit the size, where they are rounded.
pub fn right<'a>(plan: &Plan, size: (usize, usize), rows: RowMajor<'a>, memory: &'a mut Pairs) -> Right<'a> {
    match plan.precision {
        Precision::F32 => Side::Whole(rows),
        Precision::Bf16 => Side::Halves(memory.of_rows(plan.level, size, rows)),
    }
}

impl Right<'_> {
    /// What begins at a row and a column of it.
    ///
    /// # Panics
    /// If that lies outside, or the row is odd.
    pub fn at(self, row: usize, column: usize) -> Self {
        assert!(row.is_multiple_of(2), "rows may be rounded two by two");
        match self {
            Side::Whole(rows) => Side::Whole(rows.at(row, column)),
            Side::Halves(rows) => Side::Halves(rows.at(row / 2, column)),
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
        (Side::Whole(a), Side::Whole(b)) => gemm(level, (m, n, k), a, b, c, init),
        (Side::Halves(a), Side::Halves(b)) => halves::gemm(level, (m, n, k.div_ceil(2)), a, b, c, init),
        _ => unreachable!("both sides have the plan's precision"),
    }
}

/// C `[m, n]` = `init` + A `[m, k]` B `[k, n]` + A' `[m, k']` B' `[k', n]` for `(m, n, [k, k'])`: C is read and written once.
///
/// # Panics
/// As [`product`].
pub fn product_of_two(
    level: Level,
    (m, n, k): (usize, usize, [usize; 2]),
    [(a, b), (more_a, more_b)]: [(Left<'_>, Right<'_>); 2],
    c: RowMajorMut<'_>,
    init: Init<'_>,
) {
    match ((a, b), (more_a, more_b)) {
        ((Side::Whole(a), Side::Whole(b)), (Side::Whole(more_a), Side::Whole(more_b))) => {
            let terms = [Term { k: k[0], a, b }, Term { k: k[1], a: more_a, b: more_b }];
            gemm_of_two(level, (m, n), terms, c, init);
        }
        ((Side::Halves(a), Side::Halves(b)), (Side::Halves(more_a), Side::Halves(more_b))) => {
            let k = k.map(|k| k.div_ceil(2));
            let terms = [Term { k: k[0], a, b }, Term { k: k[1], a: more_a, b: more_b }];
            halves::gemm_of_two(level, (m, n), terms, c, init);
        }
        _ => unreachable!("all sides have the plan's precision"),
    }
}
