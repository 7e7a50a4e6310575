//! An update of the native engine allocates its metrics and a box for each thread beside the updating one, nothing
//! else, once the largest batch has come. One test only: the count is the process's.

#![cfg(feature = "torch")] // of the fixture
// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

#[path = "../../common/agent/tests/counting/mod.rs"]
mod counting;
mod fixture;

use common::config::{GoalConditioning, Precision, TargetAction};
use counting::allocations;
use fixture::{config, high, items, low};
use learner::engine::{
    Engine,
    native::{NativeEngine, window::parts},
};

/// Loss of a critic and the actor, mean Q, target and reward, by head, of two levels.
const VECTORS_OF_METRICS: usize = 2 * 5;

#[test]
fn a_warm_update_allocates_its_metrics_and_a_box_a_thread_only() {
    for (learner_threads, precision) in [
        (1, Precision::F32),
        (2, Precision::F32),
        (4, Precision::F32),
        (1, Precision::Bf16),
        (2, Precision::Bf16),
    ] {
        let mut config = config();
        (config.train.learner_threads, config.train.precision) = (learner_threads, precision);
        config.model.goal_conditioning = GoalConditioning::Both;
        (config.algorithm.twin_critics, config.algorithm.target_noise) = (true, 0.1);
        config.algorithm.target_action = TargetAction::Mapped;
        let mut engine = NativeEngine::new(&config, &items(config.model.n_dims).into()).unwrap();
        let batches: Vec<_> =
            [(100, 130), (7, 60), (100, 130)].map(|(h, l)| (high(h, &config, 1), low(l, &config, 1))).into();
        for (high, low) in &batches {
            engine.update(high, low).unwrap();
        }
        for (high, low) in &batches {
            let update = |engine: &mut NativeEngine| {
                let before = allocations();
                let metrics = engine.update(high, low).unwrap();
                (allocations() - before, metrics)
            };
            // The queue of the threads takes a block of memory once in some dozens of jobs, a thread its own when it first
            // wakes: the fewest of some updates are those of the update itself.
            let (fewest, metrics) = (0..5).map(|_| update(&mut engine)).min_by_key(|(n, _)| *n).unwrap();
            let n_parts = [high.len(), low.len()].map(|rows| parts(rows).len()).iter().sum::<usize>();
            let handed_over = learner_threads.min(n_parts) - 1;
            assert_eq!(fewest, VECTORS_OF_METRICS + handed_over, "{learner_threads} threads, {metrics:?}");
        }
    }
}
