//! The variants of Sec 4.1.2 as presets of the one program: what they learn from, and that they learn at all.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod fixture;
mod support;

use std::fs;

use common::{
    config::{Config, Preset},
    transition::HighBatch,
};
use fixture::{config, engine, high, low, numbers};
use learner::engine::{Engine, UpdateMetrics};
use serde_json::Value;
use support::{ASYNC, Runs};

/// Some updates from the same low-level batches; the low level's state and the last metrics.
fn learn(config: &Config) -> (Vec<f32>, UpdateMetrics) {
    // Of a model with goals, whatever `config` has: the same items, feedback and histories.
    let batches = fixture::config();
    let mut engine = engine(config);
    let mut metrics = None;
    for seed in 0..5 {
        let mut batch = low(30, &batches, seed);
        let goals = if config.model.has_high_level() {
            high(12, config, seed)
        } else {
            batch.goals.clear();
            HighBatch::default()
        };
        metrics = Some(engine.update(&goals, &batch).unwrap());
    }
    (numbers(&engine.state(), "low/"), metrics.unwrap())
}

#[test]
fn ddpg_plus_learns_bit_for_bit_what_mahrls_low_level_learns_with_alpha_zero() {
    let mahrl = Config { algorithm: Config::preset(Preset::DdpgPlus).algorithm, ..config() };
    let mut alone = mahrl.clone();
    alone.model.n_goals = 0;
    let ((with, _), (without, metrics)) = (learn(&mahrl), learn(&alone));
    assert!(with == without, "the low level depends on the high one");
    assert!(metrics.high.is_none() && metrics.mean_internal_reward == 0.0);
    let state = engine(&alone).state();
    assert!(state.keys().all(|name| !name.contains("high")), "nothing of a high level is kept");
}

#[test]
fn a_high_level_batch_without_a_high_level_is_refused() {
    let mut alone = config();
    alone.model.n_goals = 0;
    let mut batch = low(5, &config(), 1);
    batch.goals.clear();
    let error = engine(&alone).update(&high(3, &config(), 1), &batch).unwrap_err();
    assert_eq!(error.to_string(), "batch column `high` holds 3 values, expected 0");
}

/// A short run of a preset in mode `async`: its records of training, its settings.
fn train(runs: &Runs, preset: Preset) -> (Vec<Value>, Config) {
    let (name, file) = (preset.name(), format!("{}.toml", preset.name()));
    // What makes the variant is left to the preset.
    let text = fs::read_to_string(runs.path("config.toml")).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("preset") && !line.starts_with("n_goals"));
    fs::write(runs.path(&file), kept.collect::<Vec<_>>().join("\n")).unwrap();
    let mut args = vec!["--preset", name, "--config", &file, "--run-dir", name, "--no-table"];
    ASYNC.iter().chain(&["train.steps=10000"]).for_each(|setting| args.extend(["--set", setting]));
    runs.spawn(&args).succeed();
    let run = runs.path(name);
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    let config = Config::load_run(&run.join("config.toml"), &[]).unwrap();
    assert!(report.contains(&format!("<title>{} on shopworld</title>", config.method())));
    (records.filter(|record| record["kind"] == "train").collect(), config)
}

#[test]
fn every_variant_trains_by_its_name() {
    let runs = Runs::new();
    for preset in Preset::ALL.into_iter().filter(|preset| *preset != Preset::Paper) {
        let (records, config) = train(&runs, preset);
        assert_eq!(config.preset, preset);
        let last = records.last().unwrap();
        // 0.02 updates a step of 10,000, but for what comes before the first.
        let updates = last["updates"].as_u64().unwrap();
        assert!(updates > 100, "{}: {updates} updates", preset.name());
        let heads = last["high"]["mean_q"].as_array().map_or(0, Vec::len);
        assert_eq!(heads, config.model.n_goals, "{}", preset.name());
        assert!(last["low"]["mean_q"][0].is_f64());
    }
}
