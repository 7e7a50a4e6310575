//! Synthetic writers: sessions of [`crate::identity`] through the product's own writer, with a [`ledger`](crate::ledger).
//!
//! In: a plan; out: ledger files. In threads of the test, or in a process of its own that can be killed mid-frame: the
//! test's own program, started again with [`CHILD`] set, runs [`child`].

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use common::{config::Config, seed::Streams};
use rand::RngExt;
use replay::{Shards, TransitionSink, WriterSettings, client::shard_of};

use crate::{
    client::Client,
    identity::{self, SHAPE},
    ledger::Log,
    process::Process,
};

/// Tells the test's program that it is a writer: `CONFIG|LEDGERS|WRITER`.
pub const CHILD: &str = "MAHRL_CHILD_WRITER";
/// Sessions that a writer has in progress.
const SLOTS: usize = 6;
/// Longest wait of a writer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How writers write.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Folder of the ledgers.
    pub ledgers: PathBuf,
    /// All sessions go to the shard of this uid, as long as no shard comes or goes.
    pub only: Option<u64>,
    /// Between two rounds of steps: the load is steady and the tables stay small enough to be seen whole.
    pub pause: Duration,
}

impl Plan {
    /// To all shards, some hundred steps a second.
    pub fn new(ledgers: &Path) -> Self {
        Self { ledgers: ledgers.to_owned(), only: None, pause: Duration::from_millis(4) }
    }
}

/// Writes until asked to stop; everything is acknowledged then, but what the ledger calls lost.
///
/// # Errors
/// What the writer fails with.
pub fn write(
    shards: &Shards,
    runtime: &tokio::runtime::Handle,
    writer: u64,
    plan: &Plan,
    stop: &AtomicBool,
) -> Result<(), replay::Error> {
    let Plan { ledgers, only, pause } = plan;
    let mut log = Log::create(ledgers, writer);
    let mut rng = Streams::new(writer, "tests/writer").sequential();
    // Small frames, many in flight: a kill meets some of them half-way.
    let settings =
        WriterSettings { frame_bytes: 400, frame_steps: 16, wait: PATIENCE, ..WriterSettings::new(writer) };
    let mut sink = runtime.block_on(shards.writer(settings))?;
    let uids: Vec<u64> = shards.members().iter().map(|member| member.uid).collect();
    let goes_there = |session: &u64| only.is_none() || shard_of(*session, uids.iter().copied()) == *only;
    let mut sessions = (writer * identity::SESSIONS..).filter(goes_there);
    let mut slots: Vec<(u64, u64)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..rng.random_range(1..12) {
            let free = SLOTS.saturating_sub(slots.len());
            slots.extend(sessions.by_ref().take(free).map(|session| (session, 0)));
            log.tried(&slots);
            let mut left = Vec::new();
            for (session, t) in slots.drain(..) {
                match step(&mut sink, session, t) {
                    Ok(()) if t + 1 == identity::length(session) => {}
                    Ok(()) => left.push((session, t + 1)),
                    Err(replay::Error::SessionLost { .. }) => log.lost(session),
                    Err(error) => return Err(error),
                }
            }
            slots = left;
            std::thread::sleep(*pause);
        }
        match sink.flush() {
            Ok(()) => {}
            Err(replay::Error::NotStored { sessions }) => {
                sessions.into_iter().for_each(|session| log.lost(session));
            }
            Err(error) => return Err(error),
        }
        log.acknowledged();
    }
    Ok(())
}

fn step(sink: &mut dyn TransitionSink, session: u64, t: u64) -> Result<(), replay::Error> {
    let c = SHAPE.n_steps as u64;
    if t.is_multiple_of(c) {
        sink.begin_period(&identity::period_start(session, t / c))?;
    }
    sink.step(session, identity::step(session, t))
}

/// Writers in threads of this process.
pub struct Threads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), replay::Error>>>,
}

impl Threads {
    /// Starts some, with these numbers.
    pub fn start(client: &Client, plan: &Plan, writers: impl IntoIterator<Item = u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |writer| {
            let (shards, runtime) = (client.shards.clone(), client.runtime.handle().clone());
            let (plan, stop) = (plan.clone(), Arc::clone(&stop));
            std::thread::spawn(move || write(&shards, &runtime, writer, &plan, &stop))
        };
        Self { threads: writers.into_iter().map(start).collect(), stop: Arc::clone(&stop) }
    }

    /// Ends them; panics with what one of them failed with.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a writer does not panic").expect("a writer does not fail");
        }
    }

    /// Whether one has ended by itself.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A writer in a process of its own; `test` is the name of the test that calls [`child`].
pub fn process(test: &str, config: &Path, ledgers: &Path, writer: u64, logs: &Path) -> Process {
    let program = std::env::current_exe().expect("a test knows its own path");
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
    let plan = format!("{}|{}|{writer}", config.display(), ledgers.display());
    Process::new(&format!("writer-{writer}"), program, arguments, logs).with_env(CHILD, plan)
}

/// In the child: writes until it is killed. In any other process: nothing.
pub fn child() {
    let Ok(plan) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = plan.split('|').collect();
    let [config, ledgers, writer] = parts[..] else { panic!("{CHILD}={plan} has not three parts") };
    let config = Config::load(Some(Path::new(config)), &[]).expect("the test wrote the settings");
    let client = Client::open(&config);
    let never = AtomicBool::new(false);
    let writer = writer.parse().expect("a writer is a number");
    let plan = Plan::new(Path::new(ledgers));
    let ended = write(&client.shards, client.runtime.handle(), writer, &plan, &never);
    ended.expect("a writer does not fail");
}
