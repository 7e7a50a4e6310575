//! Rollout threads: budget, stop, failures, new weights.

use std::{collections::BTreeSet, thread::sleep};

use agent::Policy;
use common::{
    SessionId,
    transition::{Ending, PeriodStart, Step},
};
use tokio::sync::watch;

use super::*;
use crate::{
    Share, VersionedPolicy,
    test_rollout::{CASE, Case, model, rollout},
    weights::{Freshness, Known},
};

/// No wait of these tests is longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A sink that counts, and misbehaves at a given step.
struct TestSink {
    steps: Arc<Mutex<Vec<(SessionId, Ending)>>>,
    flushed: Arc<AtomicBool>,
    at_step: Option<(usize, fn() -> replay::Error)>,
    flush: fn() -> Result<(), replay::Error>,
}

impl TransitionSink for TestSink {
    fn begin_period(&mut self, _start: &PeriodStart) -> Result<(), replay::Error> {
        Ok(())
    }

    fn step(&mut self, session: SessionId, step: Step) -> Result<(), replay::Error> {
        let mut steps = self.steps.lock().unwrap();
        steps.push((session, step.ending));
        match self.at_step {
            Some((number, misbehave)) if steps.len() == number => {
                drop(steps);
                Err(misbehave())
            }
            _ => Ok(()),
        }
    }

    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), replay::Error> {
        self.flushed.store(true, Relaxed);
        (self.flush)()
    }
}

#[derive(Clone, Default)]
struct Seen {
    steps: Arc<Mutex<Vec<(SessionId, Ending)>>>,
    flushed: Arc<AtomicBool>,
}

impl Seen {
    fn sink(&self, at_step: Option<(usize, fn() -> replay::Error)>) -> Box<dyn TransitionSink> {
        Box::new(self.test_sink(at_step, || Ok(())))
    }

    fn test_sink(
        &self,
        at_step: Option<(usize, fn() -> replay::Error)>,
        flush: fn() -> Result<(), replay::Error>,
    ) -> TestSink {
        let (steps, flushed) = (Arc::clone(&self.steps), Arc::clone(&self.flushed));
        TestSink { steps, flushed, at_step, flush }
    }
}

fn parts(n_actors: u64, seen: &Seen) -> Vec<RolloutThread> {
    let part = |actor| RolloutThread {
        rollout: rollout(Case { share: Share { actor, n_actors }, ..CASE }),
        sink: seen.sink(None),
    };
    (0..n_actors).map(part).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited too long: {what}");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_budget_is_shared_and_met_within_one_step_of_the_sessions() {
    for n_actors in [1, 3] {
        let seen = Seen::default();
        let actors = Actors::start(parts(n_actors, &seen), None, 1000).unwrap();
        wait_until("the budget", || actors.is_finished());
        let steps = actors.progress().counts.steps;
        assert!((1000..1003).contains(&steps), "{steps}");
        assert!(actors.progress().steps_per_second() > 0.0);
        let parts = actors.join().unwrap();
        assert_eq!(parts.iter().map(|part| part.rollout.steps()).sum::<u64>(), steps);
        assert_eq!(seen.steps.lock().unwrap().len() as u64, steps);
        assert!(seen.flushed.load(Relaxed));
    }
}

#[test]
fn sessions_that_a_last_flush_names_as_lost_cost_nothing_of_the_rest() {
    let seen = Seen::default();
    let mut parts = parts(2, &seen);
    let lost = || Err(replay::Error::NotStored { sessions: vec![3, 5] });
    parts[0].sink = Box::new(seen.test_sink(None, lost));
    assert_eq!(Actors::start(parts, None, 1000).unwrap().join().unwrap().len(), 2);
    assert!(seen.flushed.load(Relaxed));
}

#[test]
fn no_session_is_played_twice_whatever_the_number_of_threads() {
    let seen = Seen::default();
    Actors::start(parts(3, &seen), None, 2000).unwrap().join().unwrap();
    let steps = seen.steps.lock().unwrap();
    let ended: Vec<SessionId> =
        steps.iter().filter(|(_, ending)| *ending != Ending::None).map(|(session, _)| *session).collect();
    assert_eq!(ended.iter().collect::<BTreeSet<_>>().len(), ended.len());
}

#[test]
fn stop_ends_the_threads_and_gives_the_rollouts_back() {
    let actors = Actors::start(parts(2, &Seen::default()), None, u64::MAX).unwrap();
    wait_until("some steps", || actors.progress().counts.steps > 10);
    assert!(!actors.is_finished());
    actors.stop();
    let parts = actors.join().unwrap();
    assert_eq!(parts.len(), 2);
    assert_ne!(parts[0].rollout.save(), parts[1].rollout.save());
}

fn fail_in_thread_1(misbehave: fn() -> replay::Error) -> String {
    let seen = Seen::default();
    let mut parts = parts(2, &seen);
    parts[1].sink = Seen::default().sink(Some((50, misbehave)));
    let actors = Actors::start(parts, None, u64::MAX).unwrap();
    wait_until("all threads to stop", || actors.is_finished());
    let error = actors.join().map(|_| ()).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_thread_that_fails_stops_all_and_says_why() {
    let text = fail_in_thread_1(|| replay::Error::Closed("replay shard 0".to_owned()));
    assert!(text.contains("rollout thread 1") && text.contains("replay shard 0 has ended"), "{text}");
}

#[test]
fn a_thread_that_panics_stops_all_and_says_why() {
    let text = fail_in_thread_1(|| panic!("the test sink breaks down"));
    assert!(text.contains("thread 1 panicked") && text.contains("the test sink breaks down"), "{text}");
}

#[test]
fn new_weights_are_taken_between_steps_and_old_ones_never() {
    let (newest, feed) = watch::channel(None);
    let parts = parts(2, &Seen::default());
    let items = Arc::clone(parts[0].rollout.policy().policy.items());
    let publish = |version| {
        let policy = Policy::random(&model(CASE.conditioning), Arc::clone(&items), version).unwrap();
        newest.send_replace(Some(Arc::new(VersionedPolicy { version, learner_step: 0, policy })));
    };
    let actors = Actors::start(parts, Some(NewWeights::local(feed)), u64::MAX).unwrap();
    assert_eq!(actors.progress().oldest_version, 4);
    publish(7);
    wait_until("version 7 in all threads", || actors.progress().oldest_version == 7);
    publish(6);
    publish(9);
    wait_until("version 9 in all threads", || actors.progress().oldest_version == 9);
    actors.stop();
    let parts = actors.join().unwrap();
    assert!(parts.iter().all(|part| part.rollout.policy().version == 9));
}

#[test]
fn the_end_of_the_broadcast_ends_the_run_with_an_error() {
    let (newest, feed) = watch::channel(None);
    drop(newest);
    let error =
        Actors::start(parts(1, &Seen::default()), Some(NewWeights::local(feed)), u64::MAX).unwrap().join();
    let Err(Error::Thread { thread: 0, source }) = error.map(|_| ()) else { panic!("thread 0 must fail") };
    assert!(matches!(*source, Error::BroadcastEnded));
}

#[test]
fn threads_pause_while_their_weights_may_be_too_old_and_go_on_when_they_are_fresh() {
    let seen = Seen::default();
    let (_sender, feed) = watch::channel(None);
    let freshness = Freshness::default();
    let weights = NewWeights { feed, max_staleness: Some((freshness.clone(), Duration::from_millis(40))) };
    sleep(Duration::from_millis(60));
    let actors = Actors::start(parts(1, &seen), Some(weights), u64::MAX).unwrap();
    wait_until("a pause", || actors.progress().paused > Duration::from_millis(100));
    assert_eq!(actors.progress().counts.steps, 0);
    wait_until("a step with fresh weights", || {
        let now = Instant::now();
        freshness.renew(Known { version: 4, newest_at: now, published_at: now });
        actors.progress().counts.steps > 0
    });
    actors.stop();
    actors.join().unwrap();
}
