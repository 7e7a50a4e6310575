//! The wide side's features: crosses of the history with the candidate, hashed.
//!
//! In: windows `[3, N]` and an item; out: buckets in `0..2^bits`, each once. Crosses: the item itself; every clicked and every
//! ordered id with the item; the category of every skipped, clicked and ordered item with the item's category.

use common::{
    ItemId, ItemTable,
    history::{Kind, N_WINDOWS},
};

/// The buckets of a row, ascending, into `out` (overwritten).
pub(super) fn crosses(items: &ItemTable, windows: &[ItemId], item: ItemId, bits: u32, out: &mut Vec<u32>) {
    out.clear();
    let mut add = |kind: usize, a: u32, b: u32| out.push(bucket(kind, a, b, bits));
    add(0, item.0, 0);
    let category = |item: ItemId| items.categories()[item.row()];
    for (kind, window) in windows.chunks_exact(windows.len() / N_WINDOWS).enumerate() {
        for &past in window.iter().filter(|past| !past.is_padding()) {
            if kind != Kind::Skipped as usize {
                add(1 + kind, past.0, item.0);
            }
            add(1 + N_WINDOWS + kind, category(past), category(item));
        }
    }
    out.sort_unstable();
    out.dedup();
}

/// A fixed hash (the finaliser of splitmix64): files of fitted weights depend on it.
fn bucket(kind: usize, a: u32, b: u32, bits: u32) -> u32 {
    let mut x = (u64::from(a) << 32 | u64::from(b)) ^ (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) >> (64 - bits)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_crosses_its_history_with_the_item_once_each() {
        let items = ItemTable::new(1, 9.0, vec![1.0; 4], vec![0, 1, 1, 2], vec![0.0; 4]).unwrap();
        let pad = ItemId::PADDING;
        let windows = [ItemId(1), ItemId(2), pad, ItemId(3), pad, pad];
        let mut out = Vec::new();
        crosses(&items, &windows, ItemId(0), 20, &mut out);
        let crossed = [(0, 0, 0), (4, 1, 0), (2, 3, 0), (5, 2, 0)];
        let mut expected = crossed.map(|(kind, a, b)| bucket(kind, a, b, 20));
        expected.sort_unstable();
        assert_eq!(out, expected);
        assert!(out.iter().all(|&bucket| bucket < 1 << 20));
    }
}
