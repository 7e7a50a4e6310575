//! History windows, packed for the GRUs. In: ids `[B, N]`, padding on the left; out: item vectors time step by time step.
//!
//! Rows are sorted by length, longest first. Padding is on the left and neutral (h = 0 until the window begins), so the
//! rows that take part in step t are a prefix of the sorted rows, and the prefix grows with t. Only those P = sum of all
//! lengths (row, step) pairs are stored, step after step: a step is a contiguous slice, an empty step is no step, and an
//! almost empty window (orders!) costs almost nothing. For GRUs that run side by side a window has its padding, too.

use std::cell::OnceCell;

use common::ItemId;
use tch::Tensor;

use super::{assert_shape, upload::upload};

/// Where the rows of one batch's window lie once packed; plain memory, no tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// `[P]` item rows, step by step, within a step in sorted order.
    pub items: Vec<i64>,
    /// Rows of every step that has any, oldest first; never decreasing.
    pub counts: Vec<i64>,
    /// `[B]` the batch row at each sorted place.
    pub order: Vec<i64>,
    /// `[B]` the sorted place of each batch row.
    pub rank: Vec<i64>,
}

impl Packing {
    /// Packs windows of `n` ids each, oldest first; `windows` yields one a row. Ids must be rows of the item table.
    pub fn new<'a>(n: usize, windows: impl Iterator<Item = &'a [ItemId]> + Clone) -> Self {
        let lengths: Vec<usize> = windows.clone().map(common::history::length).collect();
        // A counting sort, longest first, stable.
        let mut place = vec![0_usize; n + 2];
        lengths.iter().for_each(|&length| place[n - length + 1] += 1);
        for i in 1..place.len() {
            place[i] += place[i - 1];
        }
        // place[n - l + 1] rows have a length of at least l.
        let counts: Vec<i64> = (0..n).map(|t| place[t + 1] as i64).filter(|&count| count > 0).collect();
        let mut starts: Vec<usize> = Vec::with_capacity(counts.len());
        let mut total = 0;
        for &count in &counts {
            starts.push(total);
            total += count as usize;
        }
        let mut order = vec![0_i64; lengths.len()];
        let mut rank = vec![0_i64; lengths.len()];
        let mut items = vec![0_i64; total];
        for (row, (window, &length)) in windows.zip(&lengths).enumerate() {
            let sorted = place[n - length];
            place[n - length] += 1;
            order[sorted] = row as i64;
            rank[row] = sorted as i64;
            for (item, start) in window[n - length..].iter().zip(&starts[counts.len() - length..]) {
                items[start + sorted] = item.row() as i64;
            }
        }
        Self { items, counts, order, rank }
    }

    /// The tensors of this packing, with the item vectors looked up in `items` `[V, n]`.
    pub fn gather(&self, items: &Tensor) -> PackedWindow {
        assert_shape("items", items, &[-1, -1]);
        let [rows, order, rank] = uploaded([&self.items, &self.order, &self.rank], items);
        self.packed(items.index_select(0, &rows), order, rank, None)
    }

    /// The same with what GRUs side by side read, windows of `n` ids as they were packed.
    pub fn gather_padded(&self, n: usize, items: &Tensor) -> PackedWindow {
        assert_shape("items", items, &[-1, -1]);
        let padded = self.padded(n);
        let [padded, rows, order, rank] = uploaded([&padded, &self.items, &self.order, &self.rank], items);
        let padded = PaddedWindow {
            n_steps: n as i64,
            x: items.index_select(0, &padded.clamp_min(0)),
            is_padding: padded.lt(0).unsqueeze(1),
        };
        self.packed(items.index_select(0, &rows), order, rank, Some(padded))
    }

    fn packed(&self, x: Tensor, order: Tensor, rank: Tensor, padded: Option<PaddedWindow>) -> PackedWindow {
        PackedWindow { x, counts: self.counts.clone(), order, rank, padded, pairs: OnceCell::new() }
    }

    /// `[n B]` item rows step after step, in the batch's order; -1 where a window has not begun.
    fn padded(&self, n: usize) -> Vec<i64> {
        assert!(n >= self.counts.len(), "windows of {n} ids were packed");
        let n_rows = self.order.len();
        let mut rows = vec![-1; n * n_rows];
        let mut items = self.items.iter();
        let begun = &mut rows[(n - self.counts.len()) * n_rows..];
        for (step, &count) in begun.chunks_exact_mut(n_rows.max(1)).zip(&self.counts) {
            for (&row, &item) in self.order[..count as usize].iter().zip(&mut items) {
                step[row as usize] = item;
            }
        }
        rows
    }
}

/// Columns on the device of `like`, in one copy.
fn uploaded<const K: usize>(columns: [&Vec<i64>; K], like: &Tensor) -> [Tensor; K] {
    let all = upload(&columns.map(Vec::as_slice).concat(), like.device());
    let mut start = 0;
    columns.map(|column| {
        let part = all.narrow(0, start, column.len() as i64);
        start += column.len() as i64;
        part
    })
}

/// One window of a batch as the GRUs read it. Every network that reads the window shares it.
#[derive(Debug)]
pub struct PackedWindow {
    /// `[P, n]` item vectors, see [`Packing::items`].
    pub x: Tensor,
    /// Rows of every step that has any; never decreasing.
    pub counts: Vec<i64>,
    /// `[B]` the batch row at each sorted place, i64.
    pub order: Tensor,
    /// `[B]` the sorted place of each batch row, i64.
    pub rank: Tensor,
    /// The same with padding, if GRUs run over it side by side.
    pub padded: Option<PaddedWindow>,
    /// See [`Self::pairs`].
    pairs: OnceCell<(Tensor, Tensor)>,
}

/// One window of a batch with its padding, rows in the batch's order.
#[derive(Debug)]
pub struct PaddedWindow {
    /// N.
    pub n_steps: i64,
    /// `[N B, n]` item vectors, step after step; where the window has not begun, those of some item.
    pub x: Tensor,
    /// `[N B, 1]` whether the window has not begun.
    pub is_padding: Tensor,
}

impl PaddedWindow {
    /// Rows of the batch, B.
    pub fn n_rows(&self) -> i64 {
        self.x.size()[0] / self.n_steps
    }
}

impl PackedWindow {
    /// Rows of the batch, B.
    pub fn n_rows(&self) -> i64 {
        self.rank.size()[0]
    }

    /// (row, step) pairs, P.
    pub fn n_pairs(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// Batch row and age `[P]` of each pair, i64; the newest item has age 0. For a window with a pair.
    pub fn pairs(&self) -> &(Tensor, Tensor) {
        self.pairs.get_or_init(|| {
            let oldest = self.counts.len() as i64 - 1;
            let rows: Vec<Tensor> = self.counts.iter().map(|&count| self.order.narrow(0, 0, count)).collect();
            let age = |(step, &count): (i64, &i64)| vec![oldest - step; count as usize];
            let ages: Vec<i64> = (0..).zip(&self.counts).flat_map(age).collect();
            (Tensor::cat(&rows, 0), upload(&ages, self.order.device()))
        })
    }
}

/// The windows that an encoder reads, one a GRU: in the paper clicks and orders (HRA), or skips and clicks (LRA).
#[derive(Debug)]
pub struct Windows(pub Vec<PackedWindow>);

impl Windows {
    /// Rows of the batch, B.
    pub fn n_rows(&self) -> i64 {
        self.0.first().expect("an encoder reads a window").n_rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ItemId = ItemId::PADDING;

    fn pack(windows: &[[ItemId; 3]]) -> Packing {
        Packing::new(3, windows.iter().map(|w| w.as_slice()))
    }

    #[test]
    fn steps_hold_the_rows_whose_window_has_begun() {
        let i = ItemId;
        let packing = pack(&[[NONE, NONE, i(5)], [i(1), i(2), i(3)], [NONE, NONE, NONE], [NONE, i(7), i(8)]]);
        assert_eq!(packing.order, [1, 3, 0, 2]);
        assert_eq!(packing.rank, [2, 0, 3, 1]);
        assert_eq!(packing.counts, [1, 2, 3]);
        assert_eq!(packing.items, [1, 2, 7, 3, 8, 5]);
        assert_eq!(packing.padded(3), [-1, 1, -1, -1, -1, 2, -1, 7, 5, 3, -1, 8]);
    }

    #[test]
    fn steps_without_a_row_are_skipped() {
        let packing = pack(&[[NONE, NONE, ItemId(5)], [NONE, NONE, NONE]]);
        assert_eq!(packing.padded(3), [-1, -1, -1, -1, 5, -1]);
        assert_eq!((packing.counts, packing.items), (vec![1], vec![5]));
        let none = pack(&[[NONE; 3]; 2]);
        assert_eq!((none.counts, none.items, none.rank), (vec![], vec![], vec![0, 1]));
        assert_eq!(pack(&[]), Packing::default());
    }
}
