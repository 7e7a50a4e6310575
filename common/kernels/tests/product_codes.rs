//! Estimates from 4-bit codes, at every level of this CPU: the rows they find, and that all levels find the same.

#[path = "support/numbers.rs"]
mod numbers;

use kernels::{
    Level,
    product_codes::{EstimateScratch, ProductCodes, Span, Tables},
};
use numbers::numbers;
use proptest::{collection::vec, prelude::*};

const BLOCK: usize = 32;

/// The codes of rows `[., n]`, in spans of so many rows each.
fn coded(rows: &[f32], n: usize, sizes: &[usize]) -> (ProductCodes, Vec<Span>) {
    let (mut codes, mut spans) = (ProductCodes::for_rows_like(rows, n), Vec::new());
    let (mut rest, mut start) = (rows, 0);
    for &n_rows in sizes {
        let of_span;
        (of_span, rest) = rest.split_at(n_rows * n);
        of_span.chunks(BLOCK * n).for_each(|block| codes.push_block(block));
        let span = Span { start, n_rows, more: 1 };
        start = span.blocks().end;
        spans.push(span);
    }
    (codes, spans)
}

/// Numbers of the rows at these positions.
fn rows_at(positions: &[u32], spans: &[Span]) -> Vec<usize> {
    let (mut rows, mut row, mut position) = (Vec::new(), 0, 0);
    for span in spans {
        for i in 0..span.blocks().len() * BLOCK {
            if positions.contains(&(position + i as u32)) {
                assert!(i < span.n_rows, "position {i} of a span of {} rows", span.n_rows);
                rows.push(row + i);
            }
        }
        (row, position) = (row + span.n_rows, position + (span.blocks().len() * BLOCK) as u32);
    }
    rows
}

fn product(rows: &[f32], row: usize, query: &[f32]) -> f32 {
    rows[row * query.len()..].iter().zip(query).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn all_levels_find_the_same_rows_and_k_at_least(
        n in 1usize..140, sizes in vec(0usize..100, 1..6), more in vec(1u16..400, 6), k in 1usize..60, size in -130i32..127, seed: u64,
    ) {
        let n_rows = sizes.iter().sum::<usize>().max(1);
        let rows = numbers(seed, n_rows * n);
        let query: Vec<f32> = numbers(seed ^ 1, n).iter().map(|x| x * 2.0_f32.powi(size)).collect();
        let (codes, mut spans) = coded(&rows, n, &sizes);
        spans.iter_mut().zip(more).for_each(|(span, more)| span.more = more);
        let (mut tables, mut scratch) = (Tables::default(), EstimateScratch::default());
        codes.look_up(&query, (0.0, 0.0), &mut tables);
        let mut all = Vec::new();
        for level in Level::available() {
            let positions = codes.largest(level, (&spans, &tables), k, &mut scratch);
            let found = rows_at(positions, &spans);
            prop_assert_eq!(found.len(), positions.len(), "each is a row");
            prop_assert!(found.len() >= k.min(sizes.iter().sum()), "{} of {k}", found.len());
            all.push(found);
        }
        prop_assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "whole numbers are the same at every level");
    }
}

#[test]
fn the_row_with_the_largest_product_is_among_the_256_largest_estimates_and_few_more_are() {
    // 3,999 codes a row would overflow 16 bits if tables were not smaller then.
    for (n, n_rows) in [(50, 4_000), (7, 4_000), (1, 500), (7_998, 300)] {
        let rows = numbers(1, n_rows * n);
        let (codes, spans) = coded(&rows, n, &[n_rows]);
        let (mut tables, mut scratch) = (Tables::default(), EstimateScratch::default());
        for seed in 2..52 {
            let query = numbers(seed, n);
            codes.look_up(&query, (0.0, 0.0), &mut tables);
            let positions = codes.largest(Level::best(), (&spans, &tables), 256, &mut scratch);
            let products: Vec<f32> = (0..n_rows).map(|row| product(&rows, row, &query)).collect();
            let best = (0..n_rows).max_by(|&a, &b| products[a].total_cmp(&products[b])).unwrap_or(0);
            assert!(positions.contains(&(best as u32)), "n = {n}: {best} is not among {}", positions.len());
            assert!(n == 1 || positions.len() < 330, "{} positions", positions.len());
        }
    }
}

#[test]
fn what_is_added_to_a_span_counts_as_much_as_a_product() {
    const N: usize = 10;
    let (rows, query) = (numbers(1, 64 * N), numbers(2, N));
    // The same rows twice, the second time with a tenth more.
    let (codes, mut spans) = coded(&rows.repeat(2), N, &[64, 64]);
    let (mut tables, mut scratch) = (Tables::default(), EstimateScratch::default());
    let mut descending: Vec<f32> = (0..64).map(|row| product(&rows, row, &query)).collect();
    descending.sort_unstable_by(|a, b| b.total_cmp(a));
    let more = descending[0] - descending[9];
    codes.look_up(&query, (0.5, 0.5 + more), &mut tables);
    (spans[0].more, spans[1].more) = (tables.whole(0.5, 0.5), tables.whole(0.5 + more, 0.5));
    let first = rows_at(codes.largest(Level::best(), (&spans, &tables), 1, &mut scratch), &spans);
    assert!(first.iter().all(|row| *row >= 64), "{first:?}");
    // The best of the first span is about as good as the tenth of the second.
    let some = rows_at(codes.largest(Level::best(), (&spans, &tables), 5, &mut scratch), &spans);
    assert!(some.iter().all(|row| *row >= 64), "{some:?}");
    let many = rows_at(codes.largest(Level::best(), (&spans, &tables), 30, &mut scratch), &spans);
    assert!(many.iter().any(|row| *row < 64), "{many:?}");
}

#[test]
fn rows_that_are_all_alike_are_all_found_whatever_is_asked_for() {
    let rows = [0.5, -0.25, 1.0].repeat(70);
    let (codes, spans) = coded(&rows, 3, &[70]);
    let (mut tables, mut scratch) = (Tables::default(), EstimateScratch::default());
    for query in [
        [1.0, 2.0, 3.0],
        [0.0; 3],
        [1e-38; 3],
        [f32::MAX; 3],
        [f32::NAN, 1.0, 1.0],
        [f32::INFINITY, 1.0, 1.0],
    ] {
        codes.look_up(&query, (0.0, 0.0), &mut tables);
        let found = codes.largest(Level::best(), (&spans, &tables), 1, &mut scratch);
        assert_eq!(rows_at(found, &spans), (0..70).collect::<Vec<_>>(), "{query:?}");
    }
}

#[test]
#[should_panic(expected = "blocks of 3")]
fn rows_that_were_not_coded_are_refused() {
    let (codes, _) = coded(&numbers(1, 70), 1, &[70]);
    let mut tables = Tables::default();
    codes.look_up(&[1.0], (0.0, 0.0), &mut tables);
    let span = Span { start: 2, n_rows: 33, more: 1 };
    codes.largest(Level::best(), (&[span], &tables), 1, &mut EstimateScratch::default());
}
