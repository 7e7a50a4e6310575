//! The wide side's features: crosses of the history with the candidate, hashed.
//!
//! In: windows `[3, N]` and items; out: buckets in `0..2^bits`. Crosses: the item itself; every clicked and every ordered id
//! with the item; the category of every skipped, clicked and ordered item with the item's category.

use common::{
    ItemId, ItemTable,
    history::{Kind, N_WINDOWS},
};

/// What the windows hold, each once; the same for all candidates of a state.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// (kind, id) of clicked and ordered items.
    ids: Vec<(u32, u32)>,
    /// (kind, category) of all.
    categories: Vec<(u32, u32)>,
}

impl Past {
    /// Takes up other windows `[3, N]`.
    pub(super) fn read(&mut self, items: &ItemTable, windows: &[ItemId]) {
        self.ids.clear();
        self.categories.clear();
        for (kind, window) in (0..).zip(windows.chunks_exact(windows.len() / N_WINDOWS)) {
            for item in window.iter().filter(|item| !item.is_padding()) {
                if kind != Kind::Skipped as u32 {
                    self.ids.push((kind, item.0));
                }
                self.categories.push((kind, items.categories()[item.row()]));
            }
        }
        for pairs in [&mut self.ids, &mut self.categories] {
            pairs.sort_unstable();
            pairs.dedup();
        }
    }

    /// The buckets of a candidate.
    pub(super) fn cross(&self, items: &ItemTable, item: ItemId, bits: u32) -> impl Iterator<Item = u32> + '_ {
        const WITH_CATEGORY: u32 = 1 + N_WINDOWS as u32;
        let category = items.categories()[item.row()];
        let ids = self.ids.iter().map(move |&(kind, past)| bucket([1 + kind, past, item.0], bits));
        let categories = self
            .categories
            .iter()
            .map(move |&(kind, past)| bucket([WITH_CATEGORY + kind, past, category], bits));
        std::iter::once(bucket([0, item.0, 0], bits)).chain(ids).chain(categories)
    }
}

/// A fixed hash (the finaliser of splitmix64): files of fitted weights depend on it.
fn bucket([kind, a, b]: [u32; 3], bits: u32) -> u32 {
    let mut x = (u64::from(a) << 32 | u64::from(b)) ^ u64::from(kind).wrapping_mul(0x9e37_79b9_7f4a_7c15);
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
        let windows = [ItemId(1), ItemId(2), ItemId(3), ItemId(3), pad, pad];
        let mut past = Past::default();
        past.read(&items, &windows);
        let crossed = [[0, 0, 0], [2, 3, 0], [4, 1, 0], [5, 2, 0]];
        let found: Vec<u32> = past.cross(&items, ItemId(0), 20).collect();
        assert_eq!(found, crossed.map(|cross| bucket(cross, 20)));
        assert!(found.iter().all(|&bucket| bucket < 1 << 20));
    }
}
