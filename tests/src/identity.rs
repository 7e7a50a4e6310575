//! Sessions in which everything follows from names, so that a row that is torn, mixed or of another session shows.
//!
//! In: a session and a step; out: item, feedback, windows, goals, policy version. Pure. A row is named by its policy
//! version (session and period) and its position; all the rest of it follows. Its items are of the learner's catalogue, so
//! that these rows may stand beside those of real actors, whose policy versions are far lower.

use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
    transition::{Ending, NO_STEP, PeriodStart, Shape, Step},
};

/// Sizes of records in these tests.
pub const SHAPE: Shape = Shape { window: 3, n_steps: 4, n_goals: 2, n_dims: 50 };
/// Longest session, in steps, and in periods.
const LONGEST: u64 = 64;
/// Size of the catalogue: the learner's.
pub const N_ITEMS: usize = 10_000;
/// Sessions that are set aside for each writer, whose numbers begin at 1.
pub const SESSIONS: u64 = 1 << 14;

const C: u64 = SHAPE.n_steps as u64;

/// A low-level row.
#[derive(Clone, Debug, PartialEq)]
pub struct Low {
    /// `[3, N]` before the step.
    pub windows: Vec<ItemId>,
    /// `[3, N]` after it.
    pub next_windows: Vec<ItemId>,
    /// `[M, n]`.
    pub goals: Vec<f32>,
    /// Shown.
    pub item: ItemId,
    /// Its code.
    pub feedback: u8,
    /// In the period.
    pub position: u8,
    /// 1 where the user left.
    pub terminated: u8,
    /// Names the session and the period.
    pub policy_version: u64,
}

/// A high-level row.
#[derive(Clone, Debug, PartialEq)]
pub struct High {
    /// `[3, N]` at the start of the period.
    pub windows: Vec<ItemId>,
    /// `[3, N]` at its end.
    pub next_windows: Vec<ItemId>,
    /// `[M, n]`.
    pub goals: Vec<f32>,
    /// `[c]` codes; [`NO_STEP`] behind the end.
    pub feedback: Vec<u8>,
    /// 1 where the user left.
    pub terminated: u8,
    /// Names the session and the period.
    pub policy_version: u64,
}

/// The finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Steps of a session, 1 to 40.
pub fn length(session: u64) -> u64 {
    1 + mix(session) % 40
}

/// How many steps make a period visible: its c, or those up to the session's end.
pub fn period_end(session: u64, period: u64) -> u64 {
    ((period + 1) * C).min(length(session))
}

/// Periods that are closed once `n_steps` of a session are stored.
pub fn closed_periods(session: u64, n_steps: u64) -> u64 {
    if n_steps == length(session) { n_steps.div_ceil(C) } else { n_steps / C }
}

/// Rises with the period; names it.
pub fn policy_version(session: u64, period: u64) -> u64 {
    session * LONGEST + period + 1
}

/// The session and the period that a policy version names.
pub fn of_policy_version(version: u64) -> (u64, u64) {
    ((version - 1) / LONGEST, (version - 1) % LONGEST)
}

/// Whether a policy version names a session of a writer of these tests. Real ones are no larger than the number of updates.
pub fn is_ours(version: u64) -> bool {
    version > SESSIONS * LONGEST
}

/// The session and the step that a row names.
pub fn of_low(row: &Low) -> (u64, u64) {
    let (session, period) = of_policy_version(row.policy_version.max(1));
    (session, period * C + u64::from(row.position))
}

/// A step.
pub fn step(session: u64, t: u64) -> Step {
    let ending = match (t + 1 == length(session), session % 2) {
        (false, _) => Ending::None,
        (true, 0) => Ending::Terminated,
        (true, _) => Ending::Truncated,
    };
    let drawn = mix(session ^ mix(t));
    let item = ItemId((drawn / 3 % N_ITEMS as u64) as u32);
    Step { item, feedback: Feedback::ALL[(drawn % 3) as usize], ending }
}

/// `[3, N]` after `n_steps` of a session.
pub fn windows(session: u64, n_steps: u64) -> Vec<ItemId> {
    let mut windows = vec![ItemId::PADDING; N_WINDOWS * SHAPE.window];
    for t in 0..n_steps {
        let step = step(session, t);
        history::push(&mut windows, step.item, step.feedback);
    }
    windows
}

/// `[M, n]`, in (-1, 1).
pub fn goals(session: u64, period: u64) -> Vec<f32> {
    let goal = |k| (mix(mix(session * LONGEST + period) ^ k) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
    (0..(SHAPE.n_goals * SHAPE.n_dims) as u64).map(goal).collect()
}

/// The start of a period.
pub fn period_start(session: u64, period: u64) -> PeriodStart {
    PeriodStart {
        session,
        period: period as u32,
        policy_version: policy_version(session, period),
        windows: windows(session, period * C),
        goals: goals(session, period),
    }
}

/// The row that a step must be.
pub fn low(session: u64, t: u64) -> Low {
    let step = step(session, t);
    Low {
        windows: windows(session, t),
        next_windows: windows(session, t + 1),
        goals: goals(session, t / C),
        item: step.item,
        feedback: step.feedback.code(),
        position: (t % C) as u8,
        terminated: u8::from(step.ending == Ending::Terminated),
        policy_version: policy_version(session, t / C),
    }
}

/// The row that a period must be.
pub fn high(session: u64, period: u64) -> High {
    let (begin, end) = (period * C, period_end(session, period));
    let mut feedback: Vec<u8> = (begin..end).map(|t| step(session, t).feedback.code()).collect();
    feedback.resize(SHAPE.n_steps, NO_STEP);
    High {
        windows: windows(session, begin),
        next_windows: windows(session, end),
        goals: goals(session, period),
        feedback,
        terminated: u8::from(step(session, end - 1).ending == Ending::Terminated),
        policy_version: policy_version(session, period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for session in [SESSIONS, SESSIONS + 77, 1 << 54] {
            let last = length(session) - 1;
            assert_eq!(of_low(&low(session, last)), (session, last));
            assert!((0..=last).all(|t| step(session, t).item.row() < N_ITEMS));
            assert!(is_ours(policy_version(session, 0)) && !is_ours(1_000_000));
            assert_eq!(of_policy_version(policy_version(session, last / C)), (session, last / C));
            assert!(goals(session, 0).iter().all(|goal| goal.abs() <= 1.0));
        }
    }

    #[test]
    fn a_period_closes_with_its_steps_or_its_session() {
        let session = (0..).find(|session| length(*session) == 6).expect("some session has 6 steps");
        let closed: Vec<u64> = (0..=6).map(|n| closed_periods(session, n)).collect();
        assert_eq!(closed, [0, 0, 0, 0, 1, 1, 2]);
    }
}
