//! The imitation itself, by torch's gradient, whatever engine the run has.
//!
//! In: a new engine, a log; out: the same engine with another low-level actor, and its target, which starts as a copy.
//! Critics, the high level and all optimisers are as new. Depends on settings and seed only.

use anyhow::{Context, Result};
use common::{ItemId, ItemTable, config::Config, history::N_WINDOWS, seed::Streams};
use rand::RngExt;

use crate::{
    baselines::InteractionLog,
    checkpoint::Tensors,
    engine::{Engine, LowStates, torch::TorchEngine},
};

/// Passes over the clicks.
const PASSES: usize = 10;
/// Clicks of a step.
const BATCH: usize = 64;

/// Steps of the log at which the user clicked. R rows.
#[derive(Debug, Default, PartialEq)]
struct Clicks {
    /// `[R, 3, N]` windows before the step.
    windows: Vec<ItemId>,
    /// `[R]` the item clicked.
    items: Vec<ItemId>,
    /// `[R]` its reward: 1, or 5 with an order.
    weights: Vec<f32>,
    /// `[R]` position in the period.
    positions: Vec<u8>,
}

impl Clicks {
    fn of(log: &InteractionLog, period_steps: usize) -> Self {
        let mut clicks = Self::default();
        for session in log.sessions() {
            session.replay(|state, step| {
                if step.feedback.clicked() {
                    clicks.windows.extend_from_slice(state.windows);
                    clicks.items.push(step.item);
                    clicks.weights.push(step.feedback.reward());
                    clicks.positions.push((state.step() % period_steps) as u8);
                }
            });
        }
        clicks
    }

    /// Some of its rows.
    fn rows(&self, rows: &[usize]) -> Self {
        let width = self.windows.len() / self.items.len();
        Self {
            windows: rows.iter().flat_map(|&row| &self.windows[row * width..][..width]).copied().collect(),
            items: rows.iter().map(|&row| self.items[row]).collect(),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
            positions: rows.iter().map(|&row| self.positions[row]).collect(),
        }
    }
}

/// Replaces the low-level actor of a new engine by one that imitates the log. The mean loss of the first and the last pass.
///
/// # Errors
/// A log without a click; what the engine refuses.
pub(super) fn imitate(
    engine: &mut dyn Engine,
    config: &Config,
    (items, log): (&ItemTable, &InteractionLog),
) -> Result<[f64; 2]> {
    let clicks = Clicks::of(log, config.model.period_steps);
    anyhow::ensure!(
        !clicks.items.is_empty(),
        "the {} sessions to start from hold no click: set train.warm_start_sessions higher, or to 0",
        config.train.warm_start_sessions
    );
    let mut state = engine.state();
    let mut student = TorchEngine::new(config, items)?;
    student.load_state(&state)?;
    let losses = passes(&mut student, &clicks, config)?;
    take_actor(&mut state, &student.state());
    engine.load_state(&state).context("the imitating actor does not fit the engine")?;
    Ok(losses)
}

fn passes(student: &mut TorchEngine, clicks: &Clicks, config: &Config) -> Result<[f64; 2]> {
    let streams = Streams::new(config.seed, "learner/warm-start");
    let mut order: Vec<usize> = (0..clicks.items.len()).collect();
    let mut means = Vec::new();
    for pass in 0..PASSES {
        let mut rng = streams.at(pass as u64, 0);
        for k in (1..order.len()).rev() {
            order.swap(k, rng.random_range(0..=k));
        }
        let mut sum = 0.0;
        for rows in order.chunks(BATCH) {
            let batch = clicks.rows(rows);
            debug_assert_eq!(batch.windows.len(), rows.len() * N_WINDOWS * config.model.window);
            // The goals of an untrained high level, as if a period began here: the actor learns to act whatever they are.
            let goals = student.goals(&batch.windows)?;
            let states = LowStates { windows: &batch.windows, goals: &goals, positions: &batch.positions };
            sum += rows.len() as f64 * student.imitate(states, &batch.items, &batch.weights)?;
        }
        means.push(sum / order.len() as f64);
    }
    Ok([means[0], means[PASSES - 1]])
}

/// The low-level actor of `from`, and the target as its copy.
fn take_actor(state: &mut Tensors, from: &Tensors) {
    for (name, array) in from {
        if let Some(parameter) = name.strip_prefix("low/actor/") {
            state.insert(name.clone(), array.clone());
            state.insert(format!("low/target_actor/{parameter}"), array.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn config(sessions: u64) -> Config {
        let mut config = Config::default();
        config.environment.name = "shopworld:dense".to_owned();
        config.environment.session_length = 20;
        (config.model.encoder_width, config.model.head_width) = (12, 12);
        config.train.warm_start_sessions = sessions;
        config.train.device = "cpu".to_owned();
        config
    }

    fn started(config: &Config) -> (Tensors, Tensors, Option<[f64; 2]>) {
        let world = World::open(config).unwrap();
        let mut engine = TorchEngine::new(config, world.items()).unwrap();
        let before = engine.state();
        let losses = super::super::imitate(&mut engine, config, &world).unwrap();
        (before, engine.state(), losses)
    }

    #[test]
    fn the_actor_learns_to_point_at_what_was_clicked_and_nothing_else_moves() {
        let (before, after, losses) = started(&config(60));
        let [first, last] = losses.unwrap();
        assert!(last < first - 0.3, "{first} to {last}");
        for (name, array) in &after {
            let moves = name.starts_with("low/actor/") || name.starts_with("low/target_actor/");
            assert_eq!(before[name] != *array, moves, "{name}");
            if let Some(parameter) = name.strip_prefix("low/actor/") {
                assert_eq!(after[&format!("low/target_actor/{parameter}")], *array);
            }
        }
    }

    #[test]
    fn equal_seeds_start_alike_and_without_sessions_nothing_happens() {
        let of_seed = |seed| started(&Config { seed, ..config(10) }).1;
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
        let (before, after, losses) = started(&config(0));
        assert_eq!((before, None), (after, losses));
    }

    #[test]
    fn a_click_is_learned_in_the_state_before_it_with_its_reward() {
        use crate::baselines::Step;
        use common::Feedback::{Click, Order, Skip};
        let mut log = InteractionLog::new(2);
        let steps = [(1, Skip), (2, Order), (3, Skip), (4, Click)];
        let steps = steps.map(|(item, feedback)| Step { item: ItemId(item), feedback, propensity: None });
        log.push(0, &[ItemId::PADDING; 6], steps);
        let clicks = Clicks::of(&log, 3);
        assert_eq!(clicks.items, [ItemId(2), ItemId(4)]);
        assert_eq!((clicks.weights.as_slice(), clicks.positions.as_slice()), (&[5.0, 1.0][..], &[1, 0][..]));
        let pad = ItemId::PADDING;
        assert_eq!(clicks.windows[..6], [pad, ItemId(1), pad, pad, pad, pad]);
        assert_eq!(clicks.rows(&[1]).windows, [ItemId(1), ItemId(3), pad, ItemId(2), pad, ItemId(2)]);
    }
}
