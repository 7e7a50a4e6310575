//! Every supervised method learns from a log of ShopWorld, survives its file, and is reproducible.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use std::{ops::ControlFlow, sync::LazyLock};

use common::{Feedback, config::Config};
use learner::{
    baselines::{Budget, Fitted, GreedyRanker, InteractionLog, Method, TrainingData, methods},
    evaluation::{EvaluatedPolicy, EvaluationSettings, Users, roll_out},
    world::World,
};
use sim::Reference;

const LENGTH: usize = 20;
/// The methods that learn from a log alone.
const SUPERVISED: [&str; 6] = ["cf-user", "cf-item", "fm", "wide-deep", "gru", "gru4rec"];

/// The world with many clicks, few candidates, short sessions.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    // One owner thread computes, as in the program.
    tch::set_num_threads(1);
    let mut config = Config::default();
    config.environment.name = "shopworld:dense".into();
    config.environment.candidates = 200;
    World::open(&config).unwrap()
});

/// Training sessions under the logging policy.
fn log(sessions: u64) -> InteractionLog {
    let mut world = WORLD.build(Users::Training, 64, LENGTH).unwrap();
    InteractionLog::roll_out(&mut *world, Reference::Logging, 0..sessions, 0).unwrap()
}

fn fit(method: &dyn Method, log: &InteractionLog, seed: u64) -> Box<dyn Fitted> {
    let data = TrainingData { log, items: WORLD.items(), world: None, seed };
    method.fit(&data, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Mean expected reward of 200 test sessions.
fn expected_reward(mut policy: Box<dyn EvaluatedPolicy>) -> f64 {
    let settings = EvaluationSettings {
        users: Users::Test,
        sessions: 200,
        length: LENGTH,
        seed: 0,
        slots: 40,
        threads: 2,
    };
    let rollouts = roll_out(&mut *policy, &WORLD.for_evaluation(), &settings).unwrap();
    let rewards = rollouts.records.iter().map(|record| record.expected_reward().unwrap());
    rewards.sum::<f64>() / rollouts.records.len() as f64
}

#[test]
fn every_supervised_method_beats_random_and_a_random_ranker_does_not() {
    let log = log(1_000);
    let random = methods::by_name("random", Budget::Quick).unwrap();
    let random = fit(&*random, &log, 0);
    let bar = expected_reward(random.policy());
    let of_ranker = expected_reward(Box::new(GreedyRanker::new(random.ranker())));
    // The standard error of the difference is about 2 %.
    assert!((of_ranker / bar - 1.0).abs() < 0.08, "a random ranker gets {of_ranker}, random {bar}");
    for name in SUPERVISED {
        let method = methods::by_name(name, Budget::Quick).unwrap();
        let found = expected_reward(fit(&*method, &log, 0).policy());
        assert!(found > 1.08 * bar, "{name} gets {found}, random {bar}");
    }
}

#[test]
fn a_fitted_method_loads_equal_and_equal_seeds_give_equal_files() {
    let log = log(40);
    let folder = tempfile::tempdir().unwrap();
    for name in ["random", "popularity", "logging"].iter().chain(&SUPERVISED) {
        let method = methods::by_name(name, Budget::Quick).unwrap();
        let path = |file: &str| folder.path().join(format!("{name}-{file}.safetensors"));
        let fitted = fit(&*method, &log, 7);
        fitted.save(&path("first")).unwrap();
        fit(&*method, &log, 7).save(&path("again")).unwrap();
        let bytes = |file| std::fs::read(path(file)).unwrap();
        assert!(bytes("first") == bytes("again"), "{name}: equal seeds, unequal files");
        let loaded = method.load(&path("first"), WORLD.items()).unwrap();
        let (mut ranker, mut loaded) = (fitted.ranker(), loaded.ranker());
        assert_eq!(ranker.name(), *name);
        let candidates: Vec<_> = (0..50).map(common::ItemId).collect();
        for session in log.sessions().take(5) {
            session.replay(|state, _| {
                let (mut expected, mut found) = ([0.0; 50], [0.0; 50]);
                ranker.scores(state, &candidates, &mut expected);
                loaded.scores(state, &candidates, &mut found);
                assert!(expected.iter().all(|score| score.is_finite()), "{name}: {expected:?}");
                assert_eq!(found, expected, "{name}");
            });
        }
        let other = methods::all(Budget::Quick).into_iter().find(|other| other.name() != *name).unwrap();
        let error = other.load(&path("first"), WORLD.items()).err().unwrap().to_string();
        assert!(error.contains(&format!("`method` is Some(\"{name}\"), expected")), "{error}");
    }
}

#[test]
fn a_log_without_clicks_is_refused_by_name() {
    let clicked = log(5);
    let mut log = InteractionLog::new(clicked.window());
    for session in clicked.sessions() {
        let skipped = |step| learner::baselines::Step { feedback: Feedback::Skip, ..step };
        let windows = vec![common::ItemId::PADDING; session.start_windows.len()];
        log.push(session.user, &windows, session.steps.iter().copied().map(skipped));
    }
    for name in SUPERVISED {
        let method = methods::by_name(name, Budget::Quick).unwrap();
        let data = TrainingData { log: &log, items: WORLD.items(), world: None, seed: 0 };
        let error = method.fit(&data, &mut |_| ControlFlow::Continue(())).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{name} cannot learn from these interactions: ")), "{error}");
    }
}

#[test]
fn a_fit_can_be_interrupted() {
    let log = log(10);
    for name in SUPERVISED {
        let method = methods::by_name(name, Budget::Quick).unwrap();
        let data = TrainingData { log: &log, items: WORLD.items(), world: None, seed: 0 };
        let error = method.fit(&data, &mut |_| ControlFlow::Break(())).err().unwrap().to_string();
        assert_eq!(error, format!("{name}: the fit was interrupted"));
    }
}

#[test]
fn the_index_of_the_docs_lists_all_methods_in_their_order() {
    let index = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/methods/README.md");
    let index = std::fs::read_to_string(index).unwrap();
    let rows = index.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let listed: Vec<&str> = rows.map(|(name, _)| name).collect();
    let methods = methods::all(Budget::Full);
    assert_eq!(listed, methods.iter().map(|method| method.name()).collect::<Vec<_>>());
}
