//! What goes beyond the paper (D21 to D26): each setting does what it says, and nothing where it is off.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::{
    ItemId,
    config::Config,
    transition::{LowBatch, NO_STEP},
};
use fixture::{config, engine, high, items, low, numbers, one_update, part};
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

/// The batch of the other tests, whose rows but for the last of a period have a step ahead; nobody leaves.
fn with_a_step_ahead(config: &Config) -> LowBatch {
    let mut batch = low(30, config, 1);
    batch.terminated.fill(0);
    let c = config.model.period_steps as u8;
    for (row, &position) in batch.positions.clone().iter().enumerate() {
        let is_last = position + 1 == c;
        batch.ahead_items.push(if is_last { ItemId::PADDING } else { batch.items[(row + 7) % 30] });
        batch.ahead_feedback.push(if is_last { NO_STEP } else { batch.feedback[(row + 7) % 30] });
    }
    batch
}

#[test]
fn a_return_of_two_steps_is_that_of_the_equations_computed_by_hand() {
    let mut config = config();
    for rates in [&mut config.algorithm.learning_rate_high, &mut config.algorithm.learning_rate_low] {
        (rates.actor, rates.critic) = (0.0, 0.0);
    }
    config.algorithm.discount = 0.7;
    let batch = with_a_step_ahead(&config);
    let (table, layout, n) = (items(6), config.period_layout(), 6);
    let reward = |row: usize, position: usize, item: ItemId, code: u8| -> f64 {
        let goal = layout.sub_period(position).map(|i| &batch.goals[(row * 3 + i) * n..][..n]);
        let cosine = |goal: &[f32]| {
            let norm = |a: &[f32]| a.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let dot: f64 =
                goal.iter().zip(table.embedding(item)).map(|(g, a)| f64::from(*g) * f64::from(*a)).sum();
            dot / norm(goal) / norm(table.embedding(item))
        };
        [0.0, 1.0, 5.0][usize::from(code)]
            + f64::from(config.algorithm.internal_weight) * goal.map_or(0.0, cosine)
    };
    let by_hand: f64 = (0..30)
        .map(|row| {
            let position = usize::from(batch.positions[row]);
            let own = reward(row, position, batch.items[row], batch.feedback[row]);
            match batch.ahead_feedback[row] {
                NO_STEP => own,
                code => own + 0.7 * reward(row, position + 1, batch.ahead_items[row], code),
            }
        })
        .sum();
    let update = |batch: &LowBatch| {
        let metrics = engine(&config).update(&high(12, &config, 1), batch).unwrap();
        let low = metrics.low.unwrap();
        (low.mean_reward[0], low.mean_target[0] - low.mean_reward[0])
    };
    let (reward, next) = update(&batch);
    assert!((reward - by_hand / 30.0).abs() < 1e-5, "{reward}, not {}", by_hand / 30.0);
    // Where every row has its step, the value behind it counts gamma times what it counts without.
    let mut all = batch.clone();
    for row in 0..30 {
        all.positions[row] %= 9;
        all.ahead_items[row] = ItemId(1);
        all.ahead_feedback[row] = 0;
    }
    let none = LowBatch { ahead_items: Vec::new(), ahead_feedback: Vec::new(), ..all.clone() };
    let ratio = update(&all).1 / update(&none).1;
    assert!((ratio - 0.7).abs() < 1e-4, "{ratio}");
    assert!((next - update(&none).1).abs() > 1e-6);
}

#[test]
fn rows_without_a_step_ahead_are_updated_as_ever_and_one_beyond_the_period_is_refused() {
    let config = config();
    let plain = low(30, &config, 1);
    let update = |batch: &LowBatch| {
        let mut engine = engine(&config);
        engine.update(&high(12, &config, 1), batch).map(|_| engine.state())
    };
    let absent = LowBatch {
        ahead_items: vec![ItemId::PADDING; 60],
        ahead_feedback: vec![NO_STEP; 60],
        ..plain.clone()
    };
    assert_eq!(update(&absent).unwrap(), update(&plain).unwrap());
    let beyond = LowBatch { ahead_items: vec![ItemId(1); 30], ahead_feedback: vec![0; 30], ..plain.clone() };
    let error = update(&beyond).unwrap_err().to_string();
    assert!(error.contains("row 9: 1 steps ahead cross the end of a period of 10"), "{error}");
}

#[test]
fn goals_after_a_return_are_those_of_the_position_it_ends_at() {
    let mut config = config();
    config.model.goal_conditioning = common::config::GoalConditioning::Both;
    let mut batch = with_a_step_ahead(&config);
    let target = |batch: &LowBatch| {
        let metrics = engine(&config).update(&high(12, &config, 1), batch).unwrap();
        let low = metrics.low.unwrap();
        low.mean_target[0] - low.mean_reward[0]
    };
    // Position 2 with a step ahead ends in the second sub-period (c = 10, M = 3), whose goal then counts.
    batch.positions.fill(2);
    batch.ahead_items.fill(ItemId(3));
    batch.ahead_feedback.fill(0);
    let mut other = batch.clone();
    for goals in other.goals.chunks_exact_mut(18) {
        goals[6..12].fill(1.5);
    }
    assert_ne!(target(&batch), target(&other));
    let own_alone = |batch: &LowBatch| LowBatch {
        positions: vec![1; 30],
        ahead_items: Vec::new(),
        ahead_feedback: Vec::new(),
        ..batch.clone()
    };
    assert_eq!(target(&own_alone(&batch)), target(&own_alone(&other)), "position 2 is in the first");
}
