//! Windows to mean embeddings.
//!
//! In: B history windows `[3, N]` (padded with [`ItemId::PADDING`]); out: `[3, B, n]`, for each window the sum of its
//! items' embeddings over (their number + 1): an empty window gives zeros, a short one is drawn towards them.

use common::{ItemId, ItemTable, history::N_WINDOWS};

/// Components that are summed at a time.
const BLOCK: usize = 16;

/// Fills `out` (`[3, B, n]`, overwritten) from B windows `[3, N]`.
pub(in crate::baselines) fn window_means<'a>(
    items: &ItemTable,
    windows: impl ExactSizeIterator<Item = &'a [ItemId]>,
    out: &mut [f32],
) {
    let n = items.n_dims();
    let rows = windows.len();
    assert_eq!(out.len(), N_WINDOWS * rows * n, "means are [3, {rows}, {n}]");
    for (row, windows) in windows.enumerate() {
        let window = windows.len() / N_WINDOWS;
        for (kind, ids) in windows.chunks_exact(window).enumerate() {
            mean(items, ids, &mut out[(kind * rows + row) * n..][..n]);
        }
    }
}

/// Sum of the embeddings over (number + 1), the newest first.
fn mean(items: &ItemTable, ids: &[ItemId], out: &mut [f32]) {
    // Padding is on the left: the first one from the right ends the window.
    let count = ids.iter().rev().take_while(|item| !item.is_padding()).count();
    let shown = ids[ids.len() - count..].iter().rev();
    let scale = 1.0 / (count + 1) as f32;
    let (table, n) = (items.embeddings(), out.len());
    // Sums of a known size stay in registers.
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    for (k, block) in blocks.iter_mut().enumerate() {
        let mut sums = [0.0; BLOCK];
        for &item in shown.clone() {
            let embedding = &table[item.row() * n + k * BLOCK..][..BLOCK];
            sums.iter_mut().zip(embedding).for_each(|(sum, e)| *sum += e);
        }
        *block = sums.map(|sum| sum * scale);
    }
    rest.fill(0.0);
    for &item in shown {
        let embedding = &table[item.row() * n + n - rest.len()..];
        rest.iter_mut().zip(embedding).for_each(|(sum, e)| *sum += e);
    }
    rest.iter_mut().for_each(|sum| *sum *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_counts_one_item_more_and_an_empty_window_is_zero() {
        let items = ItemTable::new(2, 2.0, vec![1.0, 0.5, -1.0, 1.5], vec![0; 2], vec![0.0; 2])
            .expect("a good table");
        let pad = ItemId::PADDING;
        let sessions =
            [[pad, pad, pad, ItemId(0), ItemId(0), ItemId(1)], [pad, ItemId(1), pad, pad, pad, pad]];
        let mut means = [9.0; 12];
        window_means(&items, sessions.iter().map(|windows| &windows[..]), &mut means);
        assert_eq!(means[..4], [0.0, 0.0, -0.5, 0.75]);
        assert_eq!(means[4..8], [0.5, 0.25, 0.0, 0.0]);
        assert_eq!(means[8..], [0.0, 2.0 / 3.0, 0.0, 0.0]);
    }

    #[test]
    fn every_component_of_a_long_embedding_is_summed_from_the_right() {
        let n = 2 * BLOCK + 3;
        let embeddings: Vec<f32> = (0..4 * n).map(|i| ((i * 37 % 101) as f32 - 50.5) / 30.0).collect();
        let items = ItemTable::new(n, 2.0, embeddings, vec![0; 4], vec![0.0; 4]).expect("a good table");
        let windows = [ItemId::PADDING, ItemId(2), ItemId(0), ItemId(3)].repeat(3);
        let mut means = vec![9.0; N_WINDOWS * n];
        window_means(&items, std::iter::once(&windows[..]), &mut means);
        for (i, &mean) in means.iter().enumerate() {
            let [a, b, c] = [3, 0, 2].map(|item| items.embedding(ItemId(item))[i % n]);
            assert_eq!(mean, (a + b + c) * 0.25, "component {i}");
        }
    }
}
