//! The actors' pure-Rust networks against libtorch: goals, virtual actions and values within 1e-4 relative.
//!
//! Random parameters, ragged histories, batches of 1 to 1024, every form of the networks. Relative error = max |a - b| /
//! max |b| over a batch.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;

use agent::{Guidance, NO_GOAL, Policy, Scratch, Sessions};
use common::{
    Remainder,
    config::{Config, CriticAction, CriticOutput, GoalConditioning, History},
    seed::Streams,
};
use fixture::{goals, items, low, windows};
use learner::engine::{Engine, LowStates, torch::TorchEngine};

const TOLERANCE: f32 = 1e-4;

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    let scale = expected.iter().fold(1e-12_f32, |most, b| most.max(b.abs()));
    assert!(error <= TOLERANCE * scale, "{what}: off by {error:e} of {scale:e}");
}

fn compare(config: &Config, batch: usize, seed: u64) {
    let name = format!("batch {batch}, {:?}", config.model);
    let (model, items) = (&config.model, items(config.model.n_dims));
    let engine = TorchEngine::new(config, &items).unwrap();
    let policy = Policy::from_safetensors(&engine.weights(true), model, Arc::new(items.clone())).unwrap();
    let mut rng = Streams::new(seed, "parity").sequential();
    let windows = windows(batch, model.window, &mut rng);
    let set = goals(batch, config, &mut rng);
    let shown = low(batch, config, seed);
    let (layout, positions) = (config.period_layout(), &shown.positions);
    let active: Vec<u8> =
        positions.iter().map(|&p| layout.sub_period(p.into()).map_or(NO_GOAL, |i| i as u8)).collect();
    let (sessions, guidance) = (Sessions::all(&windows), Guidance { goals: &set, active: &active });
    let states = LowStates { windows: &windows, goals: &set, positions };
    let mut scratch = Scratch::default();

    let mut found = vec![0.0; set.len()];
    policy.goals(sessions, &mut scratch, &mut found);
    assert_close(&format!("goals, {name}"), &found, &engine.goals(&windows).unwrap());

    let mut found = vec![0.0; batch * model.n_dims];
    policy.virtual_actions(sessions, guidance, &mut scratch, &mut found);
    assert_close(&format!("actions, {name}"), &found, &engine.actions(states).unwrap());

    if model.has_high_level() {
        let mut found = vec![0.0; batch * model.n_goals];
        policy.high_q(sessions, &set, &mut scratch, &mut found).unwrap();
        assert_close(&format!("high q, {name}"), &found, &engine.high_values(&windows, &set).unwrap());
    }

    let embeddings: Vec<f32> = shown.items.iter().flat_map(|&item| items.embedding(item)).copied().collect();
    let mut found = vec![0.0; batch];
    policy.low_q(sessions, guidance, &embeddings, &mut scratch, &mut found).unwrap();
    assert_close(&format!("low q, {name}"), &found, &engine.low_values(states, &shown.items).unwrap());
}

#[test]
fn every_form_of_the_networks_agrees() {
    for conditioning in [GoalConditioning::Reward, GoalConditioning::State, GoalConditioning::Both] {
        use CriticOutput::{Exponential, Linear, Relu, Softplus};
        for output in [Relu, Softplus, Linear, Exponential] {
            for form in [CriticAction::Raw, CriticAction::Direction] {
                let mut config = fixture::config();
                config.model.goal_conditioning = conditioning;
                (config.model.critic_output, config.model.critic_action) = (output, form);
                config.algorithm.remainder = Remainder::Drop;
                compare(&config, 37, 1);
            }
        }
    }
}

#[test]
fn normalised_heads_agree() {
    for output in [CriticOutput::Relu, CriticOutput::Linear] {
        let mut config = fixture::config();
        (config.model.head_norm, config.model.critic_output) = (true, output);
        compare(&config, 37, 4);
    }
}

#[test]
fn affinities_agree() {
    for history in [History::Clicks, History::SkipsClicksOrders] {
        let mut config = fixture::config();
        (config.model.critic_affinity, config.model.low_history) = (6, history);
        compare(&config, 37, 5);
    }
}

#[test]
fn every_history_agrees_with_and_without_a_high_level() {
    use History::{Clicks, ClicksOrders, SkipsClicks, SkipsClicksOrders};
    for n_goals in [0, 2] {
        for history in [SkipsClicks, ClicksOrders, Clicks, SkipsClicksOrders] {
            let mut config = fixture::config();
            (config.model.n_goals, config.model.high_history) = (n_goals, history);
            config.model.low_history = history;
            compare(&config, 37, 3);
        }
    }
}

#[test]
fn batches_from_1_to_1024_agree() {
    for batch in (1..=130).chain([255, 256, 257, 511, 512, 513, 1023, 1024]) {
        compare(&fixture::config(), batch, batch as u64);
    }
}

#[test]
fn default_sizes_and_odd_ones_agree() {
    for (n, window, width, head, batch) in [
        (50, 10, 64, 256, 1024),
        (50, 10, 64, 256, 1),
        (50, 10, 64, 64, 65),
        (1, 1, 1, 1, 65),
        (19, 7, 33, 17, 65),
    ] {
        let mut config = fixture::config();
        let model = &mut config.model;
        (model.n_dims, model.window, model.encoder_width, model.head_width) = (n, window, width, head);
        compare(&config, batch, 5);
    }
}
