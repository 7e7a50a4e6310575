//! Ctrl-C and SIGTERM end a run cleanly; a second one ends it at once. What a person sees meanwhile.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use learner::checkpoint::file;
use support::{ASYNC, Runs};

const ENDLESS: &str = "train.steps=1000000000";

fn interrupted(settings: &[&str], signal: &str) {
    let runs = Runs::new();
    let mut process = runs.begin("run", &[settings, &[ENDLESS]].concat());
    assert!(process.wait_until(|| runs.path("run").join("policy.safetensors").exists()));
    // File times are a few milliseconds coarse.
    let before = SystemTime::now() - Duration::from_millis(50);
    process.signal(signal);
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert_eq!(ended.last_line(), "interrupted; go on with: learner --run-dir run --resume");
    assert!(!ended.stderr.contains("WARN") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    let after = runs.checkpoints("run").pop().unwrap();
    assert!(fs::metadata(&after).unwrap().modified().unwrap() >= before, "no checkpoint was written");
    let steps = file::load(&after).unwrap().step + 200;
    runs.resume("run", &["--steps", &steps.to_string()]).succeed();
}

#[test]
fn ctrl_c_ends_a_free_run_with_a_checkpoint() {
    interrupted(&ASYNC, "INT");
}

#[test]
fn sigterm_ends_a_free_run_with_a_checkpoint() {
    interrupted(&ASYNC, "TERM");
}

#[test]
fn ctrl_c_ends_a_lockstep_run_with_a_checkpoint() {
    interrupted(&[], "INT");
}

#[test]
fn a_free_run_ends_cleanly_while_its_actors_wait_for_the_learner() {
    // Updates that the learner cannot keep up with.
    interrupted(&[&ASYNC[..], &["train.updates_per_step=5.0", "actor.actors=3"]].concat(), "INT");
}

#[test]
fn a_second_ctrl_c_ends_the_process_at_once() {
    let runs = Runs::new();
    // An evaluation that takes longer than this test may.
    let endless = ["train.evaluation_sessions=2000000", "train.evaluate_every=200", ENDLESS];
    let mut process = runs.begin("run", &endless);
    let metrics = runs.path("run").join("metrics.jsonl");
    let evaluates = || fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"env_steps\":200"));
    assert!(process.wait_until(evaluates));
    process.signal("INT");
    sleep(Duration::from_millis(500));
    assert!(process.goes_on(), "it ended within the evaluation: {}", process.stderr());
    let begun = Instant::now();
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(ended.stderr.contains("once more ends at once"), "{}", ended.stderr);
}

#[test]
fn a_signal_during_the_final_table_says_how_to_come_by_it() {
    let runs = Runs::new();
    let mut process = runs.spawn(&["--config", "config.toml", "--run-dir", "run", "--steps", "400"]);
    let metrics = runs.path("run").join("metrics.jsonl");
    let is_done = || fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"env_steps\":400"));
    assert!(process.wait_until(is_done));
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert_eq!(ended.last_line(), "interrupted behind the last step; the table: learner evaluate run");
    assert!(runs.path("run").join("policy.safetensors").is_file());
}

#[test]
fn without_a_terminal_there_are_plain_lines_only() {
    let runs = Runs::new();
    let ended = runs.begin("run", &[]).succeed();
    assert!(!ended.stderr.contains(['\u{1b}', '\r']), "{}", ended.stderr);
    let mut lines = ended.stderr.lines();
    assert!(lines.next().unwrap().starts_with("training in run: 400 steps in shopworld"), "{}", ended.stderr);
    assert!(lines.next().unwrap().contains("first 40 steps"), "{}", ended.stderr);
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len() >= 4 && lines.iter().all(|line| line.contains("steps/s")), "{}", ended.stderr);
    assert!(lines[0].contains("100 / 400 steps") && lines[0].contains("reward"), "{}", lines[0]);
}

#[test]
fn on_a_terminal_there_is_a_bar() {
    let runs = Runs::new();
    let command = format!(
        "{} --config {} --run-dir {} --no-table",
        env!("CARGO_BIN_EXE_learner"),
        runs.path("config.toml").display(),
        runs.path("run").display()
    );
    let script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output();
    let output = match script {
        Ok(output) => output,
        Err(error) => {
            eprintln!("NOT TESTED: no terminal can be made, as `script` (util-linux) is missing: {error}");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains('%') && text.contains("eta") && text.contains("updates/s"), "{text}");
}
