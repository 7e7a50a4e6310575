//! The members of an ensemble, trained side by side on the cores.
//!
//! In: what every member learns from; out: the members in the order of their numbers. What becomes of a member depends
//! on its number only: neither the threads nor their timing show in the result. Tensors stay in the thread that made
//! them, and torch computes on one thread each.

use std::{
    ops::ControlFlow,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use common::ItemTable;

use super::{
    Error, Progress,
    catalogue::Catalogue,
    member::{Member, Task},
};

/// Trains `task.options.ensemble` members. `progress` is called in this thread after every pass of any of them, and may
/// stop them all.
pub(super) fn train(
    task: &Task<'_>,
    items: &ItemTable,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Member>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Queue { next: AtomicUsize::new(0), stop: AtomicBool::new(false), task, items };
    let mut members: Vec<(usize, Result<Member, Error>)> = std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let threads: Vec<_> = (0..cores.min(task.options.ensemble))
            .map(|_| {
                let (queue, sender) = (&queue, sender.clone());
                scope.spawn(move || queue.work(&sender))
            })
            .collect();
        // Only the threads hold senders now: the loop ends when the last of them does.
        drop(sender);
        for report in receiver {
            if progress(report).is_break() {
                queue.stop.store(true, Ordering::Relaxed);
            }
        }
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    members.sort_unstable_by_key(|(number, _)| *number);
    members.into_iter().map(|(_, member)| member).collect()
}

/// Hands out the numbers of the members. Relaxed: neither counter nor flag guards other memory.
struct Queue<'a> {
    next: AtomicUsize,
    stop: AtomicBool,
    task: &'a Task<'a>,
    items: &'a ItemTable,
}

impl Queue<'_> {
    /// Trains members until none is left.
    fn work(&self, reports: &mpsc::Sender<Progress>) -> Vec<(usize, Result<Member, Error>)> {
        tch::set_num_threads(1);
        let catalogue = Catalogue::new(self.items, self.task.options);
        let mut members = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.task.options.ensemble {
                return members;
            }
            let member = self.task.train(&catalogue, number, &mut |report| {
                // Nobody listens only when the calling thread panics: then stop as well.
                if reports.send(report).is_err() || self.stop.load(Ordering::Relaxed) {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            members.push((number, member));
        }
    }
}
