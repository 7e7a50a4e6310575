//! The samples-per-insert ratio under real writers and samplers, over several shards.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use common::{config::Batch, seed::Streams};
use rand::RngExt;
use replay::{Error, LocalReplay, Ratio, Settings, TransitionSink, WriterSettings, client::Request};
use support::*;
use tokio::runtime::Handle;

fn coupled(updates_per_step: f64, rows: usize, largest_insert: usize) -> Settings {
    let mut settings = settings();
    settings.low.min_size = 200;
    settings.high.min_size = 60;
    settings.low.capacity = 600;
    settings.high.capacity = 80;
    settings.ratio = Some(Ratio::for_updates(updates_per_step, rows, largest_insert));
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_in_phase_neither_deadlocks_nor_leaves_the_window() {
    for (seed, updates_per_step, rows, largest_insert, n_shards) in
        [(1, 0.05, 64, 32, 1), (2, 0.5, 8, 256, 2), (3, 0.01, 300, 16, 3), (4, 2.0, 1, 8, 2)]
    {
        let settings = coupled(updates_per_step, rows, largest_insert);
        let window = settings.ratio.unwrap().error_window;
        let (shards, _replay) = LocalReplay::start(&settings, n_shards, &Handle::current()).unwrap();
        let mut writers = Vec::new();
        for number in 0..2_u64 {
            let mut writer = shards.writer(WriterSettings { wait: WAIT, ..writer(number) }).await.unwrap();
            writers.push(tokio::task::spawn_blocking(move || {
                let mut sessions: Vec<_> = (0..64).map(|s| Session::new(1_000 * number + s, 40)).collect();
                roll_out(&mut sessions, &mut writer);
                writer.flush().unwrap();
            }));
        }
        let sampler = shards.sampler(Duration::from_millis(300));
        let mut rng = Streams::new(seed, "test/rate").sequential();
        let (mut samples, mut late) = (0_u64, 1);
        while writers.iter().any(|writer| !writer.is_finished()) {
            let rows = rng.random_range(1..=rows);
            match sampler.sample_low(rows, samples).await {
                Ok(batch) => samples += batch.len() as u64,
                Err(error @ Error::Deadline { .. }) if writers.iter().all(|w| w.is_finished()) => {
                    assert!(error.to_string().contains("waits for inserts"), "{error}");
                    late += rows as u64;
                }
                Err(error) => panic!("settings {seed}: {error}"),
            }
            sampler.sample_high(4, samples).await.unwrap();
            let limiter = shards.info().await.unwrap().remove(0).low.unwrap().limiter.unwrap();
            // Rounding of the balance.
            assert!(limiter.balance.abs() <= window + 0.01, "{limiter:?}");
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let infos = shards.info().await.unwrap();
        let inserted: u64 = infos.iter().map(|info| info.low.as_ref().unwrap().inserted).sum();
        let sampled: u64 = infos.iter().map(|info| info.low.as_ref().unwrap().sampled).sum();
        let limiter = infos[0].low.as_ref().unwrap().limiter.as_ref().unwrap();
        assert_eq!(inserted, 2 * 64 * 40);
        // Of a minibatch that came too late, a part may have been granted by one shard while the other's waited.
        assert!((samples..samples + late).contains(&sampled), "{samples} rows came, {sampled} were granted");
        assert_eq!((limiter.inserted, limiter.sampled), (inserted, sampled));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_looks_around_wastes_no_samples_of_shards_that_were_ready() {
    let settings = coupled(0.25, 16, 8);
    let (shards, _replay) = LocalReplay::start(&settings, 3, &Handle::current()).unwrap();
    let mut writer = shards.writer(WriterSettings { wait: WAIT, ..writer(1) }).await.unwrap();
    let slow = tokio::task::spawn_blocking(move || {
        let mut sessions: Vec<_> = (0..16).map(|s| Session::new(s, 40)).collect();
        while sessions.iter().any(|session| !session.is_over()) {
            sessions.iter_mut().filter(|session| !session.is_over()).for_each(|s| s.step(&mut writer));
            writer.flush().unwrap();
            std::thread::sleep(Duration::from_millis(3));
        }
    });
    let request = |key| Request { low: Some(Batch::Rows(16)), high: None, key };
    let mut prefetch = shards.sampler(WAIT).prefetch(0, 1, request);
    let learner = tokio::task::spawn_blocking(move || {
        let (mut taken, mut late) = (0, 0);
        while !slow.is_finished() {
            match prefetch.take(Duration::from_millis(1)) {
                Ok(minibatch) => taken += minibatch.low.len() as u64,
                Err(Error::Deadline { .. }) => late += 1,
                Err(error) => panic!("{error}"),
            }
        }
        (taken, late)
    });
    let (taken, late) = learner.await.unwrap();
    assert!(late > 0 && taken > 0, "{taken} rows, {late} times nothing: this has tested nothing");
    let infos = shards.info().await.unwrap();
    let sampled: u64 = infos.iter().map(|info| info.low.as_ref().unwrap().sampled).sum();
    // One minibatch may be waiting to be taken, and one on its way.
    assert!(sampled <= taken + 2 * 16, "{sampled} rows were sampled, {taken} taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_held_back_too_long_is_told_by_whom() {
    let settings = coupled(1.0, 8, 8);
    let (shards, _replay) = LocalReplay::start(&settings, 1, &Handle::current()).unwrap();
    let wait = Duration::from_millis(200);
    let mut writer = shards.writer(WriterSettings { wait, ..writer(1) }).await.unwrap();
    let error = tokio::task::spawn_blocking(move || {
        let mut sessions: Vec<_> = (0..64).map(|s| Session::new(s, 400)).collect();
        let mut recorder = replay::sink::Recorder::default();
        roll_out(&mut sessions, &mut recorder);
        let calls = recorder.calls.into_iter().map(|call| match call {
            replay::sink::Recorded::Period(start) => writer.begin_period(&start),
            replay::sink::Recorded::Step(session, step) => writer.step(session, step),
        });
        calls.filter_map(Result::err).next().unwrap()
    });
    let error = error.await.unwrap();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    let limiter = shards.info().await.unwrap().remove(0).low.unwrap().limiter.unwrap();
    assert!(limiter.balance > 0.0 && limiter.balance <= limiter.error_window + 0.01);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_everybody_who_waits() {
    let (shards, replay) = LocalReplay::start(&settings(), 2, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let sampler = shards.sampler(WAIT);
    let waiting = tokio::spawn(async move { sampler.sample_low(4, 1).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    tokio::time::timeout(WAIT, replay.stop()).await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(Error::Shard { .. })));
    let mut session = Session::new(1, 1_000);
    let failed = (0..900).any(|_| {
        let mut ended = false;
        let mut recorder = replay::sink::Recorder::default();
        session.step(&mut recorder);
        for call in recorder.calls {
            ended |= match call {
                replay::sink::Recorded::Period(start) => writer.begin_period(&start).is_err(),
                replay::sink::Recorded::Step(session, step) => writer.step(session, step).is_err(),
            };
        }
        ended
    });
    assert!(failed);
}
