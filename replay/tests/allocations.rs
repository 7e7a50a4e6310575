//! A minibatch costs the same number of allocations whatever its rows: nothing is allocated a row, on either side.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

#[path = "../../common/agent/tests/counting/mod.rs"]
mod counting;
mod support;

use common::transition::LowBatch;
use counting::allocations;
use replay::{LocalReplay, Sampler};
use support::*;
use tokio::runtime::Handle;

/// Allocations of 20 minibatches, client and shards together.
async fn of_minibatches(sampler: &Sampler, rows: usize) -> usize {
    let before = allocations();
    for key in 0..20 {
        let batch: LowBatch = sampler.sample_low(rows, key).await.unwrap();
        assert_eq!(batch.len(), rows);
    }
    allocations() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_cost_no_allocations() {
    let (shards, _replay) = LocalReplay::start(&settings(), 2, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    for session in 0..20 {
        let mut session = Session::new(session, 20);
        while !session.is_over() {
            session.step(&mut writer);
        }
    }
    writer.flush_async().await.unwrap();
    let sampler = shards.sampler(WAIT);
    // Buffers grow to their size.
    of_minibatches(&sampler, 1_000).await;
    let (few, many) = (of_minibatches(&sampler, 100).await, of_minibatches(&sampler, 1_000).await);
    // A buffer that grows by doubling has some more steps to go.
    assert!(many < few + 20 * 40, "{few} for 2,000 rows, {many} for 20,000");
}
