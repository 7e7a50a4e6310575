//! A shard with files, through its service: what is acknowledged, what is refused and why, what gives way.

use std::{path::Path, sync::Arc, time::Duration};

use common::config::Sync;
use proto::v1;
use tonic::{Code, Status};

use super::{
    paced_tests::{Served, pace, pacing, sampling, serve_shard},
    tests::{append, batch, open, opening},
};
use crate::{
    Sampling, Settings, ShardServer, Shards,
    journal::{deal::deal, disk::Files, tests::support::FailingDisk},
    testing::{arbitrary_records, nth_step, period_start, settings},
    wire::{StepRecord, put_period, put_step},
};

fn prioritised() -> Settings {
    Settings { sampling: Sampling::Prioritised { exponent: 1.0 }, ..settings() }
}

/// Serves what is in a folder, and lets writers go on.
async fn serve(data_dir: &Path, disk: Option<FailingDisk>) -> Served {
    let settings = prioritised();
    let opened = match disk {
        Some(disk) => ShardServer::open_on(Arc::new(disk), &settings, (0, 1), data_dir, Sync::Disk),
        None => ShardServer::open_on(Arc::new(Files), &settings, (0, 1), data_dir, Sync::Disk),
    };
    let served = serve_shard(opened.unwrap().0);
    pace(&served.shards, pacing(1, 1, 1 << 40)).await.unwrap();
    served
}

/// Ends the service as if the process was killed: nothing is written any more by it.
async fn end(served: Served) {
    served.server.stop();
    let (gone, shards) = (served.server.clone(), served.shards.clone());
    drop((served, shards));
    // The server's task holds the shard until it has ended.
    for _ in 0..1_000 {
        if gone.holders() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("somebody still holds the shard");
}

async fn append_arbitrary(shards: &Shards, sequence: u64) -> Result<Vec<u64>, Status> {
    let requests =
        vec![opening(v1::AppendOpen { wait_ms: 300, ..open(1) }), batch(sequence, session(sequence))];
    append(shards, requests).await
}

/// A session of 5 steps.
fn session(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_period(&mut bytes, 0, &period_start(number, 0));
    for t in 0..5 {
        put_step(&mut bytes, StepRecord { lane: 0, position: t as u8, step: nth_step(number, t, 5) });
    }
    bytes
}

async fn low(shards: &Shards) -> v1::TableInfo {
    shards.info().await.unwrap().remove(0).low.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_batch_is_there_after_a_restart_and_stored_once() {
    let data_dir = tempfile::tempdir().unwrap();
    let served = serve(data_dir.path(), None).await;
    assert_eq!(append_arbitrary(&served.shards, 1).await.unwrap(), [0, 1]);
    assert_eq!(append_arbitrary(&served.shards, 2).await.unwrap(), [1, 2]);
    pace(&served.shards, pacing(9, 1, 1 << 40)).await.unwrap();
    let (uid, before) = (served.server.uid(), low(&served.shards).await);
    let sampled = served.shards.client(0).sample(sampling(0)).await.unwrap().into_inner();
    end(served).await;
    let settings = prioritised();
    let (server, recovery) = ShardServer::open(&settings, (0, 1), data_dir.path(), Sync::Disk).unwrap();
    assert_eq!((server.uid(), recovery.low, recovery.damage.len()), (uid, 10, 0));
    let served = serve_shard(server);
    // Writers wait for the learner again, with what they had; the learner before the last is still refused.
    let status = append_arbitrary(&served.shards, 3).await.unwrap_err();
    assert!(status.message().contains("allow more than 0 (10 inserted)"), "{status}");
    assert_eq!(pace(&served.shards, pacing(8, 2, 100)).await.unwrap_err().code(), Code::FailedPrecondition);
    pace(&served.shards, pacing(9, 2, 100)).await.unwrap();
    assert_eq!(append_arbitrary(&served.shards, 2).await.unwrap(), [2, 2]);
    assert_eq!(low(&served.shards).await.inserted, before.inserted);
    // The same key draws the same rows.
    let again = served.shards.client(0).sample(sampling(0)).await.unwrap().into_inner();
    assert_eq!(again, sampled);
    assert_eq!(append_arbitrary(&served.shards, 3).await.unwrap(), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_told_that_something_is_stored_before_it_is_durable() {
    let data_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let fate = disk.fate.clone();
    let served = serve(data_dir.path(), Some(disk)).await;
    fate.lock().unwrap().room = Some(0);
    let status = append_arbitrary(&served.shards, 1).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("cannot write") && status.message().contains("journal-"), "{status}");
    // It can be sampled, but whoever opens the stream anew is not told of it.
    assert_eq!(low(&served.shards).await.size, 5);
    served.shards.client(0).sample(sampling(1)).await.unwrap();
    let opened =
        tokio::time::timeout(Duration::from_millis(300), append(&served.shards, vec![opening(open(1))]));
    assert!(opened.await.is_err(), "the writer would not send it again, and it would be lost");
    let journal = served.shards.info().await.unwrap().remove(0).journal.unwrap();
    assert!(journal.failure.contains("cannot write"), "{journal:?}");
    fate.lock().unwrap().room = None;
    // By itself.
    assert_eq!(append_arbitrary(&served.shards, 1).await.unwrap(), [1, 1]);
    assert_eq!(low(&served.shards).await.inserted, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_fsync_writers_are_refused_by_name_and_samplers_served() {
    let data_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let fate = disk.fate.clone();
    let served = serve(data_dir.path(), Some(disk)).await;
    append_arbitrary(&served.shards, 1).await.unwrap();
    fate.lock().unwrap().sync_fails = true;
    for _ in 0..3 {
        let status = append_arbitrary(&served.shards, 2).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        for part in ["cannot sync", "journal-", "input/output error", "until a restart"] {
            assert!(status.message().contains(part), "{status}");
        }
    }
    served.shards.client(0).sample(sampling(1)).await.unwrap();
    end(served).await;
    let served = serve(data_dir.path(), None).await;
    assert_eq!(append_arbitrary(&served.shards, 2).await.unwrap().last(), Some(&2));
    assert_eq!(low(&served.shards).await.inserted, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_files_is_not_restored_over_the_wire() {
    let data_dir = tempfile::tempdir().unwrap();
    let served = serve(data_dir.path(), None).await;
    append_arbitrary(&served.shards, 1).await.unwrap();
    let snapshot = served.shards.snapshot().await.unwrap();
    let error = served.shards.restore(snapshot).await.unwrap_err().to_string();
    assert!(error.contains("keeps its own snapshots"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_are_set_by_name_and_never_on_another_row() {
    let data_dir = tempfile::tempdir().unwrap();
    let served = serve(data_dir.path(), None).await;
    append_arbitrary(&served.shards, 1).await.unwrap();
    let sample = async || served.shards.client(0).sample(sampling(0)).await.map(tonic::Response::into_inner);
    let update = async |keys: Vec<u8>, priorities: &[f64]| {
        let priorities: Vec<u8> = priorities.iter().flat_map(|p| p.to_le_bytes()).collect();
        let request = v1::UpdatePrioritiesRequest {
            run: Some(v1::RunHeader::current("test")),
            table: v1::Table::Low as i32,
            keys: keys.into(),
            priorities: priorities.into(),
            fence: 0,
        };
        served.shards.client(0).update_priorities(request).await.map(|answer| answer.into_inner().updated)
    };
    let sampled = sample().await.unwrap();
    assert_eq!((sampled.mass, sampled.keys.len(), sampled.probabilities.len()), (5.0, 32, 32));
    let key = sampled.keys[..8].to_vec();
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        let status = update(key.clone(), &[wrong]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("priorities: row 0"), "{status}");
    }
    assert_eq!(update(key.clone(), &[1.0, 2.0]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(update(Vec::new(), &[]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(update(key.clone(), &[6.0]).await.unwrap(), 1);
    assert_eq!(sample().await.unwrap().mass, 10.0);
    assert_eq!(update(key.clone(), &[0.0]).await.unwrap(), 1);
    assert_eq!(sample().await.unwrap().mass, 4.0);
    // 1,000 rows more: the row is gone, and others have its place.
    for sequence in 2..=202 {
        append_arbitrary(&served.shards, sequence).await.unwrap();
    }
    let mass = sample().await.unwrap().mass;
    assert_eq!(update(key, &[1e9]).await.unwrap(), 0);
    assert_eq!(sample().await.unwrap().mass, mass);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_are_silent_are_forgotten_with_their_open_periods_and_rows_stay() {
    let data_dir = tempfile::tempdir().unwrap();
    let served = serve(data_dir.path(), None).await;
    let half = arbitrary_records()[..arbitrary_records().len() - 16].to_vec();
    append(&served.shards, vec![opening(open(1)), batch(1, half)]).await.unwrap();
    let held = low(&served.shards).await.size;
    let service = served.server.service();
    assert_eq!(service.forget_silent(Duration::from_secs(600)).unwrap(), 0);
    // The stream's task may not have ended yet.
    let mut forgotten = 0;
    for _ in 0..1_000 {
        forgotten += service.forget_silent(Duration::ZERO).unwrap();
        if forgotten > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let info = served.shards.info().await.unwrap().remove(0);
    assert_eq!((forgotten, info.writers, info.low.unwrap().size), (1, 0, held));
    // Its next batch does not follow anything.
    let status = append_arbitrary(&served.shards, 2).await.unwrap_err();
    assert!(status.message().starts_with("sequence"), "{status}");
    end(served).await;
    let served = serve(data_dir.path(), None).await;
    let info = served.shards.info().await.unwrap().remove(0);
    assert_eq!((info.writers, info.low.unwrap().size), (0, held));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dealt_out_is_held_and_no_news_to_the_learner() {
    let data_dir = tempfile::tempdir().unwrap();
    let served = serve(data_dir.path(), None).await;
    append_arbitrary(&served.shards, 1).await.unwrap();
    let uid = served.server.uid();
    end(served).await;
    deal(&prioritised(), data_dir.path(), 1).unwrap();
    for stored in [5, 10] {
        let served = serve(data_dir.path(), None).await;
        assert_ne!(served.server.uid(), uid);
        append_arbitrary(&served.shards, stored / 5).await.unwrap();
        let answer = pace(&served.shards, pacing(1, 2, 1 << 40)).await.unwrap();
        let (low, high) = (answer.low.unwrap(), answer.high.unwrap());
        assert_eq!((low.inserted, high.inserted), (stored, stored / 5));
        assert_eq!((low.size, high.size), (5 + stored, 1 + stored / 5));
        // All that the table has had, for whoever asks about the shard.
        assert_eq!(self::low(&served.shards).await.inserted, 5 + stored);
        end(served).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_are_shown_while_they_have_a_stream() {
    let served = serve_shard(ShardServer::in_memory(&prioritised(), 0, 1).unwrap());
    let writers = || served.server.figures().unwrap().writers;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    requests.send(opening(open(1))).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = served.shards.client(0).append(stream).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    assert_eq!(writers(), 1);
    drop((requests, answers));
    for _ in 0..1_000 {
        if writers() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It is known still: it may come back.
    assert_eq!((writers(), served.shards.info().await.unwrap()[0].writers), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_budget_of_memory_the_oldest_give_way_and_what_cannot_be_held_is_refused() {
    let mut settings = Settings { memory_bytes: 400_000, ..prioritised() };
    (settings.low.capacity, settings.high.capacity) = (100_000, 100_000);
    let served = serve_shard(ShardServer::in_memory(&settings, 0, 1).unwrap());
    pace(&served.shards, pacing(1, 1, 1 << 40)).await.unwrap();
    let mut requests = vec![opening(open(1))];
    requests.extend((1..=3_000).map(|sequence| batch(sequence, session(sequence))));
    append(&served.shards, requests).await.unwrap();
    let info = served.shards.info().await.unwrap().remove(0);
    assert!(info.bytes <= 400_000, "{} bytes", info.bytes);
    let low = info.low.unwrap();
    let high = info.high.unwrap();
    assert_eq!((low.inserted, high.inserted), (15_000, 3_000));
    // Of whole periods, the newest.
    assert!(low.size >= 2_000 && low.size.div_ceil(5) == high.size, "{low:?} {high:?}");
    // Open periods give way to nobody.
    let mut open_periods = vec![opening(open(2))];
    open_periods.extend((1..=5_000_u64).map(|sequence| {
        let mut records = Vec::new();
        put_period(&mut records, sequence as u16, &period_start(sequence, 0));
        batch(sequence, records)
    }));
    let status = append(&served.shards, open_periods).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(
        status.message().contains("400000 bytes") && status.message().contains("replay.memory_mib"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_refuses_everybody_as_a_shard_that_is_away_and_a_restart_has_what_was_acknowledged() {
    for in_journal in [false, true] {
        let data_dir = tempfile::tempdir().unwrap();
        let disk = FailingDisk::default();
        let fate = disk.fate.clone();
        let served = serve(data_dir.path(), Some(disk)).await;
        assert_eq!(append_arbitrary(&served.shards, 1).await.unwrap(), [0, 1]);
        match in_journal {
            true => fate.lock().unwrap().write_panics = true,
            false => served.server.service().panic_within(),
        }
        // Nothing is final to a writer: it waits for the restart.
        let status = append_arbitrary(&served.shards, 2).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let kept = tokio::time::timeout(Duration::from_secs(10), served.server.keep_house()).await;
        assert!(kept.unwrap().to_string().contains("start it again"));
        // It leaves no snapshot of contents that cannot be trusted.
        if !in_journal {
            served.server.snapshot().unwrap();
            let names = std::fs::read_dir(data_dir.path().join("shard-0")).unwrap();
            let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("snapshot")), "{names:?}");
        }
        end(served).await;
        let served = serve(data_dir.path(), None).await;
        assert_eq!(low(&served.shards).await.inserted, 5);
        assert_eq!(append_arbitrary(&served.shards, 2).await.unwrap(), [1, 2]);
    }
}
