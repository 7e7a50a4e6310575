//! The whole loop of an actor: policies of both levels, mapping, ShopWorld, record; 256 sessions of 50 steps, nobody leaves.

use std::{sync::Arc, time::Instant};

use actor::{Rollout, Share, VersionedPolicy};
use agent::{Explorer, Policy};
use anyhow::Result;
use common::{
    ItemId, SessionId,
    config::{Config, Preset},
    transition::{Ending, PeriodStart, Step},
};
use replay::TransitionSink;
use sim::OpenWorld;

use crate::{Reply, cpu::resident_mb, shards};

const SLOTS: usize = 256;
const LENGTH: usize = 50;
/// Rows of the columns.
const CAPACITY: usize = 200_000;

/// A rollout, whatever its sink.
pub(crate) struct Case {
    rollout: Rollout,
    columns: Option<Columns>,
}

impl Case {
    /// Warm: a round of sessions is played.
    pub(crate) fn new() -> Result<Self> {
        let mut config = Config::preset(Preset::Paper);
        config.environment.leave = false;
        let world = OpenWorld::for_training("shopworld")?;
        let policy = Policy::random(&config.model, Arc::clone(world.items()), 1)?;
        let policy = Arc::new(VersionedPolicy { version: 1, learner_step: 0, policy });
        let environment = world.build(&config.environment, config.model.window, 1, SLOTS, LENGTH)?;
        let explorer = Explorer::new(&config.exploration, config.model.bound, 1);
        let share = Share { actor: 0, n_actors: 1 };
        let rollout = Rollout::new(environment, policy, explorer, config.period_layout(), share)?;
        Ok(Self { rollout, columns: None })
    }

    /// Into columns in this process's memory.
    pub(crate) fn record(&mut self, seconds: f64) -> Result<Reply> {
        let mut columns = self.columns.take().unwrap_or_default();
        let rate = self.play(&mut columns, seconds);
        self.columns = Some(columns);
        Ok(vec![("steps_per_s", rate?)])
    }

    /// Into nothing.
    pub(crate) fn alone(&mut self, seconds: f64) -> Result<Reply> {
        Ok(vec![("steps_per_s", self.play(&mut Nothing, seconds)?)])
    }

    /// Into two shards, as an actor of a cluster does.
    pub(crate) fn stream(&mut self, shards: &mut shards::Case, seconds: f64) -> Result<Reply> {
        // Sessions of writers before may be open in the shards: this one plays others.
        let mut writer = shards.writer()?;
        let first_session = 1 << 40;
        self.rollout.begin_at(actor::Origin { first_session, ..actor::Origin::default() });
        let rate = self.play(&mut writer, seconds)?;
        writer.flush()?;
        Ok(vec![("steps_per_s", rate), ("resident_mb", resident_mb("self")?)])
    }

    /// Steps a second over whole sessions, so that beginning them has its share.
    fn play(&mut self, sink: &mut dyn TransitionSink, seconds: f64) -> Result<f64> {
        for _ in 0..LENGTH {
            self.rollout.step(sink)?;
        }
        let (begun, mut steps) = (Instant::now(), 0);
        while steps == 0 || begun.elapsed().as_secs_f64() < seconds {
            for _ in 0..LENGTH {
                self.rollout.step(sink)?;
            }
            steps += LENGTH * SLOTS;
        }
        Ok(steps as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Where transitions are gone.
struct Nothing;

impl TransitionSink for Nothing {
    fn begin_period(&mut self, _: &PeriodStart) -> Result<(), replay::Error> {
        Ok(())
    }

    fn step(&mut self, _: SessionId, _: Step) -> Result<(), replay::Error> {
        Ok(())
    }

    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
}

/// Rings of columns, allocated once: what a replay in the actor's memory would keep.
struct Columns {
    items: Vec<ItemId>,
    feedback: Vec<u8>,
    endings: Vec<u8>,
    steps: usize,
    windows: Vec<ItemId>,
    goals: Vec<f32>,
    periods: usize,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            items: vec![ItemId::PADDING; CAPACITY],
            feedback: vec![0; CAPACITY],
            endings: vec![0; CAPACITY],
            steps: 0,
            windows: vec![ItemId::PADDING; CAPACITY * 30],
            goals: vec![0.0; CAPACITY * 100],
            periods: 0,
        }
    }
}

impl TransitionSink for Columns {
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), replay::Error> {
        let at = self.periods % CAPACITY;
        self.windows[at * 30..][..30].copy_from_slice(&start.windows);
        self.goals[at * 100..][..100].copy_from_slice(&start.goals);
        self.periods += 1;
        Ok(())
    }

    fn step(&mut self, _: SessionId, step: Step) -> Result<(), replay::Error> {
        let at = self.steps % CAPACITY;
        self.items[at] = step.item;
        self.feedback[at] = step.feedback as u8;
        self.endings[at] = u8::from(step.ending != Ending::None);
        self.steps += 1;
        Ok(())
    }

    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
}
