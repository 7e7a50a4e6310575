//! SIGTERM and SIGINT: the one place where a process learns that it shall end.
//!
//! In: signals, or [`Shutdown::begin`]; out: [`Shutdown`], waited for by tasks and asked by threads. A second signal ends
//! the process at once with exit code 130. Owner: any; cheap to clone. Invariant: once begun it stays begun.

use std::{sync::Arc, thread};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::Error;

/// Exit code of a process that a signal has ended.
pub const INTERRUPTED: i32 = 130;

/// The word that this process, or this part of it, shall end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// One that nothing but [`Self::begin`] begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM or SIGINT begins. They have a thread of their own, so that a busy runtime cannot delay them.
    pub fn on_signals() -> Result<Self, Error> {
        let failed = |source| Error::Start { what: "the signal handlers", source };
        let shutdown = Self::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let (mut term, mut int) = {
            // Handlers stand before this returns: no signal behind it takes the default way.
            let _runtime = runtime.enter();
            let handler = |kind| signal(kind).map_err(failed);
            (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?)
        };
        let begun = shutdown.clone();
        let waits = move || {
            runtime.block_on(async {
                loop {
                    let name = tokio::select! {
                        _ = term.recv() => "SIGTERM",
                        _ = int.recv() => "SIGINT",
                    };
                    if begun.is_begun() {
                        tracing::warn!(signal = name, "ending at once");
                        std::process::exit(INTERRUPTED);
                    }
                    tracing::info!(signal = name, "ending; once more ends at once");
                    begun.begin();
                }
            });
        };
        thread::Builder::new().name("signals".into()).spawn(waits).map_err(failed)?;
        Ok(shutdown)
    }

    /// Says that it is time to end. Later calls change nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is time to end.
    pub fn is_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is time to end.
    pub async fn wait(&self) {
        let mut begun = self.0.subscribe();
        // An Err would mean that the sender is gone; `self` holds it.
        let _begun = begun.wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(shutdown.clone().is_begun());
        shutdown.wait().await;
    }
}
