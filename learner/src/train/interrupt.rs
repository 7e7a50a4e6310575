//! Ctrl-C and SIGTERM: the run ends after the current update, with a checkpoint. A second one ends it at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether the user asked the run to end. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// An interrupt that follows this process's signals. The listening thread ends with the process.
    pub fn on_ctrl_c() -> Self {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        let listen = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                wait_for_signal().await;
                flag.raise();
                wait_for_signal().await;
                std::process::exit(130);
            });
        };
        if let Err(error) = std::thread::Builder::new().name("signals".into()).spawn(listen) {
            tracing::warn!(%error, "cannot listen for Ctrl-C: it will end the run without a checkpoint");
        }
        interrupt
    }

    /// Asks the run to end.
    pub fn raise(&self) {
        // Relaxed: the flag guards no other memory, it is only polled.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run should end.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without SIGTERM, Ctrl-C alone still works; an error of its own ends the wait.
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
