//! What was shown and skipped, sampled, where a data set has actions only.
//!
//! Before each item that a user interacted with stand skipped ones, as many as a geometric distribution gives whose mean is
//! `per_positive`. So the next impression is an interaction with the same probability, 1 / (1 + per_positive), however many
//! skips came before: any other number of skips, a fixed one above all, is a clock that a simulator learns and a policy
//! exploits.
//!
//! Skipped items are interacted with by anyone, by this user not in this session, and distinct within it; in proportion to
//! how often they are, so that popularity alone does not tell a click from a skip. They are of the same category and UTC
//! day. Where no such item is left (or the item has no category), of the same day; then of the days around; then of the
//! whole log. Only a session that has used up the log's items gets fewer skips than drawn.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use common::{
    Feedback,
    seed::{Rng, Streams},
};
use rand::{RngExt, seq::SliceRandom};

use super::collect::{Attributes, Event};
use crate::canonical::NegativesNote;

const DAY_MS: i64 = 86_400_000;

/// Days before and after that are near a day.
const DAYS_AROUND: i64 = 3;

/// Most skips before an interaction, in units of 1 + per_positive: about one in 160,000 draws is cut short.
const MOST_SKIPS: u32 = 12;

/// Draws of an item that is already in the session before its pool is looked through.
const TRIES: usize = 50;

/// Items to draw from.
pub(super) struct Negatives {
    /// Item of every event, by (day, category): an item as often as it was interacted with.
    pool: Vec<u32>,
    days: HashMap<i64, Range<usize>>,
    /// Items without a category are in none of these.
    categories: HashMap<(i64, u32), Range<usize>>,
    item_categories: Vec<Option<u32>>,
    /// Addressed by (session, interaction): how many skips.
    lengths: Streams,
    /// Addressed by session: which items.
    choices: Streams,
    /// What was drawn so far.
    pub(super) note: NegativesNote,
    /// Items of the session, shown before or interacted with at any time.
    used: HashSet<u32>,
    /// Items skipped before the interaction at hand.
    skipped: Vec<u32>,
}

impl Negatives {
    /// Pools of all events of a data set.
    pub(super) fn new(events: &[Event], items: &[Attributes], note: NegativesNote) -> Self {
        let item_categories: Vec<Option<u32>> = items.iter().map(|item| item.category).collect();
        let mut keyed: Vec<(i64, Option<u32>, u32)> = events
            .iter()
            .map(|event| (event.time_ms.div_euclid(DAY_MS), item_categories[event.item as usize], event.item))
            .collect();
        keyed.sort_unstable();
        let mut days: HashMap<i64, Range<usize>> = HashMap::new();
        let mut categories: HashMap<(i64, u32), Range<usize>> = HashMap::new();
        for (at, &(day, category, _)) in keyed.iter().enumerate() {
            days.entry(day).or_insert(at..at).end = at + 1;
            if let Some(category) = category {
                categories.entry((day, category)).or_insert(at..at).end = at + 1;
            }
        }
        Self {
            pool: keyed.into_iter().map(|(.., item)| item).collect(),
            days,
            categories,
            item_categories,
            lengths: Streams::new(note.seed, "logs/negatives/lengths"),
            choices: Streams::new(note.seed, "logs/negatives"),
            note,
            used: HashSet::new(),
            skipped: Vec::new(),
        }
    }

    /// Puts skips before each event of a session; `session` numbers the random streams.
    pub(super) fn interleave(&mut self, session: u64, events: &[Event], shown: &mut Vec<Event>) {
        shown.clear();
        self.used.clear();
        self.used.extend(events.iter().map(|event| event.item));
        let mut rng = self.choices.at(session, 0);
        for (place, event) in (0..).zip(events) {
            let n_skips = self.draw_length(session, place);
            self.draw_items(event, n_skips, &mut rng);
            shown.extend(self.skipped.iter().map(|&item| Event { item, feedback: Feedback::Skip, ..*event }));
            shown.push(*event);
        }
    }

    /// Skips before the interaction at `place` of a session.
    fn draw_length(&self, session: u64, place: u64) -> u32 {
        let mean = self.note.per_positive;
        let one_more = f64::from(mean) / (1.0 + f64::from(mean));
        // P(length >= k) = one_more^k, inverted; u lies in (0, 1]. ln 0 is -inf: no skips at all where the mean is 0.
        let u = 1.0 - self.lengths.at(session, place).random::<f64>();
        let length = (u.ln() / one_more.ln()).floor();
        (length as u32).min(MOST_SKIPS * (1 + mean))
    }

    /// Fills `skipped`, from the nearest pool that has items left.
    fn draw_items(&mut self, event: &Event, n_skips: u32, rng: &mut Rng) {
        self.skipped.clear();
        let mut n_missing = u64::from(n_skips);
        let mut drawn = [0; 4];
        for (pool, n_drawn) in self.pools(event).into_iter().zip(&mut drawn) {
            while n_missing > 0
                && let Some(item) = self.draw(pool.clone(), rng)
            {
                self.skipped.push(item);
                *n_drawn += 1;
                n_missing -= 1;
            }
        }
        // Items from farther away would stand last otherwise, and announce the interaction.
        self.skipped.shuffle(rng);
        let [same_category, same_day, days_around, whole_log] = drawn;
        self.note.n_same_category += same_category;
        self.note.n_same_day += same_day;
        self.note.n_days_around += days_around;
        self.note.n_whole_log += whole_log;
        self.note.n_missing += n_missing;
    }

    /// Where to draw from, nearest first; each holds the one before.
    fn pools(&self, event: &Event) -> [Range<usize>; 4] {
        let day = event.time_ms.div_euclid(DAY_MS);
        let category = self.item_categories[event.item as usize];
        let same_category = category.and_then(|category| self.categories.get(&(day, category)));
        let mut days =
            (day - DAYS_AROUND..=day + DAYS_AROUND).filter_map(|day| self.days.get(&day)).peekable();
        // The pool is in the order of days: those around are one piece of it.
        let start = days.peek().map_or(0, |first| first.start);
        let end = days.last().map_or(0, |last| last.end);
        [
            same_category.cloned().unwrap_or(0..0),
            self.days.get(&day).cloned().unwrap_or(0..0),
            start..end,
            0..self.pool.len(),
        ]
    }

    /// An item that the session does not have yet; none where the pool is used up.
    fn draw(&mut self, range: Range<usize>, rng: &mut Rng) -> Option<u32> {
        let pool = &self.pool[range];
        if pool.is_empty() {
            return None;
        }
        for _ in 0..TRIES {
            let item = pool[rng.random_range(0..pool.len())];
            if self.used.insert(item) {
                return Some(item);
            }
        }
        let left: Vec<u32> = pool.iter().copied().filter(|item| !self.used.contains(item)).collect();
        let item = *left.get(rng.random_range(0..left.len().max(1)))?;
        self.used.insert(item);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items numbered by day, half of each day's of category 0 and half of category 1, by parity.
    fn world(per_positive: u32, n_a_day: u32, days: &[i64]) -> (Vec<Event>, Negatives) {
        let day_of = |item: u32| days[(item / n_a_day) as usize];
        let n_items = n_a_day * u32::try_from(days.len()).unwrap();
        let events: Vec<Event> = (0..n_items)
            .map(|item| Event {
                user: item,
                session: None,
                time_ms: day_of(item) * DAY_MS,
                position: None,
                item,
                feedback: Feedback::Click,
                propensity: None,
            })
            .collect();
        let items: Vec<Attributes> =
            (0..n_items).map(|item| Attributes { category: Some(item % 2), price: None }).collect();
        let note = NegativesNote { per_positive, seed: 1, ..NegativesNote::default() };
        let negatives = Negatives::new(&events, &items, note);
        (events, negatives)
    }

    fn counts(negatives: &Negatives) -> [u64; 5] {
        let note = negatives.note;
        [note.n_same_category, note.n_same_day, note.n_days_around, note.n_whole_log, note.n_missing]
    }

    #[test]
    fn the_next_impression_is_a_click_as_often_after_any_number_of_skips() {
        const N: u32 = 9;
        const SESSIONS: u64 = 5000;
        const CLICKS: usize = 4;
        let (events, mut negatives) = world(N, 2000, &[0]);
        let mut shown = Vec::new();
        let (mut reached, mut clicked) = ([0.0; 31], [0.0; 31]);
        let mut n_skips = 0;
        for session in 0..SESSIONS {
            negatives.interleave(session, &events[..CLICKS], &mut shown);
            let mut run = 0;
            for event in &shown {
                if let Some(n) = reached.get_mut(run) {
                    *n += 1.0;
                    clicked[run] += f64::from(u8::from(event.feedback.clicked()));
                }
                run = if event.feedback.clicked() { 0 } else { run + 1 };
                n_skips += u64::from(!event.feedback.clicked());
            }
            assert_eq!(run, 0, "a session ends with an interaction");
        }
        let p = 1.0 / f64::from(1 + N);
        for (k, (n, clicks)) in reached.into_iter().zip(clicked).enumerate() {
            // Four standard errors of a share of n.
            let noise = 4.0 * (p * (1.0 - p) / n).sqrt();
            assert!((clicks / n - p).abs() < noise, "after {k} skips {clicks} of {n} are clicks");
        }
        let runs = SESSIONS as f64 * CLICKS as f64;
        let mean = n_skips as f64 / runs;
        // A geometric length's standard deviation is √(1 - p) / p.
        assert!((mean - f64::from(N)).abs() < 4.0 * (1.0 - p).sqrt() / p / runs.sqrt(), "mean {mean}");
        assert_eq!((negatives.note.n_wanted(), negatives.note.n_missing), (n_skips, 0));
    }

    #[test]
    fn negatives_are_of_the_same_category_and_day_distinct_and_not_of_the_session() {
        let (events, mut negatives) = world(4, 200, &[0, 1]);
        let mut shown = Vec::new();
        let session = [events[200], events[202]];
        for number in 0..20 {
            negatives.interleave(number, &session, &mut shown);
            let items: HashSet<u32> = shown.iter().map(|event| event.item).collect();
            assert_eq!(items.len(), shown.len(), "all distinct");
            assert!(items.iter().all(|item| *item >= 200 && item % 2 == 0), "{items:?}");
            let kept: Vec<&Event> = shown.iter().filter(|event| event.feedback.clicked()).collect();
            assert_eq!(kept, [&session[0], &session[1]]);
        }
        assert_eq!(counts(&negatives)[1..], [0; 4]);
    }

    #[test]
    fn a_used_up_pool_falls_back_on_the_day_the_days_around_and_the_whole_log_in_this_order() {
        let (events, mut negatives) = world(9, 20, &[0, 3, 7]);
        negatives.used.insert(0);
        negatives.draw_items(&events[0], 19, &mut Streams::new(0, "test").at(0, 0));
        assert!(negatives.skipped.iter().all(|item| *item < 20));
        assert_eq!(counts(&negatives), [9, 10, 0, 0, 0]);
        assert!(!negatives.skipped.is_sorted_by_key(|item| item % 2), "the order gives the pool away");
        // Day 3 is one of those around day 0, day 7 is not.
        negatives.draw_items(&events[0], 60, &mut Streams::new(0, "test").at(1, 0));
        assert_eq!(counts(&negatives), [9, 10, 20, 20, 20]);
        assert_eq!(negatives.note.missing_share(), 20.0 / 79.0);
    }

    #[test]
    fn items_without_a_category_are_no_category_of_their_own() {
        let (events, _) = world(5, 100, &[0]);
        let note = NegativesNote { per_positive: 5, seed: 1, ..NegativesNote::default() };
        let mut negatives = Negatives::new(&events, &[Attributes::default(); 100], note);
        negatives.draw_items(&events[0], 30, &mut Streams::new(0, "test").at(0, 0));
        assert_eq!(counts(&negatives), [0, 30, 0, 0, 0]);
    }

    #[test]
    fn skips_depend_on_the_seed_the_session_and_the_place_in_it_only() {
        let (events, mut negatives) = world(4, 200, &[0]);
        let mut shown = Vec::new();
        negatives.interleave(7, &events[..3], &mut shown);
        let again = shown.clone();
        negatives.interleave(8, &events[..3], &mut shown);
        assert_ne!(again, shown);
        negatives.interleave(7, &events[..3], &mut shown);
        assert_eq!(again, shown);
        // What follows in a session changes nothing of how many skips came before.
        let until_first = |shown: &[Event]| shown.iter().position(|event| event.feedback.clicked());
        negatives.interleave(7, &events[..1], &mut shown);
        assert_eq!(until_first(&again), until_first(&shown));
        let lengths = |session| [0, 1, 2, 3, 4, 5].map(|place| negatives.draw_length(session, place));
        assert_ne!(lengths(7), lengths(8));
    }

    #[test]
    fn without_negatives_nothing_is_put_between() {
        let (events, mut negatives) = world(0, 20, &[0]);
        let mut shown = Vec::new();
        for session in 0..50 {
            negatives.interleave(session, &events[..3], &mut shown);
            assert_eq!(shown, events[..3]);
        }
    }
}
