//! Threads beside the calling one. In: work that shares nothing; out: the same, done.

use rayon::ThreadPool;

/// Threads that work beside the one that calls, which does its share itself: if it slept meanwhile, there would be one thread
/// more than cores, and two of them are time and again put on the same one.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// Starts as many as make `n_threads` with the calling one, if that is more than one. Work goes on without those that cannot
    /// be started. `whose` begins their names, of which the system keeps 15 letters.
    pub fn beside(n_threads: usize, whose: &'static str) -> Option<Self> {
        // Of 0 threads the pool would make as many as there are cores.
        let n_helpers = n_threads.checked_sub(1).filter(|n| *n > 0)?;
        let pool = rayon::ThreadPoolBuilder::new();
        let pool = pool.num_threads(n_helpers).thread_name(move |number| format!("{whose}-{number}")).build();
        pool.inspect_err(
            |error| tracing::warn!(%error, whose, "no threads beside this one: going on with it"),
        )
        .ok()
        .map(Self)
    }
}

/// The work on the calling thread, and at the same time on others, `most` threads in all.
pub fn all(threads: Option<&Threads>, most: usize, work: impl Fn() + Sync) {
    match threads {
        Some(Threads(pool)) => pool.in_place_scope(|scope| {
            (1..most.min(1 + pool.current_num_threads())).for_each(|_| scope.spawn(|_| work()));
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
