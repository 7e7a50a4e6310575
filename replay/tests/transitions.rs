//! What is sampled is what was rolled out, through the whole service.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use common::config::PartialPeriods;
use replay::{LocalReplay, Settings, TransitionSink};
use support::*;
use tokio::runtime::Handle;

/// Draws enough to see every row of a small table: 20 a row leaves one unseen with a chance of e^-20 each.
const DRAWS_A_ROW: usize = 20;

async fn rolled_out(partial_periods: PartialPeriods, n_shards: usize) {
    let settings = Settings { partial_periods, ..settings() };
    let (shards, _replay) = LocalReplay::start(&settings, n_shards, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    // Lengths 1 to 23: whole and partial periods, ends at and off a period's border.
    let mut sessions: Vec<_> = (1..=23).map(|session| Session::new(session, session)).collect();
    let writer = tokio::task::spawn_blocking(move || {
        roll_out(&mut sessions, &mut writer);
        writer.flush().unwrap();
        assert_eq!(writer.sessions(), []);
        sessions
    });
    let sessions = writer.await.unwrap();
    let low: Vec<_> = sessions.iter().flat_map(|session| session.low.clone()).collect();
    let high = sessions.iter().flat_map(|session| session.high.clone());
    let whole = |high: &High| high.feedback.iter().all(|&code| code != common::transition::NO_STEP);
    let high: Vec<_> = high.filter(|high| partial_periods == PartialPeriods::Keep || whole(high)).collect();
    let sampler = shards.sampler(WAIT);
    let sizes = sampler.sizes().await.unwrap();
    assert_eq!((sizes.low as usize, sizes.high as usize), (low.len(), high.len()));
    let sampled = sampler.sample_low(DRAWS_A_ROW * low.len(), 5).await.unwrap();
    assert_eq!(distinct(low_rows(&sampled)), distinct(low));
    let sampled = sampler.sample_high(DRAWS_A_ROW * high.len(), 5).await.unwrap();
    assert_eq!(distinct(high_rows(&sampled)), distinct(high));
}

#[tokio::test(flavor = "multi_thread")]
async fn sampled_windows_equal_a_naive_replay_of_pushes() {
    rolled_out(PartialPeriods::Keep, 1).await;
    rolled_out(PartialPeriods::Keep, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_periods_are_left_out_where_they_are_dropped() {
    rolled_out(PartialPeriods::Drop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_can_be_sampled_before_its_period_closes_and_the_period_after() {
    let (shards, _replay) = LocalReplay::start(&settings(), 1, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let (mut session, sampler) = (Session::new(2, 100), shards.sampler(WAIT));
    for t in 1..=10_u64 {
        session.step(&mut writer);
        writer.flush_async().await.unwrap();
        let sizes = sampler.sizes().await.unwrap();
        assert_eq!((sizes.low, sizes.high), (t, t / 5));
        let sampled = low_rows(&sampler.sample_low(200, t).await.unwrap());
        assert!(sampled.iter().all(|row| session.low.contains(row)));
        assert!(sampled.contains(&session.low[t as usize - 1]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_table_evicts_its_oldest_by_its_own_capacity_and_memory_stays_flat() {
    let mut settings = settings();
    settings.low.capacity = 500;
    settings.high.capacity = 20;
    let (shards, _replay) = LocalReplay::start(&settings, 1, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let sampler = shards.sampler(WAIT);
    let (mut low, mut high, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for session in 0..200 {
        let mut session = Session::new(session, 20);
        while !session.is_over() {
            session.step(&mut writer);
        }
        low.append(&mut session.low);
        high.append(&mut session.high);
        writer.flush_async().await.unwrap();
        bytes.push(shards.info().await.unwrap()[0].bytes);
    }
    let sampled = sampler.sample_low(DRAWS_A_ROW * 500, 1).await.unwrap();
    assert_eq!(distinct(low_rows(&sampled)), distinct(low.split_off(low.len() - 500)));
    let sampled = sampler.sample_high(DRAWS_A_ROW * 20, 1).await.unwrap();
    assert_eq!(distinct(high_rows(&sampled)), distinct(high.split_off(high.len() - 20)));
    assert_eq!(bytes[199], bytes[30]);
    let info = shards.info().await.unwrap().remove(0);
    assert_eq!((info.low.unwrap().evicted, info.high.unwrap().evicted, info.periods), (3_500, 780, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_refuses_what_is_wrong_before_it_is_sent() {
    let (shards, _replay) = LocalReplay::start(&settings(), 1, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let mut recorder = replay::sink::Recorder::default();
    let mut session = Session::new(1, 20);
    (0..2).for_each(|_| session.step(&mut recorder));
    let replay::sink::Recorded::Period(start) = recorder.calls.remove(0) else { panic!("not a period") };
    let replay::sink::Recorded::Step(_, step) = recorder.calls.remove(0) else { panic!("not a step") };
    let refused = |result: Result<(), replay::Error>, field: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(field), "{message}");
    };
    refused(writer.step(1, step), "session");
    let mut short = start.clone();
    short.goals.pop();
    refused(writer.begin_period(&short), "goals");
    short = start.clone();
    short.windows.pop();
    refused(writer.begin_period(&short), "windows");
    writer.begin_period(&start).unwrap();
    refused(writer.begin_period(&start), "period");
    writer.step(1, step).unwrap();
    writer.flush_async().await.unwrap();
    assert_eq!(shards.sampler(WAIT).sizes().await.unwrap().low, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_ends_the_writer_with_the_shards_reason() {
    let (shards, _replay) = LocalReplay::start(&settings(), 1, &Handle::current()).unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let mut recorder = replay::sink::Recorder::default();
    Session::new(1, 20).step(&mut recorder);
    let replay::sink::Recorded::Period(mut start) = recorder.calls.remove(0) else { panic!("not a period") };
    start.goals[3] = f32::NAN;
    writer.begin_period(&start).unwrap();
    let error = writer.flush_async().await.unwrap_err();
    assert!(matches!(error, replay::Error::Shard { code: tonic::Code::InvalidArgument, .. }), "{error}");
    assert!(error.to_string().contains("goals: goal 1, component 0"), "{error}");
    assert!(writer.submit_async().await.is_ok() || writer.flush_async().await.is_err());
}
