//! A program of this workspace as a process of its own, which can be killed, stopped and started again.
//!
//! In: a name, a program, arguments; out: a child whose output is appended to a log file. Owner: the test. Invariant:
//! the child is killed, by its own id, when its [`Process`] is dropped.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Ports of listeners: below 32768, where Linux begins to give them to outgoing connections.
const PORTS: Range<u16> = 12_000..32_000;
/// Of a log, in messages of failures.
const TAIL_LINES: usize = 25;

/// The folder of the programs that cargo built beside the running test.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let deps = test.parent().expect("a test lies in a folder");
    // target/PROFILE/deps/test-HASH
    deps.parent().expect("cargo puts tests into a folder beside the programs").into()
}

/// A program of this workspace. Panics, saying how to build it, where it is missing.
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(
        path.is_file(),
        "{} is missing: `cargo test --workspace` builds it, or `cargo build --workspace --bins`",
        path.display()
    );
    path
}

/// A port that is free now, and stays so while whoever listens on it is dead: below those that the system gives to outgoing
/// connections. Another process may still take it: rare, and the loser says so in its log.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs run one after the other or side by side: each begins elsewhere.
    let first = std::process::id().wrapping_mul(97);
    let port = || PORTS.start + (first.wrapping_add(NEXT.fetch_add(1, Relaxed)) % PORTS.len() as u32) as u16;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(port).take(PORTS.len()).find(is_free).expect("loopback has a free port")
}

/// Looks until `look` gives something. Panics with `what` and the tails of the logs in `folder` after `deadline`.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    folder: &Path,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        if begun.elapsed() > deadline {
            panic!("not within {deadline:?}: {what}\n{}", tails(folder));
        }
        std::thread::sleep(LOOK);
    }
}

/// The last lines of every log in a folder.
pub fn tails(folder: &Path) -> String {
    let mut logs: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    let mut text = String::new();
    for path in logs {
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL_LINES);
        text += &format!("--- {} (the last of {} lines)\n", path.display(), lines.len());
        lines[skipped..].iter().for_each(|line| text += &format!("{line}\n"));
    }
    text
}

/// What a process takes, as /proc says.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    working_folder: Option<PathBuf>,
    largest_file: Option<u64>,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet; its log is `NAME.log` in `folder`.
    pub fn new<A: Into<OsString>>(
        name: &str,
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            log: folder.join(format!("{name}.log")),
            working_folder: None,
            largest_file: None,
            child: None,
        }
    }

    /// In a folder of its own.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.working_folder = Some(folder.into());
        self
    }

    /// With a variable in its environment.
    pub fn with_env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From the next start on no file may grow beyond so many blocks of 512 bytes: writes fail, as on a full disk.
    pub fn limit_files(&mut self, blocks: Option<u64>) {
        self.largest_file = blocks;
    }

    /// The process that runs may let files grow again, as if there was room on its disk.
    pub fn make_room(&self) {
        let id = self.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        let limit = Rlimit { current: None, maximum: None };
        let hard = prlimit(Some(id), Resource::Fsize, limit);
        hard.expect("the limit of a child can be lifted up to its hard one, which is none");
    }

    /// One more flag, from the next start on.
    pub fn push_flag(&mut self, flag: &str) {
        self.arguments.push(flag.into());
    }

    /// One more flag with its value, from the next start on.
    pub fn push_argument(&mut self, flag: &str, value: &str) {
        self.arguments.extend([flag.into(), value.into()]);
    }

    /// Starts it. It must not run.
    pub fn start(&mut self) {
        assert!(self.exited().is_none() || self.child.is_none(), "{} runs already", self.name);
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the folder of the logs is writable");
        writeln!(log, "=== {} is started", self.name).expect("the log is writable");
        let both: File = log.try_clone().expect("the log can be opened twice");
        let mut command = match self.largest_file {
            None => Command::new(&self.program),
            Some(blocks) => {
                // A shell that becomes the program: same process id. Ignored, the signal is an error of the write.
                let mut shell = Command::new("sh");
                shell
                    .arg("-c")
                    .arg(format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\""))
                    .arg(&self.program);
                shell
            }
        };
        command.args(&self.arguments).stdin(Stdio::null()).stdout(both).stderr(log);
        // Nothing of whoever runs the tests.
        let ours = std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MAHRL"));
        for (key, _) in ours {
            command.env_remove(key);
        }
        command.envs(self.environment.iter().cloned());
        if let Some(folder) = &self.working_folder {
            command.current_dir(folder);
        }
        // Debug builds print where they panic.
        command.env("RUST_BACKTRACE", "0");
        let child = command.spawn();
        self.child =
            Some(child.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display())));
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it was started and has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.is_some() && self.exited().is_none()
    }

    /// How it ended, once it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"))
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(child) = self.child.as_ref() {
            // It may have ended by itself a moment ago; whoever waits for it sees that.
            let _ended = kill_process(Pid::from_child(child), signal);
        }
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Err: it had ended by itself.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        let (what, folder) = (format!("{} ends", self.name), self.log_folder());
        let status = wait_until(&what, deadline, &folder, || self.exited());
        self.child = None;
        status
    }

    /// Everything it has said, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What it has said since its last start.
    pub fn log_since_start(&self) -> String {
        let log = self.log();
        log.rsplit("=== ").next().unwrap_or_default().to_owned()
    }

    /// What it takes now. It must run.
    pub fn usage(&self) -> Usage {
        let folder = PathBuf::from(format!("/proc/{}", self.id().expect("it runs")));
        let status = fs::read_to_string(folder.join("status")).expect("/proc knows a process that runs");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("/proc tells it")
        };
        let descriptors = fs::read_dir(folder.join("fd")).expect("the process is ours").count() as u64;
        Usage { resident_kib: number("VmRSS:"), descriptors, threads: number("Threads:") }
    }

    /// Where the logs are.
    pub fn log_folder(&self) -> PathBuf {
        self.log.parent().expect("the log lies in a folder").into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
