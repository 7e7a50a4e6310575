//! Estimates of many dot products, from 4 bits for every two numbers of a row. In: rows `[R, n]` in order, coded once, and a
//! query `[n]`; out: for some of the rows a whole number each, the larger the larger its product may be, and whose are the largest.
//!
//! Product quantisation (Jegou, Douze and Schmid 2011): a row's numbers are taken in parts of two, or one where there are
//! few, and each part is replaced by the nearest of sixteen points, found by k-means for that part. A query's products with the sixteen
//! points of a part are a table of 16 bytes, and a row's product is about the sum of what its codes pick from the tables. A
//! table fits half a register, where one instruction looks 32 codes up (Andre, Kermarrec and Le Scouarnec 2015): a row of 50
//! numbers is 13 bytes, read in half a nanosecond.
//!
//! Whole numbers, so that all instructions agree to the last bit.

use std::ops::Range;

use crate::{
    coded::kth_largest,
    dispatch::{ByteKernel, dispatch_bytes},
    level::Level,
    simd::bytes::{BLOCK, Bytes, POINTS, Register},
};

/// Rounds of k-means.
const ROUNDS: usize = 10;

/// Up to so many numbers a row each has a code of its own: rows of few numbers are many in every direction, and must be told apart
/// better.
const ALONE: usize = 32;

/// Largest number in a table: four of them fit a byte.
const LARGEST: usize = 63;

/// Bounds of what the tables of a query add up to, and of what is added to that: both fit 16 bits together.
const LARGEST_SUM: usize = 30_000;

/// Sixteen points: their first numbers, then their second.
type Points = [[f32; POINTS]; 2];

/// Rows in codes, in blocks of 32.
#[derive(Debug)]
pub struct ProductCodes {
    n: usize,
    /// Numbers of a part.
    size: usize,
    /// `[parts]`, their second numbers 0 where a part has one.
    points: Vec<Points>,
    /// Registers of a block: one for every two parts.
    registers: usize,
    /// `[blocks, registers]`: bytes 0 to 15 are of the first part, the others of the second; their low halves are of rows 0 to
    /// 15, their high ones of rows 16 to 31.
    codes: Vec<Register>,
}

/// Working memory of [`ProductCodes::largest`]; grows to what it needs and stays. One a thread.
#[derive(Clone, Debug, Default)]
pub struct EstimateScratch {
    estimates: Vec<u16>,
    /// The largest estimate of each group.
    groups: Vec<u16>,
    positions: Vec<u32>,
}

/// A query for [`ProductCodes::largest`]. Working memory of a thread; grows to what it needs and stays.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// `[registers]` as the codes: two tables each.
    tables: Vec<Register>,
    /// `[parts]`: products with its points, less the smallest of them.
    products: Vec<[f32; POINTS]>,
    scale: f32,
}

/// Rows in blocks that stand one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first block.
    pub start: usize,
    /// How many rows, of which only the last block may have fewer than 32.
    pub n_rows: usize,
    /// What is added to their estimates, from [`Tables::whole`]; at least 1.
    pub more: u16,
}

impl Span {
    /// The blocks.
    pub fn blocks(&self) -> Range<usize> {
        self.start..self.start + self.n_rows.div_ceil(BLOCK)
    }
}

impl ProductCodes {
    /// Finds the points for rows like those of the sample `[S, n]`, S at least 1. No row is coded yet.
    ///
    /// # Panics
    /// If the sample is no `[S, n]`, or empty.
    pub fn for_rows_like(sample: &[f32], n: usize) -> Self {
        assert!(n > 0 && !sample.is_empty() && sample.len().is_multiple_of(n), "a sample is [S, {n}]");
        let size = if n <= ALONE { 1 } else { 2 };
        let of_part = |start: usize| {
            let parts = sample.chunks_exact(n).map(|row| two(&row[start..n.min(start + size)]));
            k_means(&parts.collect::<Vec<_>>())
        };
        let points: Vec<Points> = (0..n).step_by(size).map(of_part).collect();
        Self { n, size, registers: points.len().div_ceil(2), points, codes: Vec::new() }
    }

    /// Codes up to 32 rows `[., n]` as the next block.
    ///
    /// # Panics
    /// If there are more, or they have another length.
    pub fn push_block(&mut self, rows: &[f32]) {
        assert!(
            rows.len() <= BLOCK * self.n && rows.len().is_multiple_of(self.n),
            "rows are [32, {}]",
            self.n
        );
        let start = self.codes.len();
        self.codes.resize(start + self.registers, Register([0; BLOCK]));
        let block = &mut self.codes[start..];
        for (row, numbers) in rows.chunks_exact(self.n).enumerate() {
            for (part, (points, xy)) in self.points.iter().zip(numbers.chunks(self.size)).enumerate() {
                let code = nearest(points, two(xy)) as u8;
                block[part / 2].0[part % 2 * POINTS + row % POINTS] |= code << (row / POINTS * 4);
            }
        }
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.codes[..]) + size_of_val(&self.points[..])
    }

    /// Makes the tables of a query. To its rows' estimates products between `least` and `most` may be added.
    ///
    /// # Panics
    /// If the query is not `[n]`.
    pub fn look_up(&self, query: &[f32], (least, most): (f32, f32), tables: &mut Tables) {
        assert_eq!(query.len(), self.n, "a query is [n]");
        let Tables { tables, products, scale } = tables;
        products.clear();
        let mut widest = 0.0_f32;
        for (points, xy) in self.points.iter().zip(query.chunks(self.size)) {
            let ([x, y], [xs, ys]) = (two(xy), points);
            let mut of_part: [f32; POINTS] = std::array::from_fn(|i| x * xs[i] + y * ys[i]);
            let least = of_part.into_iter().fold(f32::INFINITY, f32::min);
            of_part.iter_mut().for_each(|product| *product -= least);
            widest = of_part.into_iter().fold(widest, f32::max);
            products.push(of_part);
        }
        let largest = LARGEST.min(LARGEST_SUM / self.points.len()) as f32;
        // Finite, so that products that are all 0 stay 0.
        *scale = (largest / widest).min(LARGEST_SUM as f32 / (most - least)).min(f32::MAX);
        tables.clear();
        tables.resize(self.registers, Register([0; BLOCK]));
        for (part, products) in products.iter().enumerate() {
            let table = &mut tables[part / 2].0[part % 2 * POINTS..][..POINTS];
            table
                .iter_mut()
                .zip(products)
                .for_each(|(entry, product)| *entry = (product * *scale).round() as u8);
        }
    }

    /// Positions, ascending, of the k rows with the largest estimates and of whoever is equal to them or little below: of all
    /// rows of these spans, the next of which begins behind the last block of the one before.
    ///
    /// # Panics
    /// If there is no such block, more is added than [`Tables::whole`] gives, the tables are of other codes, or k is 0.
    pub fn largest<'a>(
        &self,
        level: Level,
        (spans, tables): (&[Span], &Tables),
        k: usize,
        scratch: &'a mut EstimateScratch,
    ) -> &'a [u32] {
        assert!(k > 0, "the 0 largest");
        assert_eq!(tables.tables.len(), self.registers, "tables of other codes");
        let n_blocks = self.codes.len() / self.registers;
        let is_right =
            |span: &Span| span.blocks().end <= n_blocks && usize::from(span.more) <= LARGEST_SUM + 1;
        assert!(spans.iter().all(is_right), "blocks of {n_blocks}, at most {LARGEST_SUM} more: {spans:?}");
        let wanted: usize = spans.iter().map(|span| span.blocks().len()).sum();
        let EstimateScratch { estimates, groups, positions } = scratch;
        estimates.resize(wanted * BLOCK, 0);
        positions.clear();
        positions.reserve(estimates.len());
        let kernel =
            Largest { codes: &self.codes, tables: &tables.tables, spans, k, estimates, groups, positions };
        // SAFETY: the blocks exist, with as many registers as there are tables, and there is an estimate for each of their rows;
        // `look_up` keeps numbers and sums within their bounds, what is added was checked.
        unsafe { dispatch_bytes(level, kernel) };
        positions
    }
}

impl Tables {
    /// What is to be added to estimates for `product`, one of those the tables were made for, of which `least` is the smallest.
    /// It is at least 1.
    pub fn whole(&self, product: f32, least: f32) -> u16 {
        1 + ((product - least) * self.scale).round().min(LARGEST_SUM as f32) as u16
    }
}

struct Largest<'a> {
    codes: &'a [Register],
    tables: &'a [Register],
    spans: &'a [Span],
    k: usize,
    estimates: &'a mut [u16],
    groups: &'a mut Vec<u16>,
    positions: &'a mut Vec<u32>,
}

impl ByteKernel for Largest<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<B: Bytes>(self) {
        let Self { codes, tables, spans, k, estimates, groups, positions } = self;
        let registers = tables.len();
        let of_blocks = |blocks: Range<usize>| &codes[blocks.start * registers..blocks.end * registers];
        let mut rest = estimates.as_chunks_mut::<BLOCK>().0;
        for (i, span) in spans.iter().enumerate() {
            let next = spans.get(i + 1).map_or(0..0, Span::blocks);
            let mut next = of_blocks(next).chunks_exact(registers);
            let out;
            (out, rest) = rest.split_at_mut(span.blocks().len());
            for (block, out) in of_blocks(span.blocks()).chunks_exact(registers).zip(&mut *out) {
                // SAFETY: block and tables have the same length; the rest is the caller's promise.
                unsafe {
                    if let Some(later) = next.next() {
                        B::prefetch(later);
                    }
                    *out = B::sum_picked(block, tables, span.more);
                }
            }
            let no_rows = out.len() * BLOCK - span.n_rows;
            if let Some(last) = out.last_mut() {
                last[BLOCK - no_rows..].fill(0);
            }
        }
        // Where there is no row it is 0.
        let least = kth_largest(estimates, k, 0, groups).max(1);
        for (block, estimates) in estimates.as_chunks::<BLOCK>().0.iter().enumerate() {
            // SAFETY: the instructions are those of `B`.
            let mut rest = unsafe { B::at_least(estimates, least) };
            while rest != 0 {
                positions.push((block * BLOCK) as u32 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
    }
}

/// One or two numbers, with a 0 for the second.
fn two(xy: &[f32]) -> [f32; 2] {
    [xy[0], xy.get(1).copied().unwrap_or(0.0)]
}

/// Sixteen points near which these are.
fn k_means(parts: &[[f32; 2]]) -> Points {
    // From points that differ, as two that are the same stay the same; evenly spread.
    let mut distinct = parts.to_vec();
    distinct.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    distinct.dedup();
    let start = |i: usize| distinct[i * distinct.len() / POINTS];
    let mut points = [0, 1].map(|axis| std::array::from_fn(|i| start(i)[axis]));
    for _ in 0..ROUNDS {
        let (mut sums, mut counts) = ([[0.0_f64; POINTS]; 2], [0.0_f64; POINTS]);
        for &xy in parts {
            let i = nearest(&points, xy);
            counts[i] += 1.0;
            (0..2).for_each(|axis| sums[axis][i] += f64::from(xy[axis]));
        }
        // A point of no row stays.
        for i in (0..POINTS).filter(|&i| counts[i] > 0.0) {
            (0..2).for_each(|axis| points[axis][i] = (sums[axis][i] / counts[i]) as f32);
        }
    }
    points
}

/// Number of the point nearest to a part, the first of equals.
fn nearest([xs, ys]: &Points, [x, y]: [f32; 2]) -> usize {
    let distances: [f32; POINTS] = std::array::from_fn(|i| (x - xs[i]).powi(2) + (y - ys[i]).powi(2));
    let mut best = 0;
    for i in 1..POINTS {
        if distances[i] < distances[best] {
            best = i;
        }
    }
    best
}
