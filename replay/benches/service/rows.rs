//! Rows for the benchmarks of the replay: 256 sessions of 50 steps side by side, one after the other without an end.

use common::{
    Feedback, ItemId,
    transition::{Ending, PeriodStart, Shape, Step},
};
use replay::{TransitionSink, Writer};

/// N = 10, c = 10, M = 2, n = 50.
pub(crate) const SHAPE: Shape = Shape { window: 10, n_steps: 10, n_goals: 2, n_dims: 50 };
const SESSIONS: u64 = 256;
const LENGTH: u64 = 50;
/// Steps of all sessions from their first to their last.
pub(crate) const ROUND: u64 = SESSIONS * LENGTH;

/// Where the next step belongs.
pub(crate) struct Rows {
    start: PeriodStart,
    /// Steps so far, those of the rounds before it began included.
    pub(crate) written: u64,
}

impl Rows {
    /// Begins with other sessions than all rounds before.
    pub(crate) fn from_round(round: u64) -> Self {
        let start = PeriodStart {
            session: 0,
            period: 0,
            policy_version: 1,
            windows: vec![ItemId(3); 3 * SHAPE.window],
            goals: vec![0.5; SHAPE.n_goals * SHAPE.n_dims],
        };
        Self { start, written: round * ROUND }
    }

    /// Puts `n` steps, with the periods they begin, into the writer's frames.
    pub(crate) fn put(&mut self, writer: &mut Writer, n: u64) {
        for _ in 0..n {
            let (round, k) = (self.written / ROUND, self.written % ROUND);
            let (t, session) = (k / SESSIONS, round * SESSIONS + k % SESSIONS);
            if t % SHAPE.n_steps as u64 == 0 {
                (self.start.session, self.start.period) = (session, (t / SHAPE.n_steps as u64) as u32);
                writer.begin_period(&self.start).expect("the period is right");
            }
            let ending = if t == LENGTH - 1 { Ending::Truncated } else { Ending::None };
            let step = Step { item: ItemId(t as u32), feedback: Feedback::Click, ending };
            writer.step(session, step).expect("the step is right");
            self.written += 1;
        }
    }

    /// Puts `n` steps and waits until they are stored.
    pub(crate) fn store(&mut self, writer: &mut Writer, n: u64) {
        self.put(writer, n);
        writer.flush().expect("the service stores it");
    }
}
