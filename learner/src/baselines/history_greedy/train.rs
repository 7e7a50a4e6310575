//! The rounds of collecting and fitting.
//!
//! In: a world and a budget; out: the trained policy. First random items and a fit; then, in each round, the policy
//! collects with some random items among its own, and a fresh tower is fitted to the newest interactions. Owner thread:
//! the caller's, with one more beside it if the settings have two. Reproducible from the seed and the number of slots.

use std::ops::ControlFlow;

use common::seed::Streams;
use sim::Environment;

use super::{
    Error, HistoryGreedy, Settings, Tower, collect::Collector, fit::fit, interactions::Interactions,
};
use crate::threads::Threads;

/// Where a training stands, after a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Fits done, 1 to `n_fits`.
    pub fits: usize,
    /// Fits of the whole training.
    pub n_fits: usize,
    /// Interactions collected so far.
    pub interactions: usize,
    /// Interactions of the whole training (a few more: whole steps of all slots).
    pub total_interactions: usize,
    /// Mean reward an interaction of the last collection, exploration included.
    pub mean_reward: f64,
    /// Mean Poisson loss of the fit's last epoch.
    pub loss: f64,
}

/// Trains history-greedy in `world`, on sessions from `settings.first_session`. `progress` is called after every fit
/// and may stop the training, which then ends with [`Error::Interrupted`].
pub fn train(
    world: &mut dyn Environment,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<HistoryGreedy, Error> {
    settings.validate()?;
    let items = world.items().clone();
    let initial = Streams::new(settings.seed, "history-greedy/initial");
    let mut data = Interactions::new(world.window(), settings.keep);
    let threads = Threads::beside(settings.threads.min(2), "history-greedy");
    let threads = threads.as_ref();
    let mut collector = Collector::new(world, threads, settings.first_session, settings.seed);
    let mut policy: Option<HistoryGreedy> = None;
    let mut interactions = 0;
    let n_fits = settings.rounds + 1;
    for round in 0..n_fits {
        let n = if round == 0 { settings.random_interactions } else { settings.round_interactions };
        let collected = collector.collect(policy.as_mut(), settings.epsilon, n, &mut data)?;
        interactions += collected.interactions;
        // Always from fresh parameters: the data of early rounds leave no trace once they have fallen out.
        let mut tower = Tower::new(items.n_dims(), settings.width, &initial, round as u64);
        let loss = fit(&mut tower, &items, &data, settings, round as u64, threads);
        match &mut policy {
            Some(policy) => policy.set_tower(tower),
            None => policy = Some(HistoryGreedy::new(tower, items.clone(), settings.item_search)),
        }
        let report = Progress {
            fits: round + 1,
            n_fits,
            interactions,
            total_interactions: settings.total_interactions(),
            mean_reward: collected.mean_reward,
            loss,
        };
        tracing::debug!(?report, "history-greedy fitted");
        if progress(report).is_break() {
            return Err(Error::Interrupted);
        }
    }
    Ok(policy.expect("there is at least one fit"))
}

#[cfg(test)]
mod tests {
    use sim::{Reference, ReferencePolicy};

    use super::*;
    use crate::baselines::test_world::{reward, world};

    const CANDIDATES: usize = 200;

    fn short(seed: u64) -> Settings {
        Settings {
            seed,
            width: 32,
            random_interactions: 20_000,
            rounds: 1,
            round_interactions: 10_000,
            epochs: 2,
            batch: 512,
            ..Settings::default()
        }
    }

    #[test]
    fn a_short_training_beats_random_by_a_clear_margin() {
        let mut world = world(64, CANDIDATES);
        let mut fits = Vec::new();
        let mut policy = train(&mut world, &short(0), &mut |progress| {
            fits.push(progress.fits);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(fits, [1, 2]);
        let greedy = reward(&mut world, &mut policy);
        let random = reward(&mut world, &mut ReferencePolicy::new(Reference::Random, 0));
        assert!(greedy > 1.25 * random, "history-greedy {greedy}, random {random}");
    }

    #[test]
    fn equal_seeds_give_equal_parameters_on_one_thread_or_two_and_a_callback_can_stop() {
        let settings = |seed| Settings {
            random_interactions: 600,
            round_interactions: 600,
            epochs: 1,
            batch: 300,
            width: 8,
            ..short(seed)
        };
        let mut go_on = |_| ControlFlow::Continue(());
        let mut trained = |seed, threads| {
            let settings = Settings { threads, ..settings(seed) };
            train(&mut world(32, CANDIDATES), &settings, &mut go_on).unwrap().tower().clone()
        };
        let tower = trained(1, 1);
        assert_eq!(tower, trained(1, 1));
        assert_eq!(tower, trained(1, 2));
        assert_ne!(tower, trained(2, 1));
        let stopped = train(&mut world(32, CANDIDATES), &settings(1), &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
