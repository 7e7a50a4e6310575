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
        self.candidates.binary_search(&item).ok()
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
        (0..self.candidates.len()).filter(|&p| !self.is_shown(p)).nth(k)
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
}
