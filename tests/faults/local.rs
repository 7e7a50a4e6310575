//! `make cluster-local`: its script, with the programs as they are; whoever is killed by hand is started again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use common::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{
    cluster::{START, tiny},
    process::{Process, program, programs, wait_until},
    redis, root,
};

/// Longest time for a whole run.
const OVER: Duration = Duration::from_secs(180);
const STEPS: u64 = 12_000;
/// Steps between two records of metrics.jsonl.
const RECORD: u64 = 200;

/// The script and its folder; what is left of them is killed when it is dropped.
struct Local {
    folder: tempfile::TempDir,
    child: Child,
}

impl Local {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = tiny();
        (config.train.steps, config.train.checkpoint_every) = (STEPS, 500);
        (config.train.updates_per_step, config.train.evaluate_every) = (0.2, 10 * RECORD);
        change(&mut config);
        let settings = folder.path().join("settings.toml");
        fs::write(&settings, config.to_toml()).unwrap();
        // A shell that was started with SIGINT ignored, as in the background of another one, can never take it.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(root().join("scripts/cluster-local.sh"));
        // Nothing of whoever runs the tests.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MAHRL")) {
            command.env_remove(key);
        }
        let said = fs::File::create(folder.path().join("said.log")).unwrap();
        let child = command
            // A setting that whoever does not have it is refused for: all must hear of what the learner is told.
            .args(["--no-table", "--set", "algorithm.discount=0.625"])
            .envs([("ACTORS", "2"), ("SHARDS", "2"), ("RUN", "local")])
            .envs([("RUNS", folder.path()), ("SETTINGS", &settings), ("BINARIES", &programs())])
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("local").join(name)
    }

    fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// What was seen by whoever started it.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said.log")).unwrap()
    }

    /// Process ids by name, in the order in which they were started.
    fn ids(&self, name: &str) -> Vec<i32> {
        let lines = fs::read_to_string(self.path("logs/pids")).unwrap_or_default();
        let id = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        lines.lines().filter_map(id).collect()
    }

    /// kill -9 of a process, by the list; waits until there is another one.
    fn kill(&self, name: &str) {
        let before = self.ids(name);
        kill_process(Pid::from_raw(*before.last().unwrap()).unwrap(), Signal::KILL).unwrap();
        wait_until(&format!("{name} is started again"), START, &self.logs(), || {
            (self.ids(name).len() > before.len()).then_some(())
        });
    }

    fn checkpoint(&self) -> Option<()> {
        fs::read_dir(self.path("run/checkpoints")).ok()?.next().map(drop)
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let logs = self.logs();
        let status = wait_until("the script ends", OVER, &logs, || self.child.try_wait().unwrap());
        assert_eq!(left_of(self.folder.path()), Vec::<String>::new(), "{}", self.said());
        for log in fs::read_dir(&logs).unwrap().flatten() {
            let said = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
            assert!(!said.contains("ending at once"), "nobody was cut off: {}\n{said}", log.path().display());
        }
        status
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Only where the test fails: the script ends its processes itself.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ended = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _status = self.child.wait();
        }
    }
}

/// Command lines of the processes that have something to do with a folder.
fn left_of(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder.display().to_string())).collect()
}

#[test]
fn whoever_is_killed_is_started_again_and_the_run_reaches_its_last_step() {
    if !redis::is_installed() {
        return;
    }
    // So many updates that the run takes long enough for everybody to be killed.
    let mut local = Local::start(|config| config.train.updates_per_step = 5.0);
    wait_until("the first checkpoint", OVER, &local.logs(), || local.checkpoint());
    for name in ["actor-1", "replay-0", "learner"] {
        local.kill(name);
    }
    let status = local.wait_for_end();
    let said = local.said();
    assert!(status.success(), "{status}\n{said}");
    for words in ["the learner ended with status 137", "actor-1 ended with status 137", "steps/s", "report  "]
    {
        assert!(said.contains(words), "`{words}` was not said:\n{said}");
    }
    let log = fs::read_to_string(local.path("logs/learner.log")).unwrap();
    assert!(
        log.lines().all(|line| said.contains(line)),
        "the learner's log and what was seen differ:\n{said}"
    );
    let metrics = fs::read_to_string(local.path("run/metrics.jsonl")).unwrap();
    let steps = metrics.lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["env_steps"].as_u64()
    });
    let last = steps.max().unwrap();
    assert!(last > STEPS - 2 * RECORD, "{last} steps");
}

/// Processes that were started by this one and shall end with it.
fn started_by(parent: u32) -> usize {
    let said = format!("MAHRL_PARENT={parent}");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments
        .filter(|environment| {
            environment.split(|byte| *byte == 0).any(|variable| variable == said.as_bytes())
        })
        .count()
}

#[test]
fn a_scaling_study_that_is_killed_takes_its_cluster_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let arguments = ["scale", "--actors", "2", "--shards", "2", "--steps", "100000000", "--out", &out];
    let mut study = Process::new("study", program("learner"), arguments, folder.path());
    study.start();
    let id = study.id().unwrap();
    // Two shards, two actors, the learner.
    wait_until("the cluster is started", START, folder.path(), || (started_by(id) == 5).then_some(()));
    study.kill();
    wait_until("all have ended", START, folder.path(), || (started_by(id) == 0).then_some(()));
}

#[test]
fn ctrl_c_ends_the_learner_with_a_checkpoint_and_then_all_others() {
    if !redis::is_installed() {
        return;
    }
    let mut local =
        Local::start(|config| (config.train.steps, config.train.checkpoint_every) = (1 << 30, 1 << 29));
    wait_until("training begins", START, &local.logs(), || local.said().contains("steps/s").then_some(()));
    kill_process(Pid::from_child(&local.child), Signal::INT).unwrap();
    let status = local.wait_for_end();
    assert_eq!(status.code(), Some(130), "{}", local.said());
    assert!(local.said().contains("interrupted; go on with"), "{}", local.said());
    assert!(local.checkpoint().is_some());
}
