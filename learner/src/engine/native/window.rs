//! History windows, packed for the GRUs. In: ids `[B, 3, N]`; out: item vectors step by step, a chunk of rows at a time.
//!
//! Rows of a chunk are sorted by the length of their window, longest first, and all begin at step 0: padding is neutral,
//! so it is left out. The rows that take part in step s are then a prefix, and the prefix shrinks with s. Only the P =
//! sum of all lengths (row, step) pairs are there, step after step, and every network that reads the window shares them.

use std::ops::Range;

use common::{
    ItemId, ItemTable,
    config::MOST_LEARNER_THREADS,
    history::{self, Kind, N_WINDOWS},
};

/// Most rows that go through a network together. A multiple of the tile height of the matrix product.
pub const CHUNK: usize = 48;

/// Most rows of a chunk where there are several: their activations over all steps stay in an L2 cache of 1 MB, those of [`CHUNK`] rows do
/// not quite. Where one chunk is enough, a second one costs more than that; where there are several, a few more cost less.
const CHUNK_OF_SEVERAL: usize = 36;

/// Rows of a register tile.
const TILE: usize = 6;

const _: () =
    assert!(CHUNK_OF_SEVERAL <= CHUNK && CHUNK.is_multiple_of(TILE) && CHUNK_OF_SEVERAL.is_multiple_of(TILE));

/// Most parts of a batch: one a thread.
const MOST_PARTS: usize = MOST_LEARNER_THREADS;

/// The chunks of a batch: as few as these sizes allow, as alike as whole tiles can be.
pub fn chunks(n_rows: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let most = if n_rows > CHUNK { CHUNK_OF_SEVERAL } else { CHUNK };
    let (n_chunks, n_tiles) = (n_rows.div_ceil(most), n_rows.div_ceil(TILE));
    let start = move |chunk| n_rows.min(n_tiles * chunk / n_chunks * TILE);
    (0..n_chunks).map(move |chunk| start(chunk)..start(chunk + 1))
}

/// The chunks of each of at most [`MOST_PARTS`] parts of a batch, as alike as whole chunks can be, the larger ones first. More parts let
/// threads share a batch better, and each has a gradient that must be added to that of the others.
pub fn parts(n_rows: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let n_chunks = chunks(n_rows).len();
    let n_parts = n_chunks.clamp(1, MOST_PARTS);
    let start = move |part: usize| part * (n_chunks / n_parts) + part.min(n_chunks % n_parts);
    (0..n_parts).map(move |part| start(part)..start(part + 1))
}

/// One window of a chunk. B rows.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// `[P, n]` item vectors, step by step, within a step in sorted order.
    pub x: Vec<f32>,
    /// Rows of every step that has any; never increasing.
    pub counts: Vec<usize>,
    /// `[B]` the chunk's row at each sorted place.
    pub order: Vec<usize>,
    /// `[N + 1]` next free place of the rows of each length.
    places: Vec<usize>,
    /// `[N]` first pair of each step.
    starts: Vec<usize>,
}

impl Window {
    /// Packs windows of `n` ids each, oldest first, padded on the left; ids must be rows of the table.
    fn pack<'a>(&mut self, n: usize, windows: impl Iterator<Item = &'a [ItemId]> + Clone, items: &ItemTable) {
        let n_dims = items.n_dims();
        self.places.clear();
        self.places.resize(n + 1, 0);
        let mut n_rows = 0;
        for window in windows.clone() {
            self.places[history::length(window)] += 1;
            n_rows += 1;
        }
        // From counts of a length to the first place of it, longest first.
        let mut longer = 0;
        for place in self.places.iter_mut().rev() {
            longer += *place;
            *place = longer - *place;
        }
        self.counts.clear();
        self.starts.clear();
        let mut n_pairs = 0;
        // Rows with more than s items stand before those with s.
        for &count in self.places[..n].iter().take_while(|count| **count > 0) {
            self.counts.push(count);
            self.starts.push(n_pairs);
            n_pairs += count;
        }
        self.order.clear();
        self.order.resize(n_rows, 0);
        self.x.resize(n_pairs * n_dims, 0.0);
        // The table may be larger than the caches: what the next row copies is on its way while this one is copied.
        let mut next = windows.clone().skip(1);
        for (row, window) in windows.enumerate() {
            if let Some(next) = next.next() {
                for &item in &next[n - history::length(next)..] {
                    kernels::prefetch(items.embedding(item));
                }
            }
            let length = history::length(window);
            let sorted = self.places[length];
            self.places[length] += 1;
            self.order[sorted] = row;
            for (&item, start) in window[n - length..].iter().zip(&self.starts) {
                self.x[(start + sorted) * n_dims..][..n_dims].copy_from_slice(items.embedding(item));
            }
        }
    }
}

/// The windows that an encoder reads, of all chunks of a batch.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    n_kinds: usize,
    n_chunks: usize,
    /// `[chunks, kinds]`, and more from larger batches before.
    windows: Vec<Window>,
}

impl Windows {
    /// Packs checked windows `[B, 3, N]`, of each row those of `kinds`.
    pub fn pack(&mut self, n: usize, ids: &[ItemId], kinds: &[Kind], items: &ItemTable) {
        let stride = N_WINDOWS * n;
        let n_rows = ids.len() / stride;
        self.n_kinds = kinds.len();
        self.n_chunks = chunks(n_rows).len();
        let needed = self.n_chunks * self.n_kinds;
        if self.windows.len() < needed {
            self.windows.resize_with(needed, Window::default);
        }
        for (rows, windows) in chunks(n_rows).zip(self.windows.chunks_exact_mut(kinds.len())) {
            for (&kind, packed) in kinds.iter().zip(windows) {
                let of_rows = ids[rows.start * stride..rows.end * stride].chunks_exact(stride);
                packed.pack(n, of_rows.map(|row| history::window(row, kind)), items);
            }
        }
    }

    /// The windows of every chunk, in the order of the batch.
    pub fn chunks(&self) -> impl Iterator<Item = &[Window]> {
        self.windows.chunks_exact(self.n_kinds.max(1)).take(self.n_chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ItemId = ItemId::PADDING;

    fn pack(windows: &[[ItemId; 3]]) -> Window {
        let table: Vec<f32> = (1..=9).map(|i| i as f32 / 10.0).collect();
        let items = ItemTable::new(1, 1.0, table, vec![0; 9], vec![0.0; 9]).unwrap();
        let mut window = Window::default();
        window.pack(3, windows.iter().map(|w| w.as_slice()), &items);
        window
    }

    #[test]
    fn steps_hold_the_rows_whose_window_goes_on() {
        let i = ItemId;
        let window = pack(&[[NONE, NONE, i(5)], [i(1), i(2), i(3)], [NONE, NONE, NONE], [NONE, i(7), i(8)]]);
        assert_eq!(window.order, [1, 3, 0, 2]);
        assert_eq!(window.counts, [3, 2, 1]);
        assert_eq!(window.x, [0.2, 0.8, 0.6, 0.3, 0.9, 0.4]);
    }

    #[test]
    fn empty_windows_have_no_step() {
        let window = pack(&[[NONE; 3]; 2]);
        assert_eq!((window.counts, window.x, window.order), (vec![], vec![], vec![0, 1]));
        assert!(pack(&[]).order.is_empty());
    }

    #[test]
    fn chunks_are_alike_and_cover_the_batch() {
        assert!(chunks(40).eq(std::iter::once(0..40)));
        assert_eq!(chunks(100).collect::<Vec<_>>(), [0..30, 30..66, 66..100]);
        assert_eq!(parts(100).collect::<Vec<_>>(), [0..1, 1..2, 2..3]);
        assert_eq!(parts(512).collect::<Vec<_>>(), [0..4, 4..8, 8..12, 12..15]);
        assert_eq!(chunks(0).len(), 0);
        for n_rows in 1..500 {
            let mut end = 0;
            for rows in chunks(n_rows) {
                assert!(rows.start == end && (1..=CHUNK).contains(&rows.len()), "{rows:?} of {n_rows}");
                end = rows.end;
            }
            assert_eq!(end, n_rows);
            let mut end = 0;
            for of_part in parts(n_rows) {
                assert!(of_part.start == end && !of_part.is_empty(), "{of_part:?} of {n_rows}");
                end = of_part.end;
            }
            assert_eq!(end, chunks(n_rows).len());
        }
    }
}
