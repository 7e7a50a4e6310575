//! Draws over shards: uniform, replayable, ahead of time.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use common::{
    config::Batch,
    transition::{LowBatch, NO_STEP, WholePeriods},
};
use replay::{
    LocalReplay, Shards,
    client::{Request, shard_at},
};
use support::*;
use tokio::runtime::Handle;

/// Three shards of about 40, 160 and 400 low-level transitions.
async fn unequal() -> (Shards, LocalReplay, usize) {
    let (shards, replay) = LocalReplay::start(&settings(), 3, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let mut rows = 0;
    for (shard, sessions) in [2, 8, 20].into_iter().enumerate() {
        for session in (0..).filter(|&session| shard_at(session, 3) == shard).take(sessions) {
            let mut session = Session::new(session, 20);
            while !session.is_over() {
                session.step(&mut writer);
            }
            rows += session.low.len();
        }
    }
    writer.flush_async().await.unwrap();
    (shards, replay, rows)
}

/// Standard normal quantile of a chi-square value (Wilson and Hilferty's approximation).
fn z_of_chi_square(value: f64, degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    ((value / degrees).cbrt() - (1.0 - spread)) / spread.sqrt()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_union_of_unequal_shards_is_sampled_uniformly() {
    let (shards, _replay, rows) = unequal().await;
    assert_eq!(rows, 600);
    let sizes: Vec<_> = shards.info().await.unwrap().into_iter().map(|info| info.low.unwrap().size).collect();
    assert_eq!(sizes, [40, 160, 400]);
    let sampler = shards.sampler(WAIT);
    for seed in 0..6_u64 {
        let mut counts = BTreeMap::new();
        for k in 0..40 {
            let batch = sampler.sample_low(1_000, seed << 32 | k).await.unwrap();
            for name in batch.policy_versions.iter().zip(&batch.positions) {
                *counts.entry((*name.0, *name.1)).or_insert(0.0) += 1.0;
            }
        }
        let expected = 40_000.0 / rows as f64;
        let squares = counts.values().map(|count: &f64| (count - expected).powi(2) / expected);
        let unseen = (rows - counts.len()) as f64 * expected;
        let z = z_of_chi_square(squares.sum::<f64>() + unseen, rows as f64 - 1.0);
        // p >= .01 one-sided.
        assert!(z <= 2.326, "seed {seed}: z {z}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_on_the_same_contents_draws_the_same_rows() {
    let (shards, _replay, _) = unequal().await;
    let (other, _replay, _) = unequal().await;
    let (sampler, other) = (shards.sampler(WAIT), other.sampler(WAIT));
    // More than one request a shard, too.
    for (key, rows) in [(1, 1), (2, 40), (3, 30_000)] {
        let low = sampler.sample_low(rows, key).await.unwrap();
        assert_eq!(low.len(), rows);
        assert_eq!(low, sampler.sample_low(rows, key).await.unwrap());
        assert_eq!(low, other.sample_low(rows, key).await.unwrap());
        assert_eq!(
            sampler.sample_high(rows, key).await.unwrap(),
            other.sample_high(rows, key).await.unwrap()
        );
        if rows > 1 {
            assert_ne!(low, sampler.sample_low(rows, key + 10).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_with_their_whole_periods_where_that_is_asked_for() {
    let (shards, _replay, _) = unequal().await;
    let plain = shards.sampler(WAIT).sample_low(300, 5).await.unwrap();
    let whole = shards.sampler(WAIT).with_whole_periods(true).sample_low(300, 5).await.unwrap();
    assert_eq!(plain.periods, WholePeriods::default());
    assert_eq!(LowBatch { periods: WholePeriods::default(), ..whole.clone() }, plain, "the same rows");
    let c = shards.shape().n_steps;
    assert_eq!((whole.periods.items.len(), whole.periods.terminated.len()), (300 * c, 300));
    let mut left = 0;
    for row in 0..300 {
        let position = usize::from(whole.positions[row]);
        let feedback = &whole.periods.feedback[row * c..][..c];
        assert_eq!(whole.periods.items[row * c + position], whole.items[row]);
        assert_eq!(feedback[position], whole.feedback[row]);
        let length = feedback.iter().take_while(|&&code| code != NO_STEP).count();
        assert!(length > position && feedback[length..].iter().all(|&code| code == NO_STEP));
        // The last step of a period ends as the period does.
        let expected = if position + 1 == length { whole.periods.terminated[row] } else { 0 };
        assert_eq!(whole.terminated[row], expected);
        left += usize::from(whole.periods.terminated[row]);
    }
    assert!(left > 0 && left < 300, "{left} rows of periods that a user left in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefetch_yields_the_minibatches_in_order_as_if_drawn_one_by_one() {
    let (shards, _replay, _) = unequal().await;
    let sampler = shards.sampler(WAIT);
    let request = |number: u64| Request {
        low: Some(Batch::Rows(16)),
        high: number.is_multiple_of(2).then_some(Batch::Share(0.1)),
        key: number * 31,
    };
    let mut prefetch = sampler.clone().prefetch(7, 2, request);
    for number in 7..12 {
        let minibatch = tokio::task::block_in_place(|| prefetch.take(WAIT)).unwrap();
        assert_eq!(minibatch.high.len(), if number % 2 == 0 { 12 } else { 0 });
        assert_eq!(minibatch, sampler.minibatch(number, request(number)).await.unwrap());
    }
    // No more than two ahead.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let sampled: u64 = shards.info().await.unwrap().into_iter().map(|info| info.low.unwrap().sampled).sum();
    assert_eq!(sampled, 16 * (5 + 5 + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_ends_a_sample_at_its_deadline_with_the_bound() {
    for n_shards in [1, 2] {
        let (shards, _replay) = LocalReplay::start(&settings(), n_shards, &Handle::current()).unwrap();
        let sampler = shards.sampler(std::time::Duration::from_millis(30));
        let error = sampler.sample_low(4, 1).await.unwrap_err();
        assert!(matches!(error, replay::Error::Deadline { .. }), "{error}");
        assert!(error.to_string().contains("table low holds 0 of at least 1"), "{error}");
    }
}
