//! The life of an actor process: it joins the run, rolls out, and joins again after whatever breaks.
//!
//! In: settings, a stop signal; out: transitions in the shards until the run is over or the signal comes. An *incarnation*
//! is the time between two joins: it has sessions and writers that nobody else has. What it had not handed over when it
//! broke was never acknowledged; nothing else is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use agent::Explorer;
use common::config::Config;
use node::{Peer, Shutdown, metrics};
use proto::v1::JoinResponse;
use replay::{Shards, WriterSettings};
use sim::{OpenWorld, WorldFingerprint};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Actors, Error, NewWeights, Origin, Progress, Rollout, RolloutThread, Share, VersionedPolicy, join, run,
    weights::{Learner, Subscription},
};

/// Between two looks at the threads.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// Longest wait of a writer: shards may be away for a long time, and a session waits for its own.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long threads may take to end when the run is over.
const FAREWELL: Duration = Duration::from_millis(500);
/// Share of the grace in which shards may take what threads hold; the rest is for the way out.
const HAND_OVER: f64 = 0.8;
/// Time after which it is said what an end waits for.
const SOON: Duration = Duration::from_secs(1);
/// Before the next incarnation, after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What an actor process is made of.
pub struct Process {
    /// Settings of the run, with this actor's own.
    pub config: Config,
    /// Its name, for people.
    pub name: String,
    /// Whoever leads the run.
    pub learner: watch::Receiver<Option<Peer>>,
    /// The shards.
    pub shards: Shards,
    /// The world it plays in.
    pub world: OpenWorld,
    /// What others know that world by.
    pub fingerprint: WorldFingerprint,
    /// Multi-threaded.
    pub runtime: Handle,
    /// When to end.
    pub shutdown: Shutdown,
    /// Called once the first weights are there: this actor can work.
    pub on_ready: Box<dyn Fn() + Send>,
}

/// Why an incarnation ended without an error.
enum Ended {
    /// All steps of the run are done.
    Finished,
    /// The process was asked to end.
    Stopped,
    /// Its sessions are used up.
    UsedUp,
}

impl Process {
    /// Runs until the run is over or the shutdown comes. Blocks; not on the runtime's threads.
    ///
    /// # Errors
    /// What another try cannot help against: the run refuses this actor, settings and world do not fit, a thread panics.
    pub fn run(mut self) -> Result<(), Error> {
        let decode = VersionedPolicy::decoder(self.config.model.clone(), Arc::clone(self.world.items()));
        // Joined first: a run that refuses this actor says why at once.
        let mut joined = match self.join()? {
            Some(joined) => joined,
            None => return Ok(()),
        };
        let learner = Learner {
            peer: self.learner.clone(),
            run_id: self.config.cluster.run.clone(),
            subscriber: self.name.clone(),
            form: self.config.actor.weights,
            observes: false,
            items_sha256: self.fingerprint.items.clone(),
        };
        let mut weights = Subscription::keep(&self.runtime, learner, decode);
        loop {
            match self.incarnation(&joined, &mut weights) {
                Ok(Ended::Finished) => {
                    tracing::info!("the run is over");
                    return Ok(());
                }
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::UsedUp) => tracing::info!("all sessions are played; joining again"),
                Err(error) if is_passing(&error) && !weights.is_finished() => {
                    tracing::warn!(error = chain(&error), "the rollouts broke off; joining again");
                    std::thread::sleep(PAUSE);
                }
                Err(error) => {
                    return match weights.is_finished() {
                        // The stream's own end explains more.
                        true => self.runtime.block_on(weights.end()).map_err(Error::from),
                        false => Err(error),
                    };
                }
            }
            joined = match self.join()? {
                Some(joined) => joined,
                None => return Ok(()),
            };
        }
    }

    /// Enters the run; `None` when the process is to end before.
    fn join(&mut self) -> Result<Option<JoinResponse>, Error> {
        let request = join::request(&self.config, &self.name, &self.fingerprint);
        let (learner, shutdown) = (&mut self.learner, self.shutdown.clone());
        let begun = Instant::now();
        let joined = self.runtime.clone().block_on(async {
            tokio::select! {
                joined = join::join(learner, request) => joined.map(Some),
                () = shutdown.wait() => Ok(None),
            }
        });
        metrics::ACTOR_PAUSED_SECONDS.record(begun.elapsed().as_secs_f64(), ["learner"]);
        joined
    }

    fn incarnation(
        &mut self,
        joined: &JoinResponse,
        weights: &mut Subscription<VersionedPolicy>,
    ) -> Result<Ended, Error> {
        let shutdown = self.shutdown.clone();
        let policy = self.runtime.block_on(async {
            tokio::select! {
                policy = weights.first() => Some(policy),
                () = shutdown.wait() => None,
            }
        });
        let Some(policy) = policy else { return Ok(Ended::Stopped) };
        let Some(policy) = policy else { return Ok(Ended::Finished) };
        let rollouts = self.rollouts(joined, &policy)?;
        (self.on_ready)();
        let limit = Duration::from_secs_f64(self.config.actor.max_staleness_seconds);
        let weights_in =
            NewWeights { feed: weights.feed(), max_staleness: Some((weights.freshness(), limit)) };
        // A session has at least one step: the sessions of this incarnation cannot run out before its steps do.
        let slots = (self.config.actor.sessions * self.config.actor.actors) as u64;
        let actors = Actors::start(rollouts, Some(weights_in), joined.sessions.saturating_sub(slots))?;
        let mut last = actors.progress();
        let ended = loop {
            if self.shutdown.is_begun() {
                break Ended::Stopped;
            }
            if weights.is_finished() {
                break Ended::Finished;
            }
            if actors.is_finished() {
                break Ended::UsedUp;
            }
            self.report(&actors, weights, &mut last);
            std::thread::sleep(LOOK_AROUND);
        };
        actors.stop();
        self.report(&actors, weights, &mut last);
        self.end(actors, &ended)?;
        Ok(ended)
    }

    /// One a thread, with its writer.
    fn rollouts(
        &self,
        joined: &JoinResponse,
        policy: &Arc<VersionedPolicy>,
    ) -> Result<Vec<RolloutThread>, Error> {
        let config = &self.config;
        let threads = config.actor.actors as u64;
        let origin = Origin {
            first_session: joined.first_session,
            steps: joined.env_steps,
            pace: u64::from(joined.actors.max(1)) * threads,
        };
        let open = |thread: u64| {
            let world = self.world.build(
                &config.environment,
                config.model.window,
                config.seed,
                config.actor.sessions,
                config.environment.session_length,
            )?;
            let explorer = Explorer::new(&config.exploration, config.model.bound, config.seed);
            let share = Share { actor: thread, n_actors: threads };
            let mut rollout =
                Rollout::new(world, Arc::clone(policy), explorer, config.period_layout(), share)?;
            rollout.begin_at(origin);
            let settings =
                WriterSettings { wait: PATIENCE, ..WriterSettings::new(joined.first_writer + thread) };
            let writer = self.runtime.block_on(self.shards.writer(settings))?;
            Ok(RolloutThread { rollout, sink: Box::new(writer) })
        };
        (0..threads).map(open).collect()
    }

    /// Waits for the threads and hands over what they hold, for as long as the process may take. When the run is over
    /// nobody takes it any more.
    fn end(&self, actors: Actors, ended: &Ended) -> Result<(), Error> {
        let grace = match ended {
            Ended::Finished => FAREWELL,
            Ended::Stopped | Ended::UsedUp => {
                Duration::from_secs_f64(self.config.cluster.grace_seconds).mul_f64(HAND_OVER)
            }
        };
        let (sender, done) = std::sync::mpsc::channel();
        // On a thread of its own: one that waits for a shard cannot be hurried.
        let flush = move || {
            let joined = actors.join().and_then(|mut parts| {
                // All of them, whichever fails.
                let flushed: Vec<_> = parts.iter_mut().map(|part| run::flush(&mut *part.sink)).collect();
                flushed.into_iter().collect::<Result<(), _>>().map_err(Error::from)
            });
            // The receiver gives up after the grace.
            let _late = sender.send(joined);
        };
        std::thread::Builder::new()
            .name("flush".into())
            .spawn(flush)
            .map_err(|source| Error::Spawn { thread: 0, source })?;
        let begun = Instant::now();
        let soon = grace.min(SOON);
        let waited = done.recv_timeout(soon).or_else(|_| {
            if !matches!(ended, Ended::Finished) {
                let missing = self.shards.missing().join(", ");
                let at_most_seconds = grace.as_secs();
                tracing::info!(at_most_seconds, missing, "ending once the shards have the last transitions");
            }
            done.recv_timeout(grace - soon)
        });
        match waited {
            Ok(joined) => joined,
            Err(_) if matches!(ended, Ended::Finished) => Ok(()),
            Err(_) => {
                tracing::warn!(
                    waited_seconds = begun.elapsed().as_secs_f64(),
                    "a shard did not take the last transitions; they were never acknowledged"
                );
                Ok(())
            }
        }
    }

    /// Notes for operators what came since the last time.
    fn report(&self, actors: &Actors, weights: &Subscription<VersionedPolicy>, last: &mut Progress) {
        let progress = actors.progress();
        let new = progress.counts.since(last.counts);
        metrics::ACTOR_STEPS.increment(new.steps, []);
        metrics::ACTOR_SESSIONS.increment(new.sessions, []);
        metrics::ACTOR_POLICY_VERSION.set(progress.oldest_version as f64, []);
        metrics::WEIGHTS_STALENESS_SECONDS.set(weights.freshness().age().as_secs_f64(), []);
        let stale = progress.paused.saturating_sub(last.paused);
        for (reason, time) in [("staleness", stale), ("replay", progress.times.since(last.times).wait)] {
            if !time.is_zero() {
                metrics::ACTOR_PAUSED_SECONDS.record(time.as_secs_f64(), [reason]);
            }
        }
        *last = progress;
    }
}

/// Whether a new incarnation can help.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Thread { source, .. } => is_passing(source),
        Error::Replay(replay::Error::Invalid { .. }) => false,
        Error::Replay(_) | Error::BroadcastEnded | Error::StalePolicy { .. } => true,
        _ => false,
    }
}

/// The error with its causes on one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text
}
