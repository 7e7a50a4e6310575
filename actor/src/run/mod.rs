//! Rollout threads that run freely (mode `async`).
//!
//! In: rollouts with their sinks, the feed of weights, a budget of environment steps; out: transitions in the sinks,
//! [`Progress`] meanwhile, the rollouts back at the end. One thread a rollout; threads share only the budget, the counts
//! and the stop flag. A sink that waits (back-pressure) holds its thread, and so do weights that may be too old. The first
//! thread that fails or panics stops the others, and [`Actors::join`] returns its error.

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use common::PolicyVersion;
use replay::TransitionSink;

use crate::{Counts, Error, NewWeights, Rollout, Times};

/// How long a thread that pauses sleeps before it looks again.
const PAUSE: Duration = Duration::from_millis(20);

/// A rollout and where its transitions go: the work of one thread.
pub struct RolloutThread {
    /// The sessions.
    pub rollout: Rollout,
    /// Its own writer.
    pub sink: Box<dyn TransitionSink>,
}

/// How far the threads are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Over all threads, since they were started.
    pub counts: Counts,
    /// Of all threads together, since they were started.
    pub times: Times,
    /// Oldest version of the weights that a thread uses.
    pub oldest_version: PolicyVersion,
    /// Time that all threads together paused for newer weights.
    pub paused: Duration,
    /// Since the start.
    pub elapsed: Duration,
}

impl Progress {
    /// Environment steps a second since the start.
    pub fn steps_per_second(&self) -> f64 {
        self.counts.steps as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Running rollout threads. Dropping it stops them without waiting.
pub struct Actors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<RolloutThread, Error>>>,
    started: Instant,
}

struct Shared {
    stop: AtomicBool,
    /// Steps that threads have set out to take.
    claimed: AtomicU64,
    budget: u64,
    counts: Mutex<(Counts, Times)>,
    /// Milliseconds that threads have paused.
    paused_ms: AtomicU64,
    /// One a thread.
    versions: Vec<AtomicU64>,
}

impl Shared {
    /// Locked for an addition only, in which nothing can panic.
    fn counts(&self) -> MutexGuard<'_, (Counts, Times)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actors {
    /// Starts a thread for each rollout. They stop by themselves once `budget` environment steps are taken together
    /// (fewer than E more), their sinks flushed. Without new weights they keep those they have.
    ///
    /// # Errors
    /// [`Error::Spawn`] if the system gives no thread; those that were started are stopped.
    pub fn start(
        rollouts: Vec<RolloutThread>,
        weights: Option<NewWeights>,
        budget: u64,
    ) -> Result<Self, Error> {
        let versions = rollouts.iter().map(|part| AtomicU64::new(part.rollout.policy().version)).collect();
        let shared = Shared {
            stop: AtomicBool::new(false),
            claimed: AtomicU64::new(0),
            budget,
            counts: Mutex::default(),
            paused_ms: AtomicU64::new(0),
            versions,
        };
        let mut actors = Self { shared: Arc::new(shared), threads: Vec::new(), started: Instant::now() };
        for (number, part) in rollouts.into_iter().enumerate() {
            let (shared, weights) = (Arc::clone(&actors.shared), weights.clone());
            let thread = std::thread::Builder::new()
                .name(format!("actor-{number}"))
                .spawn(move || guarded(number, part, weights, &shared))
                .map_err(|source| Error::Spawn { thread: number, source })?;
            actors.threads.push(thread);
        }
        Ok(actors)
    }

    /// How far they are.
    pub fn progress(&self) -> Progress {
        let (counts, times) = *self.shared.counts();
        Progress {
            counts,
            times,
            oldest_version: self.shared.versions.iter().map(|v| v.load(Relaxed)).min().unwrap_or(0),
            paused: Duration::from_millis(self.shared.paused_ms.load(Relaxed)),
            elapsed: self.started.elapsed(),
        }
    }

    /// Whether all threads have ended, by the budget, by [`Self::stop`] or by a failure. [`Self::join`] says which.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Asks the threads to stop after the step they are in.
    pub fn stop(&self) {
        self.shared.stop.store(true, Relaxed);
    }

    /// Waits for the end of all threads; the rollouts in the order given, between two steps.
    ///
    /// # Errors
    /// That of the first thread, by number, that failed; others are logged.
    pub fn join(mut self) -> Result<Vec<RolloutThread>, Error> {
        let mut parts = Vec::with_capacity(self.threads.len());
        let mut first_error = None;
        for thread in self.threads.drain(..) {
            match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(part) => parts.push(part),
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(error) => tracing::error!(%error, "one more rollout thread failed"),
            }
        }
        first_error.map_or(Ok(parts), Err)
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a thread's part; whatever ends it too early stops the others.
fn guarded(
    thread: usize,
    part: RolloutThread,
    weights: Option<NewWeights>,
    shared: &Shared,
) -> Result<RolloutThread, Error> {
    // Unwind safety: after a panic the part is gone; `shared` holds plain numbers.
    let ended = catch_unwind(AssertUnwindSafe(|| run(thread, part, weights, shared)));
    let ended = ended.map_err(|panic| Error::Panic { thread, message: panic_message(&*panic) });
    let ended = ended.and_then(|r| r.map_err(|source| Error::Thread { thread, source: Box::new(source) }));
    if ended.is_err() {
        shared.stop.store(true, Relaxed);
    }
    ended
}

fn run(
    thread: usize,
    mut part: RolloutThread,
    weights: Option<NewWeights>,
    shared: &Shared,
) -> Result<RolloutThread, Error> {
    let RolloutThread { rollout, sink } = &mut part;
    if let Some(weights) = weights {
        rollout.follow(weights);
    }
    let n_slots = rollout.n_slots() as u64;
    let stopped = || shared.stop.load(Relaxed);
    while !stopped() {
        rollout.take_newest()?;
        shared.versions[thread].store(rollout.policy().version, Relaxed);
        if rollout.is_too_old() {
            // What is done should not wait for the learner too.
            sink.submit()?;
            std::thread::sleep(PAUSE);
            shared.paused_ms.fetch_add(PAUSE.as_millis() as u64, Relaxed);
            continue;
        }
        if shared.claimed.fetch_add(n_slots, Relaxed) >= shared.budget {
            return match flush(&mut **sink) {
                Err(error) if stopped() => Ok(cut_short(thread, part, &error)),
                flushed => Ok(flushed.map(|()| part)?),
            };
        }
        let before = rollout.times();
        let counts = match rollout.step(&mut **sink) {
            Ok(counts) => counts,
            Err(Error::Replay(error)) if stopped() => return Ok(cut_short(thread, part, &error)),
            Err(error) => return Err(error),
        };
        let mut sums = shared.counts();
        sums.0 += counts;
        sums.1 += rollout.times().since(before);
    }
    match sink.submit() {
        Ok(()) => Ok(part),
        Err(error) => Ok(cut_short(thread, part, &error)),
    }
}

/// The last flush of a sink. What was lost with a shard is told (the sink has counted it), and costs nothing of the rest.
pub(crate) fn flush(sink: &mut dyn TransitionSink) -> Result<(), replay::Error> {
    match sink.flush() {
        Err(error @ replay::Error::NotStored { .. }) => {
            tracing::warn!(%error, "the last transitions are stored, but for those");
            Ok(())
        }
        flushed => flushed,
    }
}

/// When a run is stopped the service may end before its writers: what it took is stored, the rest is void.
fn cut_short(thread: usize, mut part: RolloutThread, error: &replay::Error) -> RolloutThread {
    tracing::info!(thread, %error, "stopped while handing over transitions");
    part.sink.discard();
    part
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
