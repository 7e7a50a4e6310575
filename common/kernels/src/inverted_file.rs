//! The rows of a large table that lie nearest in direction to a query, found without reading them all.
//!
//! In: unit rows `[R, n]`, then queries `[n]`; out: some thousand rows with their dot products, exact ones, among which the
//! best of all almost always is. Rows are grouped by spherical k-means into lists (an inverted file, Sivic and Zisserman
//! 2003; IVF-Flat of Jegou et al. 2011); a query reads the lists with the nearest centroids, row after row in memory, until
//! it has read enough. No randomness: the same rows give the same lists on the same instructions.

use crate::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, search, transpose};

/// Lists for R rows: this many times the square root of R.
const LISTS: f64 = 3.2;
/// Rows that k-means looks at, a list.
const SAMPLED: usize = 32;
/// Rounds of k-means.
const ROUNDS: usize = 8;
/// Rows assigned together.
const BLOCK: usize = 256;

/// A table's rows, list after list.
#[derive(Debug)]
pub struct InvertedFile {
    n: usize,
    /// `[L, n]` unit rows.
    centroids: Vec<f32>,
    /// `[L + 1]` where each list begins.
    starts: Vec<usize>,
    /// `[R]` row numbers, ascending within a list.
    ids: Vec<u32>,
    /// `[R, n]` the rows in this order.
    rows: Vec<f32>,
    /// `0..` up to the longest list or L: rows of a slice, one after the other.
    counting: Vec<u32>,
}

/// Working memory of a thread. It grows to the largest answer seen and stays.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Row numbers.
    pub ids: Vec<u32>,
    /// Their dot products with the query.
    pub scores: Vec<f32>,
    /// `[L]`
    lists: Vec<f32>,
    /// Zeros: no list is masked.
    unmasked: Vec<u64>,
}

impl InvertedFile {
    /// Groups the unit rows of `table` `[R, n]`, R at least 1. `progress` is told how many of all steps are done, some
    /// hundred times. With n = 50 it takes about a second of CPU for 100,000 rows; a million took 36 s on a busy core.
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
        let mut starts = vec![0; n_lists + 1];
        nearest.iter().for_each(|&list| starts[list as usize + 1] += 1);
        let longest = starts.iter().copied().max().unwrap_or(0);
        (0..n_lists).for_each(|list| starts[list + 1] += starts[list]);
        let (mut next, mut ids) = (starts.clone(), vec![0; nearest.len()]);
        for (row, &list) in nearest.iter().enumerate() {
            ids[next[list as usize]] = row as u32;
            next[list as usize] += 1;
        }
        let rows = ids.iter().flat_map(|&id| &table[id as usize * n..][..n]).copied().collect();
        let counting = (0..longest.max(n_lists) as u32).collect();
        Self { n, centroids, starts, ids, rows, counting }
    }

    /// Number of rows, R.
    pub fn n_rows(&self) -> usize {
        self.ids.len()
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        4 * (self.centroids.len() + self.ids.len() + self.rows.len() + self.counting.len())
            + 8 * self.starts.len()
    }

    /// Fills `found` with the rows of the nearest lists: at least `least` rows, all if there are fewer. Scores have the bits
    /// of [`search::dot_rows`] over the table.
    ///
    /// # Panics
    /// If the query is not `[n]`.
    pub fn search(&self, level: Level, query: &[f32], least: usize, found: &mut Found) {
        assert_eq!(query.len(), self.n, "a query is [n]");
        let Found { ids, scores, lists, unmasked } = found;
        let n_lists = self.starts.len() - 1;
        lists.resize(n_lists, 0.0);
        unmasked.resize(n_lists.div_ceil(64), 0);
        search::dot_rows(level, &self.centroids, &self.counting[..n_lists], query, lists);
        ids.clear();
        scores.clear();
        while ids.len() < least
            && let Some(list) = search::argmax_masked(level, lists, unmasked)
        {
            lists[list] = f32::NEG_INFINITY;
            let range = self.starts[list]..self.starts[list + 1];
            let begin = scores.len();
            ids.extend_from_slice(&self.ids[range.clone()]);
            scores.resize(begin + range.len(), 0.0);
            let rows = &self.rows[range.start * self.n..range.end * self.n];
            search::dot_rows(level, rows, &self.counting[..range.len()], query, &mut scores[begin..]);
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
