//! Which items are met together.
//!
//! In: clicked and ordered items of the training sessions, in order; out: the symmetric matrix of positive pointwise mutual
//! information, PPMI_ij = max(0, ln(n_ij N / (n_i n_j))), with n_ij the pairs at most `window` interactions apart,
//! n_i = sum_j n_ij and N = sum_i n_i. Never dense.

use crate::{Log, Split};

/// Interactions an item needs, so that where it stands is more than one session's accident.
const LEAST_INTERACTIONS: u32 = 2;

/// Pairs that are counted at once: 256 MiB.
const BUFFER_PAIRS: usize = 1 << 25;

/// A symmetric sparse matrix by rows, columns ascending.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sparse {
    /// `[n + 1]` where the entries of each row begin.
    pub(super) starts: Vec<usize>,
    pub(super) columns: Vec<u32>,
    pub(super) values: Vec<f32>,
}

impl Sparse {
    /// Number of rows and columns.
    pub(super) fn n(&self) -> usize {
        self.starts.len() - 1
    }

    /// The entries of a row: (column, value).
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let entries = self.starts[row]..self.starts[row + 1];
        let columns = self.columns[entries.clone()].iter();
        columns.zip(&self.values[entries]).map(|(&column, &value)| (column as usize, f64::from(value)))
    }
}

/// The matrix of the items that are met with others.
pub(super) struct Ppmi {
    pub(super) matrix: Sparse,
    /// Row of the item table of each row of the matrix, ascending.
    pub(super) rows: Vec<usize>,
}

/// The matrix of a log's training sessions.
pub(super) fn ppmi(log: &Log, window: usize) -> Ppmi {
    let mut interactions = vec![0_u32; log.n_items()];
    let train = log.sessions().filter(|session| session.split == Split::Train);
    for shown in train.flat_map(|session| session.impressions).filter(|shown| shown.feedback.clicked()) {
        interactions[shown.item.row()] = interactions[shown.item.row()].saturating_add(1);
    }
    let known = |item: u32| interactions[item as usize] >= LEAST_INTERACTIONS;
    let mut pairs = Pairs::default();
    meetings(log, window, |first, second| {
        if known(first) && known(second) {
            pairs.push(first.min(second), first.max(second));
        }
    });
    from_counts(log.n_items(), &pairs.finish())
}

/// Every two different items that a user clicked or ordered in one training session, at most `window` interactions apart.
fn meetings(log: &Log, window: usize, mut met: impl FnMut(u32, u32)) {
    let mut items: Vec<u32> = Vec::new();
    for session in log.sessions().filter(|session| session.split == Split::Train) {
        let clicked = session.impressions.iter().filter(|shown| shown.feedback.clicked());
        items.clear();
        items.extend(clicked.map(|shown| shown.item.0));
        for (place, &second) in items.iter().enumerate() {
            for &first in items[place.saturating_sub(window)..place].iter().filter(|&&first| first != second)
            {
                met(first, second);
            }
        }
    }
}

/// Counts of unordered pairs.
#[derive(Default)]
struct Pairs {
    /// (smaller, larger) in one number.
    buffer: Vec<u64>,
    /// Ascending, each pair once.
    counted: Vec<(u64, u32)>,
}

impl Pairs {
    fn push(&mut self, smaller: u32, larger: u32) {
        if self.buffer.len() == BUFFER_PAIRS {
            self.count();
        }
        self.buffer.push(u64::from(smaller) << 32 | u64::from(larger));
    }

    fn finish(mut self) -> Vec<(u64, u32)> {
        self.count();
        self.counted
    }

    /// Merges the buffer into what is counted.
    fn count(&mut self) {
        self.buffer.sort_unstable();
        let old = std::mem::take(&mut self.counted);
        let mut merged: Vec<(u64, u32)> = Vec::with_capacity(old.len());
        let mut old = old.into_iter().peekable();
        for run in self.buffer.chunk_by(|a, b| a == b) {
            while let Some(pair) = old.next_if(|pair| pair.0 < run[0]) {
                merged.push(pair);
            }
            let before = old.next_if(|pair| pair.0 == run[0]).map_or(0, |pair| pair.1);
            let here = u32::try_from(run.len()).expect("a run is not longer than the buffer");
            merged.push((run[0], before.saturating_add(here)));
        }
        merged.extend(old);
        self.counted = merged;
        self.buffer.clear();
    }
}

/// PPMI of counted pairs; items whose row has no positive entry are left out.
fn from_counts(n_items: usize, counted: &[(u64, u32)]) -> Ppmi {
    let split = |pair: u64| ((pair >> 32) as usize, (pair & u64::from(u32::MAX)) as usize);
    let mut totals = vec![0.0_f64; n_items];
    for &(pair, count) in counted {
        let (i, j) = split(pair);
        totals[i] += f64::from(count);
        totals[j] += f64::from(count);
    }
    let all: f64 = totals.iter().sum();
    let positive: Vec<(usize, usize, f32)> = counted
        .iter()
        .map(|&(pair, count)| {
            let (i, j) = split(pair);
            (i, j, (f64::from(count) * all / (totals[i] * totals[j])).ln() as f32)
        })
        .filter(|(.., information)| *information > 0.0)
        .collect();
    let mut n_entries = vec![0_usize; n_items];
    for &(i, j, _) in &positive {
        n_entries[i] += 1;
        n_entries[j] += 1;
    }
    let rows: Vec<usize> = (0..n_items).filter(|&item| n_entries[item] > 0).collect();
    let mut place = vec![u32::MAX; n_items];
    let mut starts = vec![0];
    for (row, &item) in (0_u32..).zip(&rows) {
        place[item] = row;
        starts.push(starts[row as usize] + n_entries[item]);
    }
    let mut next: Vec<usize> = starts[..rows.len()].to_vec();
    let mut matrix =
        Sparse { columns: vec![0; 2 * positive.len()], values: vec![0.0; 2 * positive.len()], starts };
    // Pairs come by (smaller, larger): the smaller columns of every row are put in before its larger ones, each in order.
    let mut put = |row: usize, column: usize, value: f32| {
        let at = &mut next[place[row] as usize];
        matrix.columns[*at] = place[column];
        matrix.values[*at] = value;
        *at += 1;
    };
    for &(i, j, value) in &positive {
        put(j, i, value);
    }
    for &(i, j, value) in &positive {
        put(i, j, value);
    }
    Ppmi { matrix, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_positive_mutual_information_of_the_pairs() {
        let mut pairs = Pairs::default();
        for (i, j, times) in [(0, 2, 3), (2, 3, 1), (0, 3, 1), (3, 4, 6)] {
            (0..times).for_each(|_| pairs.push(i, j));
        }
        let counted = pairs.finish();
        let Ppmi { matrix, rows } = from_counts(6, &counted);
        assert_eq!(rows, [0, 2, 3, 4], "items 1 and 5 are met with nothing");
        // n_0 = 4, n_2 = 4, n_3 = 8, n_4 = 6, N = 22.
        let information = |n: f64, i: f64, j: f64| f64::from((n * 22.0 / (i * j)).ln() as f32);
        let row = |row: usize| matrix.row(row).collect::<Vec<_>>();
        assert_eq!(row(0), [(1, information(3.0, 4.0, 4.0))]);
        assert_eq!(row(1), [(0, information(3.0, 4.0, 4.0))]);
        assert_eq!(row(2), [(3, information(6.0, 8.0, 6.0))], "pairs below chance are 0");
        assert_eq!(row(3), [(2, information(6.0, 8.0, 6.0))]);
    }

    #[test]
    fn counting_in_parts_is_counting_at_once() {
        let mut parts = Pairs::default();
        for (i, j) in [(1, 2), (0, 3), (1, 2)] {
            parts.push(i, j);
        }
        parts.count();
        for (i, j) in [(0, 3), (0, 1), (2, 3)] {
            parts.push(i, j);
        }
        let key = |i: u64, j: u64| i << 32 | j;
        assert_eq!(parts.finish(), [(key(0, 1), 1), (key(0, 3), 2), (key(1, 2), 2), (key(2, 3), 1)]);
    }
}
