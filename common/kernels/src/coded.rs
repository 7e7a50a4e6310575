//! Which rows of a table can have the largest dot products with a query. In: rows `[R, n]`, coded once in 8 bits a number, and
//! a query `[n]`; out: the few positions among which the k best certainly are, to be compared exactly.
//!
//! A row is u = s c + r and the query q = t d + e, with whole numbers c, d and what rounding left, r and e. Then
//! `|u.q - s t (c.d)| <= |s c| |e| + |r| |q|` (Cauchy and Schwarz); rounding of the f32 product it is compared with adds a
//! little. So whoever is further than twice the largest such error below the k-th largest c.d is not among the k largest. A
//! row of 50 numbers is one cache line instead of four, and few rows more than k are left to compare.

use crate::{
    dispatch::{ByteKernel, dispatch_bytes},
    level::Level,
    simd::bytes::{Bytes, LINE, ROWS},
};

/// Largest code.
const LARGEST: f32 = 127.0;
/// Most components of a row: sums of as many products of an unsigned and a signed byte fit 32 bits.
const MOST_DIMS: usize = i32::MAX as usize / (255 * 127);

/// Groups of products for each of the k that are looked for: two of the k largest are seldom in one group.
const GROUPS: usize = 8;

/// A cache line of codes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u8; LINE]);

/// A table in codes.
#[derive(Clone, Debug)]
pub struct CodedTable {
    n: usize,
    /// Lines of a row.
    lines: usize,
    /// `[R, lines]` c + 128, then 128.
    codes: Vec<Line>,
    /// s.
    scale: f64,
    /// The largest |r|.
    rest: f64,
    /// The largest |u|.
    length: f64,
}

/// Working memory of [`CodedTable::contenders`]; grows to what it needs and stays. One a thread.
#[derive(Clone, Debug, Default)]
pub struct CodedScratch {
    /// d, then 0; as long as a row.
    query: Vec<i8>,
    /// c.d of each row, but for a number that is the same for all.
    products: Vec<i32>,
    /// The largest product of each group.
    largest: Vec<i32>,
    positions: Vec<u32>,
}

impl CodedTable {
    /// Codes rows `[R, n]`.
    ///
    /// # Panics
    /// If the table is no `[R, n]`, or n is above 66,311.
    pub fn new(table: &[f32], n: usize) -> Self {
        assert!(n > 0 && table.len().is_multiple_of(n), "a table is [R, {n}]");
        assert!(n <= MOST_DIMS, "sums over {n} components of a row do not fit 32 bits");
        let lines = Self::bytes(1, n) / LINE;
        let mut codes = vec![Line([128; LINE]); table.len() / n * lines];
        let scale = largest(table) / LARGEST;
        let (mut rest, mut length) = (0.0_f64, 0.0_f64);
        for (row, codes) in table.chunks_exact(n).zip(codes.chunks_exact_mut(lines)) {
            let (mut squares_of_rest, mut squares) = (0.0, 0.0);
            for (i, &u) in row.iter().enumerate() {
                let c = code(u, scale);
                codes[i / LINE].0[i % LINE] = (i16::from(c) + 128) as u8;
                squares_of_rest += (f64::from(u) - f64::from(scale) * f64::from(c)).powi(2);
                squares += f64::from(u).powi(2);
            }
            rest = rest.max(squares_of_rest.sqrt());
            length = length.max(squares.sqrt());
        }
        Self { n, lines, codes, scale: scale.into(), rest, length }
    }

    /// Memory of so many rows of n numbers.
    pub fn bytes(n_rows: usize, n: usize) -> usize {
        n_rows * n.div_ceil(LINE) * LINE
    }

    /// Positions in `rows`, ascending, of all that are not masked and whose product with the query, as
    /// [`crate::search::dot_rows`] computes it, can be among the k largest of those that are not masked. `masked` is as in
    /// [`crate::search::argmax_masked`].
    ///
    /// # Panics
    /// If a row lies outside the table, the query is not `[n]`, the mask has another number of words than the rows need, or k
    /// is 0.
    pub fn contenders<'a>(
        &self,
        level: Level,
        (rows, masked): (&[u32], &[u64]),
        query: &[f32],
        k: usize,
        scratch: &'a mut CodedScratch,
    ) -> &'a [u32] {
        assert_eq!(query.len(), self.n, "a query is [n]");
        assert!(k > 0, "the 0 largest");
        assert_eq!(masked.len(), rows.len().div_ceil(64), "one bit a row");
        let CodedScratch { query: coded, products, largest: groups, positions } = scratch;
        let scale = largest(query) / LARGEST;
        coded.clear();
        coded.extend(query.iter().map(|&q| code(q, scale)));
        coded.resize(self.lines * LINE, 0);
        products.resize(rows.len(), 0);
        positions.clear();
        positions.reserve(rows.len());
        let unlike = self.unlike(query, coded, scale);
        let kernel =
            Contenders { table: self, rows, masked, query: coded, unlike, k, products, groups, positions };
        // SAFETY: the query is as long as a row, and there is a product for each row.
        unsafe { dispatch_bytes(level, kernel) };
        positions
    }

    /// How far below another c.d one must be, so that its row has the smaller product.
    fn unlike(&self, query: &[f32], coded: &[i8], scale: f32) -> f64 {
        /// Sums side by side; more than covers their rounding, too, is [`Self::unlike`]'s `rounding`.
        const SUMS: usize = 8;
        let (mut squares, mut squares_of_rest) = ([0.0_f32; SUMS], [0.0_f32; SUMS]);
        for (query, coded) in query.chunks(SUMS).zip(coded.chunks(SUMS)) {
            for (i, (&q, &d)) in query.iter().zip(coded).enumerate() {
                let e = q - scale * f32::from(d);
                squares[i] += q * q;
                squares_of_rest[i] += e * e;
            }
        }
        let length = |squares: [f32; SUMS]| f64::from(squares.iter().sum::<f32>()).sqrt();
        let (q, e) = (length(squares), length(squares_of_rest));
        // n products and as many sums of f32, each within 2^-24 of its size, those above as well; and some more.
        let rounding = (4 * self.n + 64) as f64 * f64::from(f32::EPSILON) * self.length * q;
        let error = (self.length + self.rest) * e + self.rest * q + rounding;
        let unlike = 2.0 * error / (self.scale * f64::from(scale));
        // A query so small or large that rounding is not relative, or none at all: nobody is left out.
        if (1e-12..1e12).contains(&q) && unlike.is_finite() { unlike } else { f64::INFINITY }
    }
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// The nearest whole number of scales, 0 where there is no scale.
fn code(x: f32, scale: f32) -> i8 {
    /// Adding and subtracting this rounds to a whole number, for |x| < 2^22.
    const ROUND: f32 = 12_582_912.0;
    (x / scale + ROUND - ROUND) as i8
}

struct Contenders<'a> {
    table: &'a CodedTable,
    rows: &'a [u32],
    masked: &'a [u64],
    query: &'a [i8],
    unlike: f64,
    k: usize,
    products: &'a mut [i32],
    groups: &'a mut Vec<i32>,
    positions: &'a mut Vec<u32>,
}

impl ByteKernel for Contenders<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<B: Bytes>(self) {
        let Self { table, rows, masked, query, unlike, k, products, groups, positions } = self;
        let (codes, lines) = (table.codes.as_ptr().cast::<u8>(), table.lines);
        let (n_rows, most) = (table.codes.len() / lines, rows.iter().copied().max());
        assert!(most.is_none_or(|row| (row as usize) < n_rows), "row {most:?} of a table of {n_rows}");
        // SAFETY: every row lies inside the table, see above; the query is as long as a row.
        unsafe {
            match lines {
                // The common size, without a loop over lines.
                1 => dot_all::<B>(codes, 1, rows, query, products),
                _ => dot_all::<B>(codes, lines, rows, query, products),
            }
        }
        for (word_index, &word) in masked.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                products[word_index * 64 + rest.trailing_zeros() as usize] = i32::MIN;
                rest &= rest - 1;
            }
        }
        let bound = kth_largest(products, k, i32::MIN, groups);
        // Above that of masked rows, whatever is left out.
        let least = ((f64::from(bound) - unlike).floor() as i32).max(i32::MIN + 1);
        for (block, products) in products.chunks(ROWS).enumerate() {
            if products.iter().fold(false, |any, &product| any | (product >= least)) {
                let of_block = (0_u32..).zip(products).filter(|(_, product)| **product >= least);
                positions.extend(of_block.map(|(i, _)| (block * ROWS) as u32 + i));
            }
        }
    }
}

/// The k-th largest product, or one that is seldom much smaller and never larger: the k-th largest of the largest of many
/// groups. Neighbours are in different groups, as rows that are alike may stand together. `smallest` is what no product is
/// below.
#[inline(always)]
pub(crate) fn kth_largest<T: Copy + Ord>(products: &[T], k: usize, smallest: T, groups: &mut Vec<T>) -> T {
    if k == 1 {
        return products.iter().copied().max().unwrap_or(smallest);
    }
    let n_groups = k.saturating_mul(GROUPS).min(products.len());
    if n_groups < k {
        return smallest;
    }
    groups.clear();
    groups.resize(n_groups, smallest);
    for products in products.chunks(n_groups) {
        for (largest, &product) in groups.iter_mut().zip(products) {
            *largest = product.max(*largest);
        }
    }
    *groups.select_nth_unstable_by(k - 1, |a, b| b.cmp(a)).1
}

/// c.d of every row. Rows lie inside the table, rows and query are `lines` lines long.
#[inline(always)]
unsafe fn dot_all<B: Bytes>(
    codes: *const u8,
    lines: usize,
    rows: &[u32],
    query: &[i8],
    products: &mut [i32],
) {
    let (blocks, rest) = rows.as_chunks::<ROWS>();
    let (products, products_of_rest) = products.split_at_mut(blocks.len() * ROWS);
    // SAFETY: the caller's promise.
    unsafe {
        for (rows, products) in blocks.iter().zip(products.as_chunks_mut::<ROWS>().0) {
            *products = B::dot_rows(codes, rows, query.as_ptr(), lines);
        }
        if let Some(&last) = rest.last() {
            let mut rows = [last; ROWS];
            rows[..rest.len()].copy_from_slice(rest);
            let sums = B::dot_rows(codes, &rows, query.as_ptr(), lines);
            products_of_rest.copy_from_slice(&sums[..rest.len()]);
        }
    }
}
