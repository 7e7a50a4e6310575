//! From a log to a policy: simulators are fitted, judged, saved, and trained in.

// Helpers of tests: a panic is a failed test.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod planted_log;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use common::{Feedback, ItemId, config::Config, transition::Ending};
use learner::{
    baselines::history_greedy,
    evaluation::{Comparison, Users},
    run_dir::RunDir,
    simulator::{self, Criteria, FittedSimulator, Options},
    world::World,
};
use logs::{Log, Split};
use planted_log::{N_DIMS, N_ITEMS};
use sim::{Outcome, Reference, simulator_path};
use tempfile::TempDir;

const WINDOW: usize = 5;

fn options() -> Options {
    Options {
        window: WINDOW,
        ensemble: 2,
        width: 8,
        hidden: 16,
        category_dims: 2,
        epochs: 5,
        batch: 256,
        learning_rate: 1e-2,
        held_out: 0.2,
        ..Options::default()
    }
}

fn fit(log: &Path, split: Split) -> FittedSimulator {
    let log = Log::open(log).unwrap();
    let mut go_on = |_| ControlFlow::Continue(());
    simulator::fit(&log, split, &options(), Criteria::default(), &mut go_on).unwrap()
}

/// Fits and saves both simulators.
fn fit_both(log: &Path) {
    for split in Split::ALL {
        fit(log, split).save(&simulator_path(log, split.name())).unwrap();
    }
}

fn learner(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_learner")).args(args).env_remove("RUST_LOG").output().unwrap()
}

/// A log with a pattern and both its simulators.
fn fitted_log() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let log = planted_log::write(folder.path(), false);
    fit_both(&log);
    (folder, log)
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn said(output: Output) -> String {
    String::from_utf8(output.stderr).unwrap()
}

/// A run of 400 environment steps of a tiny model in a log.
fn train(log: &Path, run: &Path) -> Output {
    let config = run.with_extension("toml");
    std::fs::write(
        &config,
        format!(
            "preset = \"tuned\"\n\
             [environment]\nsession_length = 12\nwarmup_steps = 3\n\
             [model]\nn_dims = {N_DIMS}\nwindow = {WINDOW}\nencoder_width = 8\nhead_width = 8\nn_goals = 2\n\
             period_steps = 4\n\
             [algorithm]\ntarget_action = \"virtual\"\n\
             [exploration]\nrandom_steps = 40\n\
             [replay]\nlow = {{ capacity = 300, batch = {{ rows = 8 }}, min_size = 30 }}\n\
             high = {{ capacity = 80, batch = {{ rows = 4 }}, min_size = 4 }}\n\
             [actor]\nactors = 1\nsessions = 4\n\
             [train]\nmode = \"lockstep\"\nsteps = 400\nupdates_per_step = 0.25\ndevice = \"cpu\"\n\
             evaluate_every = 200\nevaluation_sessions = 8\n"
        ),
    )
    .unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (config, log, run) = (text(&config), text(log), text(run));
    learner(&["--config", &config, "--env", &log, "--run-dir", &run, "--no-table"])
}

#[test]
fn what_made_the_log_is_recovered_and_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let log = planted_log::write(folder.path(), false);
    let fitted = fit(&log, Split::Train);
    let report = fitted.acceptance();
    assert!(report.accepted, "{}", report.to_markdown());
    // At least half of what a mind reader would know beyond the rates: a session's first windows are empty.
    let (known, possible) = (
        report.base_rate_entropy - report.log_loss,
        report.base_rate_entropy - planted_log::least_log_loss(),
    );
    assert!(known > 0.5 * possible && known < 1.1 * possible, "{known} of {possible} nats");
    // Item 0 has the taste +1 and quality, item 3 neither; the windows are of a user of taste +1.
    let skipped = [1, 3, 5, 7, 9].map(ItemId);
    let clicked = [2, 4, 8, 10, 12].map(ItemId);
    let windows = [skipped, clicked, [ItemId::PADDING; WINDOW]].concat();
    let p = |item| {
        let (model, mut scratch, mut p) = (fitted.model(), sim::learned::Scratch::default(), Vec::new());
        (0..2).for_each(|member| model.predict(member, &windows, &[ItemId(item)], &mut scratch, &mut p));
        [1, 2].map(|class| (p[class] + p[class + 3]) / 2.0)
    };
    let ([liked, good], [disliked, bad]) = (p(0), p(3));
    assert!(liked > 3.0 * disliked, "clicks: {liked} and {disliked}");
    assert!(good > 10.0 * bad, "orders: {good} and {bad}");
}

#[test]
fn the_simulator_of_the_test_days_starts_from_the_training_days_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let log = planted_log::write(folder.path(), false);
    let fitted = fit(&log, Split::Test);
    assert!(fitted.acceptance().accepted, "{}", fitted.acceptance().to_markdown());
    let statistics = fitted.statistics();
    assert!(statistics.n_contexts() <= 700);
    let n_empty = (0..statistics.n_contexts())
        .filter(|&context| statistics.context(context).iter().all(|item| item.is_padding()))
        .count();
    // A user without a click on the training days.
    assert!(n_empty < statistics.n_contexts() / 10, "{n_empty} of {}", statistics.n_contexts());
    let shown: f32 = statistics.impressions().iter().sum();
    assert_eq!(shown, (16 * statistics.n_contexts()) as f32, "only the test days are counted");
}

fn config(log: &Path) -> Config {
    let mut config = Config::default();
    config.environment.name = log.display().to_string();
    config.environment.session_length = 40;
    (config.model.n_dims, config.model.window) = (N_DIMS, WINDOW);
    config
}

#[test]
fn simulators_of_other_embeddings_than_the_logs_are_refused() {
    let (_folder, log) = fitted_log();
    World::open(&config(&log)).unwrap();
    let items = log.join("items.csv");
    let text = std::fs::read_to_string(&items).unwrap();
    // Other ends of lines, the same embeddings.
    std::fs::write(&items, text.replace('\n', "\r\n")).unwrap();
    World::open(&config(&log)).unwrap();
    std::fs::write(&items, text.replace(",-1,", ",-1.2,")).unwrap();
    let error = World::open(&config(&log)).unwrap_err().to_string();
    let log = log.display();
    assert_eq!(
        error,
        format!(
            "the train simulator of {log} was fitted to other embeddings than {log}/items.csv holds now; fit it again \
             with: learner simulator fit {log}"
        )
    );
    // Only the simulators were kept of the log.
    std::fs::remove_file(&items).unwrap();
    World::open(&config(Path::new(&log.to_string()))).unwrap();
}

#[test]
fn the_settings_noise_reaches_the_world() {
    let (_folder, log) = fitted_log();
    let click = |temperature, flip_share| {
        let mut config = config(&log);
        (config.environment.temperature, config.environment.flip_share) = (temperature, flip_share);
        let world = World::open(&config).unwrap().build(Users::Test, 1, 12).unwrap();
        let p = |item| world.truth().unwrap().probability(0, ItemId(item));
        [p(0), p(3)]
    };
    let (fitted, flat, flipped) = (click(1.0, 0.0), click(100.0, 0.0), click(1.0, 1.0));
    assert_ne!(fitted[0], fitted[1]);
    // Rounding only.
    assert!((flipped[0].0 - flipped[1].0).abs() < 1e-6, "the base rates, whatever the item: {flipped:?}");
    assert_ne!(fitted, flat);
}

#[test]
fn a_policy_is_trained_in_a_log_and_evaluated_in_its_test_days() {
    let (folder, log) = fitted_log();
    let run = folder.path().join("run");
    let stderr = said(succeeded(train(&log, &run)));
    assert!(!stderr.contains("NOT accepted"), "{stderr}");
    let config = Config::load(Some(&run.join("config.toml")), &[]).unwrap();
    let policy = std::fs::read(run.join("policy.safetensors")).unwrap();
    let world = World::open(&config).unwrap();
    agent::Policy::from_safetensors(&policy, &config.model, Arc::clone(world.items())).unwrap();

    use Reference::{ClickGreedy, Logging, Myopic, OrderGreedy, Popularity, Random};
    let expected = [Random, Popularity, Logging, ClickGreedy, Myopic, OrderGreedy];
    assert_eq!(world.references().unwrap(), expected);
    let play = |users| {
        let mut world = world.build(users, 3, 12).unwrap();
        let mut outcomes = [Outcome { feedback: Feedback::Skip, ending: Ending::None }; 3];
        assert_eq!(world.recall()[0].candidates().len(), N_ITEMS, "all there are");
        (0..3).for_each(|slot| world.begin(slot, slot as u64));
        let item = world.recall()[0].candidates()[0];
        world.step(&[item; 3], &mut outcomes).unwrap();
        world.truth().unwrap().probability(0, ItemId(5))
    };
    assert_ne!(play(Users::Training), play(Users::Test), "two simulators");
    let popularity = |users| {
        let (world, mut clicks) = (world.build(users, 1, 12).unwrap(), Vec::new());
        assert!(world.truth().unwrap().popularity(0, &mut clicks));
        clicks
    };
    assert_eq!(popularity(Users::Training), popularity(Users::Test), "clicks of test days are not known");
}

/// `learner evaluate RUN --json`, with history-greedy as good as untrained: it is not what is tested.
fn evaluated(run: &Path, noise: &[&str]) -> Comparison {
    let args = ["evaluate", run.to_str().unwrap(), "--json", "--sessions", "400", "--length", "12"];
    let output = succeeded(learner(&[&args, noise].concat()));
    Comparison::from_json(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

#[test]
fn an_evaluation_in_noise_is_of_less_predictable_users_and_in_none_the_plain_one() {
    let (folder, log) = fitted_log();
    let run = folder.path().join("run");
    succeeded(train(&log, &run));
    let refused = said(learner(&["evaluate", run.to_str().unwrap(), "--flip-share", "1"]));
    assert!(refused.contains("history-greedy is not trained yet"), "{refused}");

    let config = Config::load(Some(&run.join("config.toml")), &[]).unwrap();
    let mut world = World::open(&config).unwrap().build(Users::Training, 8, 12).unwrap();
    let settings = history_greedy::Settings::default().of_interactions(2000);
    let policy = history_greedy::train(&mut *world, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    policy.save(&RunDir::open(&run).unwrap().history_greedy_path()).unwrap();

    let plain = evaluated(&run, &[]);
    assert_eq!(evaluated(&run, &["--temperature", "1", "--flip-share", "0"]), plain);
    let expected =
        |comparison: &Comparison, name: &str| comparison.row(name).unwrap().result.expected.unwrap().value;
    let gap = |comparison: &Comparison| {
        expected(comparison, Reference::Myopic.name()) - expected(comparison, Reference::Random.name())
    };
    // What an oracle is ahead of chance by is what there is to predict.
    let half = evaluated(&run, &["--flip-share", "0.5"]);
    let none = evaluated(&run, &["--flip-share", "1"]);
    assert!(gap(&plain) > 1.0, "{}", gap(&plain));
    assert!(gap(&half) > 0.1 * gap(&plain) && gap(&half) < 0.9 * gap(&plain), "{}", gap(&half));
    // Rounding only: the base rates, whatever the item.
    assert!(gap(&none).abs() < 1e-3, "{}", gap(&none));
    assert_ne!(none.row("random").unwrap().result.total, plain.row("random").unwrap().result.total);
    // Logits near zero: each of skip, click and order a third of the time, a reward of 2 a step.
    let flat = evaluated(&run, &["--temperature", "100"]);
    assert!((expected(&flat, "random") / 24.0 - 1.0).abs() < 0.1, "{}", expected(&flat, "random"));
    assert!(gap(&flat).abs() < 0.1 * gap(&plain) + 0.5);
    // A table in other noise than the run's is not kept as the run's.
    let kept = std::fs::read_to_string(run.join("evaluation.json")).unwrap();
    assert_eq!(Comparison::from_json(&kept).unwrap(), plain);
}

#[test]
fn a_log_without_a_pattern_is_fitted_but_not_accepted_and_whoever_trains_in_it_is_warned() {
    let folder = tempfile::tempdir().unwrap();
    let log = planted_log::write(folder.path(), true);
    let path = log.to_str().unwrap();
    let small = ["--window", "5", "--ensemble", "2", "--width", "8", "--hidden", "16", "--epochs", "1"];
    let output = succeeded(learner(&[&["simulator", "fit", path, "--quick"], &small[..]].concat()));
    let fitted = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(fitted.contains("Learned simulator, train days: NOT accepted"), "{fitted}");
    assert!(fitted.contains("not accepted because: ROC-AUC of click is 0."), "{fitted}");
    assert!(fitted.contains(" s); this was --quick: fit without it\n"), "{fitted}");
    let next = format!("next: learner --env {path} --set model.n_dims=6 --set model.window=5\n");
    assert!(fitted.ends_with(&next), "{fitted}");
    // Standard error is no terminal here: a line a pass.
    let passes = said(output);
    assert_eq!(passes.matches("member 2 of 2, pass 1 of at most 1: log loss").count(), 2, "{passes}");
    let again = String::from_utf8(learner(&["simulator", "report", path]).stdout).unwrap();
    assert!(again.lines().all(|line| fitted.contains(line)), "{again}");

    let stderr = said(succeeded(train(&log, &folder.path().join("run"))));
    let warning = stderr.lines().find(|line| line.contains("train simulator")).unwrap();
    assert!(warning.contains("NOT accepted") && warning.contains("ROC-AUC of click is 0."), "{warning}");

    // Whoever reads a table later is told, too.
    let out = folder.path().join("tables");
    let shape = [
        ("MAHRL__MODEL__N_DIMS", "6"),
        ("MAHRL__MODEL__WINDOW", "5"),
        ("MAHRL__ENVIRONMENT__SESSION_LENGTH", "12"),
    ];
    let reproduce = ["reproduce", "table1", "--env", path, "--seeds", "1", "--out", out.to_str().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_learner")).args(reproduce).envs(shape).output().unwrap();
    succeeded(output);
    let rank =
        succeeded(learner(&["rank", folder.path().join("run").to_str().unwrap(), "--methods", "random"]));
    let (table, ranking) = (out.join("table1.md"), String::from_utf8(rank.stdout).unwrap());
    let table = std::fs::read_to_string(table).unwrap();
    for text in [&table, &ranking] {
        assert!(text.contains("the train simulator of") && text.contains("NOT accepted"), "{text}");
    }
    assert!(table.contains("One seed: "), "{table}");
    let n_test = Log::open(&log).unwrap().sessions().filter(|session| session.split == Split::Test).count();
    assert!(table.contains(&format!("| {n_test} |")), "all of the {n_test} test sessions: {table}");
}

#[test]
fn a_policy_is_not_used_with_other_embeddings_than_it_learned_with() {
    let (folder, log) = fitted_log();
    let run = folder.path().join("run");
    succeeded(train(&log, &run));
    let (path, out) = (run.to_str().unwrap(), folder.path().join("policy"));
    let refused = |args: &[&str]| {
        let output = learner(args);
        assert!(!output.status.success(), "{args:?}");
        said(output)
    };
    // The same log in another place is the same.
    let moved = folder.path().join("moved");
    std::fs::rename(&log, &moved).unwrap();
    let elsewhere = ["export", path, "--out", out.to_str().unwrap(), "--env", moved.to_str().unwrap()];
    let error = refused(&elsewhere[..4]);
    assert!(error.contains("--env LOG says where it is now"), "{error}");
    succeeded(learner(&elsewhere));
    let resumed = ["--run-dir", path, "--resume", "--steps", "500", "--no-table"];
    refused(&resumed);
    succeeded(learner(&[&resumed[..], &elsewhere[4..]].concat()));
    let log = moved;
    let items = log.join("items.csv");
    let text = std::fs::read_to_string(&items).unwrap();
    std::fs::write(&items, text.replace(",-1,", ",-1.2,")).unwrap();
    let error = refused(&["rank", path]);
    assert!(error.contains("was fitted to other embeddings than"), "{error}");
    let note = said(learner(&["simulator", "report", log.to_str().unwrap(), "--split", "test"]));
    assert!(note.contains("this test simulator was fitted to other embeddings than"), "{note}");
    // Everything is right again but the run.
    fit_both(&log);
    for args in [&["rank", path][..], &["evaluate", path], &["export", path, "--out", out.to_str().unwrap()]]
    {
        let error = refused(args);
        assert!(error.contains("has learned with other embeddings than"), "{error}");
    }
}

#[test]
fn a_run_in_a_log_with_keys_recommends_by_them() {
    let (folder, log) = fitted_log();
    let (run, history) = (folder.path().join("run"), folder.path().join("history.csv"));
    succeeded(train(&log, &run));
    std::fs::write(&history, "user_id,key,feedback\nanna,SKU-7,1\nanna,SKU-12,0\n").unwrap();
    let asked = ["recommend", run.to_str().unwrap(), "--history", history.to_str().unwrap()];
    let table = String::from_utf8(learner(&asked).stdout).unwrap();
    let json = learner(&[&asked[..], &["--json"]].concat()).stdout;
    let line: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let items = line["items"].as_array().unwrap();
    assert_eq!((line["user"].as_str(), items.len()), (Some("anna"), 10), "{line}");
    for item in items {
        let (id, key) = (item["item"].as_u64().unwrap(), item["key"].as_str().unwrap());
        assert_eq!((key, item["category"].as_u64()), (&*format!("SKU-{id}"), Some(id % 3)));
        assert!(![7, 12].contains(&id) && table.contains(&format!(" {key} ")), "{key}: {table}");
    }
}

#[test]
fn a_log_that_cannot_be_the_world_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let log = planted_log::write(folder.path(), false);
    let error = |change: &dyn Fn(&mut Config)| {
        let mut config = config(&log);
        change(&mut config);
        World::open(&config).unwrap_err().to_string()
    };
    let fit_it =
        format!("has no fitted train simulator; fit it with: learner simulator fit {}", log.display());
    assert!(error(&|_| ()).ends_with(&fit_it));
    fit_both(&log);
    assert!(error(&|c| c.model.n_dims = 50).contains("have 6 dimensions, but `model.n_dims` is 50"));
    assert!(error(&|c| c.model.window = 10).contains("fitted with windows of 5, but `model.window` is 10"));
    assert!(error(&|c| c.environment.session_length = 41).contains("60 items, but a session shows 61"));
    assert!(error(&|c| c.environment.leave = true).contains("nobody leaves"));
    assert!(error(&|c| c.environment.name = "nowhere".into()).contains("nor the folder of an imported log"));
    assert!(error(&|c| c.model.bound = 1.0).contains("lie in (-1.94, 1.94), but `model.bound` is 1: set it"));
    // A fit that was cut short has no report.
    std::fs::remove_file(simulator_path(&log, "test").join("acceptance.json")).unwrap();
    assert!(error(&|_| ()).contains("no fitted test simulator"));
}
