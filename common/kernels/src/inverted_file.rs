//! The rows of a large table that lie nearest in direction to a query, found without reading them all.
//!
//! In: unit rows `[R, n]`, then queries `[n]`; out: the few rows among which the best of some ten thousand are, among which the
//! best of all almost always is. Rows are grouped by spherical k-means into lists (an inverted file, Sivic and Zisserman
//! 2003; Jegou et al. 2011); a query compares the lists with the nearest centroids, row after row in memory and in 8-bit codes
//! ([`CodedTable`]), until it has compared enough. No randomness: the same rows give the same lists on the same instructions.

use crate::{CodedScratch, CodedTable, Init, Level, RowMajor, RowMajorMut, Strided, gemm, search, transpose};

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
    rows: CodedTable,
    /// `0..L`: all centroids.
    lists: Vec<u32>,
}

/// Working memory of a thread. It grows to the largest search seen and stays.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Row numbers, ascending.
    pub ids: Vec<u32>,
    /// `[L]`
    scores: Vec<f32>,
    /// Lists, the nearest first, see [`search::key`].
    keys: Vec<u64>,
    /// Rows to compare, by their places in the lists.
    places: Vec<u32>,
    /// Zeros: no row is masked.
    unmasked: Vec<u64>,
    coded: CodedScratch,
}

impl InvertedFile {
    /// Groups the unit rows of `table` `[R, n]`, R at least 1. `progress` is told how many of all steps are done, some
    /// hundred times. With n = 50 it takes .6 s of CPU for 100,000 rows and 9 s for a million.
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
        (0..n_lists).for_each(|list| starts[list + 1] += starts[list]);
        let (mut next, mut ids) = (starts.clone(), vec![0; nearest.len()]);
        for (row, &list) in nearest.iter().enumerate() {
            ids[next[list as usize]] = row as u32;
            next[list as usize] += 1;
        }
        let rows = CodedTable::of_rows(table, n, &ids);
        Self { n, centroids, starts, ids, rows, lists: (0..n_lists as u32).collect() }
    }

    /// Number of rows, R.
    pub fn n_rows(&self) -> usize {
        self.ids.len()
    }

    /// Number of lists, L.
    pub fn n_lists(&self) -> usize {
        self.lists.len()
    }

    /// Numbers of the rows of a list, ascending.
    pub fn list(&self, list: usize) -> &[u32] {
        &self.ids[self.starts[list]..self.starts[list + 1]]
    }

    /// The lists nearest to a query that hold `least` rows together, the nearest first; all lists if they hold fewer.
    ///
    /// # Panics
    /// If the query is not `[n]`.
    pub fn nearest_lists<'a>(
        &'a self,
        level: Level,
        query: &[f32],
        least: usize,
        found: &'a mut Found,
    ) -> impl Iterator<Item = usize> + use<'a> {
        assert_eq!(query.len(), self.n, "a query is [n]");
        let Found { scores, keys, .. } = found;
        scores.resize(self.lists.len(), 0.0);
        search::dot_rows(level, &self.centroids, &self.lists, query, scores);
        keys.clear();
        keys.extend(scores.iter().enumerate().map(|(list, &score)| search::key(score, list)));
        let least = least.min(self.n_rows());
        // Only those that are needed are put in order: half as many again as would do if all were alike, then as many more.
        let step = 1 + 3 * least * self.n_lists() / (2 * self.n_rows());
        let (mut n_sorted, mut n_rows) = (0, 0);
        (0..keys.len()).map_while(move |at| {
            if n_rows >= least {
                return None;
            }
            if at == n_sorted {
                let rest = &mut keys[n_sorted..];
                let size = step.min(rest.len());
                if size < rest.len() {
                    rest.select_nth_unstable(size);
                }
                rest[..size].sort_unstable();
                n_sorted += size;
            }
            let list = search::position(keys[at]);
            n_rows += self.starts[list + 1] - self.starts[list];
            Some(list)
        })
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        4 * (self.centroids.len() + self.ids.len() + self.lists.len())
            + 8 * self.starts.len()
            + CodedTable::bytes(self.ids.len(), self.n)
    }

    /// Fills `found.ids` with the rows among which those with the k largest products with the query, as
    /// [`search::dot_rows`] computes them, certainly are: of all rows in the nearest lists that hold `least` rows together, or
    /// of all if there are fewer.
    ///
    /// # Panics
    /// If the query is not `[n]`, or k is 0.
    pub fn search(&self, level: Level, query: &[f32], (least, k): (usize, usize), found: &mut Found) {
        let mut places = std::mem::take(&mut found.places);
        places.clear();
        for list in self.nearest_lists(level, query, least, found) {
            places.extend(self.starts[list] as u32..self.starts[list + 1] as u32);
        }
        found.places = places;
        let Found { ids, places, unmasked, coded, .. } = found;
        unmasked.resize(places.len().div_ceil(64), 0);
        let nearest = self.rows.contenders(level, (places, unmasked), query, k, coded);
        ids.clear();
        ids.extend(nearest.iter().map(|&position| self.ids[places[position as usize] as usize]));
        ids.sort_unstable();
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
    fn the_nearest_lists_are_those_of_a_full_sort_until_they_hold_enough() {
        const N: usize = 3;
        // No randomness needed: rows in all directions, lists of 0 to 60 rows.
        let rows: Vec<f32> = (0..900).map(|k| (k as f32 * 0.7).sin()).collect();
        let centroids: Vec<f32> = (0..40 * N).map(|k| (k as f32 * 1.3).cos()).collect();
        let list_of: Vec<u32> = (0..300).map(|row| if row < 60 { 7 } else { row % 39 }).collect();
        let file = InvertedFile::in_lists(&rows, &list_of, N, centroids.clone());
        assert_eq!((file.n_lists(), file.list(39).len()), (40, 0));
        for (query, least) in [0, 1, 37, 150, 300, usize::MAX].into_iter().enumerate() {
            let query = &rows[query * N..][..N];
            let score = |list: usize| -> f32 { (0..N).map(|k| centroids[list * N + k] * query[k]).sum() };
            let mut order: Vec<usize> = (0..40).collect();
            order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
            let mut held = 0;
            let expected: Vec<usize> = order
                .into_iter()
                .take_while(|&list| {
                    let wanted = held < least.min(300);
                    held += file.list(list).len();
                    wanted
                })
                .collect();
            let found: Vec<usize> =
                file.nearest_lists(Level::best(), query, least, &mut Found::default()).collect();
            assert_eq!(found, expected, "{least}");
        }
    }
}
