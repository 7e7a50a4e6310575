//! A disk without room: the run waits for some, as the shards of a cluster do. In: what writes; out: what it gives.
//!
//! The thread that learns waits, so that nothing is learned that would not be saved; the rate limiter then holds the actors.
//! Whoever asks the run to end does not wait: then the error is the run's.

use std::{
    io,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use common::files;

use super::trainer::Trainer;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at the interrupt.
const LOOK_AROUND: Duration = Duration::from_millis(50);
/// Between two lines of the log.
const REPORT: Duration = Duration::from_secs(30);

impl Trainer<'_> {
    /// Does what writes, again and again while all that it lacks is room on the disk. What has failed must have left nothing.
    pub(super) fn with_room<T>(&mut self, mut write: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let mut said = None::<Instant>;
        loop {
            let error = match write(self) {
                Err(error) if lacks_room(&error) && !self.interrupted() => error,
                written => {
                    if said.is_some() && written.is_ok() {
                        tracing::info!("there is room again: the run goes on");
                    }
                    return written;
                }
            };
            // Another learner may have made this one's work its own meanwhile.
            (self.may_write)()?;
            if said.is_none_or(|at| at.elapsed() >= REPORT) {
                let error = format!("{error:#}");
                tracing::error!(error, "the run waits for room on the disk: tried again every second");
                said = Some(Instant::now());
            }
            let begun = Instant::now();
            while begun.elapsed() < PAUSE && !self.interrupted() {
                sleep(LOOK_AROUND);
            }
        }
    }
}

fn lacks_room(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(files::is_want_of_room)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn want_of_room_is_found_below_what_was_being_done() {
        let failed = |kind: io::ErrorKind| -> anyhow::Error {
            Err::<(), _>(io::Error::from(kind))
                .context("cannot write it")
                .context("a checkpoint")
                .unwrap_err()
        };
        assert!(lacks_room(&failed(io::ErrorKind::StorageFull)));
        assert!(!lacks_room(&failed(io::ErrorKind::PermissionDenied)));
    }
}
