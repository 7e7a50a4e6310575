//! The engine on our own kernels. In: batches of ids; out: new parameters. CPU, f32 (products of the GRUs in bf16 if asked for), every
//! setting, no libtorch.
//!
//! Forward and backward passes are written by hand, chunk by chunk of a batch, so that a chunk's activations stay in the L2
//! cache; docs/adr/0005-native-engine.md says why, and what it gains. An update allocates nothing but its metrics, and a box for
//! each thread beside the updating one, once the largest batch has come; it is bitwise reproducible on one CPU, whatever the
//! number of threads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`batch`] | checked ids to packed windows, rewards, features |
//! | [`window`] | history windows, packed; the chunks of a batch |
//! | [`plan`] | sizes and forms of a level's networks |
//! | [`network`] | the parameters of a network, its target and its optimiser |
//! | [`encoder`], [`heads`] | Eqs 3 to 8, forward and backward |
//! | [`affinity`] | how near actions are to the items of the windows, for critics (D30) |
//! | [`product`] | the GRUs' products, in f32 or bf16 |
//! | [`mapping`] | Eq 9, for the targets |
//! | [`level`], [`update`] | one DDPG pair, and the phases of its update |
//! | [`steps`], [`scratch`] | what a part of a batch adds to a phase, and its memory |
//! | [`state`] | networks and optimisers by name, to and from plain memory |
//! | [`schedule`] | which thread does which part when |

pub mod affinity;
pub mod batch;
pub mod encoder;
pub mod heads;
pub mod level;
pub mod mapping;
pub mod network;
pub mod plan;
pub mod product;
pub mod schedule;
pub mod scratch;
pub mod state;
pub mod steps;
pub mod update;
pub mod window;

use std::sync::Arc;

use common::{
    ItemId, ItemTable,
    config::{Config, MOST_LEARNER_THREADS, TargetAction},
    seed::Streams,
    transition::{HighBatch, LowBatch},
};

use self::{
    batch::{Batch, Encoded, NextGoals, Rows, Source},
    level::Level,
    mapping::Mapping,
    schedule::Phases,
    update::Update,
    window::Windows,
};
use super::{Engine, Error, LowStates, UpdateMetrics, checks::Checks};
use crate::{
    algorithm::settings::{LevelKind, Settings},
    checkpoint::{self, Tensors},
    threads::Threads,
};

/// A level with what its update reads.
#[derive(Debug)]
pub struct Side {
    level: Level,
    batch: Batch,
}

impl Side {
    fn new(settings: &Settings, kind: LevelKind, streams: &Streams, level: kernels::Level) -> Self {
        let level = Level::new(settings, kind, streams, level);
        Self { level, batch: Batch::default() }
    }

    fn update<'a>(
        &'a mut self,
        encoded: &'a Encoded<'a>,
        mapping: Option<&'a Mapping>,
        actor_moves: bool,
    ) -> Update<'a> {
        self.level.update(encoded, &mut self.batch, mapping, actor_moves)
    }
}

/// The engine for CPUs.
#[derive(Debug)]
pub struct NativeEngine {
    source: Source,
    /// `None` without goals.
    high: Option<Side>,
    low: Side,
    /// Set with `target_action = mapped`.
    mapping: Option<Mapping>,
    next_goals: NextGoals,
    updates: u64,
    /// Those beside the updating one, if there are.
    threads: Option<Threads>,
}

/// Threads of an update: `train.learner_threads`, or if that is 0 half of the cores, from 2 to 4, or 1 of a single core. Rollout
/// threads of mode `async` wait for the learner most of the time, so that it may have their cores, too.
fn n_threads(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    match config.train.learner_threads {
        0 => (cores() / 2).clamp(2, MOST_LEARNER_THREADS).min(cores()),
        threads => threads,
    }
}

impl NativeEngine {
    /// An engine with initial parameters drawn from the run's seed, those of the torch engine.
    pub fn new(config: &Config, items: &Arc<ItemTable>) -> Result<Self, Error> {
        Self::with_level(config, items, kernels::Level::best())
    }

    /// The same with chosen instructions.
    pub fn with_level(config: &Config, items: &Arc<ItemTable>, level: kernels::Level) -> Result<Self, Error> {
        Self::with_settings(Settings::new(config), items, config.seed, n_threads(config), level)
    }

    /// The same with chosen symbols, seed and threads.
    pub fn with_settings(
        settings: Settings,
        items: &Arc<ItemTable>,
        seed: u64,
        n_threads: usize,
        level: kernels::Level,
    ) -> Result<Self, Error> {
        if items.n_dims() != settings.model.n_dims {
            return Err(Error::Items { found: items.n_dims(), expected: settings.model.n_dims });
        }
        let initial = Streams::new(seed, "learner/initial-parameters");
        let smoothing = Streams::new(seed, "learner/target-noise");
        let mapped = settings.algorithm.target_action == TargetAction::Mapped;
        let has_high = settings.model.has_high_level();
        Ok(Self {
            high: has_high.then(|| Side::new(&settings, LevelKind::High, &initial, level)),
            low: Side::new(&settings, LevelKind::Low, &initial, level),
            mapping: mapped.then(|| Mapping::new(items, settings.model.item_search)),
            next_goals: NextGoals::default(),
            updates: 0,
            source: Source::new(settings, Arc::clone(items), smoothing),
            threads: Threads::beside(n_threads, "update"),
        })
    }

    /// Maps targets (`target_action = mapped`) into these items instead of the whole catalogue.
    pub fn map_targets_to(&mut self, items: &[ItemId]) -> Result<(), Error> {
        self.checks().targets(items)?;
        if let Some(mapping) = &mut self.mapping {
            *mapping = Mapping::to_chosen(&self.source.items, items.to_vec());
        }
        Ok(())
    }

    fn checks(&self) -> Checks {
        Checks { shape: self.source.settings.shape(), n_items: self.source.items.n_items() }
    }

    /// The levels there are, the high one first.
    fn levels(&self) -> impl Iterator<Item = (LevelKind, &Level)> {
        let high = self.high.as_ref().map(|side| (LevelKind::High, &side.level));
        high.into_iter().chain([(LevelKind::Low, &self.low.level)])
    }

    fn levels_mut(&mut self) -> impl Iterator<Item = &mut Level> {
        let high = self.high.as_mut().map(|side| &mut side.level);
        high.into_iter().chain([&mut self.low.level])
    }

    fn windows(&self, level: LevelKind, ids: &[ItemId]) -> Windows {
        let mut windows = Windows::default();
        self.source.pack(level, ids, &mut windows);
        windows
    }

    fn features(&self, states: LowStates<'_>) -> Vec<f32> {
        let mut features = Vec::new();
        self.source.features(states.positions, states.goals, &mut features);
        features
    }
}

impl Engine for NativeEngine {
    fn update(&mut self, high: &HighBatch, low: &LowBatch) -> Result<UpdateMetrics, Error> {
        let (has_high, has_low) = (!high.is_empty(), !low.is_empty());
        if has_high {
            self.checks().high(high)?;
        }
        let ahead = if has_low { self.checks().low(low)? } else { None };
        self.updates += 1;
        let Self { source, high: high_side, low: low_side, mapping, next_goals, updates, threads } = self;
        let actor_moves = updates.is_multiple_of(source.settings.algorithm.actor_delay);
        let mut next = None;
        let has_features = low_side.level.plan().d > low_side.level.plan().w;
        if let Some(side) = high_side.as_mut().filter(|_| has_low && has_features) {
            next_goals.set((low, ahead.as_ref()), source, &mut side.level);
            next = Some(&*next_goals);
        }
        let encoded = |rows| Encoded { rows, source, update: *updates };
        let (of_high, of_low) = (encoded(Rows::High(high)), encoded(Rows::Low(low, ahead.as_ref(), next)));
        let high =
            high_side.as_mut().filter(|_| has_high).map(|side| side.update(&of_high, None, actor_moves));
        let low = has_low.then(|| low_side.update(&of_low, mapping.as_ref(), actor_moves));
        let levels = [&low, &high].map(|level| level.as_ref().map(|level| level as &dyn Phases));
        schedule::run(threads.as_ref(), levels);
        let [high, low] = [high, low].map(|level| level.map(Update::metrics));
        let mean_internal_reward = if has_low { low_side.batch.mean_internal_reward } else { 0.0 };
        let metrics = UpdateMetrics { update: *updates, high, low, mean_internal_reward };
        metrics.check_finite()?;
        Ok(metrics)
    }

    fn set_progress(&mut self, done: f64) {
        let share = self.source.settings.rate_share(done);
        self.levels_mut()
            .for_each(|level| level.networks_mut().for_each(|network| network.scale_learning_rate(share)));
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn weights(&self, critics: bool) -> Vec<u8> {
        checkpoint::tensors::to_bytes(&state::online(self.levels(), &self.source.settings, critics))
    }

    fn state(&self) -> Tensors {
        state::save(self.levels(), self.updates)
    }

    fn load_state(&mut self, state: &Tensors) -> Result<(), Error> {
        let updates = super::stored::counts(state, super::stored::UPDATES, 1)?[0];
        let (mut restored, mut n_known) = (Vec::new(), 1);
        for (kind, level) in self.levels() {
            let (of_level, n) = state::read(state, kind, level)?;
            restored.push(of_level);
            n_known += n;
        }
        super::stored::check_unknown(state, n_known, || self.state())?;
        self.updates = updates as u64;
        for (level, restored) in self.levels_mut().zip(&restored) {
            state::restore(level, restored);
        }
        Ok(())
    }

    fn goals(&self, windows: &[ItemId]) -> Result<Vec<f32>, Error> {
        let Some(side) = &self.high else { return Ok(Vec::new()) };
        let n_rows = self.checks().rows_of("windows", windows)?;
        Ok(side.level.actions(&self.windows(LevelKind::High, windows), &[], n_rows))
    }

    fn actions(&self, states: LowStates<'_>) -> Result<Vec<f32>, Error> {
        self.checks().low_states(states)?;
        let windows = self.windows(LevelKind::Low, states.windows);
        Ok(self.low.level.actions(&windows, &self.features(states), states.positions.len()))
    }

    fn high_values(&self, windows: &[ItemId], goals: &[f32]) -> Result<Vec<f32>, Error> {
        let Some(side) = &self.high else { return Ok(Vec::new()) };
        let n_rows = self.checks().rows_of("windows", windows)?;
        self.checks().goals("goals", goals, n_rows)?;
        Ok(side.level.values(&self.windows(LevelKind::High, windows), &[], n_rows, goals))
    }

    fn low_values(&self, states: LowStates<'_>, items: &[ItemId]) -> Result<Vec<f32>, Error> {
        self.checks().low_states(states)?;
        let n_rows = states.positions.len();
        self.checks().items_a_row(items, n_rows)?;
        let embeddings: Vec<f32> =
            items.iter().flat_map(|&item| self.source.items.embedding(item)).copied().collect();
        let windows = self.windows(LevelKind::Low, states.windows);
        Ok(self.low.level.values(&windows, &self.features(states), n_rows, &embeddings))
    }
}
