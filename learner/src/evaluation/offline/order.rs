//! The order in which a method puts a session's logged items.
//!
//! In: a ranker and a logged session; out: the feedback of the session's items, best first. Equal scores are ordered by
//! chance: a method that cannot tell items apart must not profit from the order in which they were logged.

use common::{Feedback, ItemId, history, seed::Rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::baselines::{LoggedSession, Ranker, SessionState, Step};

/// What the ranker knows when it places an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All items are placed at once, in the state before the session.
    Static,
    /// One item at a time: the best is placed, its logged feedback revealed, the windows updated.
    Sequential,
}

impl Mode {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Sequential => "sequential",
        }
    }
}

/// Feedback of the items of `session` in the ranker's order; `ties` decides between equals.
pub fn rank(
    ranker: &mut dyn Ranker,
    session: &LoggedSession<'_>,
    mode: Mode,
    ties: &mut Rng,
) -> Vec<Feedback> {
    // Each with a key; of equal scores the larger key wins.
    let mut left: Vec<(Step, u64)> = session.steps.iter().map(|&step| (step, ties.random())).collect();
    let (mut items, mut scores): (Vec<ItemId>, Vec<f32>) = (Vec::new(), Vec::new());
    let mut judge = |state: &SessionState<'_>, left: &[(Step, u64)]| -> Vec<(f32, u64)> {
        items.clear();
        items.extend(left.iter().map(|(step, _)| step.item));
        scores.resize(items.len(), 0.0);
        ranker.scores(state, &items, &mut scores);
        // Adding zero makes -0 equal to 0.
        scores.iter().zip(left).map(|(&score, &(_, key))| (score + 0.0, key)).collect()
    };
    let is_above = |a: &(f32, u64), b: &(f32, u64)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    match mode {
        Mode::Static => {
            let judged = judge(&session.initial_state(), &left);
            let mut order: Vec<usize> = (0..left.len()).collect();
            order.sort_unstable_by(|&i, &j| is_above(&judged[j], &judged[i]));
            order.into_iter().map(|i| left[i].0.feedback).collect()
        }
        Mode::Sequential => {
            let mut windows = session.start_windows.to_vec();
            let mut shown = Vec::with_capacity(left.len());
            while !left.is_empty() {
                let state = SessionState { user: Some(session.user), windows: &windows, shown: &shown };
                let judged = judge(&state, &left);
                let best = (0..left.len()).max_by(|&i, &j| is_above(&judged[i], &judged[j]));
                let (step, _) = left.swap_remove(best.expect("an item is left"));
                history::push(&mut windows, step.item, step.feedback);
                shown.push(step);
            }
            shown.iter().map(|step| step.feedback).collect()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use Feedback::{Click, Order, Skip};
    use common::{history::Kind, seed::Streams};

    use super::*;
    use crate::baselines::InteractionLog;

    /// Scores by a function of (state, item).
    #[derive(Clone)]
    pub(in crate::evaluation::offline) struct By<F>(pub(in crate::evaluation::offline) F);

    impl<F: Fn(&SessionState<'_>, ItemId) -> f32 + Clone + Send + 'static> Ranker for By<F> {
        fn name(&self) -> &str {
            "by"
        }

        fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
            scores.iter_mut().zip(candidates).for_each(|(score, &item)| *score = (self.0)(state, item));
        }

        fn fork(&self) -> Box<dyn Ranker> {
            Box::new(self.clone())
        }
    }

    /// A log of one session that showed items 0, 1, ...
    pub(crate) fn log(feedback: &[Feedback]) -> InteractionLog {
        let mut log = InteractionLog::new(2);
        let step = |(item, &feedback)| Step { item: ItemId(item), feedback, propensity: None };
        log.push(0, &[ItemId::PADDING; 6], (0..).zip(feedback).map(step));
        log
    }

    fn ranked(ranker: &mut dyn Ranker, feedback: &[Feedback], mode: Mode, seed: u64) -> Vec<Feedback> {
        rank(ranker, &log(feedback).session(0), mode, &mut Streams::new(seed, "test").sequential())
    }

    #[test]
    fn scores_alone_give_the_same_order_in_both_modes() {
        for mode in [Mode::Static, Mode::Sequential] {
            let mut last_first = By(|_: &SessionState<'_>, item: ItemId| item.0 as f32);
            assert_eq!(ranked(&mut last_first, &[Skip, Click, Order], mode, 0), [Order, Click, Skip]);
        }
    }

    #[test]
    fn only_the_sequential_mode_learns_from_feedback() {
        // Ascending until a click has been seen, descending after it.
        let mut turning = By(|state: &SessionState<'_>, item: ItemId| {
            let clicked = history::length(history::window(state.windows, Kind::Clicked)) > 0;
            if clicked { item.0 as f32 } else { -(item.0 as f32) }
        });
        let feedback = [Skip, Click, Skip, Order];
        assert_eq!(ranked(&mut turning, &feedback, Mode::Static, 0), [Skip, Click, Skip, Order]);
        assert_eq!(ranked(&mut turning, &feedback, Mode::Sequential, 0), [Skip, Click, Order, Skip]);
    }

    #[test]
    fn equals_are_ordered_by_the_seed_and_not_by_the_log() {
        for mode in [Mode::Static, Mode::Sequential] {
            let mut equal =
                By(|_: &SessionState<'_>, item: ItemId| if item.0.is_multiple_of(2) { 0.0 } else { -0.0 });
            let mut order = |seed| ranked(&mut equal, &[Click, Skip, Skip, Skip], mode, seed);
            assert_eq!(order(1), order(1));
            let n = 4000;
            let mut places = [0.0; 4];
            for seed in 0..n {
                places[order(seed).iter().position(|&feedback| feedback == Click).unwrap()] += 1.0;
            }
            // Binomial(4000, 1/4): a standard error of 27; five of them.
            assert!(places.iter().all(|count: &f64| (count - 1000.0).abs() < 137.0), "{places:?}");
        }
    }
}
