//! The scaling model against a simulation that shares no formula with it, and against runs that were measured.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

#[path = "scaling/simulation.rs"]
mod simulation;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::config::Config;
use learner::{
    run_dir::RunDir,
    scaling::{Case, Costs, Part, Setup, Study, predict},
};
use simulation::{Measured, Simulation};

/// Relative difference of throughputs that is accepted.
const THROUGHPUT: f64 = 0.10;
/// Relative difference of staleness that is accepted, beyond half a version.
const STALENESS: f64 = 0.20;

/// Relative difference from measured throughput that is accepted.
const MEASURED_THROUGHPUT: f64 = 0.1;
/// Relative difference from measured staleness that is accepted, beyond half a version.
const MEASURED_STALENESS: f64 = 0.2;

/// A cluster of machines in which the learner is well fed and nothing is short.
fn base() -> Case {
    Case {
        costs: Costs {
            actor_step_s: 30e-6,
            insert_s: 2e-6,
            row_s: 4e-6,
            update_s: 0.040,
            learner_row_s: 2e-6,
            publish_s: 0.001,
            send_s: 0.0003,
            evaluation_s: 1.0,
            transition_bytes: 80.0,
            row_bytes: 300.0,
            weights_bytes: 600e3,
        },
        setup: Setup {
            actors: 1,
            threads: 1,
            sessions: 256,
            shards: 1,
            shared_cores: 0.0,
            actor_cores: 2.0,
            shard_cores: 2.0,
            learner_cores: 4.0,
            bandwidth: 1.25e9,
            latency_s: 0.0002,
            in_flight: 8,
            updates_per_step: 1.0 / 512.0,
            rows: 512.0,
            window_rows: 2048.0,
            prefetch: 2,
            publish_every: 10.0,
            evaluate_every: 200_000.0,
            period_steps: 10,
            min_size: 20_000.0,
            capacity: 500_000.0,
            steps: 1_020_000.0,
        },
    }
}

fn with(assumptions: &[&str]) -> Case {
    let assumptions: Vec<String> = assumptions.iter().map(|&text| text.to_owned()).collect();
    base().with(&assumptions).unwrap()
}

/// Name, case, what should saturate.
fn grid() -> Vec<(&'static str, Case, Part)> {
    vec![
        ("one slow actor", with(&["actor_step_s=200e-6"]), Part::Actors),
        ("four slow actors", with(&["actors=4", "actor_step_s=400e-6", "shards=2"]), Part::Actors),
        ("the learner, one actor", with(&[]), Part::Learner),
        ("the learner, sixteen actors", with(&["actors=16", "shards=2"]), Part::Learner),
        (
            "a fast learner",
            with(&["actors=8", "update_s=0.002", "row_s=0.5e-6", "learner_row_s=0.5e-6"]),
            Part::Learner,
        ),
        (
            "a faster learner than its minibatches",
            with(&["actors=16", "shards=4", "update_s=0.001", "learner_row_s=6e-6"]),
            Part::Sampling,
        ),
        (
            "shard CPU",
            with(&["actors=8", "update_s=0.001", "shard_cores=1", "insert_s=20e-6"]),
            Part::ShardCpu,
        ),
        (
            "two shards' CPU",
            with(&["actors=8", "shards=2", "update_s=0.001", "shard_cores=1", "insert_s=20e-6"]),
            Part::ShardCpu,
        ),
        (
            "four shards' CPU, many actors",
            with(&["actors=16", "shards=4", "update_s=0.001", "shard_cores=1", "insert_s=40e-6"]),
            Part::ShardCpu,
        ),
        (
            "three shards of two cores",
            with(&["actors=8", "shards=3", "update_s=0.001", "insert_s=30e-6", "row_s=30e-6"]),
            Part::ShardCpu,
        ),
        ("a slow network", with(&["actors=8", "update_s=0.001", "bandwidth=12.5e6"]), Part::Sampling),
        (
            "shard network, inserts",
            with(&["actors=8", "update_s=0.001", "bandwidth=4e6", "updates_per_step=0.0002"]),
            Part::ShardNetwork,
        ),
        (
            "learner CPU",
            with(&["actors=8", "shards=4", "update_s=0.005", "learner_cores=1", "learner_row_s=10e-6"]),
            Part::LearnerCpu,
        ),
        (
            "latency",
            with(&["latency_s=0.5", "update_s=0.001", "updates_per_step=1e-4"]),
            Part::Acknowledgements,
        ),
        (
            "weights do not fit between two versions",
            with(&["actors=32", "bandwidth=20e6", "publish_every=1", "actor_step_s=1e-3"]),
            Part::Learner,
        ),
        ("one machine, one actor", with(&["shared_cores=2", "shards=2"]), Part::Learner),
        (
            "one machine, four actors, a fast learner",
            with(&["shared_cores=2", "actors=4", "update_s=0.01"]),
            Part::Machine,
        ),
        ("long pauses", with(&["evaluation_s=5", "evaluate_every=100000"]), Part::Learner),
        (
            "pauses that the actors wait for",
            with(&["evaluation_s=5", "evaluate_every=100000", "actor_step_s=150e-6"]),
            Part::Actors,
        ),
        (
            "several updates a step",
            with(&["updates_per_step=0.02", "rows=64", "steps=100000"]),
            Part::Learner,
        ),
    ]
}

fn off(predicted: f64, found: f64) -> f64 {
    (predicted / found - 1.0).abs()
}

#[test]
fn the_models_throughput_is_within_a_tenth_of_the_simulations() {
    let mut wrong = Vec::new();
    for (name, case, saturated) in grid() {
        let (predicted, found) = (predict(&case), Simulation::run(&case, 1));
        let error = off(predicted.steps_per_second, found.steps_per_second);
        println!(
            "{name}: {:.0} predicted, {:.0} simulated ({:.1}%), {:?}",
            predicted.steps_per_second,
            found.steps_per_second,
            100.0 * error,
            predicted.saturated
        );
        if error > THROUGHPUT || predicted.saturated != saturated {
            wrong.push(format!("{name}: {predicted:?} but {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_models_staleness_is_within_a_fifth_of_the_simulations() {
    let mut wrong = Vec::new();
    for (name, case, _) in grid() {
        let (predicted, found) = (predict(&case), Simulation::run(&case, 2));
        println!("{name}: {:.1} versions predicted, {:.1} simulated", predicted.staleness, found.staleness);
        if (predicted.staleness - found.staleness).abs() > STALENESS * found.staleness + 0.5 {
            wrong.push(format!("{name}: {predicted:?} but {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_simulation_keeps_the_ratio_and_the_window() {
    for (name, case, _) in grid() {
        let Measured { update_ratio, largest_balance, .. } = Simulation::run(&case, 3);
        // Minibatches under way at the end, and the window, are not updates yet.
        let window = 2.0 * (case.setup.window_rows / case.setup.rows + 3.0)
            / (case.setup.updates_per_step * (case.setup.steps - case.setup.min_size));
        assert!(
            off(case.setup.updates_per_step, update_ratio) < 0.01 + window,
            "{name}: {update_ratio} updates a step"
        );
        assert!(largest_balance <= case.setup.window_rows + 1e-6, "{name}: balance {largest_balance}");
    }
}

#[test]
fn equal_seeds_simulate_equal_runs() {
    let (_, case, _) = grid().remove(1);
    assert_eq!(Simulation::run(&case, 5), Simulation::run(&case, 5));
    assert_ne!(Simulation::run(&case, 5), Simulation::run(&case, 6));
}

/// A study that was run (machine, date and command are in the file).
fn measured(engine: &str) -> Study {
    let file = format!("tests/fixtures/scaling_measured_{engine}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn model_and_simulation_agree_with_the_measured_points() {
    let wrong: Vec<String> = ["native", "torch"].into_iter().flat_map(differences).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where model or simulation are too far from a study.
fn differences(engine: &str) -> Vec<String> {
    println!("{engine} engine");
    let study = measured(engine);
    let pooled = study.case.unwrap();
    let mut wrong = Vec::new();
    for row in &study.rows {
        let cpu = row.cpu.unwrap();
        let seconds = cpu.last.seconds - cpu.warm_up.seconds;
        let found = (cpu.last.env_steps - cpu.warm_up.env_steps) as f64 / seconds;
        let staleness = row.run.staleness.unwrap();
        // How much of a core a thread got, on a machine that others used too, is an input: that of the learner's thread.
        let cores = row.cores.unwrap();
        let busy = row.run.update_share + row.run.evaluation_share + row.run.publish_share;
        let slow = busy * seconds / (cpu.last.learner_thread_s - cpu.warm_up.learner_thread_s);
        let Costs { actor_step_s, insert_s, row_s, update_s, .. } = pooled.costs;
        let Costs { learner_row_s, publish_s, send_s, evaluation_s, .. } = pooled.costs;
        let costs = Costs {
            actor_step_s: slow * actor_step_s,
            insert_s: slow * insert_s,
            row_s: slow * row_s,
            update_s: slow * update_s,
            learner_row_s: slow * learner_row_s,
            publish_s: slow * publish_s,
            send_s: slow * send_s,
            evaluation_s: slow * evaluation_s,
            ..pooled.costs
        };
        let setup = Setup { actors: row.actors, shared_cores: cores, latency_s: 0.0, ..pooled.setup };
        let case = Case { costs, setup };
        let (model, simulated) = (predict(&case), Simulation::run(&case, 4));
        println!(
            "{} actors: {found:.0} steps/s, model {:.0}, simulation {:.0}; staleness {staleness:.1}, model {:.1}, \
             simulation {:.1}; cores busy {:.2}",
            row.actors,
            model.steps_per_second,
            simulated.steps_per_second,
            model.staleness,
            simulated.staleness,
            cpu.cores()
        );
        for rate in [model.steps_per_second, simulated.steps_per_second] {
            if off(rate, found) > MEASURED_THROUGHPUT {
                wrong.push(format!("{} actors: {rate:.0} steps/s, measured {found:.0}", row.actors));
            }
        }
        for versions in [model.staleness, simulated.staleness] {
            if (versions - staleness).abs() > MEASURED_STALENESS * staleness + 0.5 {
                wrong
                    .push(format!("{} actors: staleness {versions:.1}, measured {staleness:.1}", row.actors));
            }
        }
    }
    wrong
}

// The command line.

fn scale(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_learner")).arg("scale").args(arguments).output();
    output.unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = scale(arguments);
    assert!(!output.status.success(), "{arguments:?} was accepted");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_model_is_printed_for_1_to_4096_actors_from_a_file_of_costs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.json");
    fs::write(&file, serde_json::to_string(&base()).unwrap()).unwrap();
    let output = scale(&["--model", "--costs", file.to_str().unwrap(), "--assume", "shards=16"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for actors in ["1", "64", "4096"] {
        assert!(
            text.lines().any(|line| line.split('|').nth(1).is_some_and(|cell| cell.trim() == actors)),
            "{text}"
        );
    }
    assert!(
        text.contains("\"shards\": 16") && text.contains("samples per insert holds the actors"),
        "{text}"
    );
}

#[test]
fn wrong_input_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let out = ["--out", out.to_str().unwrap()];
    let with = |arguments: &[&str]| refused(&[arguments, &out].concat());
    assert!(with(&["--actors", "1025"]).contains("--actors 1025 is outside 0 to 1024"));
    assert!(with(&["--actors", "1,x"]).contains("invalid value 'x'"));
    assert!(with(&["--seeds", "0"]).contains("--seeds 0 is outside"));
    assert!(with(&["--target", "high"]).contains("neither a return nor `auto`"));
    assert!(with(&["--collect", "a", "b", "--actors", "1"]).contains("one is needed for each"));
    assert!(with(&["--model"]).contains("run `learner scale` first"));
    let runs = ["shopworld", "shopworld:slow"].map(|world| {
        let mut config = Config::default();
        config.environment.name = world.to_owned();
        config.seed = world.len() as u64;
        let path = folder.path().join(world);
        RunDir::create(&path, &config).unwrap();
        path.display().to_string()
    });
    let apart = with(&["--collect", &runs[0], &runs[1], "--actors", "1,2"]);
    assert!(apart.contains("no rows of one study: environment.name is "), "{apart}");
    let file = folder.path().join("case.json");
    fs::write(&file, serde_json::to_string(&base()).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    assert!(
        refused(&["--model", "--costs", file, "--assume", "shard=1"])
            .contains("there is no `shard`; there are")
    );
    assert!(refused(&["--model", "--costs", file, "--assume", "update_s=0"]).contains("must be above 0"));
    assert!(refused(&["--model", "--costs", file, "--assume", "actors=1.5"]).contains("counts are whole"));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn help_teaches() {
    let text = String::from_utf8(scale(&["--help"]).stdout).unwrap();
    for part in ["learner scale --actors 1,2,4,8", "--collect", "docs/scaling.md", "not reached"] {
        assert!(text.contains(part), "`{part}` is missing:\n{text}");
    }
}
