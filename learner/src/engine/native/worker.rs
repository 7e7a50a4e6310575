//! A second thread for the high level. In: a level with its batch; out: the same, updated.
//!
//! The levels share nothing during an update, so both get the same bits on one thread or two. The thread lives as long as
//! the engine; a level travels as a box, so that handing it over allocates nothing.

use std::{io, thread::JoinHandle};

use crossbeam::channel::{self, Receiver, Sender};

use super::Side;

/// The thread.
#[derive(Debug)]
pub struct Worker {
    /// Closed, the thread ends.
    jobs: Option<Sender<Box<Side>>>,
    done: Receiver<Box<Side>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, received) = channel::bounded::<Box<Side>>(1);
        let (finished, done) = channel::bounded(1);
        let work = move || {
            for mut side in received {
                side.run(None);
                if finished.send(side).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("learner-high".into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Begins an update of a level.
    ///
    /// # Panics
    /// If the thread has panicked.
    pub fn begin(&self, side: Box<Side>) {
        let jobs = self.jobs.as_ref().expect("open until the worker is dropped");
        jobs.send(side).expect("the second learner thread waits for work");
    }

    /// Waits for the level of [`Self::begin`].
    ///
    /// # Panics
    /// If the thread has panicked.
    pub fn end(&self) -> Box<Side> {
        self.done.recv().expect("the second learner thread ends its work")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been passed on by `end`.
            let _ended = thread.join();
        }
    }
}
