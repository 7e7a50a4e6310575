//! The recall set of a session: the candidates the action mapping chooses from, minus what was shown.
//!
//! Fixed for a session and the same for every method compared. Candidates are sorted by id, so that "ties go to the
//! lowest id" is "ties go to the first position".

use std::sync::Arc;

use crate::ItemId;

/// Candidates of one session and which of them are still to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallSet {
    candidates: Arc<[ItemId]>,
    /// Bit `k` is set when candidate `k` has been shown.
    shown: Vec<u64>,
    n_left: usize,
}

impl RecallSet {
    /// A set of distinct candidates in any order; none shown yet.
    pub fn new(mut candidates: Vec<ItemId>) -> Self {
        candidates.sort_unstable();
        candidates.dedup();
        let n = candidates.len();
        Self { candidates: candidates.into(), shown: vec![0; n.div_ceil(64)], n_left: n }
    }

    /// A set whose candidates are kept elsewhere, too, e.g. a whole catalogue that all sessions share; ascending, distinct.
    pub fn shared(candidates: Arc<[ItemId]>) -> Self {
        debug_assert!(candidates.windows(2).all(|pair| pair[0] < pair[1]), "candidates ascend");
        let n = candidates.len();
        Self { candidates, shown: vec![0; n.div_ceil(64)], n_left: n }
    }

    /// Candidates by ascending id, shown ones included.
    pub fn candidates(&self) -> &[ItemId] {
        &self.candidates
    }

    /// Number of candidates that were not shown yet.
    pub fn n_left(&self) -> usize {
        self.n_left
    }

    /// Whether the candidate at a position of [`Self::candidates`] was shown.
    pub fn is_shown(&self, position: usize) -> bool {
        self.shown[position / 64] >> (position % 64) & 1 == 1
    }

    /// The bits behind [`Self::is_shown`], 64 positions a word, lowest bit first.
    pub fn shown_words(&self) -> &[u64] {
        &self.shown
    }

    /// Position of an item, if it is a candidate.
    pub fn position(&self, item: ItemId) -> Option<usize> {
        // In a whole catalogue every item stands at its own row.
        match self.candidates.get(item.row()) == Some(&item) {
            true => Some(item.row()),
            false => self.candidates.binary_search(&item).ok(),
        }
    }

    /// Marks an item as shown; false if it is no candidate or was shown before.
    pub fn show(&mut self, item: ItemId) -> bool {
        let Some(position) = self.position(item) else { return false };
        if self.is_shown(position) {
            return false;
        }
        self.shown[position / 64] |= 1 << (position % 64);
        self.n_left -= 1;
        true
    }

    /// Position of the `k`-th candidate (`k < n_left`) that was not shown.
    pub fn nth_left(&self, k: usize) -> Option<usize> {
        let mut before = 0;
        for (index, &word) in self.shown.iter().enumerate() {
            let size = (self.candidates.len() - 64 * index).min(64);
            let left = size - word.count_ones() as usize;
            if k < before + left {
                let positions = 64 * index..64 * index + size;
                return positions.filter(|&p| !self.is_shown(p)).nth(k - before);
            }
            before += left;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_once() {
        let mut recall = RecallSet::new(vec![ItemId(9), ItemId(3), ItemId(5)]);
        assert_eq!(recall.candidates(), [ItemId(3), ItemId(5), ItemId(9)]);
        assert!(recall.show(ItemId(5)) && !recall.show(ItemId(5)) && !recall.show(ItemId(4)));
        assert_eq!((recall.n_left(), recall.nth_left(1)), (2, Some(2)));
    }

    #[test]
    fn a_shared_catalogue_is_a_set_of_all_items() {
        let mut recall = RecallSet::shared((0..150).map(ItemId).collect());
        assert_eq!(recall, RecallSet::new((0..150).rev().map(ItemId).collect()));
        for item in [0, 63, 64, 149] {
            assert_eq!(recall.position(ItemId(item)), Some(item as usize));
            assert!(recall.show(ItemId(item)));
        }
        assert_eq!(recall.position(ItemId(150)), None);
        let left: Vec<usize> = (0..150).filter(|&p| !recall.is_shown(p)).collect();
        assert_eq!((0..146).map(|k| recall.nth_left(k)).collect::<Option<Vec<_>>>(), Some(left));
        assert_eq!(recall.nth_left(146), None);
    }
}
