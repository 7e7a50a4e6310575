//! Rollouts in a tiny deterministic world.

use std::collections::BTreeMap;

use agent::Policy;
use common::{
    SessionId,
    config::{ExplorationConfig, GoalConditioning, ModelConfig},
    history,
};
use replay::sink::{Recorded, Recorder};

use super::*;
use crate::{
    test_rollout::{C, CASE, Case, M, model, rollout},
    test_world::N_DIMS,
};

fn play(rollout: &mut Rollout, n_steps: usize) -> Recorder {
    let mut recorder = Recorder::default();
    for _ in 0..n_steps {
        rollout.step(&mut recorder).unwrap();
    }
    recorder
}

/// The calls of each session that has ended, in order.
fn by_session(recorders: &[Recorder]) -> BTreeMap<SessionId, Vec<Recorded>> {
    let mut sessions: BTreeMap<SessionId, Vec<Recorded>> = BTreeMap::new();
    for call in recorders.iter().flat_map(|recorder| &recorder.calls) {
        let session = match call {
            Recorded::Period(start) => start.session,
            Recorded::Step(session, _) => *session,
        };
        sessions.entry(session).or_default().push(call.clone());
    }
    sessions.retain(
        |_, calls| matches!(calls.last(), Some(Recorded::Step(_, step)) if step.ending != Ending::None),
    );
    sessions
}

#[test]
fn a_session_is_periods_of_c_steps_and_a_partial_last_one() {
    let sessions = by_session(&[play(&mut rollout(CASE), 12)]);
    assert_eq!(sessions.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    for calls in sessions.values() {
        let shape: String =
            calls.iter().map(|call| if matches!(call, Recorded::Period(_)) { 'P' } else { 's' }).collect();
        assert_eq!(shape, "PsssssPsssssPss");
        let Some(Recorded::Step(_, last)) = calls.last() else { panic!("a session ends with a step") };
        assert_eq!(last.ending, Ending::Truncated);
    }
}

#[test]
fn windows_and_goals_of_a_period_are_those_at_its_start() {
    for calls in by_session(&[play(&mut rollout(CASE), 12)]).values() {
        let mut windows: Option<Vec<ItemId>> = None;
        let mut n_periods = 0;
        for call in calls {
            match call {
                Recorded::Period(start) => {
                    assert_eq!((start.period, start.policy_version), (n_periods, 4));
                    // Windows follow from the start by pushing the steps.
                    assert!(windows.is_none_or(|windows| windows == start.windows));
                    assert_eq!(start.goals.len(), M * N_DIMS);
                    assert!(start.goals.iter().all(|g| g.abs() < 1.94));
                    windows = Some(start.windows.clone());
                    n_periods += 1;
                }
                Recorded::Step(_, step) => {
                    history::push(windows.as_mut().unwrap(), step.item, step.feedback);
                }
            }
        }
        assert_eq!(n_periods, 3);
    }
}

#[test]
fn a_user_who_leaves_ends_the_session_and_the_next_one_begins_in_the_slot() {
    let mut rollout = rollout(Case { hazard: 0.3, ..CASE });
    let mut recorder = Recorder::default();
    let mut counts = Counts::default();
    for _ in 0..60 {
        counts += rollout.step(&mut recorder).unwrap();
    }
    let sessions = by_session(&[recorder]);
    assert_eq!(counts.sessions, sessions.len() as u64);
    assert_eq!(counts.steps, 180);
    let terminated = sessions.values().filter(
        |calls| matches!(calls.last(), Some(Recorded::Step(_, step)) if step.ending == Ending::Terminated),
    );
    assert_eq!(terminated.count() as u64, counts.left);
    assert!(counts.left > 20);
    // The first call of every session is the start of its period 0.
    assert!(sessions.values().all(|calls| matches!(&calls[0], Recorded::Period(start) if start.period == 0)));
}

#[test]
fn courses_depend_on_the_session_alone_not_on_batch_size_or_number_of_actors() {
    let case = Case { hazard: 0.1, ..CASE };
    let one = by_session(&[play(&mut rollout(Case { slots: 1, ..case }), 400)]);
    for (slots, n_actors) in [(4, 1), (7, 1), (2, 3)] {
        let recorders: Vec<_> = (0..n_actors)
            .map(|actor| play(&mut rollout(Case { slots, share: Share { actor, n_actors }, ..case }), 60))
            .collect();
        let many = by_session(&recorders);
        let both: Vec<_> = many.iter().filter(|(session, _)| one.contains_key(session)).collect();
        assert!(both.len() > 15, "{} sessions in common", both.len());
        for (session, calls) in both {
            assert_eq!(*calls, one[session], "session {session}, {slots} slots, {n_actors} actors");
        }
    }
}

#[test]
fn a_restored_rollout_goes_on_bit_identically() {
    let case = Case { hazard: 0.1, ..CASE };
    for pause in [0, 1, 4, 5, 17] {
        let mut first = rollout(case);
        play(&mut first, pause);
        let state = first.save();
        let expected = play(&mut first, 40);
        let mut second = rollout(case);
        play(&mut second, 3);
        second.restore(&state).unwrap();
        assert_eq!(play(&mut second, 40), expected, "paused after {pause} steps");
        assert_eq!(second.save(), first.save());
    }
}

#[test]
fn states_of_other_rollouts_are_refused_and_change_nothing() {
    let state = rollout(CASE).save();
    let message = |case, state: &[u8]| {
        let mut rollout = rollout(case);
        let before = rollout.save();
        let error = rollout.restore(state).unwrap_err().to_string();
        assert_eq!(rollout.save(), before);
        error
    };
    assert!(message(Case { slots: 2, ..CASE }, &state).contains("3 sessions"));
    let other = Share { actor: 1, n_actors: 2 };
    assert!(message(Case { share: other, ..CASE }, &state).contains("another actor"));
    assert!(message(CASE, &state[..state.len() - 1]).contains("cannot be restored"));
    assert!(message(CASE, b"").contains("cannot be restored"));
}

/// Courses without the goals: items, feedback, endings.
fn steps(case: Case) -> Vec<(SessionId, Step)> {
    let recorder = play(&mut rollout(case), 36);
    let step = |call| match call {
        Recorded::Step(session, step) => Some((session, step)),
        Recorded::Period(_) => None,
    };
    recorder.calls.into_iter().filter_map(step).collect()
}

#[test]
fn goals_reach_the_items_through_the_state_only() {
    let noisy = |conditioning, goal_noise| steps(Case { conditioning, goal_noise, ..CASE });
    let reward = GoalConditioning::Reward;
    assert_eq!(noisy(reward, 0.0), noisy(reward, 1.0), "with `reward` other goals change no item");
    for conditioning in [GoalConditioning::State, GoalConditioning::Both] {
        assert_ne!(noisy(conditioning, 0.0), noisy(conditioning, 1.0), "{conditioning:?}");
    }
}

#[test]
fn goals_stay_for_their_period_when_the_weights_change() {
    let mut rollout = rollout(CASE);
    let mut recorder = play(&mut rollout, 2);
    let goals = rollout.goals.clone();
    let model = model(CASE.conditioning);
    let policy = Policy::random(&model, Arc::clone(rollout.world.items()), 99).unwrap();
    rollout.set_policy(Arc::new(VersionedPolicy { version: 5, learner_step: 50, policy })).unwrap();
    for _ in 2..C {
        rollout.step(&mut recorder).unwrap();
        assert_eq!(rollout.goals, goals);
    }
    rollout.step(&mut recorder).unwrap();
    assert_ne!(rollout.goals, goals);
    let versions: Vec<u64> = recorder
        .calls
        .iter()
        .filter_map(|call| if let Recorded::Period(start) = call { Some(start.policy_version) } else { None })
        .collect();
    assert_eq!(versions, [4, 4, 4, 5, 5, 5]);
}

#[test]
fn the_first_steps_of_a_run_are_random_and_shared_by_its_actors() {
    let share = Share { actor: 0, n_actors: 2 };
    let mut rollout = rollout(Case { share, ..CASE });
    let config =
        ExplorationConfig { goal_noise: 0.0, action_noise: 0.0, random_items: 0.0, random_steps: 36 };
    rollout.explorer = Explorer::new(&config, 1.94, 7);
    let random: Vec<u64> =
        (0..8).map(|_| rollout.step(&mut Recorder::default()).unwrap().random_items).collect();
    // 3 sessions and 2 actors: 6 steps of the run each time.
    assert_eq!(random, [3, 3, 3, 3, 3, 3, 0, 0]);
}

#[test]
fn a_run_that_goes_on_plays_sessions_of_its_own_and_is_as_far_as_it_was() {
    let share = Share { actor: 1, n_actors: 2 };
    let mut rollout = rollout(Case { share, ..CASE });
    let config =
        ExplorationConfig { goal_noise: 0.0, action_noise: 0.0, random_items: 0.0, random_steps: 36 };
    rollout.explorer = Explorer::new(&config, 1.94, 7);
    play(&mut rollout, 5);
    rollout.begin_at(Origin { first_session: 1 << 28, steps: 24, pace: 0 });
    let mut recorder = Recorder::default();
    let random: Vec<u64> = (0..13).map(|_| rollout.step(&mut recorder).unwrap().random_items).collect();
    // 12 of 36 random steps are left, 6 of the run each time.
    assert_eq!(random[..4], [3, 3, 0, 0]);
    let first = (1 << 28) + 1;
    let sessions: Vec<_> = by_session(&[recorder]).into_keys().collect();
    assert_eq!(sessions, [first, first + 2, first + 4]);
    let state = rollout.save();
    let mut other = self::rollout(Case { share, ..CASE });
    other.restore(&state).unwrap();
    assert_eq!(other.save(), state);
}

#[test]
fn the_time_of_a_step_is_shared_out_to_its_parts() {
    /// Says that every call has waited.
    struct Slow(Duration);
    impl TransitionSink for Slow {
        fn begin_period(&mut self, _: &PeriodStart) -> Result<(), replay::Error> {
            Ok(())
        }
        fn step(&mut self, _: SessionId, _: Step) -> Result<(), replay::Error> {
            std::thread::sleep(Duration::from_millis(1));
            self.0 += Duration::from_millis(1);
            Ok(())
        }
        fn submit(&mut self) -> Result<(), replay::Error> {
            Ok(())
        }
        fn flush(&mut self) -> Result<(), replay::Error> {
            Ok(())
        }
        fn waited(&self) -> Duration {
            self.0
        }
    }
    let mut rollout = rollout(CASE);
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        rollout.step(&mut Slow(Duration::ZERO)).unwrap();
    }
    let times = rollout.times();
    assert_eq!(times.wait, Duration::from_millis(12), "3 sessions, 4 steps");
    assert!(times.forward > Duration::ZERO && times.environment > Duration::ZERO);
    assert!(times.forward + times.environment + times.write + times.wait <= begun.elapsed());
}

#[test]
fn a_policy_of_other_sizes_is_refused_by_name() {
    let mut rollout = rollout(CASE);
    let model = ModelConfig { n_goals: 3, ..model(CASE.conditioning) };
    let policy = Policy::random(&model, Arc::clone(rollout.world.items()), 1).unwrap();
    let error = rollout.set_policy(Arc::new(VersionedPolicy { version: 9, learner_step: 0, policy }));
    assert_eq!(error.unwrap_err().to_string(), "policy's goals per period M: 3, the world's is 2");
    assert_eq!(rollout.policy().version, 4);
}

/// Records, but loses sessions at given calls, counted from 0.
struct Losing {
    recorder: Recorder,
    calls: usize,
    lost_at: Vec<usize>,
    lost: Vec<SessionId>,
}

impl Losing {
    fn check(&mut self, session: SessionId) -> Result<(), replay::Error> {
        assert!(!self.lost.contains(&session), "a call for session {session}, which was lost");
        self.calls += 1;
        if self.lost_at.contains(&(self.calls - 1)) {
            self.lost.push(session);
            return Err(replay::Error::SessionLost { session });
        }
        Ok(())
    }
}

impl TransitionSink for Losing {
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), replay::Error> {
        self.check(start.session)?;
        self.recorder.begin_period(start)
    }
    fn step(&mut self, session: SessionId, step: Step) -> Result<(), replay::Error> {
        self.check(session)?;
        self.recorder.step(session, step)
    }
    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
}

#[test]
fn a_session_that_is_lost_with_its_shard_makes_way_for_the_next_one() {
    let undisturbed = by_session(&[play(&mut rollout(Case { slots: 1, ..CASE }), 400)]);
    // The first three calls begin periods, then come steps; 21 is a second period's beginning; two at once.
    for lost_at in [vec![1], vec![4], vec![21], vec![0, 1, 2, 3], vec![7, 8, 40, 41, 42, 90]] {
        let mut sink =
            Losing { recorder: Recorder::default(), calls: 0, lost_at: lost_at.clone(), lost: Vec::new() };
        let mut rollout = rollout(CASE);
        let mut steps = 0;
        for _ in 0..60 {
            steps += rollout.step(&mut sink).unwrap().steps;
        }
        assert_eq!(sink.lost.len(), lost_at.len());
        let taken = sink.recorder.calls.iter().filter(|call| matches!(call, Recorded::Step(..))).count();
        assert_eq!((steps, rollout.steps()), (taken as u64, taken as u64), "a lost step counts nothing");
        let ended = by_session(&[sink.recorder]);
        assert!(ended.len() >= 10, "{} sessions", ended.len());
        assert!(sink.lost.iter().all(|session| !ended.contains_key(session)));
        assert!(ended.iter().all(|(session, calls)| *calls == undisturbed[session]), "lost at {lost_at:?}");
    }
}
