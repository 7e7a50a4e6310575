//! `lockstep` is bitwise reproducible: same seed, same files; killed and resumed equals uninterrupted.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{
    hash::{BuildHasher, RandomState},
    thread::sleep,
    time::{Duration, Instant},
};

use support::Runs;

/// M = 2 of c = 4, N = 3, one shard, one actor.
const PLAIN: &[&str] = &[];
/// More than one of everything, M that does not divide c, goals in the state.
const MANY: &[&str] = &[
    "model.n_goals=3",
    "model.period_steps=7",
    "model.window=5",
    "model.goal_conditioning=both",
    "replay.shards=3",
    "actor.actors=2",
    "actor.sessions=3",
];
/// The smallest of everything, the paper's order of updates, batches that grow with the tables.
const LEAST: &[&str] = &[
    "model.n_goals=1",
    "model.period_steps=1",
    "model.window=1",
    "algorithm.encoder_update=sequential",
    "algorithm.partial_periods=drop",
    "replay.shards=2",
    "actor.sessions=1",
    "train.publish_every=1",
];

/// No high-level agent, orders in the low-level state (DDPG-O).
const LOW_ALONE: &[&str] = &["model.n_goals=0", "model.low_history=skips_clicks_orders", "replay.shards=2"];
/// Clicks alone at both levels (HRL-I).
const CLICKS: &[&str] = &["model.high_history=clicks", "model.low_history=clicks"];

/// All that goes beyond the paper (D21 to D27, D29, D30).
const BEYOND: &[&str] = &[
    "model.goal_conditioning=both",
    "model.head_norm=true",
    "model.rescored_items=4",
    "model.critic_affinity=4",
    "model.critic_output=exponential",
    "algorithm.critic_loss=poisson",
    "algorithm.twin_critics=true",
    "algorithm.target_noise=0.1",
    "algorithm.actor_delay=2",
    "algorithm.low_steps=3",
    "algorithm.hindsight_share=0.4",
    "train.warm_start_sessions=40",
];

/// Rows drawn by their TD errors, over more than one shard.
const PRIORITISED: &[&str] = &["replay.sampling=prioritised", "replay.shards=2"];

fn assert_same(runs: &Runs, name: &str, other: &str) {
    let (a, b) = (runs.results(name), runs.results(other));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((file, a), (_, b)) in a.iter().zip(&b) {
        assert!(!a.is_empty() && a == b, "{file} of `{name}` and `{other}` differ");
    }
}

/// The same seed twice, and another one.
fn reproduces(settings: &[&str]) {
    let runs = Runs::new();
    for name in ["first", "second"] {
        runs.begin(name, settings).succeed();
    }
    assert_same(&runs, "first", "second");
    runs.begin("other", &[settings, &["seed=12"]].concat()).succeed();
    let metrics = |name| std::fs::read(runs.path(name).join("metrics.jsonl")).unwrap();
    assert_ne!(metrics("first"), metrics("other"));
}

/// Killed twice at random points behind the first checkpoint, then resumed to the end.
fn survives(settings: &[&str]) {
    let runs = Runs::new();
    let begun = Instant::now();
    runs.begin("whole", settings).succeed();
    // A third of a run: its first checkpoint comes well before the rest.
    let most = begun.elapsed().as_millis().max(30) as u64 / 3;
    let mut kills = 0;
    let mut process = runs.begin("killed", settings);
    loop {
        process.wait_until(|| !runs.checkpoints("killed").is_empty());
        let delay = Duration::from_millis(RandomState::new().hash_one(kills) % most);
        eprintln!("kill {kills}: {delay:?} after a checkpoint was there");
        sleep(delay);
        process.signal("KILL");
        // A run that was faster has ended well.
        if process.end().status.success() {
            break;
        }
        kills += 1;
        process = runs.resume("killed", &[]);
        if kills == 2 {
            process.succeed();
            break;
        }
    }
    assert!(kills > 0, "the run was too short to be killed");
    assert_same(&runs, "whole", "killed");
}

#[test]
fn the_same_seed_gives_the_same_files() {
    reproduces(PLAIN);
}

#[test]
fn the_same_seed_gives_the_same_files_with_shards_and_actors() {
    reproduces(MANY);
}

#[test]
fn the_same_seed_gives_the_same_files_with_one_goal_of_one_step() {
    reproduces(LEAST);
}

#[test]
fn the_same_seed_gives_the_same_files_without_a_high_level() {
    reproduces(LOW_ALONE);
}

#[test]
fn the_same_seed_gives_the_same_files_of_clicks_alone() {
    reproduces(CLICKS);
}

#[test]
fn the_same_seed_gives_the_same_files_beyond_the_paper() {
    reproduces(BEYOND);
}

#[test]
fn the_same_seed_gives_the_same_files_by_priority() {
    reproduces(PRIORITISED);
}

#[cfg(feature = "torch")]
#[test]
fn the_same_seed_gives_the_same_files_with_the_torch_engine() {
    reproduces(&["train.engine=torch"]);
}

#[test]
fn rows_are_drawn_by_their_errors() {
    let runs = Runs::new();
    let metrics = |name: &str, exponent| {
        runs.begin(name, &[PRIORITISED, &[exponent]].concat()).succeed();
        std::fs::read(runs.path(name).join("metrics.jsonl")).unwrap()
    };
    // As long as all rows had one priority, its power would change nothing.
    let (alike, by_error) = (
        metrics("alike", "replay.priority_exponent=0.0"),
        metrics("by-error", "replay.priority_exponent=2.0"),
    );
    assert_ne!(alike, by_error);
}

#[test]
fn killed_and_resumed_equals_uninterrupted_by_priority() {
    survives(PRIORITISED);
}

#[test]
fn killed_and_resumed_equals_uninterrupted() {
    survives(PLAIN);
}

#[test]
fn killed_and_resumed_equals_uninterrupted_with_shards_and_actors() {
    survives(MANY);
}

#[test]
fn killed_and_resumed_equals_uninterrupted_beyond_the_paper() {
    survives(BEYOND);
}

#[test]
fn killed_and_resumed_equals_uninterrupted_without_a_high_level() {
    survives(LOW_ALONE);
}

#[test]
fn killed_and_resumed_equals_uninterrupted_with_one_goal_of_one_step() {
    survives(LEAST);
}

#[test]
fn interrupted_and_resumed_equals_uninterrupted_but_for_the_checkpoint_in_between() {
    let runs = Runs::new();
    let settings = [MANY, &["train.steps=1200"]].concat();
    runs.begin("whole", &settings).succeed();
    let mut process = runs.begin("stopped", &settings);
    assert!(process.wait_until(|| runs.path("stopped").join("policy.safetensors").exists()));
    process.signal("TERM");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    runs.resume("stopped", &[]).succeed();
    let newest = |name| std::fs::read(runs.checkpoints(name).pop().unwrap()).unwrap();
    assert!(newest("whole") == newest("stopped"), "the newest checkpoints differ");
    let metrics = |name| std::fs::read_to_string(runs.path(name).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics("whole"), metrics("stopped"));
}

#[test]
fn a_run_without_a_checkpoint_begins_again_and_a_finished_one_stays_as_it_is() {
    let runs = Runs::new();
    runs.begin("run", PLAIN).succeed();
    let whole = runs.results("run");
    runs.resume("run", &[]).succeed();
    assert!(runs.results("run") == whole, "a finished run changed");
    // As if it had been killed before its first checkpoint; beside a policy it would not begin again.
    std::fs::remove_dir_all(runs.path("run").join("checkpoints")).unwrap();
    std::fs::remove_file(runs.path("run").join("policy.safetensors")).unwrap();
    runs.resume("run", &[]).succeed();
    assert!(runs.results("run") == whole, "a run begun again differs");
}
