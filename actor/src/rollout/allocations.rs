//! Warm steps allocate nothing: a counting allocator under the test binary.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use common::{
    SessionId,
    transition::{PeriodStart, Step},
};
use replay::TransitionSink;

use crate::test_rollout::{C, CASE, Case, rollout};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: allocations and their ends go to the system allocator unchanged; the counter is a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Takes everything and keeps nothing.
struct NullSink;

impl TransitionSink for NullSink {
    fn begin_period(&mut self, _start: &PeriodStart) -> Result<(), replay::Error> {
        Ok(())
    }

    fn step(&mut self, _session: SessionId, _step: Step) -> Result<(), replay::Error> {
        Ok(())
    }

    fn submit(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), replay::Error> {
        Ok(())
    }
}

#[test]
fn a_warm_step_allocates_nothing_also_where_periods_begin() {
    const LENGTH: usize = 24;
    let mut rollout = rollout(Case { length: LENGTH, ..CASE });
    // Long enough for every encoder, of orders too, to have projected the item table, which it does once a version; then in
    // the middle of a session.
    for _ in 0..20 * LENGTH + 2 * C {
        rollout.step(&mut NullSink).unwrap();
    }
    let before = ALLOCATIONS.get();
    for _ in 0..2 * C {
        rollout.step(&mut NullSink).unwrap();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
