//! The native engine with products of 16 bits (`train.precision = bf16`, D31) against the torch engine in f32: the same gradients
//! but for the rounding, on every set of instructions.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::config::{
    Config, CriticAction, EncoderUpdate, EngineKind, GoalConditioning, History, Precision, TargetAction,
};
use fixture::{config, engine, high, items, low};
use kernels::Level;
use learner::{
    checkpoint::{Data, Tensors, tensors},
    engine::{Engine, choice, native::NativeEngine},
};

/// 1 minus the cosine of a tensor's gradient with that of f32: 3.5 hundredths of a radian.
const APART: f64 = 6.2e-4;

/// The share by which its length differs.
const LONGER: f64 = 0.02;

fn native(config: &Config, precision: Precision, level: Level) -> NativeEngine {
    let mut config = config.clone();
    config.train.precision = precision;
    config.validate().unwrap();
    NativeEngine::with_level(&config, &items(config.model.n_dims).into(), level).unwrap()
}

/// The running means of the gradients, which are in proportion to them after one update.
fn gradients(state: &Tensors) -> impl Iterator<Item = (&String, &[f32])> {
    state.iter().filter(|(name, _)| name.starts_with("adam/") && name.contains("mean")).map(
        |(name, array)| {
            let Data::F32(values) = &array.data else { panic!("{name} is not f32") };
            (name, &values[..])
        },
    )
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn configs() -> Vec<(&'static str, Config)> {
    let with = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        config
    };
    vec![
        ("as it is", config()),
        ("odd sizes", with(|c| (c.model.n_dims, c.model.window, c.model.encoder_width) = (7, 3, 11))),
        (
            "windows of one item",
            with(|c| (c.model.n_dims, c.model.window, c.model.encoder_width) = (19, 1, 20)),
        ),
        (
            "the preset's sizes",
            with(|c| (c.model.n_dims, c.model.window, c.model.encoder_width) = (50, 10, 64)),
        ),
        (
            "goals in both, three windows, affinity, step by step",
            with(|c| {
                c.model.goal_conditioning = GoalConditioning::Both;
                (c.model.low_history, c.model.critic_affinity) = (History::SkipsClicksOrders, 5);
                (c.algorithm.encoder_update, c.algorithm.twin_critics) = (EncoderUpdate::Sequential, true);
                c.model.critic_action = CriticAction::Raw;
            }),
        ),
    ]
}

#[test]
fn gradients_are_those_of_f32_but_for_the_rounding() {
    for (name, config) in configs() {
        let (high, low) = (high(60, &config, 1), low(97, &config, 1));
        let mut exact = engine(&config);
        exact.update(&high, &low).unwrap();
        let exact = exact.state();
        for level in Level::available() {
            let mut rounded = native(&config, Precision::Bf16, level);
            rounded.update(&high, &low).unwrap();
            let rounded = rounded.state();
            let mut differ = 0;
            for ((tensor, exact), (_, found)) in gradients(&exact).zip(gradients(&rounded)) {
                differ += usize::from(exact != found);
                let (length, expected) = (dot(found, found).sqrt(), dot(exact, exact).sqrt());
                if expected < 1e-9 {
                    assert!(length < 1e-6, "{name}, {level}: {tensor} is {length:e}, not {expected:e}");
                    continue;
                }
                let apart = 1.0 - dot(exact, found) / (length * expected);
                assert!(apart < APART, "{name}, {level}: {tensor} points elsewhere by {apart:e}");
                let longer = length / expected - 1.0;
                assert!(longer.abs() < LONGER, "{name}, {level}: {tensor} is longer by {longer:e}");
            }
            assert!(differ > 0, "{name}, {level}: nothing was rounded");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = |threads| {
        let mut config = config();
        config.train.learner_threads = threads;
        config.algorithm.target_action = TargetAction::Mapped;
        let mut engine = native(&config, Precision::Bf16, Level::best());
        for u in 0..3 {
            engine.update(&high(60, &config, u), &low(300, &config, u)).unwrap();
        }
        tensors::to_bytes(&engine.state())
    };
    let alone = run(1);
    for threads in [2, 4] {
        assert!(alone == run(threads), "{threads} threads");
    }
}

#[test]
fn libtorch_does_not_multiply_them() {
    let mut config = config();
    config.train.precision = Precision::Bf16;
    assert_eq!(choice::choose(&config).unwrap(), EngineKind::Native);
    for (engine, device) in [(EngineKind::Torch, "cpu"), (EngineKind::Auto, "cuda:0")] {
        (config.train.engine, config.train.device) = (engine, device.into());
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("train.precision") && error.contains("train.engine"), "{error}");
    }
}
