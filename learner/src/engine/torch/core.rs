//! The levels there are, and one update of them from tensors. In: decoded batches; out: parameters moved, metrics.
//!
//! The core knows no ids and no records: the oracle's cases and the replay's batches come in the same way.

use common::{config::TargetAction, seed::Streams};
use tch::{Device, Kind, Tensor};

use super::{
    batch::{self, HighTensors, LowTensors},
    level::{Level, LevelBatch},
    measures::{LevelMeasures, UpdateMeasures},
};
use crate::{
    algorithm::{
        assert_shape, losses,
        mapping::Mapping,
        noise, rewards,
        settings::{LevelKind, Settings},
        state::ActiveGoals,
        upload::upload,
        window::Windows,
    },
    engine::{checks::Checks, metrics::UpdateMetrics},
};

/// Without goals there is no high level, and nobody may ask for it.
const NO_HIGH_LEVEL: &str = "`model.n_goals` is 0: there is no high level";

/// The levels, the item table and the number of updates done.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    /// `[V, n]`.
    items: Tensor,
    /// Set with `target_action = mapped`.
    mapping: Option<Mapping>,
    /// `None` without goals.
    high: Option<Level>,
    low: Level,
    /// Of the noise of the targets' actions: (update, level).
    smoothing: Streams,
    updates: u64,
    /// Whether GRUs run side by side over padded windows: where starting an operation costs more than doing it.
    side_by_side: bool,
}

impl Core {
    /// Levels with initial parameters; kind and device are those of the item table `[V, n]`.
    ///
    /// `smoothing` draws the noise of the targets' actions, if there is any.
    pub fn new(settings: Settings, items: Tensor, streams: &Streams, smoothing: Streams) -> Self {
        assert_shape("items", &items, &[-1, settings.model.n_dims as i64]);
        let options = (items.kind(), items.device());
        let mapped = settings.algorithm.target_action == TargetAction::Mapped;
        Self {
            mapping: mapped.then(|| Mapping::new(&items)),
            high: settings
                .model
                .has_high_level()
                .then(|| Level::new(&settings, LevelKind::High, streams, options)),
            low: Level::new(&settings, LevelKind::Low, streams, options),
            smoothing,
            updates: 0,
            side_by_side: options.1.is_cuda(),
            settings,
            items,
        }
    }

    /// The symbols of the paper.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Number of items, V.
    pub fn n_items(&self) -> usize {
        self.items.size()[0] as usize
    }

    /// The item table `[V, n]`.
    pub fn items(&self) -> &Tensor {
        &self.items
    }

    /// The sizes that a batch must fit.
    pub fn checks(&self) -> Checks {
        Checks { shape: self.settings.shape(), n_items: self.n_items() }
    }

    /// Kind and device of every real-valued tensor.
    pub fn options(&self) -> (Kind, Device) {
        (self.items.kind(), self.items.device())
    }

    /// Whether batches are decoded for GRUs that run side by side: on GPUs they are.
    pub fn is_side_by_side(&self) -> bool {
        self.side_by_side
    }

    /// Decides that, for tests of the form of GPUs on a CPU.
    pub fn set_side_by_side(&mut self, side_by_side: bool) {
        self.side_by_side = side_by_side;
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The levels there are, the high one first.
    pub fn levels(&self) -> impl Iterator<Item = (LevelKind, &Level)> {
        let high = self.high.as_ref().map(|level| (LevelKind::High, level));
        high.into_iter().chain([(LevelKind::Low, &self.low)])
    }

    /// One of the levels.
    ///
    /// # Panics
    /// If there is no high level.
    pub fn level(&self, level: LevelKind) -> &Level {
        match level {
            LevelKind::High => self.high.as_ref().expect(NO_HIGH_LEVEL),
            LevelKind::Low => &self.low,
        }
    }

    /// A level and the update count, to restore a state into.
    pub(super) fn restore(&mut self, level: LevelKind, updates: u64) -> &mut Level {
        self.updates = updates;
        match level {
            LevelKind::High => self.high.as_mut().expect(NO_HIGH_LEVEL),
            LevelKind::Low => &mut self.low,
        }
    }

    /// Maps targets, if they are mapped, into these embeddings `[K, n]` instead of all items.
    pub(super) fn map_targets_to(&mut self, embeddings: &Tensor) {
        self.mapping = self.mapping.as_ref().map(|_| Mapping::new(embeddings));
    }

    /// r^h `[B, M]` (Eqs 12, 13).
    pub fn high_reward(&self, batch: &HighTensors) -> Tensor {
        let algorithm = &self.settings.algorithm;
        let phi = rewards::sub_period_sums(&batch.rewards, &self.settings.period_layout());
        rewards::high(&phi, algorithm.assignment, self.settings.beta)
    }

    /// r_in `[B]` (Eq 11) and the goals it is measured against.
    fn internal_reward(&self, batch: &LowTensors) -> (Tensor, ActiveGoals) {
        let active = ActiveGoals::new(&self.settings.period_layout(), &batch.positions, &batch.goals);
        (rewards::internal(&batch.action, &batch.goals, &active), active)
    }

    /// r^l `[B]` (Eq 10).
    pub fn low_reward(&self, batch: &LowTensors) -> Tensor {
        let (internal, _) = self.internal_reward(batch);
        self.low_return(batch, &internal)
    }

    /// r^l `[B]` of the rows' own steps, and of the steps ahead (D26), each discounted.
    fn low_return(&self, batch: &LowTensors, internal: &Tensor) -> Tensor {
        let alpha = self.settings.internal_weight();
        let mut sum = rewards::low(&batch.reward_external, internal, alpha);
        let gamma = self.settings.discount(LevelKind::Low);
        for (k, step) in batch.ahead.iter().flat_map(|ahead| &ahead.steps).enumerate() {
            let active = ActiveGoals::new(&self.settings.period_layout(), &step.positions, &batch.goals);
            let internal = rewards::internal(&batch::rows(&step.items, self), &batch.goals, &active);
            let reward = rewards::low(&batch::column(&step.rewards, self), &internal, alpha);
            sum += reward * batch::column(&step.taken, self) * gamma.powi(k as i32 + 1);
        }
        sum
    }

    /// The goals in the low-level states before (`active`) and after the steps, `[B, n + M]` each, if they are there at all (D1).
    ///
    /// After the last step of a period the next period's goals are those the target high-level actor would set there:
    /// the real ones are not part of the transition, and targets come from target networks.
    fn low_features(&self, batch: &LowTensors, active: &ActiveGoals) -> Option<(Tensor, Tensor)> {
        if !self.settings.model.goal_conditioning.in_state() {
            return None;
        }
        let layout = self.settings.period_layout();
        let now = active.features(&batch.goals);
        let after: Vec<usize> =
            batch.last_positions().iter().map(|position| (position + 1) % layout.n_steps).collect();
        let mut goals = batch.goals.shallow_clone();
        if let Some((rows, windows)) = &batch.next_period {
            let high = self.level(LevelKind::High);
            goals = goals.index_copy(0, rows, &high.target_actor().act(windows, None));
        }
        Some((now, ActiveGoals::new(&layout, &after, &goals).features(&goals)))
    }

    /// Noise `[B, H, n]` of this update's target actions of a level; `None` where they are not smoothed (D22).
    fn smoothing_noise(&self, level: LevelKind, n_rows: i64) -> Option<Tensor> {
        let draws = noise::smoothing(&self.settings, &self.smoothing, self.updates, level)?;
        let shape = [n_rows, self.settings.n_heads(level) as i64, self.settings.model.n_dims as i64];
        let values: Vec<f64> = draws.take(shape.iter().product::<i64>() as usize).collect();
        let (kind, device) = self.options();
        Some(upload(&values, device).view(shape).to_kind(kind))
    }

    /// A step of the low-level actor towards items chosen in these states (D25): rows `[B]` of the item table, with their
    /// weights `[B]`. The loss before the step.
    pub fn imitate(
        &mut self,
        windows: &Windows,
        features: Option<&Tensor>,
        items: &Tensor,
        weights: &Tensor,
    ) -> f64 {
        let mapping = Mapping::new(&self.items);
        self.low.imitation_step(windows, features, |actions| {
            losses::imitation(&mapping.cosines(&actions.squeeze_dim(1)), items, weights)
        })
    }

    /// See [`Settings::rate_share`].
    pub fn set_progress(&mut self, done: f64) {
        let share = self.settings.rate_share(done);
        if let Some(high) = &mut self.high {
            high.scale_learning_rates(share);
        }
        self.low.scale_learning_rates(share);
    }

    /// One update, in the order of Algorithm 1, lines 17-30; a level without a batch stays as it is.
    ///
    /// # Panics
    /// If there is a high-level batch and no high level.
    pub fn update(&mut self, high: Option<&HighTensors>, low: Option<&LowTensors>) -> UpdateMetrics {
        self.updates += 1;
        let actors_move = self.updates.is_multiple_of(self.settings.algorithm.actor_delay);
        let mut measures = UpdateMeasures::default();
        if let Some(batch) = high {
            let reward = self.high_reward(batch);
            let smoothing = self.smoothing_noise(LevelKind::High, batch.terminated.size()[0]);
            let batch = LevelBatch {
                now: &batch.now,
                next: &batch.next,
                features: None,
                next_features: None,
                action: &batch.goals,
                reward: &reward,
                terminated: &batch.terminated,
                mapping: None,
                weights: batch.weights.as_ref(),
                smoothing: smoothing.as_ref(),
                further_discount: None,
            };
            let level = self.high.as_mut().expect(NO_HIGH_LEVEL);
            measures.high = Some(step(level, &batch, actors_move));
        }
        if let Some(batch) = low {
            let (internal, active) = self.internal_reward(batch);
            let n_active = active.is_active.sum(Kind::Double).clamp_min(1.0);
            measures.mean_internal_reward = Some(internal.sum(Kind::Double) / n_active);
            let reward = self.low_return(batch, &internal);
            let gamma = self.settings.discount(LevelKind::Low);
            let further = batch.ahead.as_ref().map(|ahead| {
                let (kind, device) = self.options();
                upload(&ahead.discounts(gamma), device).to_kind(kind)
            });
            let features = self.low_features(batch, &active);
            let smoothing = self.smoothing_noise(LevelKind::Low, batch.terminated.size()[0]);
            let batch = LevelBatch {
                now: &batch.now,
                next: &batch.next,
                features: features.as_ref().map(|(now, _)| now),
                next_features: features.as_ref().map(|(_, next)| next),
                action: &batch.action.unsqueeze(1),
                reward: &reward.unsqueeze(1),
                terminated: &batch.terminated,
                mapping: self.mapping.as_ref(),
                weights: batch.weights.as_ref(),
                smoothing: smoothing.as_ref(),
                further_discount: further.as_ref(),
            };
            measures.low = Some(step(&mut self.low, &batch, actors_move));
        }
        if actors_move {
            let tau = self.settings.algorithm.soft_update;
            if let Some(level) = self.high.as_ref().filter(|_| high.is_some()) {
                level.soft_update(tau);
            }
            if low.is_some() {
                self.low.soft_update(tau);
            }
        }
        measures.read(self.updates)
    }
}

/// Targets, then the critic, then the actor against the new critic.
fn step(level: &mut Level, batch: &LevelBatch<'_>, actor_moves: bool) -> LevelMeasures {
    let y = level.targets(batch);
    let mut measures = level.critic_step(batch, &y);
    if actor_moves {
        measures.actor = Some(level.actor_step(batch));
    }
    measures
}
