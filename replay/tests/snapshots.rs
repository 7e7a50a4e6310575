//! A run that is killed and resumed from a snapshot equals one that is not.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use replay::{LocalReplay, Shards, Writer};
use support::*;
use tokio::runtime::Handle;

const SESSIONS: u64 = 12;

/// A lockstep run: step all sessions, flush, sample; what was sampled is its trace.
struct Run {
    shards: Shards,
    _replay: LocalReplay,
    writer: Option<Writer>,
    sessions: Vec<Session>,
    trace: Vec<(Vec<Low>, Vec<High>)>,
}

impl Run {
    async fn new(n_shards: usize) -> Self {
        let mut settings = settings();
        // Small, so that rows give way.
        settings.low.capacity = 150;
        settings.high.capacity = 30;
        let (shards, replay) = LocalReplay::start(&settings, n_shards, &Handle::current()).unwrap();
        let sessions = (0..SESSIONS).map(|session| Session::new(session, 40)).collect();
        Self { shards, _replay: replay, writer: None, sessions, trace: Vec::new() }
    }

    async fn go_on(&mut self, steps: std::ops::Range<u64>) {
        if self.writer.is_none() {
            self.writer = Some(self.shards.writer(writer(1)).await.unwrap());
        }
        let sampler = self.shards.sampler(WAIT);
        let writer = self.writer.as_mut().unwrap();
        for t in steps {
            self.sessions.iter_mut().for_each(|session| session.step(writer));
            writer.flush_async().await.unwrap();
            let low = low_rows(&sampler.sample_low(9, t).await.unwrap());
            let high = match t {
                5.. => high_rows(&sampler.sample_high(4, t).await.unwrap()),
                _ => Vec::new(),
            };
            self.trace.push((low, high));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_resumed_equals_uninterrupted() {
    for n_shards in [1, 2] {
        let mut whole = Run::new(n_shards).await;
        whole.go_on(0..17).await;
        // In the middle of periods.
        let snapshot = whole.shards.snapshot().await.unwrap();
        whole.go_on(17..40).await;

        let mut resumed = Run::new(n_shards).await;
        let mut elsewhere = replay::sink::Recorder::default();
        for session in &mut resumed.sessions {
            (0..17).for_each(|_| session.step(&mut elsewhere));
        }
        resumed.shards.restore(snapshot.clone()).await.unwrap();
        assert_eq!(resumed.shards.snapshot().await.unwrap(), snapshot);
        let writer = resumed.shards.writer(writer(1)).await.unwrap();
        assert_eq!(writer.sessions(), (0..SESSIONS).map(|s| (s, 3, 2)).collect::<Vec<_>>());
        resumed.writer = Some(writer);
        resumed.go_on(17..40).await;

        assert_eq!(resumed.trace, whole.trace[17..]);
        assert_eq!(resumed.shards.snapshot().await.unwrap(), whole.shards.snapshot().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_ends_open_writers_and_a_bad_one_changes_nothing() {
    let mut run = Run::new(1).await;
    run.go_on(0..3).await;
    let snapshot = run.shards.snapshot().await.unwrap();
    let mut damaged = snapshot.clone();
    let middle = damaged[0].len() / 2;
    damaged[0][middle] ^= 1;
    let error = run.shards.restore(damaged).await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(run.shards.restore(vec![snapshot[0].clone(); 2]).await.is_err());
    run.go_on(3..6).await;
    run.shards.restore(snapshot.clone()).await.unwrap();
    assert_eq!(run.shards.snapshot().await.unwrap(), snapshot);
    let writer = run.writer.as_mut().unwrap();
    run.sessions.iter_mut().for_each(|session| session.step(writer));
    writer.submit_async().await.ok();
    let error = writer.flush_async().await.unwrap_err();
    assert!(matches!(error, replay::Error::Shard { code: tonic::Code::Aborted, .. }), "{error}");
    assert_eq!(run.shards.snapshot().await.unwrap(), snapshot);
}
