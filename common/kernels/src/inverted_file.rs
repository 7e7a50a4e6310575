//! The rows of a large table that lie nearest in direction to a query, found without reading them all.
//!
//! In: unit rows `[R, n]`, then queries `[n]`; out: a few hundred rows, the best of all almost always among them. Rows are
//! grouped by spherical k-means into lists (an inverted file, Sivic and Zisserman 2003; Jegou et al. 2011); a query
//! estimates the products of the rows in the lists with the nearest centroids, in 4-bit codes of what a row is beside its list's
//! mean ([`ProductCodes`]), until it has looked at enough of them. No randomness: the same rows give the same lists on the same
//! instructions.

use crate::{
    Init, Level, RowMajor, RowMajorMut, Strided, gemm,
    product_codes::{EstimateScratch, ProductCodes, Span, Tables},
    search,
    simd::bytes::BLOCK as CODES,
    transpose,
};

/// Lists for R rows: this many times the square root of R.
const LISTS: f64 = 3.2;
/// Rows that k-means looks at, a list.
const SAMPLED: usize = 32;
/// Rounds of k-means.
const ROUNDS: usize = 8;
/// Rows assigned together.
const BLOCK: usize = 256;
/// Rows whose differences from their lists' means the codes are made for, at most.
const MOST_DIFFERENCES: usize = 32_768;
/// Rows that are returned, at least: by estimates the best is among so many.
const FEWEST: usize = 256;
/// And this many for each that is asked for, so that most of many are among them.
const EACH: usize = 8;

/// A table's rows, list after list.
#[derive(Debug)]
pub struct InvertedFile {
    n: usize,
    n_rows: usize,
    /// `[L, n]` unit rows.
    centroids: Vec<f32>,
    /// `[L]` how long the mean of a list's rows is along its centroid.
    lengths: Vec<f32>,
    /// `[L]` the first block of each list, and how many rows it has.
    lists: Vec<(usize, usize)>,
    /// `[blocks, 32]` row numbers, ascending within a list; 0 where its last block has no row.
    ids: Vec<u32>,
    /// Rows less their lists' means, in this order.
    codes: ProductCodes,
    /// `0..L`: all centroids.
    all: Vec<u32>,
}

/// Working memory of a thread. It grows to the largest search seen and stays.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Row numbers, ascending.
    pub ids: Vec<u32>,
    /// `[L]` products with the centroids, then with the means.
    products: Vec<f32>,
    /// Lists, see [`search::key`].
    keys: Vec<u64>,
    /// The nearest lists.
    lists: Vec<usize>,
    spans: Vec<Span>,
    tables: Tables,
    estimates: EstimateScratch,
}

impl InvertedFile {
    /// Groups the unit rows of `table` `[R, n]`, R at least 1. `progress` is told how many of all steps are done, some
    /// hundred times. With n = 50 it takes .9 s of CPU for 100,000 rows and 9 s for a million.
    ///
    /// # Panics
    /// If the table is no `[R, n]`, or empty.
    pub fn new(level: Level, table: &[f32], n: usize, mut progress: impl FnMut(usize, usize)) -> Self {
        assert!(n > 0 && !table.is_empty() && table.len().is_multiple_of(n), "a table is [R, {n}]");
        let n_rows = table.len() / n;
        let n_lists = ((LISTS * (n_rows as f64).sqrt()) as usize).clamp(1, n_rows);
        let step = (n_rows / (SAMPLED * n_lists)).max(1);
        let sample: Vec<f32> = table.chunks_exact(n).step_by(step).flatten().copied().collect();
        let n_sampled = sample.len() / n;
        let total = ROUNDS * n_sampled + n_rows;
        // Evenly spread rows are as good a start as random ones: rows stand in no order of direction.
        let row = |list: usize| &sample[list * n_sampled / n_lists * n..][..n];
        let mut centroids: Vec<f32> = (0..n_lists).flat_map(row).copied().collect();
        let mut nearest = Vec::new();
        for round in 0..ROUNDS {
            let told = |done| progress(round * n_sampled + done, total);
            assign(level, &sample, &centroids, n, &mut nearest, told);
            move_centroids(&sample, &nearest, n, &mut centroids);
        }
        let told = |done| progress(ROUNDS * n_sampled + done, total);
        assign(level, table, &centroids, n, &mut nearest, told);
        Self::in_lists(table, &nearest, n, centroids)
    }

    fn in_lists(table: &[f32], nearest: &[u32], n: usize, centroids: Vec<f32>) -> Self {
        let n_lists = centroids.len() / n;
        let of_list = |list: u32| &centroids[list as usize * n..][..n];
        let row = |row: usize| &table[row * n..][..n];
        let (mut sizes, mut lengths) = (vec![0_usize; n_lists], vec![0.0_f64; n_lists]);
        for (row, &list) in table.chunks_exact(n).zip(nearest) {
            sizes[list as usize] += 1;
            lengths[list as usize] +=
                row.iter().zip(of_list(list)).map(|(x, c)| f64::from(x * c)).sum::<f64>();
        }
        let mean = |(length, &size): (f64, &usize)| (length / size.max(1) as f64) as f32;
        let lengths: Vec<f32> = lengths.into_iter().zip(&sizes).map(mean).collect();
        let difference = |at: usize, to: &mut Vec<f32>| {
            let list = nearest[at];
            to.extend(row(at).iter().zip(of_list(list)).map(|(x, c)| x - lengths[list as usize] * c));
        };

        let mut differences = Vec::new();
        let step = nearest.len().div_ceil(MOST_DIFFERENCES);
        (0..nearest.len()).step_by(step).for_each(|at| difference(at, &mut differences));
        let mut codes = ProductCodes::for_rows_like(&differences, n);

        let (mut rows, mut ids, mut lists) = (vec![Vec::new(); n_lists], Vec::new(), Vec::new());
        (0_u32..).zip(nearest).for_each(|(row, &list)| rows[list as usize].push(row));
        for rows in rows {
            lists.push((ids.len() / CODES, rows.len()));
            for rows in rows.chunks(CODES) {
                differences.clear();
                rows.iter().for_each(|&row| difference(row as usize, &mut differences));
                codes.push_block(&differences);
                ids.extend(rows);
                ids.resize(ids.len().next_multiple_of(CODES), 0);
            }
        }
        let all = (0..n_lists as u32).collect();
        Self { n, n_rows: nearest.len(), centroids, lengths, lists, ids, codes, all }
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        4 * (self.centroids.len() + self.lengths.len() + self.ids.len() + self.all.len())
            + size_of_val(&self.lists[..])
            + self.codes.bytes()
    }

    /// Fills `found.ids` with some 256 rows, or eight for each of k where they are more: those whose products with the query
    /// are the largest by their estimates, of the rows in the nearest lists, which hold `looked_at` together or somewhat more (all,
    /// where there are no more).
    ///
    /// # Panics
    /// If the query is not `[n]`, or k is 0.
    pub fn search(&self, level: Level, query: &[f32], (looked_at, k): (usize, usize), found: &mut Found) {
        self.nearest_lists(level, query, looked_at, found);
        let Found { ids, products, lists, spans, tables, estimates, .. } = found;
        let (mut smallest, mut largest) = (f32::INFINITY, f32::NEG_INFINITY);
        for &list in &*lists {
            products[list] *= self.lengths[list];
            (smallest, largest) = (smallest.min(products[list]), largest.max(products[list]));
        }
        self.codes.look_up(query, (smallest, largest), tables);
        spans.clear();
        spans.extend(lists.iter().map(|&list| {
            let (start, n_rows) = self.lists[list];
            Span { start, n_rows, more: tables.whole(products[list], smallest) }
        }));
        let wanted = FEWEST.max(k.saturating_mul(EACH));
        let mut positions = self.codes.largest(level, (spans, tables), wanted, estimates).iter().peekable();
        ids.clear();
        let mut passed = 0;
        for span in &*spans {
            let blocks = span.blocks();
            let (begin, end) = (passed, passed + blocks.len() * CODES);
            while let Some(&position) = positions.next_if(|&&position| (position as usize) < end) {
                ids.push(self.ids[blocks.start * CODES + position as usize - begin]);
            }
            passed = end;
        }
        ids.sort_unstable();
    }

    /// Fills `found.lists` with the lists nearest to a query that hold `n_rows` together at least, or all rows; in no order.
    fn nearest_lists(&self, level: Level, query: &[f32], n_rows: usize, found: &mut Found) {
        assert_eq!(query.len(), self.n, "a query is [n]");
        let Found { products, keys, lists, .. } = found;
        products.resize(self.all.len(), 0.0);
        search::dot_rows(level, &self.centroids, &self.all, query, products);
        keys.clear();
        keys.extend(products.iter().enumerate().map(|(list, &product)| search::key(product, list)));
        lists.clear();
        // As many as hold them on average; then an eighth as many more, until they do: where many rows are alike, lists are empty.
        let n_rows = n_rows.min(self.n_rows);
        let mut size = (n_rows * self.all.len()).div_ceil(self.n_rows);
        let (mut rest, mut held) = (&mut keys[..], 0);
        while held < n_rows {
            size = size.min(rest.len());
            if size < rest.len() {
                rest.select_nth_unstable(size);
            }
            let (nearest, others) = rest.split_at_mut(size);
            lists.extend(nearest.iter().map(|&key| search::position(key)));
            held += lists[lists.len() - size..].iter().map(|&list| self.lists[list].1).sum::<usize>();
            (rest, size) = (others, size.div_ceil(8));
        }
    }
}

/// The nearest centroid of each row, the first of equals.
fn assign(
    level: Level,
    rows: &[f32],
    centroids: &[f32],
    n: usize,
    nearest: &mut Vec<u32>,
    mut told: impl FnMut(usize),
) {
    let n_lists = centroids.len() / n;
    let columns = transpose(centroids, n);
    let (mut scores, unmasked) = (vec![0.0; BLOCK * n_lists], vec![0; n_lists.div_ceil(64)]);
    nearest.clear();
    for block in rows.chunks(BLOCK * n) {
        let m = block.len() / n;
        let b = RowMajor { data: &columns, stride: n_lists };
        let c = RowMajorMut { data: &mut scores, stride: n_lists };
        gemm(level, (m, n_lists, n), Strided::rows(block, n), b, c, Init::Zero);
        nearest.extend(scores.chunks_exact_mut(n_lists).take(m).map(|row| {
            let list = search::argmax_masked(level, row, &unmasked);
            list.map_or(0, |list| list as u32)
        }));
        told(nearest.len());
    }
}

/// Each centroid to the direction of its rows' sum; one without rows stays.
fn move_centroids(rows: &[f32], nearest: &[u32], n: usize, centroids: &mut [f32]) {
    let mut sums = vec![0.0_f32; centroids.len()];
    for (row, &list) in rows.chunks_exact(n).zip(nearest) {
        sums[list as usize * n..][..n].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    for (centroid, sum) in centroids.chunks_exact_mut(n).zip(sums.chunks_exact(n)) {
        let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            centroid.iter_mut().zip(sum).for_each(|(c, x)| *c = x / length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_lists_are_the_first_of_a_full_sort_that_hold_enough() {
        const N: usize = 3;
        // No randomness needed: rows in all directions, lists of 0 to 60 rows.
        let rows: Vec<f32> = (0..900).map(|k| (k as f32 * 0.7).sin()).collect();
        let centroids: Vec<f32> = (0..40 * N).map(|k| (k as f32 * 1.3).cos()).collect();
        let list_of: Vec<u32> = (0..300).map(|row| if row < 60 { 7 } else { row % 39 }).collect();
        let file = InvertedFile::in_lists(&rows, &list_of, N, centroids.clone());
        assert_eq!((file.lists.len(), file.lists[39].1), (40, 0));
        let mut found = Found::default();
        for (query, n_rows) in [0, 1, 37, 150, 299, usize::MAX].into_iter().enumerate() {
            let query = &rows[query * N..][..N];
            let score = |list: usize| -> f32 { (0..N).map(|k| centroids[list * N + k] * query[k]).sum() };
            let mut order: Vec<usize> = (0..40).collect();
            order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
            file.nearest_lists(Level::best(), query, n_rows, &mut found);
            let (n_lists, n_rows) = (found.lists.len(), n_rows.min(300));
            let held =
                |n_lists: usize| order[..n_lists].iter().map(|&list| file.lists[list].1).sum::<usize>();
            let wanted = (0..).find(|&n_lists| held(n_lists) >= n_rows).unwrap_or(0);
            let average = (n_rows * 40).div_ceil(300);
            assert!(
                held(n_lists) >= n_rows && n_lists <= average.max(wanted + average / 8 + 1),
                "{n_rows}: {n_lists}"
            );
            order.truncate(n_lists);
            order.sort_unstable();
            found.lists.sort_unstable();
            assert_eq!(found.lists, order, "{n_rows}");
        }
    }

    #[test]
    fn enough_rows_are_looked_at_where_many_are_all_the_same() {
        const N: usize = 8;
        let number = |k: usize| ((k * 7_919) as f32 * 0.618).sin();
        // Most are one row, as the items that an embedder knows nothing of: most lists then have its centroid, and are empty.
        let row =
            |row: usize| (0..N).map(move |k| if row % 10 < 7 { number(k) } else { number(row * N + k) });
        let mut rows: Vec<f32> = (0..20_000).flat_map(row).collect();
        for row in rows.chunks_exact_mut(N) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= length);
        }
        let level = Level::best();
        let file = InvertedFile::new(level, &rows, N, |_, _| ());
        assert!(file.lists.iter().filter(|list| list.1 == 0).count() > 50, "there are empty lists");
        let mut found = Found::default();
        for seed in 0..100 {
            let query: Vec<f32> = (0..N).map(|k| rows[k] + 0.1 * number(900_000 + seed * N + k)).collect();
            file.nearest_lists(level, &query, 2_000, &mut found);
            let held: usize = found.lists.iter().map(|&list| file.lists[list].1).sum();
            assert!(held >= 2_000, "{held} rows");
            file.search(level, &query, (2_000, 1), &mut found);
            assert!(found.ids.len() >= FEWEST, "{} rows", found.ids.len());
        }
    }
}
