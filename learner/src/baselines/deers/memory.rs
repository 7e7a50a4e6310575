//! The sessions that were played, and the transitions of them that are drawn.
//!
//! In: whole sessions; out: rows. A session is kept once, with its windows at the start and its recall set; what a row
//! reads of them is made when it is drawn. Competing items are found when a session is over, so that the nearest one may
//! lie on either side. The oldest sessions go first. Owner: the trainer's thread.

use std::collections::VecDeque;

use common::{
    Feedback, ItemId, RecallSet, history,
    transition::{Ending, Step, advance},
};
use rand::RngExt;

/// A session that is over.
#[derive(Clone, Debug)]
pub(super) struct Episode {
    /// `[3, N]` before its first step.
    pub(super) windows: Vec<ItemId>,
    /// Its candidates, with what had been shown before its first step.
    pub(super) recall: RecallSet,
    pub(super) steps: Vec<Step>,
}

/// One drawn transition.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// `[3, N]` before the step.
    pub(super) windows: Vec<ItemId>,
    /// `[3, N]` after it.
    pub(super) next_windows: Vec<ItemId>,
    pub(super) item: ItemId,
    pub(super) feedback: Feedback,
    /// The competing item a^E, if the session has one.
    pub(super) competitor: Option<ItemId>,
    /// Items that may be shown next, to take a target's maximum over; none behind the user's leaving, or if nothing is
    /// left.
    pub(super) candidates: Vec<ItemId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    capacity: usize,
    /// `[V]` items of one number compete.
    groups: Vec<u32>,
    episodes: VecDeque<(Episode, Vec<Option<ItemId>>)>,
    /// (number of the episode, step), oldest first.
    rows: VecDeque<(u64, u32)>,
    /// Number of the oldest episode.
    first: u64,
}

impl Memory {
    pub(super) fn new(capacity: usize, groups: Vec<u32>) -> Self {
        Self { capacity, groups, episodes: VecDeque::new(), rows: VecDeque::new(), first: 0 }
    }

    /// Transitions held.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a session; the oldest ones make room, but for this one.
    pub(super) fn push(&mut self, episode: Episode) {
        let number = self.first + self.episodes.len() as u64;
        self.rows.extend((0..episode.steps.len() as u32).map(|step| (number, step)));
        let competitors = competitors(&episode.steps, &self.groups);
        self.episodes.push_back((episode, competitors));
        while self.rows.len() > self.capacity && self.episodes.len() > 1 {
            if let Some((oldest, _)) = self.episodes.pop_front() {
                self.rows.drain(..oldest.steps.len());
                self.first += 1;
            }
        }
    }

    /// A row drawn uniformly, with at most `n_candidates` candidates (0: all that are left).
    pub(super) fn draw(&self, n_candidates: usize, rng: &mut impl RngExt) -> Row {
        let (number, step) = self.rows[rng.random_range(0..self.rows.len())];
        let (episode, competitors) = &self.episodes[(number - self.first) as usize];
        let t = step as usize;
        let mut windows = episode.windows.clone();
        advance(&mut windows, episode.steps[..t].iter().copied());
        let Step { item, feedback, ending } = episode.steps[t];
        let mut next_windows = windows.clone();
        history::push(&mut next_windows, item, feedback);
        let candidates = match ending {
            Ending::Terminated => Vec::new(),
            Ending::None | Ending::Truncated => candidates(episode, t, n_candidates, rng),
        };
        Row { windows, next_windows, item, feedback, competitor: competitors[t], candidates }
    }
}

/// Items of the recall set that are left after step `t`: all of them by ascending id, or `n` drawn with replacement.
fn candidates(episode: &Episode, t: usize, n: usize, rng: &mut impl RngExt) -> Vec<ItemId> {
    let (recall, shown) = (&episode.recall, &episode.steps[..=t]);
    let all = recall.candidates();
    let n_left = recall.n_left() - shown.len();
    let is_left = |k: usize| !recall.is_shown(k) && shown.iter().all(|step| step.item != all[k]);
    if n == 0 || n >= n_left {
        return (0..all.len()).filter(|&k| is_left(k)).map(|k| all[k]).collect();
    }
    // Few are shown: a draw that is refused is rare.
    let mut draw = || loop {
        let k = rng.random_range(0..all.len());
        if is_left(k) {
            return all[k];
        }
    };
    (0..n).map(|_| draw()).collect()
}

/// The competing item of every step (Zhao et al. 2018, Sec 2.4.2): of the same group, of other feedback (skipped against
/// clicked or ordered), the nearest in time; of two as near, the earlier.
fn competitors(steps: &[Step], groups: &[u32]) -> Vec<Option<ItemId>> {
    let group = |step: &Step| groups[step.item.row()];
    let competes =
        |a: &Step, b: &Step| is_positive(a.feedback) != is_positive(b.feedback) && group(a) == group(b);
    let of = |(t, step): (usize, &Step)| {
        let others = steps.iter().enumerate().filter(|(_, other)| competes(step, other));
        others.min_by_key(|(k, _)| k.abs_diff(t)).map(|(_, other)| other.item)
    };
    steps.iter().enumerate().map(of).collect()
}

/// Whether feedback counts as positive: a click or an order.
pub(super) fn is_positive(feedback: Feedback) -> bool {
    feedback != Feedback::Skip
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    const NONE: ItemId = ItemId::PADDING;

    /// Items 0 to 9 in the groups 0, 1, 0, 1, ...
    fn groups() -> Vec<u32> {
        (0..10).map(|k| k % 2).collect()
    }

    fn step(item: u32, feedback: Feedback) -> Step {
        Step { item: ItemId(item), feedback, ending: Ending::None }
    }

    fn episode(first: u32, length: u32, ending: Ending) -> Episode {
        let mut steps: Vec<Step> = (first..first + length).map(|k| step(k, Feedback::Click)).collect();
        steps.last_mut().unwrap().ending = ending;
        let recall = RecallSet::new((0..10).map(ItemId).collect());
        Episode { windows: vec![NONE; 6], recall, steps }
    }

    #[test]
    fn a_competitor_is_of_the_same_category_of_other_feedback_and_the_nearest() {
        use Feedback::{Click, Order, Skip};
        let steps =
            [step(0, Click), step(1, Skip), step(2, Skip), step(4, Order), step(6, Skip), step(3, Skip)];
        let found = competitors(&steps, &groups());
        // The skips of 2 and of 6 are as near to the order of 4: the earlier one.
        let expected = [Some(2), None, Some(4), Some(2), Some(4), None];
        assert_eq!(found, expected.map(|item| item.map(ItemId)));
    }

    #[test]
    fn a_row_holds_what_the_session_had_then() {
        let mut memory = Memory::new(100, groups());
        memory.push(episode(3, 4, Ending::Truncated));
        let mut rng = Streams::new(1, "test").sequential();
        for _ in 0..50 {
            let row = memory.draw(0, &mut rng);
            let t = row.item.0 - 3;
            // N = 2: the last two of what was clicked before, and after.
            let window = |last: i64| [last - 1, last].map(|k| if k < 3 { NONE } else { ItemId(k as u32) });
            assert_eq!(row.windows[2..4], window(i64::from(t) + 2));
            assert_eq!(row.next_windows[2..4], window(i64::from(t) + 3));
            let left: Vec<ItemId> = (0..10).filter(|k| !(3..=3 + t).contains(k)).map(ItemId).collect();
            assert_eq!(row.candidates, left);
            let few = memory.draw(2, &mut rng);
            assert_eq!(few.candidates.len(), 2);
            assert!(few.candidates.iter().all(|item| !(3..=few.item.0).contains(&item.0)));
        }
    }

    #[test]
    fn who_has_left_has_no_next_item() {
        let mut memory = Memory::new(100, groups());
        memory.push(episode(0, 1, Ending::Terminated));
        let row = memory.draw(0, &mut Streams::new(1, "test").sequential());
        assert!(row.candidates.is_empty());
    }

    #[test]
    fn the_oldest_sessions_give_way() {
        let mut memory = Memory::new(5, groups());
        for first in 0..4 {
            memory.push(episode(first, 3, Ending::Truncated));
        }
        assert_eq!(memory.len(), 3);
        let mut rng = Streams::new(1, "test").sequential();
        assert!((0..20).all(|_| memory.draw(1, &mut rng).item.0 >= 3));
    }
}
