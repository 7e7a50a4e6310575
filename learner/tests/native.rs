//! The native engine, and the torch engine as it runs on GPUs, against the torch engine in f32: every setting, every
//! instruction set, odd sizes, ragged batches.
//!
//! Both start from the same parameters and see the same batches. Relative error of a tensor = max |a - b| / max |b|.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::{
    Remainder,
    config::{
        Assignment, Config, CriticAction, CriticLoss, CriticOutput, EncoderUpdate, GoalConditioning,
        HighDiscount, History, ItemSearch, TargetAction,
    },
    transition::{HighBatch, LowBatch},
};
use fixture::{config, engine, high, items, low};
use kernels::Level;
use learner::{
    checkpoint::{Data, Tensors, tensors},
    engine::{Engine, LevelMetrics, LowStates, UpdateMetrics, native::NativeEngine},
};

/// Of parameters and losses after ten updates.
const TOLERANCE: f64 = 2e-4;

fn native(config: &Config, level: Level) -> NativeEngine {
    config.validate().unwrap();
    NativeEngine::with_level(config, &items(config.model.n_dims).into(), level).unwrap()
}

/// Batches of an update; without a high level only the low one's.
fn batches(config: &Config, sizes: [usize; 2], seed: u64) -> (HighBatch, LowBatch) {
    let high =
        if config.model.has_high_level() { high(sizes[0], config, seed) } else { HighBatch::default() };
    (high, low(sizes[1], config, seed))
}

fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-6_f64, |most, x| most.max(x.abs()));
    found.iter().zip(expected).fold(0.0, |worst, (a, b)| {
        let error = (a - b).abs() / scale;
        if error > worst || error.is_nan() { error } else { worst }
    })
}

#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let error = error(found, expected);
    assert!(error <= tolerance, "{what}: off by {error:e}");
}

fn reals(data: &Data) -> Vec<f64> {
    match data {
        Data::F32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::F64(values) => values.clone(),
        Data::I64(values) => values.iter().map(|x| *x as f64).collect(),
    }
}

/// Numbers of an update, by name.
fn measured(metrics: &UpdateMetrics) -> Vec<(String, Vec<f64>)> {
    let mut all = vec![("internal reward".to_owned(), vec![metrics.mean_internal_reward])];
    for (name, level) in [("high", &metrics.high), ("low", &metrics.low)] {
        let Some(LevelMetrics { td_errors, critic_loss, mean_q, mean_target, mean_reward, .. }) = level
        else {
            continue;
        };
        let level = level.as_ref().unwrap();
        for (what, values) in [
            ("TD errors", td_errors),
            ("critic loss", critic_loss),
            ("mean Q", mean_q),
            ("mean target", mean_target),
            ("mean reward", mean_reward),
            ("critic norm", &vec![level.critic_gradient_norm]),
            ("dead share", &vec![level.dead_share]),
        ] {
            all.push((format!("{name} {what}"), values.clone()));
        }
        if let Some(actor) = &level.actor {
            all.push((format!("{name} actor loss"), actor.loss.clone()));
            all.push((format!("{name} actor norm"), vec![actor.gradient_norm]));
            all.push((format!("{name} saturated"), vec![actor.saturated_share]));
        }
    }
    all
}

fn assert_same_state(what: &str, found: &Tensors, expected: &Tensors) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for ((name, found), expected) in found.iter().zip(expected.values()) {
        assert_eq!(found.shape, expected.shape, "{what}: {name}");
        // The running means of gradients are compared by what they do to the parameters.
        if !name.starts_with("adam/") || name.ends_with("steps") {
            assert_close(&format!("{what}: {name}"), &reals(&found.data), &reals(&expected.data), TOLERANCE);
        }
    }
}

/// Compares all of ours: native with every instruction set, torch with its GRUs side by side.
fn compare(name: &str, config: &Config, sizes: [usize; 2]) {
    for level in Level::available() {
        compare_with(&mut native(config, level), &format!("{name}, {level}"), config, sizes);
    }
    let mut side_by_side = engine(config);
    side_by_side.set_side_by_side(true);
    compare_with(&mut side_by_side, &format!("{name}, side by side"), config, sizes);
}

/// Ten updates of an engine and of torch's.
fn compare_with(other: &mut dyn Engine, name: &str, config: &Config, sizes: [usize; 2]) {
    let mut torch = engine(config);
    assert_eq!(other.state(), torch.state(), "{name}: they start alike");
    for u in 0..10 {
        let (high, mut low) = batches(config, sizes, u);
        if name.contains("weights") {
            low.weights = (0..low.len()).map(|row| 1.0 / (1 + row % 4) as f32).collect();
        }
        let progress = u as f64 / 10.0;
        torch.set_progress(progress);
        other.set_progress(progress);
        let (expected, found) = (torch.update(&high, &low).unwrap(), other.update(&high, &low).unwrap());
        let what = format!("{name}, update {}", u + 1);
        for ((name, found), (_, expected)) in measured(&found).into_iter().zip(measured(&expected)) {
            assert_close(&format!("{what}: {name}"), &found, &expected, 10.0 * TOLERANCE);
        }
        if [0, 9].contains(&u) {
            assert_same_state(&what, &other.state(), &torch.state());
        }
    }
    let (_, batch) = batches(config, sizes, 77);
    let states = LowStates { windows: &batch.windows, goals: &batch.goals, positions: &batch.positions };
    let twice: Vec<_> = batch.items.iter().chain(&batch.items).copied().collect();
    let f64s = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let asked = |engine: &dyn Engine| {
        [
            engine.goals(&batch.windows).unwrap(),
            engine.actions(states).unwrap(),
            engine.high_values(&batch.windows, &batch.goals).unwrap(),
            engine.low_values(states, &batch.items).unwrap(),
            engine.low_values(states, &twice).unwrap(),
        ]
        .map(f64s)
    };
    for (found, expected) in asked(other).iter().zip(&asked(&torch)) {
        assert_close(&format!("{name}: asked"), found, expected, 10.0 * TOLERANCE);
    }
}

type Change = fn(&mut Config);

/// Every setting that an update depends on, in forms that the fixture's does not have.
const SETTINGS: [(&str, Change); 32] = [
    ("as it is", |_| {}),
    ("relu", |c| c.model.critic_output = CriticOutput::Relu),
    ("softplus", |c| c.model.critic_output = CriticOutput::Softplus),
    ("exponential", |c| c.model.critic_output = CriticOutput::Exponential),
    ("poisson", |c| {
        (c.model.critic_output, c.algorithm.critic_loss) = (CriticOutput::Exponential, CriticLoss::Poisson);
    }),
    ("raw", |c| c.model.critic_action = CriticAction::Raw),
    ("goals in the state", |c| c.model.goal_conditioning = GoalConditioning::State),
    ("goals in both, dropped remainder", |c| {
        c.model.goal_conditioning = GoalConditioning::Both;
        c.algorithm.remainder = Remainder::Drop;
    }),
    ("naive", |c| c.algorithm.assignment = Assignment::Naive),
    ("causal", |c| (c.algorithm.assignment, c.algorithm.beta) = (Assignment::Causal, 0.5)),
    ("paper, beta below 1", |c| (c.algorithm.assignment, c.algorithm.beta) = (Assignment::Paper, 0.7)),
    ("sequential", |c| c.algorithm.encoder_update = EncoderUpdate::Sequential),
    ("delayed actors", |c| c.algorithm.actor_delay = 3),
    ("clipped", |c| c.algorithm.gradient_clip = 0.3),
    ("saturation penalty", |c| c.algorithm.saturation_penalty = 0.7),
    ("twins", |c| c.algorithm.twin_critics = true),
    ("smoothed targets", |c| c.algorithm.target_noise = 0.3),
    ("normalised heads", |c| c.model.head_norm = true),
    ("normalised heads, relu", |c| {
        (c.model.head_norm, c.model.critic_output) = (true, CriticOutput::Relu);
    }),
    ("affinity", |c| c.model.critic_affinity = 5),
    ("affinity to three windows, normalised heads, raw", |c| {
        (c.model.critic_affinity, c.model.low_history) = (16, History::SkipsClicksOrders);
        (c.model.head_norm, c.model.critic_action) = (true, CriticAction::Raw);
    }),
    ("mapped targets", |c| c.algorithm.target_action = TargetAction::Mapped),
    // Of so few items all are found: what torch compares.
    ("mapped targets by the index", |c| {
        (c.algorithm.target_action, c.model.item_search) = (TargetAction::Mapped, ItemSearch::Approximate);
    }),
    ("importance weights", |_| {}),
    ("falling rates", |c| c.algorithm.learning_rate_final = 0.01),
    ("a period's discount, fast targets", |c| {
        (c.algorithm.high_discount, c.algorithm.soft_update) = (HighDiscount::GammaPowC, 0.7);
    }),
    ("one window, three windows", |c| {
        (c.model.high_history, c.model.low_history) = (History::Clicks, History::SkipsClicksOrders);
    }),
    ("several steps", |c| c.algorithm.low_steps = 3),
    ("several steps, goals in both", |c| {
        c.algorithm.low_steps = 4;
        c.model.goal_conditioning = GoalConditioning::Both;
    }),
    ("no high level", |c| c.model.n_goals = 0),
    ("one goal of one step", |c| {
        (c.model.n_goals, c.model.period_steps) = (1, 1);
        c.model.goal_conditioning = GoalConditioning::Both;
    }),
    ("everything at once, importance weights", |c| {
        c.model.goal_conditioning = GoalConditioning::Both;
        (c.model.head_norm, c.model.critic_output) = (true, CriticOutput::Softplus);
        c.algorithm.critic_loss = CriticLoss::Poisson;
        (c.algorithm.twin_critics, c.algorithm.actor_delay) = (true, 2);
        (c.algorithm.encoder_update, c.algorithm.gradient_clip) = (EncoderUpdate::Sequential, 0.5);
        (c.algorithm.target_noise, c.algorithm.saturation_penalty) = (0.2, 0.1);
        c.model.critic_affinity = 3;
        c.algorithm.low_steps = 2;
        c.algorithm.target_action = TargetAction::Mapped;
    }),
];

#[test]
fn every_setting_agrees_with_all_instructions() {
    for (name, change) in SETTINGS {
        let mut config = config();
        change(&mut config);
        compare(name, &config, [12, 30]);
    }
}

#[test]
fn every_width_and_batch_agrees_with_all_instructions() {
    for (n, window, width, head, sizes) in [
        (7, 4, 7, 16, [1, 1]),
        (16, 10, 16, 7, [48, 49]),
        (19, 1, 20, 33, [5, 130]),
        (50, 10, 64, 64, [40, 97]),
        (1, 1, 1, 1, [3, 3]),
    ] {
        let mut config = config();
        let model = &mut config.model;
        (model.n_dims, model.window, model.encoder_width, model.head_width) = (n, window, width, head);
        if n == 1 {
            // A single number has no direction to learn: its gradient is 0, and what is found are rounding errors.
            model.critic_action = CriticAction::Raw;
        }
        compare(&format!("width {width}, batch {sizes:?}"), &config, sizes);
    }
}

#[test]
fn a_checkpoint_of_one_engine_goes_on_under_the_other() {
    let config = config();
    let update = |engine: &mut dyn Engine, seeds: std::ops::Range<u64>| {
        seeds.for_each(|u| drop(engine.update(&high(12, &config, u), &low(30, &config, u)).unwrap()));
    };
    let stored = |engine: &dyn Engine| tensors::from_bytes(&tensors::to_bytes(&engine.state())).unwrap();
    let mut whole = engine(&config);
    update(&mut whole, 0..4);
    let (mut first, mut second) = (engine(&config), native(&config, Level::best()));
    update(&mut first, 0..2);
    second.load_state(&stored(&first)).unwrap();
    assert_eq!(second.state(), first.state(), "nothing is lost on the way");
    update(&mut second, 2..4);
    assert_same_state("torch, then native", &second.state(), &whole.state());
    let (mut first, mut second) = (native(&config, Level::best()), engine(&config));
    update(&mut first, 0..2);
    second.load_state(&stored(&first)).unwrap();
    assert_eq!(second.state(), first.state(), "nothing is lost on the way");
    update(&mut second, 2..4);
    assert_same_state("native, then torch", &second.state(), &whole.state());
    assert_eq!(first.weights(false).len(), second.weights(false).len());
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Levels of one part, of some, of all there are, and of several chunks a part.
    for (sizes, conditioning) in [
        ([60, 80], GoalConditioning::Reward),
        ([110, 130], GoalConditioning::Reward),
        ([40, 40], GoalConditioning::Reward),
        ([64, 300], GoalConditioning::State),
    ] {
        let run = |learner_threads| {
            let mut config = config();
            config.algorithm.actor_delay = 2;
            (config.algorithm.target_action, config.algorithm.encoder_update) =
                (TargetAction::Mapped, EncoderUpdate::Sequential);
            config.train.learner_threads = learner_threads;
            (config.model.goal_conditioning, config.algorithm.twin_critics) = (conditioning, true);
            let mut engine = native(&config, Level::best());
            let metrics: Vec<_> = (0..5)
                .map(|u| engine.update(&high(sizes[0], &config, u), &low(sizes[1], &config, u)).unwrap())
                .collect();
            (metrics, tensors::to_bytes(&engine.state()))
        };
        let alone = run(1);
        for threads in [2, 3, 4] {
            assert!(alone == run(threads), "{sizes:?}, {threads} threads");
        }
    }
}

#[test]
fn values_do_not_depend_on_the_other_rows() {
    let config = config();
    let engine = native(&config, Level::best());
    let batch = low(100, &config, 3);
    let together = engine
        .low_values(
            LowStates { windows: &batch.windows, goals: &batch.goals, positions: &batch.positions },
            &batch.items,
        )
        .unwrap();
    let (window, goals) = (3 * config.model.window, config.model.n_goals * config.model.n_dims);
    for row in 0..100 {
        let states = LowStates {
            windows: &batch.windows[row * window..][..window],
            goals: &batch.goals[row * goals..][..goals],
            positions: &batch.positions[row..=row],
        };
        assert_eq!(engine.low_values(states, &batch.items[row..=row]).unwrap(), [together[row]]);
    }
}

#[test]
fn a_lost_level_is_named() {
    let config = config();
    let mut engine = native(&config, Level::best());
    let mut state = engine.state();
    for (_, array) in state.iter_mut().filter(|(name, _)| *name == "high/target_critic/heads.1.out.bias") {
        array.data = Data::F32(vec![f32::NAN]);
    }
    engine.load_state(&state).unwrap();
    let error = engine.update(&high(4, &config, 1), &low(4, &config, 1)).unwrap_err();
    assert_eq!(error.to_string(), "update 1 diverged: the high critic loss is NaN");
}
