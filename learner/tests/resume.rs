//! Runs in mode `async` go on from their newest whole checkpoint, whatever ended them.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{fs, path::Path};

use learner::{
    checkpoint::file,
    run_dir::{
        metrics::{Record, TimingRecord, TrainRecord},
        read_lines,
    },
};
use support::{ASYNC, Runs};

/// Records of the rollouts, oldest first.
fn records(runs: &Runs, name: &str) -> Vec<TrainRecord> {
    let all = read_lines::<Record>(&runs.path(name).join("metrics.jsonl")).unwrap();
    all.into_iter()
        .filter_map(|record| if let Record::Train(record) = record { Some(record) } else { None })
        .collect()
}

fn step(checkpoint: &Path) -> u64 {
    file::load(checkpoint).unwrap().step
}

/// A run that was killed behind some checkpoints.
fn killed(runs: &Runs, settings: &[&str]) {
    let mut process = runs.begin("run", &[&ASYNC[..], settings].concat());
    assert!(process.wait_until(|| runs.checkpoints("run").len() == 3), "it ended too early");
    process.signal("KILL");
    assert!(!process.end().status.success());
}

#[test]
fn a_killed_run_goes_on_with_another_number_of_actors_and_shards() {
    let runs = Runs::new();
    killed(&runs, &["replay.shards=2", "actor.actors=2"]);
    let newest = runs.checkpoints("run").pop().unwrap();
    let before = file::load(&newest).unwrap();
    runs.resume("run", &["--actors", "3", "--shards", "1"]).succeed();
    let after = file::load(&runs.checkpoints("run").pop().unwrap()).unwrap();

    // As far as it was to go, less than a step of all sessions more.
    assert!((40_000..40_000 + 3 * 4).contains(&after.step), "{}", after.step);
    assert!(after.updates > before.updates);
    let shards = |parts: &[&String]| parts.iter().filter(|name| name.starts_with("replay/")).count();
    let of =
        |checkpoint: &learner::checkpoint::Checkpoint| shards(&checkpoint.extra.keys().collect::<Vec<_>>());
    assert_eq!((of(&before), of(&after)), (2, 1));
    assert!(after.config_toml.contains("actors = 3") && after.config_toml.contains("shards = 1"));

    let records = records(&runs, "run");
    assert!(records.is_sorted_by(|a, b| a.env_steps < b.env_steps && a.updates <= b.updates));
    assert!(records.iter().any(|record| record.env_steps <= before.step));
    // The first steps of the run are random, and no others: those of the resumed part are not its first. (The record
    // across the resume holds what came before it too.)
    let late = records.iter().filter(|record| record.env_steps > before.step + 1_000);
    assert!(late.map(|record| record.random_share).all(|share| share == 0.0));
    // 2,000 random steps, half of them each actor's: one may be behind the other, or ahead of the first record.
    let random = records[0].random_share * records[0].env_steps as f64;
    let range = records[0].env_steps.min(1_000) as f64 - 0.5..2_000.5;
    assert!(range.contains(&random), "{random} random steps of {}", records[0].env_steps);
    let times = read_lines::<TimingRecord>(&runs.path("run").join("timing.jsonl")).unwrap();
    assert!(times.is_sorted_by(|a, b| a.env_steps < b.env_steps));
    assert!(times.iter().any(|time| time.actor_forward_share > 0.0 && time.actor_environment_share > 0.0));
}

#[test]
fn the_replay_is_full_again_so_that_learning_goes_on_at_once() {
    let runs = Runs::new();
    killed(&runs, &["replay.low.capacity=20000", "replay.low.min_size=2000"]);
    let newest = runs.checkpoints("run").pop().unwrap();
    let before = file::load(&newest).unwrap();
    // Too few steps to fill the table anew.
    let steps = (before.step + 1_000).to_string();
    runs.resume("run", &["--steps", &steps]).succeed();
    let after = file::load(&runs.checkpoints("run").pop().unwrap()).unwrap();
    assert!(after.updates > before.updates, "{} updates, then {}", before.updates, after.updates);
}

#[test]
fn a_damaged_newest_checkpoint_gives_way_to_the_one_before() {
    let runs = Runs::new();
    killed(&runs, &[]);
    let checkpoints = runs.checkpoints("run");
    let [.., before, newest] = &checkpoints[..] else { panic!("two checkpoints are there") };
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(newest, bytes).unwrap();
    let steps = (step(before) + 100).to_string();
    let ended = runs.resume("run", &["--steps", &steps]).succeed();
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(ended.stderr.contains(&format!("{name} is damaged")), "{}", ended.stderr);
    assert!(ended.stderr.contains("going on from the one before"), "{}", ended.stderr);
    assert!(newest.with_file_name(format!("{name}.damaged")).exists());
    let last = step(&runs.checkpoints("run").pop().unwrap());
    assert!((step(before)..step(before) + 200).contains(&last), "{last}");
}

#[test]
fn a_finished_run_stays_as_it_is_and_goes_on_when_it_is_lengthened() {
    let runs = Runs::new();
    runs.begin("run", &[&ASYNC[..], &["train.steps=3000"]].concat()).succeed();
    let whole = runs.results("run");
    runs.resume("run", &[]).succeed();
    assert!(runs.results("run") == whole, "a finished run changed");
    // A policy that was removed is written again from the checkpoint.
    fs::remove_file(runs.path("run").join("policy.safetensors")).unwrap();
    runs.resume("run", &[]).succeed();
    assert!(runs.results("run") == whole, "another policy was written");
    let first = step(&runs.checkpoints("run").pop().unwrap());
    runs.resume("run", &["--steps", "5000"]).succeed();
    let last = step(&runs.checkpoints("run").pop().unwrap());
    assert!(first < 3_100 && (5_000..5_100).contains(&last), "{first}, {last}");
}

#[cfg(feature = "torch")]
#[test]
fn a_run_goes_on_with_the_other_engine() {
    let runs = Runs::new();
    runs.begin("run", &[&ASYNC[..], &["train.steps=3000", "train.engine=torch"]].concat()).succeed();
    let before = file::load(&runs.checkpoints("run").pop().unwrap()).unwrap();
    runs.resume("run", &["--steps", "5000", "--engine", "native"]).succeed();
    let after = file::load(&runs.checkpoints("run").pop().unwrap()).unwrap();
    assert!(after.updates > before.updates && after.tensors.keys().eq(before.tensors.keys()));
    assert!(
        before.config_toml.contains("engine = \"torch\"")
            && after.config_toml.contains("engine = \"native\"")
    );
}

#[test]
fn two_processes_never_train_in_one_run_directory() {
    let runs = Runs::new();
    let mut first = runs.begin("run", &[&ASYNC[..], &["train.steps=100000000"]].concat());
    assert!(first.wait_until(|| !runs.checkpoints("run").is_empty()));
    let second = runs.resume("run", &[]).end();
    assert_eq!(second.status.code(), Some(1));
    assert!(second.last_line().contains("is in use: another learner trains there"), "{}", second.stderr);
    assert!(first.goes_on());
}
