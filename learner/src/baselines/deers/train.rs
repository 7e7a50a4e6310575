//! Rollouts and updates in turn.
//!
//! In: a world and a budget of environment steps; out: the trained policy. Items are random until the memory has its least
//! size; from then on every step earns updates. Owner thread: the caller's; set torch's threads to 1 before. Reproducible
//! from the seed and the number of slots.

use std::ops::ControlFlow;

use common::seed::Streams;
use sim::Environment;

use super::{
    Deers, NAME, Parameters, Settings, Sizes,
    collect::Collector,
    groups::groups,
    memory::{Memory, Row},
    update::Learner,
};
use crate::baselines::Error;

/// Reports of a training.
const REPORTS: u64 = 20;

/// Where a training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Environment steps so far.
    pub steps: u64,
    /// Environment steps of the whole training.
    pub total_steps: u64,
    /// Updates so far.
    pub updates: u64,
    /// Mean reward a step since the last report, exploration included.
    pub mean_reward: f64,
    /// Mean squared error of the updates since the last report; 0 before the first.
    pub loss: f64,
}

/// Trains DEERS in `world`, on sessions from `settings.first_session`. `progress` is called about twenty times and may stop
/// the training, which then ends with [`Error::Interrupted`].
pub fn train(
    world: &mut dyn Environment,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Deers, Error> {
    settings.validate()?;
    let items = world.items().clone();
    let sizes = Sizes {
        n_dims: items.n_dims(),
        encoder: settings.encoder_width,
        branch: settings.branch_width,
        joint: settings.joint_width,
    };
    let initial = Parameters::initial(sizes, settings.seed);
    let mut learner = Learner::new(&initial, &items, settings);
    let mut policy = Deers::new(initial, items.clone());
    let mut memory = Memory::new(settings.capacity, groups(&items, settings.seed));
    let mut collector = Collector::new(world, settings.first_session, settings.seed);
    let draws = Streams::new(settings.seed, "deers/draws");
    let (mut steps, mut updates, mut earned) = (0, 0, 0.0);
    let mut since = Since::default();
    while steps < settings.steps {
        let is_filled = memory.len() >= settings.min_size;
        let epsilon = if is_filled { settings.epsilon(steps) } else { 1.0 };
        since.reward += collector.step(&mut policy, epsilon, &mut memory)?;
        let before = steps;
        steps += collector.n_slots() as u64;
        if memory.len() >= settings.min_size {
            earned += collector.n_slots() as f64 * settings.updates_per_step;
        }
        let is_due = earned >= 1.0;
        while earned >= 1.0 {
            earned -= 1.0;
            let mut rng = draws.at(updates, 0);
            let rows: Vec<Row> =
                (0..settings.batch).map(|_| memory.draw(settings.target_candidates, &mut rng)).collect();
            learner.set_progress(steps as f64 / settings.steps as f64);
            let loss = learner.update(&rows);
            updates += 1;
            if !loss.is_finite() {
                let problem = format!("the loss of update {updates} is {loss}: lower the learning rate");
                return Err(Error::Data { method: NAME, problem });
            }
            (since.loss, since.updates) = (since.loss + loss, since.updates + 1);
        }
        if is_due {
            policy = Deers::new(learner.parameters(), items.clone());
        }
        since.steps += steps - before;
        let every = (settings.steps / REPORTS).max(1);
        if steps / every != before / every {
            let Since { steps: new, reward, updates: n, loss } = std::mem::take(&mut since);
            let report = Progress {
                steps: steps.min(settings.steps),
                total_steps: settings.steps,
                updates,
                mean_reward: reward / new as f64,
                loss: loss / n.max(1) as f64,
            };
            tracing::debug!(?report, "deers goes on");
            if progress(report).is_break() {
                return Err(Error::Interrupted { method: NAME });
            }
        }
    }
    Ok(policy)
}

/// What was measured since the last report.
#[derive(Default)]
struct Since {
    steps: u64,
    reward: f64,
    updates: u64,
    loss: f64,
}

#[cfg(test)]
mod tests {
    use sim::{Reference, ReferencePolicy};

    use super::*;
    use crate::baselines::{
        deers::Pairwise,
        test_world::{reward, world},
    };

    const CANDIDATES: usize = 100;

    fn short(seed: u64, pairwise: Pairwise) -> Settings {
        Settings {
            seed,
            steps: 30_000,
            encoder_width: 16,
            branch_width: 32,
            joint_width: 16,
            min_size: 10_000,
            batch: 128,
            updates_per_step: 1.0 / 50.0,
            target_candidates: 16,
            epsilon_steps: 20_000,
            pairwise,
            ..Settings::default()
        }
    }

    const HINGE: Pairwise = Pairwise::Hinge { weight: 0.1, margin: 1.0 };
    const SQUARED: Pairwise = Pairwise::Squared { weight: 0.1, clip: 1.0 };

    #[test]
    fn a_short_training_beats_random_by_a_clear_margin() {
        tch::set_num_threads(1);
        let mut world = world(64, CANDIDATES);
        let random = reward(&mut world, &mut ReferencePolicy::new(Reference::Random, 0));
        for pairwise in [HINGE, SQUARED] {
            let mut reports = Vec::new();
            let mut policy = train(&mut world, &short(0, pairwise), &mut |progress| {
                reports.push(progress);
                ControlFlow::Continue(())
            })
            .unwrap();
            let last = reports.last().unwrap();
            assert_eq!((reports.len(), last.steps), (20, 30_000));
            assert!((300..=400).contains(&last.updates), "{} updates", last.updates);
            let trained = reward(&mut world, &mut policy);
            assert!(trained > 1.2 * random, "{pairwise:?}: DEERS {trained}, random {random}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_parameters_and_a_callback_can_stop() {
        tch::set_num_threads(1);
        let settings = |seed| Settings { steps: 3_000, min_size: 1_000, batch: 16, ..short(seed, HINGE) };
        let mut go_on = |_| ControlFlow::Continue(());
        let mut trained = |seed| {
            train(&mut world(32, CANDIDATES), &settings(seed), &mut go_on).unwrap().parameters().clone()
        };
        let parameters = trained(1);
        assert_eq!(parameters, trained(1));
        assert_ne!(parameters, trained(2));
        let stopped = train(&mut world(32, CANDIDATES), &settings(1), &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })));
    }
}
