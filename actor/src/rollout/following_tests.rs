//! The bound on the age of the weights, where a process or a peer stands still in the middle of a step.

use std::{thread::sleep, time::Instant};

use agent::Policy;
use common::{
    SessionId,
    transition::{PeriodStart, Step},
};
use replay::sink::{Recorded, Recorder};
use tokio::sync::watch;

use super::*;
use crate::{
    test_rollout::{CASE, Case, model, rollout},
    test_world::TestWorld,
    weights::{Freshness, Known},
};

const LIMIT: Duration = Duration::from_millis(200);

/// A recorder that makes a rollout wait for longer than the limit when it opens its second period.
struct Waits<F> {
    recorder: Recorder,
    at_last: F,
}

impl<F: FnMut() + Send> TransitionSink for Waits<F> {
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), replay::Error> {
        if self.recorder.calls.len() == 1 {
            sleep(2 * LIMIT);
            (self.at_last)();
        }
        self.recorder.begin_period(start)
    }
    fn step(&mut self, session: SessionId, step: Step) -> Result<(), replay::Error> {
        self.recorder.step(session, step)
    }
    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
}

struct Learner {
    newest: watch::Sender<Option<Arc<VersionedPolicy>>>,
    freshness: Freshness,
}

impl Learner {
    /// Version 4 is in use, and the newest now.
    fn of(rollout: &mut Rollout) -> Self {
        let (newest, feed) = watch::channel(None);
        let learner = Self { newest, freshness: Freshness::default() };
        learner.says(4);
        rollout.follow(NewWeights { feed, max_staleness: Some((learner.freshness.clone(), LIMIT)) });
        learner
    }

    fn says(&self, version: u64) {
        let now = Instant::now();
        self.freshness.renew(Known { version, newest_at: now, published_at: now });
    }

    fn publish(&self, version: u64) {
        let items = Arc::clone(TestWorld::new(1, 12, 0.0).items());
        let policy = Policy::random(&model(CASE.conditioning), items, version).unwrap();
        self.says(version);
        self.newest.send_replace(Some(Arc::new(VersionedPolicy { version, learner_step: 0, policy })));
    }
}

/// Versions of the periods, and number of the steps.
fn recorded(recorder: &Recorder) -> (Vec<u64>, usize) {
    let version = |call: &Recorded| match call {
        Recorded::Period(start) => Some(start.policy_version),
        Recorded::Step(..) => None,
    };
    let versions: Vec<u64> = recorder.calls.iter().filter_map(version).collect();
    (versions.clone(), recorder.calls.len() - versions.len())
}

#[test]
fn an_item_that_was_chosen_by_weights_that_became_too_old_is_not_shown_and_chosen_again() {
    let mut rollout = rollout(CASE);
    let learner = Learner::of(&mut rollout);
    let mut sink = Waits { recorder: Recorder::default(), at_last: || {} };
    // The sink holds the rollout in the middle of a step: the goals are chosen, the items are not.
    assert_eq!(rollout.step(&mut sink).unwrap().steps, 0);
    assert_eq!(recorded(&sink.recorder), (vec![4, 4, 4], 0));
    assert!(rollout.is_too_old());
    assert_eq!(rollout.step(&mut sink).unwrap().steps, 0, "as often as it is tried");
    learner.says(4);
    assert_eq!(rollout.step(&mut sink).unwrap().steps, 3);
    assert_eq!(recorded(&sink.recorder), (vec![4, 4, 4], 3), "each period is opened once");
    // A version that was replaced only ages, whatever is heard of its successor.
    learner.says(5);
    assert!(!rollout.is_too_old());
    sleep(LIMIT);
    learner.says(5);
    assert!(rollout.is_too_old());
    learner.publish(6);
    rollout.take_newest().unwrap();
    assert!(!rollout.is_too_old());
}

#[test]
fn a_wait_for_the_sink_costs_nothing_where_newer_weights_have_come_meanwhile() {
    let mut rollout = rollout(CASE);
    let learner = Learner::of(&mut rollout);
    let mut sink = Waits { recorder: Recorder::default(), at_last: || learner.publish(5) };
    assert_eq!(rollout.step(&mut sink).unwrap().steps, 3);
    assert_eq!(recorded(&sink.recorder), (vec![4, 4, 4], 3));
    assert_eq!(rollout.policy().version, 5);
}

#[test]
fn an_answer_that_comes_when_the_weights_are_too_old_is_void() {
    let mut rollout = rollout(Case { answers_after: 2 * LIMIT, ..CASE });
    let _learner = Learner::of(&mut rollout);
    let mut sink = Recorder::default();
    let error = rollout.step(&mut sink).unwrap_err();
    assert!(matches!(error, Error::StalePolicy { age } if age > LIMIT), "{error}");
    assert_eq!(recorded(&sink), (vec![4, 4, 4], 0), "no step was handed over");
}
