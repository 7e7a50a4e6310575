//! Who does what of an update, and when. In: levels whose work comes in phases of parts; out: all of it done.
//!
//! The parts of a phase share nothing and may run at the same time; behind the last of them one thread ends the phase, which
//! opens the next one. Levels do not wait for each other: a thread that finds no part left of one takes one of the other, so
//! that the end of a phase, or a thread that is kept from its core, holds up its own level only. What a phase consists of is
//! decided by the sizes of the batches, never by the threads there are, so that any number of threads gives the same bits.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::threads::{self, Threads};

/// Phases of parts, one phase after the other.
pub trait Phases: Sync {
    /// How many there are.
    fn n_phases(&self) -> usize;
    /// Parts of each, at least one.
    fn n_parts(&self) -> usize;
    /// Rows of a part.
    fn n_rows(&self, part: usize) -> usize;
    /// Does a part of a phase.
    fn part(&self, phase: usize, part: usize);
    /// Ends a phase all of whose parts are done.
    fn end(&self, phase: usize);
}

/// How long a thread without work looks for some, from the last phase that opened on, before it sleeps. To be woken takes about as long: in
/// a small update, whose levels end within that of each other, that would be a thirtieth of its time.
const AWAKE: Duration = Duration::from_micros(60);

/// Levels there may be.
pub const N_LEVELS: usize = 2;

/// Where a level stands.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    phase: usize,
    n_phases: usize,
    n_parts: usize,
    /// Parts of the phase that somebody has taken.
    n_taken: usize,
    /// Parts of the phase that are done.
    n_done: usize,
    /// Rows that nobody has taken, of all phases.
    n_rows: usize,
}

impl Progress {
    fn is_over(&self) -> bool {
        self.phase == self.n_phases
    }

    fn has_part(&self) -> bool {
        !self.is_over() && self.n_taken < self.n_parts
    }
}

/// What the threads agree on.
#[derive(Debug, Default)]
struct Board {
    levels: [Progress; N_LEVELS],
    /// A thread has panicked: the others end, and the panic goes on where they are joined.
    is_given_up: bool,
}

impl Board {
    /// The level to take a part of: that with the most to go, of two alike the first.
    fn next(&self) -> Option<usize> {
        let open = (0..N_LEVELS).rev().filter(|&level| self.levels[level].has_part());
        open.max_by_key(|&level| self.levels[level].n_rows)
    }

    fn is_over(&self) -> bool {
        self.is_given_up || self.levels.iter().all(Progress::is_over)
    }
}

/// Does all parts of all phases of the levels there are.
pub fn run(threads: Option<&Threads>, levels: [Option<&dyn Phases>; N_LEVELS]) {
    let progress = |level: Option<&dyn Phases>| match level {
        Some(level) => {
            let (n_phases, n_parts) = (level.n_phases(), level.n_parts());
            let n_rows = n_phases * (0..n_parts).map(|part| level.n_rows(part)).sum::<usize>();
            Progress { n_phases, n_parts, n_rows, ..Progress::default() }
        }
        None => Progress::default(),
    };
    let board = Board { levels: levels.map(progress), is_given_up: false };
    let (board, n_opened) = (Mutex::new(board), AtomicUsize::new(0));
    let schedule = Schedule { levels, board, n_opened, opened: Condvar::new() };
    // More threads than parts would be woken for nothing.
    let n_parts = levels.into_iter().flatten().map(Phases::n_parts).sum();
    threads::all(threads, n_parts, || schedule.work());
}

struct Schedule<'a> {
    levels: [Option<&'a dyn Phases>; N_LEVELS],
    board: Mutex<Board>,
    /// Counts up whenever there may be work again, or all is over.
    n_opened: AtomicUsize,
    opened: Condvar,
}

impl Schedule<'_> {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To whoever waits, under the board's lock.
    fn open(&self) {
        self.n_opened.fetch_add(1, Ordering::Relaxed);
        self.opened.notify_all();
    }

    /// Waits until something has opened since the board was locked.
    fn wait<'b>(&'b self, board: MutexGuard<'b, Board>) -> MutexGuard<'b, Board> {
        let seen = self.n_opened.load(Ordering::Relaxed);
        drop(board);
        let begun = Instant::now();
        while self.n_opened.load(Ordering::Relaxed) == seen && begun.elapsed() < AWAKE {
            // Whoever needs the core gets it.
            thread::yield_now();
        }
        let mut board = self.board();
        while self.n_opened.load(Ordering::Relaxed) == seen {
            board = self.opened.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
        board
    }

    /// Takes parts until there are none left.
    fn work(&self) {
        let _on_panic = GiveUp(self);
        let mut board = self.board();
        while !board.is_over() {
            let Some(number) = board.next() else {
                board = self.wait(board);
                continue;
            };
            let level = self.levels[number].expect("a level without work is over");
            let progress = &mut board.levels[number];
            let (phase, part) = (progress.phase, progress.n_taken);
            progress.n_taken += 1;
            progress.n_rows -= level.n_rows(part);
            drop(board);
            level.part(phase, part);
            board = self.board();
            let progress = &mut board.levels[number];
            progress.n_done += 1;
            if progress.n_done == progress.n_parts {
                drop(board);
                level.end(phase);
                board = self.board();
                let progress = &mut board.levels[number];
                *progress = Progress { phase: phase + 1, n_taken: 0, n_done: 0, ..*progress };
                self.open();
            }
        }
    }
}

/// Frees whoever waits for a thread, if it panics.
struct GiveUp<'a>(&'a Schedule<'a>);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut board = self.0.board();
            board.is_given_up = true;
            self.0.open();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Barrier, mpsc},
        time::Duration,
    };

    use super::*;

    /// Notes what is done, `(phase, part)`, with the number of parts for the end of a phase.
    struct Noted {
        n_phases: usize,
        n_parts: usize,
        done: Mutex<Vec<(usize, usize)>>,
        panics_at: Option<(usize, usize)>,
    }

    impl Noted {
        fn new(n_phases: usize, n_parts: usize) -> Self {
            Self { n_phases, n_parts, done: Mutex::default(), panics_at: None }
        }

        fn note(&self, what: (usize, usize)) {
            self.done.lock().unwrap().push(what);
            assert!(self.panics_at != Some(what), "a fault on purpose");
        }
    }

    impl Phases for Noted {
        fn n_phases(&self) -> usize {
            self.n_phases
        }

        fn n_parts(&self) -> usize {
            self.n_parts
        }

        fn n_rows(&self, part: usize) -> usize {
            1 + part
        }

        fn part(&self, phase: usize, part: usize) {
            // Parts take their time, so that threads that are woken find some.
            thread::sleep(Duration::from_micros(((phase * 7 + part * 3) % 5) as u64 * 50));
            self.note((phase, part));
        }

        fn end(&self, phase: usize) {
            self.note((phase, self.n_parts));
        }
    }

    fn threads(n: usize) -> Option<Threads> {
        Threads::beside(n, "test")
    }

    /// What does not end is an error, too.
    fn within_a_minute(work: impl FnOnce() + Send + 'static) {
        let (ended, end) = mpsc::channel();
        let worker = thread::spawn(move || {
            work();
            ended.send(()).unwrap();
        });
        let outcome = end.recv_timeout(Duration::from_secs(60));
        assert!(outcome != Err(mpsc::RecvTimeoutError::Timeout), "threads wait for each other");
        worker.join().unwrap();
    }

    #[test]
    fn phases_follow_each_other_and_hold_every_part_once() {
        for n in 1..=4 {
            let (threads, low, high) = (threads(n), Noted::new(5, 4), Noted::new(7, 1));
            for _ in 0..20 {
                run(threads.as_ref(), [Some(&low), Some(&high)]);
                for level in [&low, &high] {
                    let done = std::mem::take(&mut *level.done.lock().unwrap());
                    assert_eq!(done.len(), level.n_phases * (level.n_parts + 1));
                    for (phase, done) in done.chunks_exact(level.n_parts + 1).enumerate() {
                        let (end, parts) = done.split_last().unwrap();
                        assert_eq!(*end, (phase, level.n_parts), "{n} threads: the end comes last");
                        let mut parts = parts.to_vec();
                        parts.sort_unstable();
                        assert!(parts.into_iter().eq((0..level.n_parts).map(|part| (phase, part))));
                    }
                }
            }
        }
    }

    #[test]
    fn a_level_may_be_missing_or_have_nothing_to_do() {
        let threads = threads(2);
        let (idle, level) = (Noted::new(0, 1), Noted::new(2, 1));
        run(threads.as_ref(), [None, None]);
        run(threads.as_ref(), [Some(&idle), Some(&level)]);
        run(threads.as_ref(), [None, Some(&level)]);
        assert!(idle.done.lock().unwrap().is_empty());
        assert_eq!(level.done.lock().unwrap().len(), 8);
    }

    /// Two parts that are only done together.
    struct Meeting(Barrier);

    impl Phases for Meeting {
        fn n_phases(&self) -> usize {
            10
        }

        fn n_parts(&self) -> usize {
            2
        }

        fn n_rows(&self, _: usize) -> usize {
            1
        }

        fn part(&self, _: usize, _: usize) {
            self.0.wait();
        }

        fn end(&self, _: usize) {}
    }

    #[test]
    fn two_threads_work_at_the_same_time() {
        within_a_minute(|| run(threads(2).as_ref(), [None, Some(&Meeting(Barrier::new(2)))]));
    }

    #[test]
    fn a_panic_goes_on_where_the_threads_are_joined() {
        for n in [1, 2, 4] {
            for at in [(1, 0), (1, 3), (2, 4)] {
                let level = Noted { panics_at: Some(at), ..Noted::new(5, 4) };
                let threads = threads(n);
                within_a_minute(move || {
                    let run = || run(threads.as_ref(), [Some(&level), None]);
                    assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{n} threads, {at:?}");
                    assert!(level.done.lock().unwrap().iter().all(|(phase, _)| *phase <= at.0));
                });
            }
        }
    }
}
