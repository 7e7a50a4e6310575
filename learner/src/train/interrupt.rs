//! Ctrl-C and SIGTERM: the run ends after the current update, with a checkpoint. A second one ends the process at once, and
//! so does the end of the time that it may take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use node::shutdown::INTERRUPTED;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Nobody has asked for an end.
const GOING_ON: u8 = 0;
/// The run is to end, with a checkpoint.
const RAISED: u8 = 1;
/// There is nothing left to save: the next signal ends the process.
const NOTHING_TO_SAVE: u8 = 2;
/// All is done, and the process waits for the signal that ends it.
const OVER: u8 = 3;

/// What a signal finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A run that goes on, and ends with a checkpoint now.
    ToEnd,
    /// A run that has ended: the process does, too.
    BehindTheEnd,
}

/// Whether the user asked the run to end. Clones share the state. (Relaxed: it guards no other memory, it is only
/// polled.)
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// An interrupt that follows this process's signals from now on. `notice` runs at the first one, on the listening
    /// thread, which ends with the process.
    pub fn on_ctrl_c(notice: impl Fn() + Send + 'static) -> Self {
        Self::within(None, move |_| notice())
    }

    /// The same; where there is a `grace` the process ends within it, from the first signal on, whatever holds it.
    pub fn within(grace: Option<Duration>, notice: impl Fn(Asked) + Send + 'static) -> Self {
        let interrupt = Self::default();
        if let Err(error) = interrupt.listen(grace, notice) {
            tracing::warn!(%error, "cannot listen for Ctrl-C: it will end the run without a checkpoint");
        }
        interrupt
    }

    fn listen(
        &self,
        grace: Option<Duration>,
        notice: impl Fn(Asked) + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut ctrl_c, mut terminate) = {
            let _guard = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let state = Arc::clone(&self.0);
        let listen = move || {
            runtime.block_on(async {
                either(&mut ctrl_c, &mut terminate).await;
                loop {
                    if let Err(before) = state.compare_exchange(GOING_ON, RAISED, Relaxed, Relaxed) {
                        if before == NOTHING_TO_SAVE {
                            notice(Asked::BehindTheEnd);
                        }
                        std::process::exit(if before == OVER { 0 } else { INTERRUPTED });
                    }
                    notice(Asked::ToEnd);
                    let once_more = either(&mut ctrl_c, &mut terminate);
                    match grace {
                        None => once_more.await,
                        Some(grace) => {
                            if tokio::time::timeout(grace, once_more).await.is_err() {
                                tracing::warn!(?grace, "ending at once: the time for the end is over");
                            }
                        }
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen)?;
        node::shutdown::end_with_parent();
        Ok(())
    }

    /// Asks the run to end.
    pub fn raise(&self) {
        self.0.store(RAISED, Relaxed);
    }

    /// Whether the run should end.
    pub fn raised(&self) -> bool {
        self.0.load(Relaxed) == RAISED
    }

    /// From now on a signal ends the process at once, and well: it is what the process waits for.
    pub fn over(&self) {
        self.0.store(OVER, Relaxed);
    }

    /// From now on a signal ends the process at once: nothing is left to save. True if one has come before.
    pub fn nothing_to_save(&self) -> bool {
        self.0.swap(NOTHING_TO_SAVE, Relaxed) == RAISED
    }
}

async fn either(ctrl_c: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = ctrl_c.recv() => {}
        _ = terminate.recv() => {}
    }
}
