//! The steps of the optimisers and of the soft updates: who moves, how often, how far.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::config::{Config, EncoderUpdate, LevelRates};
use fixture::{config, engine, high, low, numbers, one_update, part};
use learner::{checkpoint::Data, engine::Engine};

#[test]
fn sequential_updates_step_the_encoder_once_a_head() {
    let steps = |encoder_update| {
        let (_, state) = one_update(|config| config.algorithm.encoder_update = encoder_update);
        ["adam/high/critic/steps", "adam/low/actor/steps"].map(|name| state[name].data.clone())
    };
    assert_eq!(steps(EncoderUpdate::Summed), [Data::I64(vec![1]), Data::I64(vec![1])]);
    assert_eq!(steps(EncoderUpdate::Sequential), [Data::I64(vec![3, 1, 1, 1]), Data::I64(vec![1, 1])]);
}

#[test]
fn delayed_actors_and_targets_move_at_every_kth_update() {
    let mut config = config();
    config.algorithm.actor_delay = 2;
    let mut engine = engine(&config);
    let (h, l) = (high(12, &config, 1), low(30, &config, 1));
    let before = engine.state();
    assert!(engine.update(&h, &l).unwrap().high.unwrap().actor.is_none());
    let first = engine.state();
    for still in ["high/actor", "low/actor", "high/target_", "low/target_"] {
        assert_eq!(part(&first, still), part(&before, still), "{still}");
    }
    assert_ne!(part(&first, "low/critic"), part(&before, "low/critic"));
    assert!(engine.update(&h, &l).unwrap().low.unwrap().actor.is_some());
    let second = engine.state();
    for moved in ["high/actor", "low/actor", "high/target_actor", "low/target_critic"] {
        assert_ne!(part(&second, moved), part(&first, moved), "{moved}");
    }
}

#[test]
fn clipping_bounds_the_norm_of_the_step() {
    // Adam's first running mean is a tenth of the (clipped) gradient.
    let norm = |clip| {
        let (metrics, state) = one_update(|config| config.algorithm.gradient_clip = clip);
        let mean = numbers(&state, "adam/low/critic/mean");
        let norm = mean.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() * 10.0;
        (metrics.low.unwrap().critic_gradient_norm, norm)
    };
    let (reported, free) = norm(0.0);
    assert!((reported - free).abs() < 1e-4 * free);
    let (reported, clipped) = norm(free / 2.0);
    assert!((reported - free).abs() < 1e-4 * free, "the metric is the norm before clipping");
    assert!((clipped - free / 2.0).abs() < 1e-4 * free);
    assert!((norm(free * 2.0).1 - free).abs() < 1e-4 * free);
}

#[test]
fn the_saturation_penalty_pulls_actors_out_of_the_corners() {
    let saturated = |weight| {
        let mut config = config();
        config.algorithm.saturation_penalty = weight;
        config.algorithm.learning_rate_low = LevelRates { actor: 0.05, critic: 0.0 };
        let mut engine = engine(&config);
        let mut state = engine.state();
        for (_, array) in state.iter_mut().filter(|(name, _)| *name == "low/actor/heads.0.bias") {
            array.data = Data::F32(vec![4.0; 6]);
        }
        engine.load_state(&state).unwrap();
        let (h, l) = (high(2, &config, 1), low(30, &config, 1));
        let mut share = || engine.update(&h, &l).unwrap().low.unwrap().actor.unwrap().saturated_share;
        let first = share();
        (first, (0..80).map(|_| share()).last().unwrap())
    };
    // Without it the frozen critic alone may move a few.
    let (first, last) = saturated(0.0);
    assert!(first == 1.0 && last > 0.6, "{first} to {last}");
    let (first, last) = saturated(1.0);
    assert!(first == 1.0 && last < 0.1, "{first} to {last}");
}

#[test]
fn a_rate_of_zero_holds_a_network_and_the_actors_step_leaves_the_critic_bit_identical() {
    for level in ["high", "low"] {
        let state = |actor| {
            let rates = LevelRates { actor, critic: 1e-3 };
            let change = |config: &mut Config| {
                (config.algorithm.learning_rate_high, config.algorithm.learning_rate_low) = (rates, rates);
            };
            one_update(change).1
        };
        let (held, moved, initial) = (state(0.0), state(1e-3), engine(&config()).state());
        let (actor, critic) = (format!("{level}/actor"), format!("{level}/critic"));
        assert_eq!(part(&held, &actor), part(&initial, &actor));
        assert_ne!(part(&moved, &actor), part(&initial, &actor));
        assert_eq!(part(&held, &critic), part(&moved, &critic), "the actor's step touched the critic");
    }
}

#[test]
fn the_critic_moves_in_its_own_step_only() {
    for (encoder_update, high_steps) in [(EncoderUpdate::Summed, 1), (EncoderUpdate::Sequential, 3)] {
        let (_, state) = one_update(|config| {
            config.algorithm.encoder_update = encoder_update;
            let rates = LevelRates { actor: 1e-3, critic: 0.0 };
            (config.algorithm.learning_rate_high, config.algorithm.learning_rate_low) = (rates, rates);
        });
        let initial = engine(&config()).state();
        for (level, steps) in [("high", high_steps), ("low", 1)] {
            let critic = format!("{level}/critic");
            assert_eq!(part(&state, &critic), part(&initial, &critic), "{encoder_update:?}");
            // Its optimiser has seen its own gradients, one a step of the encoder, and no others.
            let Data::I64(counts) = &state[&format!("adam/{critic}/steps")].data else { panic!("counts") };
            assert_eq!(counts[0], steps, "{encoder_update:?}");
        }
    }
}

#[test]
fn soft_updates_move_targets_by_tau() {
    let initial = numbers(&engine(&config()).state(), "low/critic");
    for tau in [0.0, 0.25, 1.0] {
        let (_, state) = one_update(|config| config.algorithm.soft_update = tau);
        let (online, target) = (numbers(&state, "low/critic"), numbers(&state, "low/target_critic"));
        for ((start, online), target) in initial.iter().zip(online).zip(target) {
            let expected = tau as f32 * online + (1.0 - tau as f32) * start;
            assert!((target - expected).abs() < 1e-6, "tau {tau}");
        }
    }
}

#[test]
fn learning_rates_fall_geometrically_to_their_final_share() {
    // Adam's first step of a parameter with a gradient is the learning rate, whatever the gradient.
    let largest_step = |left, done| {
        let mut config = config();
        config.algorithm.learning_rate_final = left;
        let mut engine = engine(&config);
        let before = numbers(&engine.state(), "low/critic");
        engine.set_progress(done);
        engine.update(&high(12, &config, 1), &low(30, &config, 1)).unwrap();
        let after = numbers(&engine.state(), "low/critic");
        before.iter().zip(after).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max)
    };
    for (left, done, share) in
        [(1.0, 1.0, 1.0), (0.25, 0.0, 1.0), (0.25, 0.5, 0.5), (0.2, 1.0, 0.2), (0.2, 7.0, 0.2)]
    {
        let step = largest_step(left, done);
        assert!((step / 1e-3 - share).abs() < 1e-2, "{left} at {done}: {step}");
    }
}
