//! What was shown and what came of it: the newest so many interactions, columnar.

use common::{Feedback, ItemId};

/// A ring of interactions. Row k: windows before the step `[3, N]`, the item, the feedback.
pub(super) struct Interactions {
    row: usize,
    keep: usize,
    windows: Vec<ItemId>,
    items: Vec<ItemId>,
    feedback: Vec<Feedback>,
    next: usize,
}

impl Interactions {
    /// Room for `keep` interactions with windows of `3 * window` ids.
    pub(super) fn new(window: usize, keep: usize) -> Self {
        let row = common::history::N_WINDOWS * window;
        Self { row, keep, windows: Vec::new(), items: Vec::new(), feedback: Vec::new(), next: 0 }
    }

    /// Interactions held.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds one; the oldest makes room once `keep` are held.
    pub(super) fn push(&mut self, windows: &[ItemId], item: ItemId, feedback: Feedback) {
        assert_eq!(windows.len(), self.row, "windows are [3, N]");
        if self.len() < self.keep {
            self.windows.extend_from_slice(windows);
            self.items.push(item);
            self.feedback.push(feedback);
            return;
        }
        self.windows[self.next * self.row..][..self.row].copy_from_slice(windows);
        self.items[self.next] = item;
        self.feedback[self.next] = feedback;
        self.next = (self.next + 1) % self.keep;
    }

    /// Windows `[3, N]` of a row.
    pub(super) fn windows(&self, row: usize) -> &[ItemId] {
        &self.windows[row * self.row..][..self.row]
    }

    /// The item of a row.
    pub(super) fn item(&self, row: usize) -> ItemId {
        self.items[row]
    }

    /// The feedback of a row.
    pub(super) fn feedback(&self, row: usize) -> Feedback {
        self.feedback[row]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_interaction_makes_room() {
        let mut interactions = Interactions::new(1, 2);
        for id in 0..3 {
            interactions.push(&[ItemId(id); 3], ItemId(id), Feedback::Click);
        }
        let mut held: Vec<u32> = (0..interactions.len()).map(|row| interactions.item(row).0).collect();
        held.sort_unstable();
        assert_eq!(held, [1, 2]);
        assert_eq!(interactions.windows(0), [ItemId(2); 3]);
        assert_eq!(interactions.feedback(1), Feedback::Click);
    }
}
