//! Threads beside the calling one. In: work that shares nothing; out: the same, done.

use rayon::ThreadPool;

/// Threads that work beside the one that calls, which does its share itself: if it slept meanwhile, there would be one thread
/// more than cores, and two of them are time and again put on the same one.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// Starts so many helpers.
    pub fn start(n_helpers: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new();
        let pool = pool.num_threads(n_helpers).thread_name(|number| format!("helper-{number}"));
        Ok(Self(pool.build()?))
    }
}

/// The work on the calling thread, and at the same time on every helper.
pub fn all(threads: Option<&Threads>, work: impl Fn() + Sync) {
    match threads {
        Some(Threads(pool)) => pool.in_place_scope(|scope| {
            (0..pool.current_num_threads()).for_each(|_| scope.spawn(|_| work()));
            work();
        }),
        None => work(),
    }
}

/// Both, beside each other if there is a helper.
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
