//! The threads of an update. In: work that shares nothing; out: the same, done.
//!
//! What is done at the same time is decided by the sizes of the batches, never by the threads there are, so that one thread
//! and two give the same bits.

use rayon::ThreadPool;

use super::scratch::Scratch;

/// A thread that works beside the one that updates, which does one half itself: with a pool of two it would sleep meanwhile, and of
/// three threads two are time and again put on the same one of two cores.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// Starts it.
    pub fn start() -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "update-helper".to_owned());
        Ok(Self(pool.build()?))
    }
}

/// Both, beside each other if there are threads.
pub fn both(threads: Option<&Threads>, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    match threads {
        Some(Threads(pool)) => pool.in_place_scope(|scope| {
            scope.spawn(|_| second());
            first();
        }),
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
