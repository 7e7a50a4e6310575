//! Every supervised method learns from a log of ShopWorld and from an imported one, survives its file, and is reproducible.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod planted_log;

use std::{ops::ControlFlow, sync::LazyLock};

use common::{
    Feedback, ItemId,
    config::Config,
    history::{Kind, window},
};
use learner::{
    baselines::{
        Budget, Clickless, Fitted, GreedyRanker, InteractionLog, Method, Ranker, TrainingData, methods,
    },
    evaluation::{EvaluatedPolicy, EvaluationSettings, Users, roll_out},
    world::World,
};
use logs::{Log, Split};
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

/// Share of the pairs of a clicked and a skipped item of a session that are ranked rightly, by the state before it.
fn auc(ranker: &mut dyn Ranker, log: &InteractionLog) -> f64 {
    let (mut right, mut pairs) = (0.0, 0.0);
    for session in log.sessions() {
        let items: Vec<ItemId> = session.steps.iter().map(|step| step.item).collect();
        let mut scores = vec![0.0; items.len()];
        ranker.scores(&session.initial_state(), &items, &mut scores);
        let of = |clicked| {
            let scored = session.steps.iter().zip(&scores);
            scored.filter(move |(step, _)| step.feedback.clicked() == clicked).map(|(_, &score)| score)
        };
        for clicked in of(true) {
            for skipped in of(false) {
                right += if clicked == skipped { 0.5 } else { f64::from(u8::from(clicked > skipped)) };
                pairs += 1.0;
            }
        }
    }
    right / pairs
}

#[test]
fn every_supervised_method_ranks_the_test_days_of_an_imported_log() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(&planted_log::write(folder.path(), false)).unwrap();
    let read = |split| InteractionLog::of_log(&log, split, 10, Clickless::Kept);
    let (train, test) = (read(Split::Train), read(Split::Test));
    // Two sessions of each user on training days, one on a test day, all of equal length.
    assert_eq!((train.n_sessions(), train.n_steps()), (2 * test.n_sessions(), 2 * test.n_steps()));
    // Users come in one order; a test session starts from what the training days end with.
    for (k, session) in test.sessions().enumerate() {
        assert_eq!(session.user, train.session(2 * k).user);
        let before = train.session(2 * k).steps.iter().chain(train.session(2 * k + 1).steps);
        let last_skip = before.rev().find(|step| !step.feedback.clicked()).unwrap().item;
        assert_eq!(window(session.start_windows, Kind::Skipped).last(), Some(&last_skip));
    }
    let items = log.items().unwrap();
    for name in SUPERVISED {
        let method = methods::by_name(name, Budget::Quick).unwrap();
        let data = TrainingData { log: &train, items: &items, world: None, seed: 0 };
        let fitted = method.fit(&data, &mut |_| ControlFlow::Continue(())).unwrap();
        let found = auc(&mut *fitted.ranker(), &test);
        // A random ranker gets 0.5, with a standard error below 0.01.
        assert!(found > 0.6, "{name}: {found}");
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
        let candidates: Vec<_> = (0..50).map(ItemId).collect();
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
        let windows = vec![ItemId::PADDING; session.start_windows.len()];
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
