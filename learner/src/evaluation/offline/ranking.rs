//! One method over the sessions of a log.
//!
//! In: a ranker and a log; out: the measures of every session with a click. Threads share the sessions; their number does
//! not show in the result, as scores depend on the state only and ties on (seed, session).

use common::{Feedback, ItemId, seed::Streams};

use super::{
    Quality,
    order::{Mode, rank},
};
use crate::baselines::{InteractionLog, LoggedSession, Ranker, SessionState};

/// What the tables call the order in which items were shown.
pub const LOGGED: &str = "logged order";
/// And an order by chance.
pub const RANDOM: &str = "random";

/// The measures of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// The method.
    pub name: String,
    /// `[S]`; `None` for a session without a click.
    pub sessions: Vec<Option<Quality>>,
}

impl Ranking {
    /// By the scores of a ranker.
    pub fn by_ranker(
        ranker: &dyn Ranker,
        log: &InteractionLog,
        mode: Mode,
        seed: u64,
        threads: usize,
    ) -> Self {
        let streams = Streams::new(seed, "evaluation/ties");
        let numbers: Vec<usize> = (0..log.n_sessions()).collect();
        let share = numbers.len().div_ceil(threads.max(1)).max(1);
        let of = |ranker: &mut dyn Ranker, s: usize| {
            let session = log.session(s);
            let mut ties = streams.at(s as u64, 0);
            has_click(&session).then(|| Quality::of(&rank(ranker, &session, mode, &mut ties))).flatten()
        };
        let parts: Vec<Vec<Option<Quality>>> = std::thread::scope(|scope| {
            let work = |part: &'_ [usize]| {
                let (part, mut ranker, of) = (part.to_vec(), ranker.fork(), &of);
                scope.spawn(move || part.into_iter().map(|s| of(&mut *ranker, s)).collect())
            };
            let handles: Vec<_> = numbers.chunks(share).map(work).collect();
            let join = |handle: std::thread::ScopedJoinHandle<'_, _>| {
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            handles.into_iter().map(join).collect()
        });
        Self { name: ranker.name().to_owned(), sessions: parts.concat() }
    }

    /// By the order in which items were shown.
    pub fn logged_order(log: &InteractionLog) -> Self {
        let of = |session: LoggedSession<'_>| {
            Quality::of(&session.steps.iter().map(|step| step.feedback).collect::<Vec<Feedback>>())
        };
        Self { name: LOGGED.to_owned(), sessions: log.sessions().map(of).collect() }
    }

    /// By chance.
    pub fn random(log: &InteractionLog, seed: u64, threads: usize) -> Self {
        Self::by_ranker(&Random, log, Mode::Static, seed, threads)
    }
}

/// Sessions without one are not scored: their measures do not exist.
fn has_click(session: &LoggedSession<'_>) -> bool {
    session.steps.iter().any(|step| step.feedback.clicked())
}

/// Finds all items equal: ties are ordered by chance.
#[derive(Clone, Copy, Debug)]
pub struct Random;

impl Ranker for Random {
    fn name(&self) -> &str {
        RANDOM
    }

    fn scores(&mut self, _state: &SessionState<'_>, _candidates: &[ItemId], scores: &mut [f32]) {
        scores.fill(0.0);
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(*self)
    }
}

#[cfg(test)]
mod tests {
    use Feedback::{Click, Order, Skip};

    use super::*;
    use crate::evaluation::offline::order::tests::{By, log};

    /// Mean measures of random order over many draws of one session.
    fn of_random(feedback: &[Feedback]) -> [f64; 4] {
        let session = log(feedback);
        let mut many = InteractionLog::new(2);
        for user in 0..20_000 {
            many.push(user, session.session(0).start_windows, session.session(0).steps.iter().copied());
        }
        let found: Vec<Quality> =
            Ranking::random(&many, 3, 2).sessions.into_iter().map(Option::unwrap).collect();
        let mean = |of: fn(&Quality) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
        [mean(|q| q.ap), mean(|q| q.ndcg_20), mean(|q| q.ndcg_40), mean(|q| q.order_rr.unwrap_or(0.0))]
    }

    /// Their expectations. An item at rank k is relevant with P/n, and then 1 + (k-1)(P-1)/(n-1) of the first k are;
    /// every rank has the mean gain; the first of O orders is at rank r with C(n-r, O-1) / C(n, O).
    fn expected(feedback: &[Feedback]) -> [f64; 4] {
        let n = feedback.len() as f64;
        let relevant = feedback.iter().filter(|f| f.clicked()).count() as f64;
        let ranks = || (1..=feedback.len()).map(|k| k as f64);
        let ap = ranks().map(|k| (1.0 + (k - 1.0) * (relevant - 1.0) / (n - 1.0)) / k).sum::<f64>() / n;
        let ndcg = |at: usize| {
            let mut gains: Vec<f64> = feedback.iter().map(|f| f64::from(f.reward())).collect();
            gains.sort_by(|a, b| b.total_cmp(a));
            let mean = gains.iter().sum::<f64>() / n;
            let discount = |j: usize| 1.0 / ((j + 2) as f64).log2();
            let best: f64 = gains.iter().take(at).enumerate().map(|(j, gain)| gain * discount(j)).sum();
            (0..at.min(gains.len())).map(discount).sum::<f64>() * mean / best
        };
        let orders = feedback.iter().filter(|f| f.ordered()).count();
        // P(no order among the first r).
        let none =
            |r: f64| (0..orders).map(|i| (n - r - i as f64).max(0.0) / (n - i as f64)).product::<f64>();
        let rr = if orders == 0 { 0.0 } else { ranks().map(|r| (none(r - 1.0) - none(r)) / r).sum() };
        [ap, ndcg(20), ndcg(40), rr]
    }

    #[test]
    fn random_order_has_the_measures_of_the_closed_form() {
        for feedback in [
            [vec![Click; 3], vec![Skip; 9], vec![Order; 2]].concat(),
            [vec![Order], vec![Skip; 59]].concat(),
            [vec![Click; 25], vec![Skip; 20], vec![Order; 3]].concat(),
            vec![Skip, Click],
        ] {
            for (found, expected) in of_random(&feedback).into_iter().zip(expected(&feedback)) {
                // The standard deviation of each is below 0.32; over 20,000 draws, four standard errors.
                assert!((found - expected).abs() < 0.009, "{found}, expected {expected}: {feedback:?}");
            }
        }
    }

    #[test]
    fn threads_do_not_show_and_sessions_without_a_click_have_no_measure() {
        let mut many = InteractionLog::new(2);
        for (user, feedback) in
            [[Skip, Skip, Click], [Skip, Skip, Skip], [Order, Skip, Click]].iter().enumerate()
        {
            let one = log(feedback);
            many.push(user as u64, one.session(0).start_windows, one.session(0).steps.iter().copied());
        }
        let by_item = By(|_: &SessionState<'_>, item: ItemId| -(item.0 as f32));
        let one = Ranking::by_ranker(&by_item, &many, Mode::Sequential, 0, 1);
        assert_eq!(one, Ranking::by_ranker(&by_item, &many, Mode::Sequential, 0, 7));
        assert_eq!(one.sessions.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(one.sessions, Ranking::logged_order(&many).sessions, "ascending ids are the logged order");
    }
}
