//! What was shown and skipped, sampled, where a data set has actions only.
//!
//! Each item that a user interacted with stands in a page with `per_positive` others: of the same category, interacted with
//! by anyone on the same UTC day, by this user not in this session; in proportion to how often they are, so that
//! popularity alone does not tell a click from a skip. The item's place in its page is random. Where the category
//! has no other item left that day, the whole day's items are drawn from; where the day has none, the page is shorter.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use common::{
    Feedback,
    seed::{Rng, Streams},
};
use rand::RngExt;

use super::collect::{Attributes, Event};
use crate::canonical::NegativesNote;

const DAY_MS: i64 = 86_400_000;

/// Draws of an item that is already in the session before its pool counts as used up.
const TRIES: usize = 50;

type Category = Option<u32>;

/// Items to draw from.
pub(super) struct Negatives {
    /// Item of every event, by (day, category): an item as often as it was interacted with.
    pool: Vec<u32>,
    days: HashMap<i64, Range<usize>>,
    categories: HashMap<(i64, Category), Range<usize>>,
    item_categories: Vec<Category>,
    streams: Streams,
    /// What was drawn so far.
    pub(super) note: NegativesNote,
    used: HashSet<u32>,
    page: Vec<u32>,
}

impl Negatives {
    /// Pools of all events of a data set.
    pub(super) fn new(events: &[Event], items: &[Attributes], note: NegativesNote) -> Self {
        let item_categories: Vec<Category> = items.iter().map(|item| item.category).collect();
        let mut keyed: Vec<(i64, Category, u32)> = events
            .iter()
            .map(|event| (event.time_ms.div_euclid(DAY_MS), item_categories[event.item as usize], event.item))
            .collect();
        keyed.sort_unstable();
        let mut days: HashMap<i64, Range<usize>> = HashMap::new();
        let mut categories: HashMap<(i64, Category), Range<usize>> = HashMap::new();
        for (at, &(day, category, _)) in keyed.iter().enumerate() {
            days.entry(day).or_insert(at..at).end = at + 1;
            categories.entry((day, category)).or_insert(at..at).end = at + 1;
        }
        Self {
            pool: keyed.into_iter().map(|(.., item)| item).collect(),
            days,
            categories,
            item_categories,
            streams: Streams::new(note.seed, "logs/negatives"),
            note,
            used: HashSet::new(),
            page: Vec::new(),
        }
    }

    /// Puts each event of a session into a page of its own; `session` numbers the random stream.
    pub(super) fn surround(&mut self, session: u64, events: &[Event], shown: &mut Vec<Event>) {
        shown.clear();
        self.used.clear();
        self.used.extend(events.iter().map(|event| event.item));
        let mut rng = self.streams.at(session, 0);
        for event in events {
            self.draw_page(event, &mut rng);
            let place = rng.random_range(0..=self.page.len());
            let skipped = self.page.iter().map(|&item| Event { item, feedback: Feedback::Skip, ..*event });
            shown.extend(skipped);
            shown.insert(shown.len() - self.page.len() + place, *event);
        }
    }

    fn draw_page(&mut self, event: &Event, rng: &mut Rng) {
        self.page.clear();
        let day = event.time_ms.div_euclid(DAY_MS);
        let category = self.item_categories[event.item as usize];
        let near = self.categories.get(&(day, category)).cloned().unwrap_or(0..0);
        let far = self.days.get(&day).cloned().unwrap_or(0..0);
        for _ in 0..self.note.per_positive {
            if self.draw(near.clone(), rng) {
                self.note.n_same_category += 1;
            } else if self.draw(far.clone(), rng) {
                self.note.n_same_day += 1;
            } else {
                self.note.n_missing += 1;
            }
        }
    }

    fn draw(&mut self, range: Range<usize>, rng: &mut Rng) -> bool {
        for _ in 0..TRIES {
            if range.is_empty() {
                return false;
            }
            let item = self.pool[rng.random_range(range.clone())];
            if self.used.insert(item) {
                self.page.push(item);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 items of two categories on two days: the item's day is its number's half, its category the parity.
    fn world(per_positive: u32) -> (Vec<Event>, Negatives) {
        let events: Vec<Event> = (0..40)
            .map(|item| Event {
                user: item,
                session: None,
                time_ms: i64::from(item / 20) * DAY_MS,
                position: None,
                item,
                feedback: Feedback::Click,
                propensity: None,
            })
            .collect();
        let items: Vec<Attributes> =
            (0..40).map(|item| Attributes { category: Some(item % 2), price: None }).collect();
        let note = NegativesNote { per_positive, seed: 1, n_same_category: 0, n_same_day: 0, n_missing: 0 };
        let negatives = Negatives::new(&events, &items, note);
        (events, negatives)
    }

    #[test]
    fn negatives_are_of_the_same_category_and_day_distinct_and_not_of_the_session() {
        let (events, mut negatives) = world(4);
        let mut shown = Vec::new();
        let session = [events[20], events[22]];
        negatives.surround(3, &session, &mut shown);
        assert_eq!(shown.len(), 10);
        let items: HashSet<u32> = shown.iter().map(|event| event.item).collect();
        assert_eq!(items.len(), 10, "all distinct");
        assert!(items.iter().all(|item| *item >= 20 && item % 2 == 0), "{items:?}");
        let kept: Vec<&Event> = shown.iter().filter(|event| event.feedback.clicked()).collect();
        assert_eq!(kept, [&session[0], &session[1]]);
        assert!(shown[..5].contains(&session[0]) && shown[5..].contains(&session[1]));
    }

    #[test]
    fn a_used_up_category_falls_back_on_the_day_and_a_used_up_day_on_fewer() {
        let (events, mut negatives) = world(30);
        let mut shown = Vec::new();
        negatives.surround(0, &events[..1], &mut shown);
        assert!(shown.iter().all(|event| event.item < 20));
        let NegativesNote { n_same_category, n_same_day, n_missing, .. } = negatives.note;
        assert_eq!((n_same_category, n_same_day, n_missing), (9, 10, 11));
    }

    #[test]
    fn places_in_the_page_are_random_and_depend_on_the_session_and_seed_only() {
        let (events, mut negatives) = world(4);
        let mut shown = Vec::new();
        let mut places = [0; 5];
        for session in 0..200 {
            negatives.surround(session, &events[..1], &mut shown);
            places[shown.iter().position(|event| event.feedback.clicked()).unwrap()] += 1;
        }
        assert!(places.iter().all(|&n| n > 20), "{places:?}");
        negatives.surround(7, &events[..1], &mut shown);
        let again = shown.clone();
        negatives.surround(8, &events[..1], &mut shown);
        assert_ne!(again, shown);
        negatives.surround(7, &events[..1], &mut shown);
        assert_eq!(again, shown);
    }
}
