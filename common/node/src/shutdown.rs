//! SIGTERM and SIGINT: the one place where a process learns that it shall end.
//!
//! In: signals, or [`Shutdown::begin`]; out: [`Shutdown`], waited for by tasks and asked by threads. A second signal ends
//! the process at once with exit code 130, and so does the end of its grace, whatever holds it. SIGUSR1 is the wish to end
//! before the order: the process does all that it does at its end, then waits for the signal that lets it go
//! ([`Shutdown::released`]); Kubernetes' preStop is made of it.
//! Owner: any; cheap to clone. Invariant: once begun it stays begun.

use std::{sync::Arc, thread, time::Duration};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::Error;

/// Exit code of a process that a signal has ended.
pub const INTERRUPTED: i32 = 130;

/// The variable by which a process of ours that starts others says who it is (its process id): they end with it.
pub const PARENT: &str = "MAHRL_PARENT";

/// Of a process that another one of ours has started and waits for ([`PARENT`]): SIGTERM comes once that one is gone, however it
/// went. To be called when a handler for SIGTERM stands. The parent's thread that started it must live as long.
pub fn end_with_parent() {
    let parent = std::env::var(PARENT).ok().and_then(|id| Pid::from_raw(id.parse().ok()?));
    let Some(parent) = parent else { return };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        tracing::warn!(%error, "this process will not end with the one that started it");
    }
    // It may have gone before.
    if getppid() != Some(parent) {
        let _gone_too = kill_process(getpid(), Signal::TERM);
    }
}

/// The word that this process, or this part of it, shall end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<watch::Sender<State>>);

/// How far the end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    GoingOn,
    /// To do all that is done at the end, and to wait.
    Draining,
    /// To end.
    Ending,
}

impl Shutdown {
    /// One that nothing but [`Self::begin`] begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM or SIGINT begins; the process ends within `grace` of them, whatever holds it. They have a thread of
    /// their own, so that a busy runtime cannot delay them.
    pub fn on_signals(grace: Duration) -> Result<Self, Error> {
        let failed = |source| Error::Start { what: "the signal handlers", source };
        let shutdown = Self::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (mut term, mut int, mut drain) = {
            // Handlers stand before this returns: no signal behind it takes the default way.
            let _runtime = runtime.enter();
            let handler = |kind| signal(kind).map_err(failed);
            (
                handler(SignalKind::terminate())?,
                handler(SignalKind::interrupt())?,
                handler(SignalKind::user_defined1())?,
            )
        };
        let begun = shutdown.clone();
        let waits = move || {
            runtime.block_on(async {
                // Of the process, once a signal has come.
                let mut end = None;
                loop {
                    let end_comes = sleep_until(end.unwrap_or_else(Instant::now));
                    let name = tokio::select! {
                        _ = term.recv() => "SIGTERM",
                        _ = int.recv() => "SIGINT",
                        () = end_comes, if end.is_some() => "none: cluster.grace_seconds are over",
                        _ = drain.recv() => {
                            begun.drain();
                            continue;
                        }
                    };
                    if *begun.0.borrow() == State::Ending {
                        tracing::warn!(signal = name, "ending at once");
                        std::process::exit(INTERRUPTED);
                    }
                    tracing::info!(signal = name, "ending; once more ends at once");
                    begun.begin();
                    end = Some(Instant::now() + grace);
                }
            });
        };
        thread::Builder::new().name("signals".into()).spawn(waits).map_err(failed)?;
        end_with_parent();
        Ok(shutdown)
    }

    /// Says that it is time to end. Later calls change nothing.
    pub fn begin(&self) {
        self.0.send_replace(State::Ending);
    }

    /// Says that it is time to do what is done at the end, and to wait behind it for [`Self::begin`].
    pub fn drain(&self) {
        tracing::info!("draining; SIGTERM ends");
        self.0.send_if_modified(|state| {
            let is_new = *state == State::GoingOn;
            if is_new {
                *state = State::Draining;
            }
            is_new
        });
    }

    /// Whether it is time to end, or to drain.
    pub fn is_begun(&self) -> bool {
        *self.0.borrow() != State::GoingOn
    }

    /// Waits until it is time to end, or to drain.
    pub async fn wait(&self) {
        self.reaches(|state| state != State::GoingOn).await;
    }

    /// Waits, behind a drain, until it is time to end.
    pub async fn released(&self) {
        self.reaches(|state| state == State::Ending).await;
    }

    async fn reaches(&self, wanted: impl Fn(State) -> bool) {
        let mut state = self.0.subscribe();
        // An Err would mean that the sender is gone; `self` holds it.
        let _reached = state.wait_for(|state| wanted(*state)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_begins_the_end_and_does_not_release() {
        let shutdown = Shutdown::new();
        shutdown.drain();
        shutdown.wait().await;
        assert!(shutdown.is_begun());
        let released = shutdown.released();
        tokio::pin!(released);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut released).await.is_err());
        shutdown.begin();
        shutdown.drain();
        released.await;
    }

    #[tokio::test]
    async fn all_clones_hear_of_the_end_and_late_ones_too() {
        let shutdown = Shutdown::new();
        let waits = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        assert!(!shutdown.is_begun());
        shutdown.begin();
        shutdown.begin();
        waits.await.unwrap();
        shutdown.released().await;
        assert!(shutdown.clone().is_begun());
        shutdown.wait().await;
    }
}
