//! Windows to mean embeddings.
//!
//! In: B history windows `[3, N]` (padded with [`ItemId::PADDING`]); out: `[3, B, n]`, for each window the sum of its
//! items' embeddings over (their number + 1): an empty window gives zeros, a short one is drawn towards them.

use common::{ItemId, ItemTable, history::N_WINDOWS};

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

/// Sum of the embeddings over (number + 1).
fn mean(items: &ItemTable, ids: &[ItemId], out: &mut [f32]) {
    out.fill(0.0);
    let mut count = 0;
    // Padding is on the left: the first one from the right ends the window.
    for &item in ids.iter().rev().take_while(|item| !item.is_padding()) {
        count += 1;
        out.iter_mut().zip(items.embedding(item)).for_each(|(m, e)| *m += e);
    }
    let scale = 1.0 / (count + 1) as f32;
    out.iter_mut().for_each(|m| *m *= scale);
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
}
