//! Scripted sessions, and what transitions they must become by a naive replay.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod checker;

use std::time::Duration;

use common::{
    Feedback, ItemId,
    config::PartialPeriods,
    history,
    seed::Streams,
    transition::{Ending, HighBatch, LowBatch, NO_STEP, PeriodStart, Shape, Step},
};
use rand::RngExt;
use replay::{Sampling, Settings, TableSettings, TransitionSink, WriterSettings};

/// N = 4, c = 5, M = 2, n = 3.
pub const SHAPE: Shape = Shape { window: 4, n_steps: 5, n_goals: 2, n_dims: 3 };

pub const WAIT: Duration = Duration::from_secs(20);

pub fn settings() -> Settings {
    Settings {
        run_id: "test".into(),
        shape: SHAPE,
        n_items: 100,
        partial_periods: PartialPeriods::Keep,
        low: TableSettings { capacity: 30_000, min_size: 1 },
        high: TableSettings { capacity: 6_000, min_size: 1 },
        ratio: None,
        sampling: Sampling::Uniform,
        memory_bytes: 0,
    }
}

/// Small frames, so that sessions spread over many.
pub fn writer(number: u64) -> WriterSettings {
    WriterSettings { frame_bytes: 400, wait: WAIT, ..WriterSettings::new(number) }
}

/// A low-level transition by its name (period's policy version, position) and everything in it.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub struct Low {
    pub name: (u64, u8),
    pub windows: Vec<ItemId>,
    pub next_windows: Vec<ItemId>,
    pub goals: Vec<f32>,
    pub item: ItemId,
    pub feedback: u8,
    pub terminated: u8,
}

/// A high-level transition by its name (policy version) and everything in it.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub struct High {
    pub name: u64,
    pub windows: Vec<ItemId>,
    pub next_windows: Vec<ItemId>,
    pub goals: Vec<f32>,
    pub feedback: Vec<u8>,
    pub terminated: u8,
}

/// A session that is rolled out step by step, and the transitions it must leave.
pub struct Session {
    pub session: u64,
    length: u64,
    t: u64,
    windows: Vec<ItemId>,
    start: Option<PeriodStart>,
    steps: Vec<Step>,
    pub low: Vec<Low>,
    pub high: Vec<High>,
}

impl Session {
    /// A session of `length` steps; even ones are left by the user, odd ones cut.
    pub fn new(session: u64, length: u64) -> Self {
        let mut windows = vec![ItemId::PADDING; 3 * SHAPE.window];
        history::push(&mut windows, ItemId(session as u32 % 100), Feedback::Click);
        let (low, high) = (Vec::new(), Vec::new());
        Self { session, length, t: 0, windows, start: None, steps: Vec::new(), low, high }
    }

    pub fn is_over(&self) -> bool {
        self.t == self.length
    }

    /// One step into a sink.
    pub fn step(&mut self, sink: &mut dyn TransitionSink) {
        self.try_step(sink).unwrap();
    }

    /// ... that may refuse it: then nothing has happened.
    pub fn try_step(&mut self, sink: &mut dyn TransitionSink) -> Result<(), replay::Error> {
        let mut rng = Streams::new(9, "test/session").at(self.session, self.t);
        let c = SHAPE.n_steps as u64;
        if self.t.is_multiple_of(c) {
            let start = PeriodStart {
                session: self.session,
                period: (self.t / c) as u32,
                policy_version: 1_000 * self.session + self.t / c,
                windows: self.windows.clone(),
                goals: (0..SHAPE.n_goals * SHAPE.n_dims).map(|_| rng.random_range(-1.9..1.9)).collect(),
            };
            sink.begin_period(&start)?;
            self.start = Some(start);
            self.steps.clear();
        }
        let ending = match (self.t + 1 == self.length, self.session % 2) {
            (false, _) => Ending::None,
            (true, 0) => Ending::Terminated,
            (true, _) => Ending::Truncated,
        };
        let item = ItemId(rng.random_range(0..100));
        let step = Step { item, feedback: Feedback::ALL[rng.random_range(0..3)], ending };
        sink.step(self.session, step)?;
        let before = self.windows.clone();
        history::push(&mut self.windows, step.item, step.feedback);
        let start = self.start.as_ref().unwrap();
        let terminated = u8::from(ending == Ending::Terminated);
        self.low.push(Low {
            name: (start.policy_version, (self.t % c) as u8),
            windows: before,
            next_windows: self.windows.clone(),
            goals: start.goals.clone(),
            item,
            feedback: step.feedback.code(),
            terminated,
        });
        self.steps.push(step);
        self.t += 1;
        if self.t.is_multiple_of(c) || self.is_over() {
            let mut feedback: Vec<u8> = self.steps.iter().map(|step| step.feedback.code()).collect();
            feedback.resize(SHAPE.n_steps, NO_STEP);
            self.high.push(High {
                name: start.policy_version,
                windows: start.windows.clone(),
                next_windows: self.windows.clone(),
                goals: start.goals.clone(),
                feedback,
                terminated,
            });
        }
        Ok(())
    }
}

/// Rolls sessions out side by side, in phase, to their ends.
pub fn roll_out(sessions: &mut [Session], sink: &mut dyn TransitionSink) {
    while sessions.iter().any(|session| !session.is_over()) {
        sessions.iter_mut().filter(|session| !session.is_over()).for_each(|session| session.step(sink));
    }
}

/// The rows of a low-level minibatch.
pub fn low_rows(batch: &LowBatch) -> Vec<Low> {
    let (w, g) = (3 * SHAPE.window, SHAPE.n_goals * SHAPE.n_dims);
    let row = |k: usize| Low {
        name: (batch.policy_versions[k], batch.positions[k]),
        windows: batch.windows[k * w..][..w].to_vec(),
        next_windows: batch.next_windows[k * w..][..w].to_vec(),
        goals: batch.goals[k * g..][..g].to_vec(),
        item: batch.items[k],
        feedback: batch.feedback[k],
        terminated: batch.terminated[k],
    };
    (0..batch.len()).map(row).collect()
}

/// The rows of a high-level minibatch.
pub fn high_rows(batch: &HighBatch) -> Vec<High> {
    let (w, g, c) = (3 * SHAPE.window, SHAPE.n_goals * SHAPE.n_dims, SHAPE.n_steps);
    let row = |k: usize| High {
        name: batch.policy_versions[k],
        windows: batch.windows[k * w..][..w].to_vec(),
        next_windows: batch.next_windows[k * w..][..w].to_vec(),
        goals: batch.goals[k * g..][..g].to_vec(),
        feedback: batch.feedback[k * c..][..c].to_vec(),
        terminated: batch.terminated[k],
    };
    (0..batch.len()).map(row).collect()
}

/// Distinct rows, by name.
pub fn distinct<T: PartialOrd + PartialEq>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    rows.dedup();
    rows
}
