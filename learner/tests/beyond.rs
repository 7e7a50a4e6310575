//! What goes beyond the paper (D21 to D24): each setting does what it says, and nothing where it is off.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::config::Config;
use fixture::{config, engine, high, low, numbers, one_update, part};
use learner::engine::{Engine, UpdateMetrics};

/// All of it together.
fn beyond(config: &mut Config) {
    config.algorithm.twin_critics = true;
    (config.algorithm.target_noise, config.algorithm.actor_delay) = (0.2, 2);
    config.model.head_norm = true;
}

fn targets(metrics: &UpdateMetrics) -> Vec<f64> {
    let of = |level: &Option<learner::engine::LevelMetrics>| level.as_ref().unwrap().mean_target.clone();
    [of(&metrics.high), of(&metrics.low)].concat()
}

#[test]
fn twins_start_apart_and_their_targets_are_the_smaller_ones() {
    let (one, first) = one_update(|_| {});
    let (two, second) = one_update(|config| config.algorithm.twin_critics = true);
    let mut config = config();
    config.algorithm.twin_critics = true;
    let start = engine(&config).state();
    assert_eq!(part(&start, "low/critic/"), part(&engine(&fixture::config()).state(), "low/critic/"));
    for level in ["high", "low"] {
        let of = |name: &str| numbers(&start, &format!("{level}/{name}/"));
        assert_ne!(of("critic"), of("critic_2"));
        assert_eq!(of("critic_2"), of("target_critic_2"));
    }
    // A minimum of two lies nowhere above either; where the second is the smaller one, below the first.
    let (one, two) = (targets(&one), targets(&two));
    assert!(one.iter().zip(&two).all(|(one, two)| two <= one), "{two:?} are not below {one:?}");
    assert_ne!(one, two);
    // Both critics learn.
    for network in ["low/critic_2/", "high/critic_2/"] {
        assert_ne!(numbers(&second, network), numbers(&start, network));
    }
    assert!(first.keys().all(|name| !name.contains("critic_2")));
}

#[test]
fn smoothing_changes_targets_and_is_drawn_anew_at_every_update() {
    let update = |noise: f64, limit: f64| {
        let (metrics, _) = one_update(|config| {
            (config.algorithm.target_noise, config.algorithm.target_noise_limit) = (noise, limit);
        });
        targets(&metrics)
    };
    assert_ne!(update(0.3, 0.5), update(0.0, 0.5));
    assert_eq!(update(0.3, 0.5), update(0.3, 0.5));
    assert_eq!(update(0.3, 0.0), update(0.0, 0.5), "noise of no size is none");
    // Networks that stand still have other targets only by their noise.
    let mut config = config();
    config.algorithm.target_noise = 0.3;
    for rates in [&mut config.algorithm.learning_rate_high, &mut config.algorithm.learning_rate_low] {
        (rates.actor, rates.critic) = (0.0, 0.0);
    }
    let mut engine = engine(&config);
    let mut next = || targets(&engine.update(&high(12, &config, 1), &low(30, &config, 1)).unwrap());
    assert_ne!(next(), next());
}

#[test]
fn a_saved_state_goes_on_as_if_nothing_had_happened() {
    let mut config = config();
    beyond(&mut config);
    let update = |engine: &mut dyn Engine, seed| {
        engine.update(&high(12, &config, seed), &low(30, &config, seed)).unwrap()
    };
    let mut whole = engine(&config);
    (0..3).for_each(|seed| drop(update(&mut whole, seed)));
    let mut resumed = engine(&config);
    resumed.load_state(&whole.state()).unwrap();
    for seed in 3..6 {
        assert_eq!(update(&mut whole, seed), update(&mut resumed, seed));
    }
    assert_eq!(whole.state(), resumed.state());
}

#[test]
fn a_state_without_the_second_critics_is_refused_by_name() {
    let mut config = config();
    config.algorithm.twin_critics = true;
    let state = engine(&fixture::config()).state();
    let error = engine(&config).load_state(&state).unwrap_err().to_string();
    assert!(error.contains("critic_2") && error.ends_with("is missing"), "{error}");
}

#[test]
fn rollouts_get_the_low_level_critic_where_they_ask_it() {
    let holds = |rescored_items: usize| {
        let mut config = config();
        config.model.rescored_items = rescored_items;
        let bytes = engine(&config).weights(false);
        let weights = agent::Weights::from_safetensors(&bytes).unwrap();
        [agent::Network::LowCritic, agent::Network::HighCritic].map(|network| weights.contains(network))
    };
    assert_eq!((holds(0), holds(1), holds(2)), ([false; 2], [false; 2], [true, false]));
}
