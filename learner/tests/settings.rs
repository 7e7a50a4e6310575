//! Each setting of `[model]` and `[algorithm]` does what it says.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::{
    ItemId, Remainder,
    config::{
        Assignment, Config, CriticAction, CriticOutput, EncoderUpdate, GoalConditioning, HighDiscount,
        ModelConfig, TargetAction,
    },
    transition::NO_STEP,
};
use fixture::{config, engine, goals, high, low, numbers, one_update, part};
use learner::{
    checkpoint::Data,
    engine::{Engine, LowStates, UpdateMetrics},
};

fn high_target(metrics: &UpdateMetrics) -> &[f64] {
    &metrics.high.as_ref().unwrap().mean_target
}

fn low_target(metrics: &UpdateMetrics) -> f64 {
    metrics.low.as_ref().unwrap().mean_target[0]
}

fn high_reward(metrics: &UpdateMetrics) -> &[f64] {
    &metrics.high.as_ref().unwrap().mean_reward
}

#[test]
fn goals_reach_the_action_through_the_state_only_where_asked() {
    for (conditioning, reaches) in
        [(GoalConditioning::Reward, false), (GoalConditioning::State, true), (GoalConditioning::Both, true)]
    {
        let mut config = config();
        config.model.goal_conditioning = conditioning;
        let engine = engine(&config);
        let batch = low(20, &config, 3);
        let mut rng = common::seed::Streams::new(9, "other goals").sequential();
        let other = goals(20, &config, &mut rng);
        let states = |goals| LowStates { windows: &batch.windows, goals, positions: &batch.positions };
        let same = engine.actions(states(&batch.goals)).unwrap() == engine.actions(states(&other)).unwrap();
        assert_eq!(!same, reaches, "{conditioning:?}: actions");
        let q = |goals| engine.low_values(states(goals), &batch.items).unwrap();
        assert_eq!(q(&batch.goals) != q(&other), reaches, "{conditioning:?}: values");
    }
}

/// The low level after an update with these goals in its batch.
fn low_level_with_goals(change: impl Fn(&mut Config), seed: u64) -> Vec<f32> {
    let mut config = config();
    change(&mut config);
    let mut engine = engine(&config);
    let mut batch = low(30, &config, 1);
    let mut rng = common::seed::Streams::new(seed, "goals").sequential();
    batch.goals = goals(30, &config, &mut rng);
    engine.update(&high(12, &config, 1), &batch).unwrap();
    numbers(&engine.state(), "low/")
}

#[test]
fn ddpg_plus_is_the_low_level_without_internal_reward() {
    let without = |config: &mut Config| config.algorithm.internal_weight = 0.0;
    assert_eq!(low_level_with_goals(without, 1), low_level_with_goals(without, 2));
    assert_ne!(low_level_with_goals(|_| {}, 1), low_level_with_goals(|_| {}, 2));
    // What is left is the reward of the feedback: 0, 1 or 5.
    let batch = low(30, &config(), 1);
    let external = batch.feedback.iter().map(|&code| [0.0, 1.0, 5.0][usize::from(code)]).sum::<f64>() / 30.0;
    let reward = one_update(without).0.low.unwrap().mean_reward[0];
    assert!((reward - external).abs() < 1e-6, "{reward}, not {external}");
}

#[test]
fn hrl_g_is_one_goal_for_the_whole_period() {
    let update = |assignment, beta, encoder_update| {
        one_update(|config| {
            config.model.n_goals = 1;
            config.algorithm.beta = beta;
            (config.algorithm.assignment, config.algorithm.encoder_update) = (assignment, encoder_update);
        })
    };
    let (metrics, state) = update(Assignment::Paper, 1.0, EncoderUpdate::Summed);
    let config = Config { model: ModelConfig { n_goals: 1, ..config().model }, ..config() };
    let batch = high(12, &config, 1);
    let external: f64 = batch
        .feedback
        .iter()
        .filter(|&&code| code != NO_STEP)
        .map(|&code| [0.0, 1.0, 5.0][usize::from(code)])
        .sum();
    let rewards = high_reward(&metrics);
    assert_eq!(rewards.len(), 1);
    assert!((rewards[0] - external / 12.0).abs() < 1e-5, "{} is not the period's whole reward", rewards[0]);
    // With one goal there is nothing to assign, and nothing to take turns at.
    for (assignment, beta) in [(Assignment::Naive, 1.0), (Assignment::Causal, 0.5), (Assignment::Paper, 0.0)]
    {
        assert_eq!(update(assignment, beta, EncoderUpdate::Summed).1, state, "{assignment:?}");
    }
    let sequential = update(Assignment::Paper, 1.0, EncoderUpdate::Sequential).1;
    for network in ["high/actor", "high/critic", "low/actor", "low/critic", "high/target", "low/target"] {
        assert_eq!(part(&sequential, network), part(&state, network), "{network}");
    }
}

#[test]
fn state_conditioning_has_no_internal_reward_and_both_has() {
    let reward = |conditioning, weight| {
        let (metrics, _) = one_update(|config| {
            config.model.goal_conditioning = conditioning;
            config.algorithm.internal_weight = weight;
        });
        metrics.low.unwrap().mean_reward
    };
    assert_eq!(reward(GoalConditioning::State, 0.9), reward(GoalConditioning::State, 0.0));
    assert_ne!(reward(GoalConditioning::Both, 0.9), reward(GoalConditioning::Both, 0.0));
}

#[test]
fn the_next_period_has_the_goals_of_the_target_high_actor() {
    let mut config = config();
    config.model.goal_conditioning = GoalConditioning::State;
    let target = |position: u8, perturb: bool| {
        let mut engine = engine(&config);
        if perturb {
            let mut state = engine.state();
            for (_, array) in state.iter_mut().filter(|(name, _)| name.starts_with("high/target_actor/heads"))
            {
                let Data::F32(values) = &mut array.data else { panic!("f32") };
                values.iter_mut().for_each(|x| *x += 0.5);
            }
            engine.load_state(&state).unwrap();
        }
        let mut batch = low(30, &config, 1);
        batch.positions = vec![position; 30];
        low_target(&engine.update(&high(12, &config, 1), &batch).unwrap())
    };
    assert_eq!(target(8, false), target(8, true));
    assert_ne!(target(9, false), target(9, true));
}

#[test]
fn the_remainder_belongs_to_the_last_goal_or_to_none() {
    let reward = |remainder| {
        let (metrics, _) = one_update(|config| {
            config.algorithm.remainder = remainder;
            config.algorithm.assignment = Assignment::Naive;
        });
        high_reward(&metrics).to_vec()
    };
    let (last, drop) = (reward(Remainder::Last), reward(Remainder::Drop));
    assert_eq!(last[..2], drop[..2]);
    assert!(last[2] > drop[2]);
}

#[test]
fn rewards_are_assigned_backwards_forwards_or_not_at_all() {
    let reward = |assignment, beta| {
        let (metrics, _) = one_update(|config| {
            (config.algorithm.assignment, config.algorithm.beta) = (assignment, beta);
        });
        high_reward(&metrics).to_vec()
    };
    let phi = reward(Assignment::Naive, 0.5);
    let close = |a: Vec<f64>, b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(reward(Assignment::Paper, 1.0), [phi[0], phi[0] + phi[1], phi[0] + phi[1] + phi[2]]));
    let causal = [phi[0] + 0.5 * phi[1] + 0.25 * phi[2], phi[1] + 0.5 * phi[2], phi[2]];
    assert!(close(reward(Assignment::Causal, 0.5), causal));
}

#[test]
fn a_step_behind_the_end_of_a_period_is_worth_nothing() {
    let config = config();
    let reward = |code: u8| {
        let mut batch = high(4, &config, 1);
        batch.feedback.fill(code);
        high_reward(&engine(&config).update(&batch, &low(4, &config, 1)).unwrap()).to_vec()
    };
    assert_eq!(reward(NO_STEP), [0.0; 3]);
    assert!(reward(1)[0] > 0.0);
}

#[test]
fn only_termination_ends_the_bootstrap() {
    let mut config = config();
    config.algorithm.internal_weight = 0.0;
    let target = |terminated: u8| {
        let (mut h, mut l) = (high(12, &config, 1), low(30, &config, 1));
        h.terminated.fill(terminated);
        l.terminated.fill(terminated);
        let metrics = engine(&config).update(&h, &l).unwrap();
        let reward = (high_reward(&metrics).to_vec(), metrics.low.as_ref().unwrap().mean_reward.clone());
        ((high_target(&metrics).to_vec(), metrics.low.unwrap().mean_target), reward)
    };
    let (targets, rewards) = target(1);
    assert_eq!(targets, rewards, "terminated: the target is the reward");
    let (targets, rewards) = target(0);
    assert_ne!(targets, rewards, "truncated: the target looks beyond");
}

#[test]
fn the_high_discount_is_that_of_a_period_or_of_its_steps() {
    let high = |discount, gamma: f64| {
        let (metrics, _) = one_update(|config| {
            (config.algorithm.high_discount, config.algorithm.discount) = (discount, gamma);
        });
        high_target(&metrics).to_vec()
    };
    let (steps, period) = (high(HighDiscount::GammaPowC, 0.9), high(HighDiscount::Gamma, 0.9_f64.powi(10)));
    assert!(steps.iter().zip(period).all(|(a, b)| (a - b).abs() < 1e-6));
    assert_ne!(steps, high(HighDiscount::Gamma, 0.9));
}

#[test]
fn a_discount_of_zero_leaves_the_reward() {
    let (metrics, _) = one_update(|config| config.algorithm.discount = 0.0);
    assert_eq!(high_target(&metrics), high_reward(&metrics));
}

#[test]
fn mapped_targets_are_values_of_items() {
    let mut config = config();
    (config.algorithm.internal_weight, config.algorithm.discount) = (0.0, 1.0);
    config.algorithm.target_action = TargetAction::Mapped;
    let mut batch = low(1, &config, 4);
    batch.terminated = vec![0];
    let mut engine = engine(&config);
    assert!(engine.map_targets_to(&[]).is_err());
    engine.map_targets_to(&[ItemId(7)]).unwrap();
    let (goals, position) = (batch.goals.clone(), [0]);
    let next = LowStates { windows: &batch.next_windows, goals: &goals, positions: &position };
    // The targets are still copies of the online networks.
    let value = engine.low_values(next, &[ItemId(7)]).unwrap()[0];
    let metrics = engine.update(&high(2, &config, 1), &batch).unwrap();
    let reward = metrics.low.as_ref().unwrap().mean_reward[0];
    assert!((low_target(&metrics) - reward - f64::from(value)).abs() < 1e-5);
    let (virtual_, _) = one_update(|_| {});
    let (mapped, _) = one_update(|config| config.algorithm.target_action = TargetAction::Mapped);
    assert_ne!(low_target(&virtual_), low_target(&mapped));
    assert_eq!(high_target(&virtual_), high_target(&mapped), "goals are no items");
}

#[test]
fn critics_of_directions_see_no_length() {
    for (form, sees) in [(CriticAction::Raw, true), (CriticAction::Direction, false)] {
        let mut config = config();
        config.model.critic_action = form;
        let engine = engine(&config);
        let batch = high(6, &config, 2);
        let long: Vec<f32> = batch.goals.iter().map(|g| g * 3.0).collect();
        let a = engine.high_values(&batch.windows, &batch.goals).unwrap();
        let b = engine.high_values(&batch.windows, &long).unwrap();
        let differ = a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 1e-4);
        assert_eq!(differ, sees, "{form:?}");
    }
}

#[test]
fn relu_critics_report_the_share_of_dead_values() {
    let dead = |output, bias: f32| {
        let mut config = config();
        config.model.critic_output = output;
        let mut engine = engine(&config);
        let mut state = engine.state();
        for (_, array) in state.iter_mut().filter(|(name, _)| *name == "low/critic/heads.0.out.bias") {
            array.data = Data::F32(vec![bias]);
        }
        engine.load_state(&state).unwrap();
        let metrics = engine.update(&high(12, &config, 1), &low(30, &config, 1)).unwrap();
        metrics.low.unwrap().dead_share
    };
    assert_eq!(dead(CriticOutput::Relu, -100.0), 1.0);
    assert_eq!(dead(CriticOutput::Relu, 100.0), 0.0);
    assert_eq!(dead(CriticOutput::Linear, -100.0), 0.0);
}

#[test]
fn soft_critics_are_positive() {
    let mut config = config();
    for output in [CriticOutput::Softplus, CriticOutput::Exponential] {
        config.model.critic_output = output;
        let (engine, batch) = (engine(&config), high(6, &config, 2));
        assert!(engine.high_values(&batch.windows, &batch.goals).unwrap().iter().all(|&q| q > 0.0));
    }
}
