//! The learner against an independent program: every case of `MAHRL_ORACLE_DIR` (default: tests/fixtures/oracle).
//!
//! In: cases of `shared/oracle/make_cases.py` (PyTorch, f64): settings in the metadata, initial parameters, batches, and
//! what rewards, targets, losses, first gradients and final parameters must be. Relative error of a tensor =
//! max |a - b| / max(1e-12, max |b|). Out: a line a case with the worst error.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod oracle_case;

use std::path::{Path, PathBuf};

use learner::{algorithm::settings::LevelKind, engine::Engine};
use oracle_case::{Case, Worst};
use tch::Kind;

const TOLERANCE_F64: f64 = 1e-9;
const TOLERANCE_F32: f64 = 1e-4;

fn folder() -> PathBuf {
    match std::env::var_os("MAHRL_ORACLE_DIR") {
        // Tests run in the folder of their package; a relative path means the caller's, the root of the workspace.
        Some(path) if Path::new(&path).is_absolute() || Path::new(&path).exists() => path.into(),
        Some(path) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/oracle"),
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no case (*.safetensors)", folder.display());
    paths
}

/// Runs a case and returns the worst relative error.
fn run(path: &Path, kind: Kind, side_by_side: bool) -> Worst {
    tch::set_num_threads(1);
    let case = Case::read(path, kind, side_by_side);
    let mut core = case.core();
    let mut worst = Worst::default();
    for u in 0..case.n_updates() {
        let (high, low) = (case.high(u), case.low(u));
        for (level, reward, batch_targets) in [
            (LevelKind::High, core.high_reward(&high), case.high_targets(&core, &high)),
            (LevelKind::Low, core.low_reward(&low), case.low_targets(&core, &low)),
        ] {
            let name = level.name();
            case.compare(&mut worst, &format!("expect/{u}/{name}/reward"), &reward);
            case.compare(&mut worst, &format!("expect/{u}/{name}/y"), &batch_targets);
        }
        let metrics = core.update(Some(&high), Some(&low));
        for (level, metrics) in [(LevelKind::High, metrics.high), (LevelKind::Low, metrics.low)] {
            let (name, metrics) = (level.name(), metrics.expect("both levels had a batch"));
            let actor = metrics.actor.expect("the actor moves at every update");
            case.compare_values(&mut worst, &format!("expect/{u}/{name}/critic_loss"), &metrics.critic_loss);
            case.compare_values(&mut worst, &format!("expect/{u}/{name}/actor_loss"), &actor.loss);
        }
        if u == 0 && !case.is_sequential() {
            case.compare_gradients(&mut worst, &core);
        }
    }
    case.compare_final(&mut worst, &core);
    worst
}

/// The same by the native engine, in f32. It shows targets and rewards as means over the batch, first gradients in Adam's
/// running means.
fn run_native(path: &Path, level: kernels::Level) -> Worst {
    let case = Case::read(path, Kind::Double, false);
    let mut engine = case.native(level);
    let mut worst = Worst::default();
    for u in 0..case.n_updates() {
        let metrics = engine.update(&case.high_batch(u), &case.low_batch(u)).unwrap();
        for (level, metrics) in [("high", metrics.high), ("low", metrics.low)] {
            let metrics = metrics.expect("both levels had a batch");
            let actor = metrics.actor.expect("the actor moves at every update");
            let name = |what: &str| format!("expect/{u}/{level}/{what}");
            case.compare_means(&mut worst, &name("reward"), &metrics.mean_reward);
            case.compare_means(&mut worst, &name("y"), &metrics.mean_target);
            case.compare_values(&mut worst, &name("critic_loss"), &metrics.critic_loss);
            case.compare_values(&mut worst, &name("actor_loss"), &actor.loss);
        }
        if u == 0 {
            case.compare_first_means(&mut worst, &engine.state());
        }
    }
    case.compare_final_state(&mut worst, &engine.state());
    worst
}

#[test]
fn every_case_is_reproduced_by_the_native_engine_with_all_instructions() {
    let mut failures = Vec::new();
    for path in cases() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for level in kernels::Level::available() {
            let worst = run_native(&path, level);
            let line = format!(
                "{name:<24} native, {level}: worst relative error {:.2e} at {} ({} tensors compared)",
                worst.error, worst.tensor, worst.n_compared
            );
            println!("{line}");
            if worst.error.is_nan() || worst.error > TOLERANCE_F32 {
                failures.push(format!("{line}, allowed {TOLERANCE_F32:e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_case_is_reproduced() {
    let mut failures = Vec::new();
    for path in cases() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for (kind, side_by_side, tolerance) in [
            (Kind::Double, false, TOLERANCE_F64),
            (Kind::Double, true, TOLERANCE_F64),
            (Kind::Float, false, TOLERANCE_F32),
            (Kind::Float, true, TOLERANCE_F32),
        ] {
            let worst = run(&path, kind, side_by_side);
            let form = if side_by_side { "side by side" } else { "packed" };
            let line = format!(
                "{name:<24} {kind:?}, {form}: worst relative error {:.2e} at {} ({} tensors compared)",
                worst.error, worst.tensor, worst.n_compared
            );
            println!("{line}");
            if worst.error.is_nan() || worst.error > tolerance {
                failures.push(format!("{line}, allowed {tolerance:e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
