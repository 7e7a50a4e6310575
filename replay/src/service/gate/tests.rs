//! The order of those who wait, their deadlines, the bounds they are told.

use std::sync::Arc;

use super::*;
use crate::testing::settings;

const SAMPLE: Ask = Ask::Sample { level: Level::Low, rows: 2 };

fn stored(size: u64) -> [Totals; 2] {
    [Totals { size, inserted: size, sampled: 0 }, Totals::default()]
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_with_the_bound() {
    let gate = Gate::new(&settings());
    let error = gate.admit(SAMPLE, Duration::from_millis(70)).await.unwrap_err();
    assert!(matches!(&error, Error::Deadline { waited, .. } if waited.as_millis() == 70), "{error}");
    assert!(error.to_string().contains("table low holds 0 of at least 1"), "{error}");
    let side = gate.info().1[1].clone();
    assert_eq!((side.waiting, side.waits, side.total.as_millis()), (0, 1, 70));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_and_goes_on_when_the_bound_moves() {
    let gate = Arc::new(Gate::new(&settings()));
    let waiter = tokio::spawn({
        let gate = gate.clone();
        async move { gate.admit(SAMPLE, Duration::from_secs(10)).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let side = gate.info().1[1].clone();
    assert_eq!((side.waiting, side.longest.as_secs(), side.waits), (1, 3, 0));
    assert!(side.bound.contains("table low"), "{}", side.bound);
    gate.admit(Ask::Insert { rows: 5 }, Duration::ZERO).await.unwrap();
    gate.stored(stored(0), stored(5));
    waiter.await.unwrap().unwrap();
    let (limiter, sides) = gate.info();
    assert_eq!((limiter.totals(Level::Low).sampled, sides[1].waiting, sides[1].waits), (2, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_leaves_nothing_behind_and_closing_ends_the_others() {
    let gate = Arc::new(Gate::new(&settings()));
    let dropped = tokio::time::timeout(Duration::from_secs(1), gate.admit(SAMPLE, Duration::MAX / 4));
    assert!(dropped.await.is_err());
    assert_eq!((gate.info().1[1].waiting, gate.info().0.totals(Level::Low).sampled), (0, 0));
    let waiter = tokio::spawn({
        let gate = gate.clone();
        async move { gate.admit(SAMPLE, Duration::from_secs(10)).await }
    });
    tokio::task::yield_now().await;
    gate.close();
    assert!(matches!(waiter.await.unwrap(), Err(Error::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn who_came_first_goes_first_and_small_requests_starve_no_large_one() {
    let gate = Arc::new(Gate::paced(&settings()));
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    let wait = |name: &'static str, rows: u64, patience: u64| {
        let (gate, done) = (gate.clone(), done.clone());
        tokio::spawn(async move {
            let granted = gate.admit(Ask::Insert { rows }, Duration::from_secs(patience)).await;
            done.send((name, granted.is_ok())).unwrap();
        })
    };
    for (name, rows, patience) in [("large", 10, 60), ("gives up", 3, 5), ("small", 1, 60)] {
        wait(name, rows, patience);
        tokio::task::yield_now().await;
    }
    // Room for the small ones, and more of them all the time: it is kept for the first.
    gate.pace(4, 1, 1);
    let late = gate.admit(Ask::Insert { rows: 1 }, Duration::from_secs(1)).await.unwrap_err();
    assert!(late.to_string().contains("inserting 10 low-level steps"), "its turn has not come: {late}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(order.try_recv().unwrap(), ("gives up", false));
    assert!(order.try_recv().is_err());
    gate.pace(11, 1, 2);
    assert_eq!(order.recv().await, Some(("large", true)));
    assert_eq!(order.recv().await, Some(("small", true)));
    assert_eq!((gate.info().1[0].waiting, gate.paced_to()), (0, (11, 0)));
}
