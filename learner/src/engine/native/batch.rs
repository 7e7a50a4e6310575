//! Checked batches as a level's update reads them. In: ids and codes; out: packed windows, actions, rewards, features.
//!
//! Buffers stay from batch to batch: decoding allocates nothing once the largest has come.

use std::sync::Arc;

use common::{
    ItemId, ItemTable, PeriodLayout,
    history::N_WINDOWS,
    seed::Streams,
    transition::{HighBatch, LowBatch},
};

use super::{heads, level::Level, plan::Plan, window::Windows};
use crate::{
    algorithm::{
        noise,
        settings::{LevelKind, Settings},
        shares,
    },
    engine::{ahead::Ahead, checks},
};

/// Norms below it count as it, so that a zero goal has a cosine of 0 and not of NaN.
const COSINE_EPSILON: f64 = 1e-12;

/// What decoding needs to know beside the batch.
#[derive(Debug)]
pub struct Source {
    /// The symbols of the paper.
    pub settings: Settings,
    /// The item table.
    pub items: Arc<ItemTable>,
    /// Of the noise of the targets' actions: (update, level).
    smoothing: Streams,
    layout: PeriodLayout,
    /// `[c, M]` the share of each step's reward in r^h_i (Eqs 12, 13).
    credit: Vec<f64>,
}

impl Source {
    /// `smoothing` draws the noise of the targets' actions, if there is any.
    pub fn new(settings: Settings, items: Arc<ItemTable>, smoothing: Streams) -> Self {
        let layout = settings.period_layout();
        let (c, m) = (layout.n_steps, layout.n_goals);
        let (phi, assigned) = (
            shares::of_steps(&layout),
            shares::of_sub_periods(m, settings.algorithm.assignment, settings.beta),
        );
        let share = |p: usize, i: usize| (0..m).map(|k| phi[p * m + k] * assigned[k * m + i]).sum();
        let credit = (0..c).flat_map(|p| (0..m).map(move |i| share(p, i)).collect::<Vec<_>>()).collect();
        Self { settings, items, smoothing, layout, credit }
    }

    /// Packs checked windows `[B, 3, N]` as a level reads them.
    pub fn pack(&self, level: LevelKind, ids: &[ItemId], windows: &mut Windows) {
        windows.pack(self.settings.model.window, ids, self.settings.windows(level), &self.items);
    }

    /// Numbers of a row's goals, M n.
    fn goals_a_row(&self) -> usize {
        self.layout.n_goals * self.settings.model.n_dims
    }

    /// r_in of an item shown at a position of a period, whose goals `[M n]` begin `goals`; `None` where no goal is active.
    fn internal_reward(&self, position: usize, action: &[f32], goals: &[f32]) -> Option<f64> {
        let n = self.settings.model.n_dims;
        self.layout.sub_period(position).map(|i| cosine(action, &goals[i * n..][..n]))
    }

    /// The active goal and the one-hot of its index, behind `features`; all zero where none is active (D1).
    fn push_feature(&self, position: usize, goals: &[f32], features: &mut Vec<f32>) {
        let (m, n) = (self.layout.n_goals, self.settings.model.n_dims);
        let active = self.layout.sub_period(position);
        let start = features.len();
        features.resize(start + n + m, 0.0);
        if let Some(i) = active {
            features[start..][..n].copy_from_slice(&goals[i * n..][..n]);
            features[start + n + i] = 1.0;
        }
    }

    /// `[B, n + M]` the goals in low-level states; nothing where goals are not in the state.
    pub fn features(&self, positions: &[u8], goals: &[f32], features: &mut Vec<f32>) {
        features.clear();
        if self.settings.model.goal_conditioning.in_state() {
            let of_row = self.goals_a_row();
            for (&position, goals) in positions.iter().zip(goals.chunks_exact(of_row)) {
                self.push_feature(position.into(), goals, features);
            }
        }
    }
}

/// A decoded batch of one level. B rows, H heads.
#[derive(Debug, Default)]
pub struct Batch {
    /// B.
    pub n_rows: usize,
    /// Windows before.
    pub now: Windows,
    /// Windows after.
    pub next: Windows,
    /// `[B, D - w]` behind the state before, if goals are in the state.
    pub features: Vec<f32>,
    /// The same after.
    pub next_features: Vec<f32>,
    /// `[B, H n]` goals set, or the item shown, as critics see them.
    pub action: Vec<f32>,
    /// `[H, B]`
    pub reward: Vec<f32>,
    /// `[B]` 1 where the user left.
    pub terminated: Vec<f32>,
    /// `[B]` importance weights; empty: all are 1.
    pub weights: Vec<f32>,
    /// `[B]` what the next value is discounted by besides gamma, where rows take in several steps (D26); empty: by nothing.
    pub further_discount: Vec<f32>,
    /// `[B, H n]` noise of the target's action; empty where it is not smoothed (D22).
    pub noise: Vec<f32>,
    /// Mean r_in over the low-level rows that had a goal.
    pub mean_internal_reward: f64,
}

/// A level's minibatch, checked, and what decoding it takes.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// What is the same for all minibatches.
    pub source: &'a Source,
    /// The number of the update.
    pub update: u64,
}

/// Rows of a level.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Periods.
    High(&'a HighBatch),
    /// Steps, with those ahead of them (D26) if there are any, and the goals behind them where goals are in the state.
    Low(&'a LowBatch, Option<&'a Ahead>, Option<&'a NextGoals>),
}

impl Rows<'_> {
    /// B.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::High(batch) => batch.len(),
            Self::Low(batch, ..) => batch.len(),
        }
    }
}

/// The goals of the periods that begin behind some rows of a low-level batch.
#[derive(Debug, Default)]
pub struct NextGoals {
    ids: Vec<ItemId>,
    windows: Windows,
    /// `[R, M n]`
    goals: Vec<f32>,
}

/// Where in its period each row's last step lies.
fn last_positions<'a>(batch: &'a LowBatch, ahead: Option<&'a Ahead>) -> impl Iterator<Item = usize> {
    (0..batch.len())
        .map(move |row| ahead.map_or(batch.positions[row].into(), |ahead| ahead.last_positions[row]))
}

impl NextGoals {
    /// Has `high` set the goals of the periods that begin behind the rows of a checked low-level batch: the real ones are not
    /// part of a transition, and targets come from target networks. So this is before the high level moves.
    pub fn set(&mut self, (batch, ahead): (&LowBatch, Option<&Ahead>), source: &Source, high: &mut Level) {
        let (c, stride) = (source.layout.n_steps, N_WINDOWS * source.settings.model.window);
        self.ids.clear();
        for (row, _) in last_positions(batch, ahead).enumerate().filter(|&(_, position)| position + 1 == c) {
            self.ids.extend_from_slice(&batch.next_windows[row * stride..][..stride]);
        }
        source.pack(LevelKind::High, &self.ids, &mut self.windows);
        self.goals.resize(self.ids.len() / stride * source.goals_a_row(), 0.0);
        high.target_actions(&self.windows, &mut self.goals);
    }
}

impl Batch {
    /// Decodes a minibatch.
    pub fn decode(&mut self, encoded: &Encoded<'_>, plan: &Plan) {
        let &Encoded { rows, source, update } = encoded;
        match rows {
            Rows::High(batch) => self.high(batch, source, plan, update),
            Rows::Low(batch, ahead, next) => self.low((batch, ahead, next), source, plan, update),
        }
    }

    fn high(&mut self, batch: &HighBatch, source: &Source, plan: &Plan, update: u64) {
        self.n_rows = batch.len();
        source.pack(LevelKind::High, &batch.windows, &mut self.now);
        source.pack(LevelKind::High, &batch.next_windows, &mut self.next);
        copy(&mut self.action, &batch.goals);
        heads::see(plan.critic_action, plan.n, &mut self.action);
        let (c, m) = (source.layout.n_steps, plan.heads);
        self.reward.clear();
        for i in 0..m {
            let of_row = |codes: &[u8]| {
                let share =
                    |(p, &code): (usize, &u8)| f64::from(checks::reward(code)) * source.credit[p * m + i];
                codes.iter().enumerate().map(share).sum::<f64>() as f32
            };
            self.reward.extend(batch.feedback.chunks_exact(c).map(of_row));
        }
        self.rest(&batch.terminated, &batch.weights, source, LevelKind::High, update);
    }

    fn low(
        &mut self,
        (batch, ahead, next): (&LowBatch, Option<&Ahead>, Option<&NextGoals>),
        source: &Source,
        plan: &Plan,
        update: u64,
    ) {
        self.n_rows = batch.len();
        source.pack(LevelKind::Low, &batch.windows, &mut self.now);
        source.pack(LevelKind::Low, &batch.next_windows, &mut self.next);
        self.action.clear();
        self.action.extend(batch.items.iter().flat_map(|&item| source.items.embedding(item)));
        self.low_rewards(batch, source);
        self.further_discount.clear();
        if let Some(ahead) = ahead {
            self.take_in(ahead, batch, source);
        }
        heads::see(plan.critic_action, plan.n, &mut self.action);
        source.features(&batch.positions, &batch.goals, &mut self.features);
        self.next_features.clear();
        if let Some(next) = next {
            let (c, of_row) = (source.layout.n_steps, source.goals_a_row());
            let mut set = next.goals.chunks_exact(of_row);
            for (position, goals) in last_positions(batch, ahead).zip(batch.goals.chunks_exact(of_row)) {
                let begun = if position + 1 == c { set.next() } else { None };
                source.push_feature((position + 1) % c, begun.unwrap_or(goals), &mut self.next_features);
            }
        }
        self.rest(&batch.terminated, &batch.weights, source, LevelKind::Low, update);
    }

    /// r^l (Eqs 10, 11) of actions that are embeddings, and the mean of r_in.
    fn low_rewards(&mut self, batch: &LowBatch, source: &Source) {
        let (mut sum, mut n_active) = (0.0, 0);
        self.reward.clear();
        let actions = self.action.chunks_exact(source.settings.model.n_dims);
        for (row, (action, &code)) in actions.zip(&batch.feedback).enumerate() {
            let goals = &batch.goals[row * source.goals_a_row()..];
            let active = source.internal_reward(batch.positions[row].into(), action, goals);
            let internal = active.unwrap_or(0.0);
            (sum, n_active) = (sum + internal, n_active + usize::from(active.is_some()));
            // Eq 10: r^l = r_ex + alpha r_in
            let reward = f64::from(checks::reward(code)) + source.settings.internal_weight() * internal;
            self.reward.push(reward as f32);
        }
        self.mean_internal_reward = sum / (n_active as f64).max(1.0);
    }

    /// Adds the discounted rewards of the steps ahead to those of the rows' own, and notes the discount behind them (D26).
    fn take_in(&mut self, ahead: &Ahead, batch: &LowBatch, source: &Source) {
        let gamma = source.settings.discount(LevelKind::Low);
        for (k, step) in (1..).zip(&ahead.steps) {
            let factor = gamma.powi(k);
            for (row, reward) in self.reward.iter_mut().enumerate().filter(|(row, _)| step.taken[*row] > 0.0)
            {
                let goals = &batch.goals[row * source.goals_a_row()..];
                let action = source.items.embedding(step.items[row]);
                let internal = source.internal_reward(step.positions[row], action, goals).unwrap_or(0.0);
                let of_step = f64::from(step.rewards[row]) + source.settings.internal_weight() * internal;
                *reward += (factor * of_step) as f32;
            }
        }
        self.further_discount.extend(ahead.discounts(gamma).into_iter().map(|discount| discount as f32));
    }

    /// What both levels have.
    fn rest(&mut self, terminated: &[u8], weights: &[f32], source: &Source, level: LevelKind, update: u64) {
        self.terminated.clear();
        self.terminated.extend(terminated.iter().map(|&flag| f32::from(flag)));
        copy(&mut self.weights, weights);
        self.noise.clear();
        if let Some(draws) = noise::smoothing(&source.settings, &source.smoothing, update, level) {
            self.noise.extend(draws.take(self.action.len()).map(|x| x as f32));
        }
    }
}

fn copy(to: &mut Vec<f32>, from: &[f32]) {
    to.clear();
    to.extend_from_slice(from);
}

/// Eq 11: r_in = cos(a, g^i)
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let length = |a: &[f32]| dot(a, a).sqrt().max(COSINE_EPSILON);
    dot(a, b) / (length(a) * length(b))
}
