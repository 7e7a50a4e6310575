//! The threads of an update. In: work that shares nothing; out: the same, done.
//!
//! What is done at the same time is decided by the sizes of the batches, never by the threads there are, so that one thread
//! and two give the same bits.

use rayon::ThreadPool;

use super::scratch::Scratch;

/// Two threads that wait for work.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// Starts them.
    pub fn start() -> Result<Self, rayon::ThreadPoolBuildError> {
        let name = |i| format!("learner-{i}");
        Ok(Self(rayon::ThreadPoolBuilder::new().num_threads(2).thread_name(name).build()?))
    }
}

/// Both, beside each other if there are threads.
pub fn both(threads: Option<&Threads>, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    match threads {
        Some(Threads(pool)) => drop(pool.join(first, second)),
        None => {
            first();
            second();
        }
    }
}

/// The work of each part, beside each other if there are threads and two parts.
pub fn each(threads: Option<&Threads>, parts: &mut [Scratch], work: impl Fn(&mut Scratch) + Sync) {
    match parts {
        [first, second] => both(threads, || work(first), || work(second)),
        parts => parts.iter_mut().for_each(work),
    }
}
