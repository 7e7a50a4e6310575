//! Bad input ends in one clear line that names what and where: a table of cases, with the real program.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::OnceLock,
};

use support::{Runs, program};

/// A finished run in a folder of its own, to be damaged.
fn a_run() -> Runs {
    static FINISHED: OnceLock<Runs> = OnceLock::new();
    let finished = FINISHED.get_or_init(|| {
        let runs = Runs::new();
        runs.begin("run", &["train.steps=200"]).succeed();
        runs
    });
    let runs = Runs::new();
    copy(&finished.path("run"), &runs.path("run"));
    runs
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs the program and looks at how it ends: exit code, one last line with all parts, no panic.
fn refused(runs: &Runs, args: &[&str], code: i32, parts: &[&str]) {
    let output = program(args).current_dir(runs.path("")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = format!("`learner {}` gave {}: {stderr}", args.join(" "), output.status);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace", "src/"] {
        assert!(!stderr.contains(trace), "{told}");
    }
    // Wrong usage is explained by clap on several lines.
    let line = if code == 2 { &*stderr } else { stderr.lines().last().unwrap_or_default() };
    assert!(line.starts_with("error: "), "{told}");
    for part in parts {
        assert!(line.contains(part), "`{part}` is missing: {told}");
    }
    assert!(code == 2 || line.len() < 400, "too long to be clear: {told}");
}

/// A new run that is refused leaves no folder.
fn new_run(args: &[&str], parts: &[&str]) {
    let runs = Runs::new();
    refused(
        &runs,
        &[&["--run-dir", "new", "--no-table", "--set", "train.steps=100"][..], args].concat(),
        1,
        parts,
    );
    assert!(!runs.path("new").exists(), "{args:?} left a run directory");
}

fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() * 3 / 4;
    bytes[at] ^= 64;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn nonsense(path: &Path) {
    fs::write(path, "nonsense").unwrap();
}

#[test]
fn settings_that_cannot_be_are_named() {
    for (args, parts) in [
        (&["--env", "nowhere"][..], &["environment `nowhere`", "shopworld"][..]),
        (&["--env", "shopworld:moon"], &["`moon`", "default", "dense"]),
        (&["--preset", "magic"], &["`magic`", "one of `paper`, `tuned`, `ddpg+`", "the flags"]),
        (&["--mode", "fast"], &["`fast`", "`lockstep` or `async`", "train.mode"]),
        (&["--mode", "asinc"], &["`train.mode` in the flags is `asinc`", "did you mean `async`?"]),
        (&["--preset", "bset"], &["`preset` in the flags is `bset`", "did you mean `best`?"]),
        (&["--set", "algorithm.discount=1.5"], &["algorithm.discount", "1.5", "0 to 1"]),
        (&["--set", "algorithm.discount=high"], &["algorithm.discount", "high"]),
        (&["--set", "model.n_goals=11"], &["model.n_goals", "11", "model.period_steps = 10"]),
        (&["--set", "environment.candidates=69"], &["environment.candidates", "69", "= 70"]),
        (
            &["--set", "model.windw=3"],
            &["`model.windw` in the flags names no setting", "did you mean `model.window`?"],
        ),
        (&["--set", "model.n_dims=10"], &["shopworld", "50 dimensions", "model.n_dims", "10"]),
        (&["--set", "replay.low.min_size=600000"], &["replay.low.min_size", "600000", "500000"]),
        (&["--set", "discount"], &["`--set discount`", "KEY=VALUE"]),
        (&["--steps", "0"], &["train.steps", "at least 1"]),
        (&["--shards", "0"], &["replay.shards", "1 to 1024"]),
        (&["--device", "tpu"], &["train.device", "tpu", "cuda:N"]),
        (&["--device", "cuda:99"], &["cuda:99", "GPUs"]),
        (&["--config", "missing.toml"], &["missing.toml", "No such file"]),
    ] {
        new_run(args, parts);
    }
}

#[test]
fn a_gpu_that_is_not_there_is_named() {
    if tch::Cuda::is_available() {
        eprintln!("NOT TESTED: cuda:0 without CUDA, as there is CUDA");
        return;
    }
    new_run(&["--device", "cuda:0"], &["cuda:0", "0 GPUs", "make setup"]);
}

#[test]
fn a_bad_settings_file_is_named_with_the_place() {
    for (text, parts) in [
        (
            &b"[model]\nwindw = 3"[..],
            &["`model.windw` in", "bad.toml names no setting", "`model.window`"][..],
        ),
        (b"[model]\nwindow = \"wide\"", &["wide", "model.window", "bad.toml"]),
        (b"[model]\nwindow = 0", &["model.window", "1 to 255"]),
        (b"seed = = 3", &["line 1", "bad.toml"]),
        (b"seed = \"\xff\xfe\"", &["UTF-8", "bad.toml"]),
        (b"preset = \"magic\"", &["magic", "bad.toml"]),
    ] {
        let runs = Runs::new();
        fs::write(runs.path("bad.toml"), text).unwrap();
        refused(&runs, &["--config", "bad.toml", "--run-dir", "new"], 1, parts);
        assert!(!runs.path("new").exists());
    }
}

#[test]
fn a_bad_environment_variable_is_named() {
    for (variable, value, parts) in [
        ("MAHRL__MODEL__WINDOW", "wide", &["`MAHRL__MODEL__WINDOW` in the environment", "wide"][..]),
        ("MAHRL__TRAIN__MODE", "asinc", &["`MAHRL__TRAIN__MODE` in the environment is `asinc`", "`async`"]),
        ("MAHRL__TRAIN__STEPZ", "3", &["`MAHRL__TRAIN__STEPZ`", "did you mean `MAHRL__TRAIN__STEPS`?"]),
        ("MAHRL_TRAIN_STEPS", "3", &["`MAHRL_TRAIN_STEPS`", "did you mean `MAHRL__TRAIN__STEPS`?"]),
    ] {
        let runs = Runs::new();
        let output =
            program(&["--run-dir", "new"]).current_dir(runs.path("")).env(variable, value).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
        assert!(!runs.path("new").exists());
    }
}

#[test]
fn a_variable_that_nothing_reads_is_told_and_those_of_kubernetes_are_not() {
    let runs = Runs::new();
    let output = program(&["--print-config"])
        .current_dir(runs.path(""))
        .env("MAHRL_TRAIN_STEPZ", "3")
        .env("MAHRL_LEARNER_SERVICE_HOST", "10.0.0.1")
        .env("MAHRL_LEARNER_PORT_7400_TCP", "tcp://10.0.0.1:7400")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(0), 1), "{stderr}");
    assert!(stderr.contains("`MAHRL_TRAIN_STEPZ`") && stderr.contains("`MAHRL__TRAIN__STEPS`"), "{stderr}");
}

#[test]
fn wrong_usage_is_explained() {
    let runs = Runs::new();
    refused(&runs, &["--resume"], 2, &["--run-dir"]);
    refused(&runs, &["--steps", "many"], 2, &["many", "--steps", "e.g. 2000000, 2_000_000 or 2e6"]);
    refused(&runs, &["--bogus"], 2, &["--bogus"]);
    refused(&runs, &["evaluate"], 2, &["RUN"]);
    refused(&runs, &["--stay"], 2, &["--cluster"]);
    refused(&runs, &["rank", "x", "--sessions", "0"], 2, &["--sessions", "at least 1"]);
    refused(&runs, &["--run-dir", "x", "--resume", "--config", "y"], 2, &["--config"]);
}

#[test]
fn a_run_directory_that_is_none_is_named() {
    let runs = a_run();
    fs::create_dir(runs.path("empty")).unwrap();
    fs::write(runs.path("file"), "").unwrap();
    for (args, parts) in [
        (&["--run-dir", "nowhere", "--resume"][..], &["run directory nowhere"][..]),
        (&["--run-dir", "empty", "--resume"], &["empty", "config.toml is missing"]),
        (&["--run-dir", "run"], &["run is not empty", "--resume"]),
        (&["--run-dir", "file/run"], &["cannot create file/run"]),
        (&["evaluate", "nowhere"], &["run directory nowhere"]),
        (&["evaluate", "empty"], &["empty", "config.toml is missing"]),
        (&["evaluate", "run", "--sessions", "1"], &["`sessions` is 1", "at least 2"]),
        (&["world", "--env", "nowhere"], &["`nowhere`"]),
    ] {
        refused(&runs, args, 1, parts);
    }
}

#[test]
fn a_read_only_folder_is_named() {
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    if user.starts_with(b"0\n") {
        eprintln!("NOT TESTED: a read-only run directory, as root may write everywhere");
        return;
    }
    let runs = Runs::new();
    fs::create_dir(runs.path("fixed")).unwrap();
    fs::set_permissions(runs.path("fixed"), Permissions::from_mode(0o555)).unwrap();
    refused(&runs, &["--run-dir", "fixed/run", "--steps", "10"], 1, &["cannot create fixed/run", "denied"]);
}

#[test]
fn settings_of_a_run_that_goes_on_are_kept() {
    let runs = a_run();
    for (args, key) in [
        (&["--seed", "3"][..], "seed"),
        (&["--actors", "2"], "actor.actors"),
        (&["--env", "shopworld:dense"], "environment.name"),
        (&["--set", "model.window=4"], "model.window"),
    ] {
        refused(&runs, &[&["--run-dir", "run", "--resume"], args].concat(), 1, &["--resume keeps", key]);
    }
}

#[test]
fn a_run_whose_checkpoints_are_gone_keeps_its_policy() {
    let runs = a_run();
    let kept =
        || ["policy.safetensors", "metrics.jsonl"].map(|name| fs::read(runs.path("run").join(name)).unwrap());
    let before = kept();
    fs::remove_dir_all(runs.path("run/checkpoints")).unwrap();
    let args = ["--run-dir", "run", "--resume", "--steps", "300"];
    refused(&runs, &args, 1, &["run holds a policy", "checkpoints", "are gone"]);
    assert!(kept() == before, "they changed");
    // Killed before its first checkpoint: there is nothing that could be lost.
    fs::remove_file(runs.path("run/policy.safetensors")).unwrap();
    let ended = program(&[&args[..], &["--no-table"]].concat()).current_dir(runs.path("")).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && stderr.contains("run has no checkpoint yet: the run begins again"),
        "{stderr}"
    );
}

#[test]
fn a_run_cannot_end_before_where_it_is() {
    let runs = a_run();
    let before = fs::read_to_string(runs.path("run/config.toml")).unwrap();
    let args = ["--run-dir", "run", "--resume", "--steps", "100"];
    refused(&runs, &args, 1, &["run has done 200 steps", "cannot end at 100"]);
    assert_eq!(fs::read_to_string(runs.path("run/config.toml")).unwrap(), before);
}

#[test]
fn the_environment_does_not_change_a_run_that_is_there() {
    let runs = a_run();
    let before = fs::read_to_string(runs.path("run/config.toml")).unwrap();
    let output = program(&["--run-dir", "run", "--resume", "--no-table"])
        .current_dir(runs.path(""))
        .env("MAHRL__ALGORITHM__DISCOUNT", "0.123")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(runs.path("run/config.toml")).unwrap(), before);
}

#[test]
fn a_bad_log_is_named_with_the_place() {
    let runs = Runs::new();
    fs::create_dir(runs.path("log")).unwrap();
    let file = |name: &str, text: &str| fs::write(runs.path(name), text).unwrap();
    let header = "user_id,session_id,position,timestamp,item_id,feedback,split\n";
    let rows = "1,1,0,0,7,1,train\n1,1,1,1,8,0,train\n1,2,0,9,7,1,test\n1,2,1,10,8,0,test\n";
    file("log/items.csv", "item_id,category,price\n7,,\n8,,\n");
    file("log/log.csv", &format!("{header}{rows}"));
    file("columns.csv", "action_time,user_id,sku,type,sessionId,index\n2026-01-01 00:00:00,1,2,1,a,1\n");
    file("nan.csv", "item_id,e_0,e_1\n7,0.5,1\n8,NaN,1\n");
    file("absent.csv", "item_id,e_0,e_1\n7,0.5,1\n");
    file("text.csv", "item_id,e_0,e_1\n7,0.5,1\n8,0.5,red\n");
    for (args, parts) in [
        (&["stats", "nowhere"][..], &["nowhere"][..]),
        (&["import", "--format", "taobao", "--input", "nowhere.csv", "--output", "x"], &["nowhere.csv"]),
        (
            &["import", "--format", "jdata-demo", "--input", "columns.csv", "--output", "x"],
            &["columns.csv", "sku_id"],
        ),
        (&["embed", "log", "--from", "nan.csv"], &["nan.csv, line 3", "e_0", "NaN"]),
        (&["embed", "log", "--from", "text.csv"], &["text.csv, line 3", "e_1", "red"]),
        (&["embed", "log", "--from", "absent.csv"], &["absent.csv", "missing", "8"]),
        (&["simulator", "fit", "log"], &["log", "learner embed"]),
        (&["simulator", "report", "log"], &["log", "learner simulator fit"]),
        (&["--env", "log", "--run-dir", "new"], &["log", "learner simulator fit"]),
    ] {
        refused(&runs, args, 1, parts);
    }
    for (row, parts) in [
        ("1,1,0,0,9,1,train\n", &["log.csv, line 2", "item", "9"][..]),
        ("1,1,0,0,7,6,train\n", &["log.csv, line 2", "feedback", "6"]),
        ("1,1,0,0,7,1,tomorrow\n", &["log.csv, line 2", "split", "tomorrow"]),
    ] {
        file("log/log.csv", &format!("{header}{row}"));
        refused(&runs, &["stats", "log"], 1, parts);
    }
    file("log/log.csv", &header.replace("item_id", "sku"));
    refused(&runs, &["stats", "log"], 1, &["log.csv", "item_id"]);
    assert!(!runs.path("x").exists() && !runs.path("new").exists());
}

#[test]
fn a_checkpoint_of_another_shape_is_refused_by_its_tensor() {
    let runs = a_run();
    let config = runs.path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("head_width = 8", "head_width = 16")).unwrap();
    let parts = ["step-000000000200", "model.head_width = 8", "says 16"];
    refused(&runs, &["--run-dir", "run", "--resume", "--steps", "300"], 1, &parts);
    refused(&runs, &["evaluate", "run"], 1, &["policy.safetensors", "does not fit", "expected [16, "]);
}

#[test]
fn damaged_checkpoints_are_named() {
    let damages: [fn(&Path); 3] = [flip_a_byte, cut, nonsense];
    for damage in damages {
        let runs = a_run();
        runs.checkpoints("run").iter().for_each(|path| damage(path));
        let parts = ["no whole checkpoint", "step-000000000200"];
        refused(&runs, &["--run-dir", "run", "--resume", "--steps", "300"], 1, &parts);
        assert!(!runs.checkpoints("run").is_empty(), "nothing is put aside where nothing is left");
    }
}

#[test]
fn metrics_that_lost_lines_are_named() {
    let runs = a_run();
    cut(&runs.path("run/metrics.jsonl"));
    let parts = ["metrics.jsonl has", "at the checkpoint"];
    refused(&runs, &["--run-dir", "run", "--resume", "--steps", "300"], 1, &parts);
}

#[test]
fn a_policy_that_is_missing_or_damaged_is_named() {
    let runs = a_run();
    let policy = runs.path("run/policy.safetensors");
    let damages: [fn(&Path); 2] = [cut, nonsense];
    for damage in damages {
        damage(&policy);
        refused(&runs, &["evaluate", "run"], 1, &["run/policy.safetensors"]);
    }
    fs::remove_file(&policy).unwrap();
    refused(&runs, &["evaluate", "run"], 1, &["cannot read the policy run/policy.safetensors"]);
}

#[test]
fn bad_settings_of_a_run_are_named_when_it_is_evaluated() {
    let runs = a_run();
    let config = runs.path("run/config.toml");
    fs::write(&config, b"seed = \"\xff\"").unwrap();
    refused(&runs, &["evaluate", "run"], 1, &["UTF-8", "run/config.toml"]);
    fs::write(&config, "[modle]\n").unwrap();
    refused(&runs, &["--run-dir", "run", "--resume"], 1, &["modle", "run/config.toml"]);
}
