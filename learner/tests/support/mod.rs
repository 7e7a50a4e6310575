//! Small runs of the real program.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// No process of these tests may take longer.
const DEADLINE: Duration = Duration::from_secs(120);

/// A run of a second or two: tiny networks, sessions of 9 steps.
const CONFIG: &str = r#"
preset = "tuned"
seed = 11
[environment]
session_length = 9
leave = true
candidates = 20
warmup_steps = 3
[model]
window = 3
encoder_width = 8
head_width = 8
n_goals = 2
period_steps = 4
[algorithm]
target_action = "virtual"
[exploration]
random_items = 0.0
random_steps = 40
[replay]
low = { capacity = 150, batch = { rows = 8 }, min_size = 30 }
high = { capacity = 40, batch = { rows = 4 }, min_size = 4 }
[actor]
actors = 1
sessions = 4
[train]
mode = "lockstep"
steps = 400
updates_per_step = 0.25
device = "cpu"
evaluate_every = 100
evaluation_sessions = 2
checkpoint_every = 60
keep_checkpoints = 3
publish_every = 3
"#;

/// What turns [`CONFIG`] into a run in mode `async`.
pub(crate) const ASYNC: [&str; 6] = [
    "train.mode=async",
    "train.steps=40000",
    "train.updates_per_step=0.02",
    "train.evaluate_every=10000",
    "train.checkpoint_every=3000",
    "exploration.random_steps=2000",
];

/// A folder for runs.
pub(crate) struct Runs {
    folder: TempDir,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process that is killed if the test ends before it.
pub(crate) struct Running {
    child: Child,
    output: [PathBuf; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Runs {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), CONFIG).unwrap();
        Self { folder }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the program in the folder.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        let number = fs::read_dir(self.folder.path()).unwrap().count();
        let output = ["out", "err"].map(|kind| self.path(&format!("process-{number}.{kind}")));
        let [out, err] = output.each_ref().map(|path| File::create(path).unwrap());
        let child = program(args).current_dir(self.folder.path()).stdout(out).stderr(err).spawn().unwrap();
        Running { child, output }
    }

    /// Starts a new run.
    pub(crate) fn begin(&self, name: &str, settings: &[&str]) -> Running {
        let mut args = vec!["--config", "config.toml", "--run-dir", name, "--no-table"];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        self.spawn(&args)
    }

    /// Goes on with a run.
    pub(crate) fn resume(&self, name: &str, args: &[&str]) -> Running {
        self.spawn(&[&["--run-dir", name, "--resume", "--no-table"][..], args].concat())
    }

    /// The checkpoints of a run, oldest first.
    pub(crate) fn checkpoints(&self, name: &str) -> Vec<PathBuf> {
        learner::checkpoint::folder::list(&self.path(name).join("checkpoints")).unwrap()
    }

    /// What two runs of the same seed must agree in: file names and contents.
    pub(crate) fn results(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let run = self.path(name);
        let mut files: Vec<PathBuf> =
            ["config.toml", "metrics.jsonl", "policy.safetensors"].map(|file| run.join(file)).into();
        files.extend(entries(&run.join("checkpoints")));
        let read = |path: PathBuf| {
            (path.strip_prefix(&run).unwrap().display().to_string(), fs::read(&path).unwrap())
        };
        files.into_iter().map(read).collect()
    }
}

/// The program with these arguments, without this process's settings.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_learner"));
    command.args(args).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

impl Running {
    /// Whether it is still there.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < DEADLINE, "still running, it says: {}", self.stderr());
            sleep(Duration::from_millis(5));
        };
        Ended { status, stdout: fs::read_to_string(&self.output[0]).unwrap(), stderr: self.stderr() }
    }

    /// Waits for its end, which must be a success.
    pub(crate) fn succeed(self) -> Ended {
        let ended = self.end();
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        ended
    }

    /// What it has said so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output[1]).unwrap()).into_owned()
    }

    /// Waits until something has come true; false if the process ended before.
    pub(crate) fn wait_until(&mut self, condition: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        while !condition() {
            if !self.goes_on() {
                return condition();
            }
            assert!(begun.elapsed() < DEADLINE, "waited too long, it says: {}", self.stderr());
            sleep(Duration::from_millis(2));
        }
        true
    }

    /// Sends a signal by its name, e.g. `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Ended {
    /// The last line of standard error that is not empty.
    pub(crate) fn last_line(&self) -> &str {
        self.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
    }
}
