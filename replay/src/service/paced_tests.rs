//! A shard as a process of its own serves it: paced writers, fences, the first writer's catalogue.

use std::time::Duration;

use proto::v1::{self, append_response};
use tokio::{runtime::Handle, sync::watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::tests::{append, batch, open, opening};
use crate::{
    Settings, ShardServer, Shards, local,
    testing::{SHAPE, arbitrary_records, settings},
};

/// Steps of [`arbitrary_records`].
const STEPS: u64 = 16;

pub(super) struct Served {
    pub(super) shards: Shards,
    pub(super) server: ShardServer,
    _stop: watch::Sender<bool>,
}

fn serve() -> Served {
    let settings = Settings { n_items: 0, ..settings() };
    serve_shard(ShardServer::in_memory(&settings, 0, 1).unwrap())
}

pub(super) fn serve_shard(server: ShardServer) -> Served {
    let (stop, stopped) = watch::channel(false);
    let (channel, _) = local::serve(server.routes(), stopped);
    let shards = Shards::new(vec![channel], "test", SHAPE, 100, Handle::current());
    Served { shards, server, _stop: stop }
}

pub(super) fn pacing(fence: u64, order: u64, insert_until: u64) -> v1::PaceRequest {
    let run = Some(v1::RunHeader::current("test"));
    v1::PaceRequest { run, fence, order, insert_until, ..v1::PaceRequest::default() }
}

pub(super) async fn pace(shards: &Shards, request: v1::PaceRequest) -> Result<v1::PaceResponse, Status> {
    shards.client(0).pace(request).await.map(tonic::Response::into_inner)
}

pub(super) fn sampling(fence: u64) -> v1::SampleRequest {
    let run = Some(v1::RunHeader::current("test"));
    let table = v1::Table::Low as i32;
    v1::SampleRequest { run, table, rows: 4, key: 1, wait_ms: 0, fence, whole_periods: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_wait_for_the_learner_who_sees_them_wait() {
    let Served { shards, server, _stop } = serve();
    let first = pace(&shards, pacing(1, 1, 0)).await.unwrap();
    assert_eq!((first.insert_until, first.waiting_steps, first.shard_uid), (0, 0, server.uid()));
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    requests.send(opening(v1::AppendOpen { wait_ms: 20_000, ..open(1) })).await.unwrap();
    requests.send(batch(1, arbitrary_records())).await.unwrap();
    let mut answers = shards.client(0).append(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    // Answers when somebody begins to wait, long before its own wait ends.
    let waits = v1::PaceRequest { wait_ms: 20_000, ..pacing(1, 2, STEPS - 1) };
    let second = tokio::time::timeout(Duration::from_secs(10), pace(&shards, waits)).await.unwrap().unwrap();
    assert_eq!((second.insert_until, second.waiting_steps), (STEPS - 1, STEPS));
    // Whoever waits notes the new bound when it looks again.
    let noted = async {
        loop {
            let low = shards.info().await.unwrap().remove(0).low.unwrap();
            let bound = low.limiter.unwrap().inserting.unwrap().bound;
            if bound.contains("waits for the learner to allow more than 15 (0 inserted)") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noted).await.unwrap();
    // Overtaken on the way: 15 holds.
    assert_eq!(pace(&shards, pacing(1, 2, 1_000)).await.unwrap().insert_until, STEPS - 1);
    let third = v1::PaceRequest { wait_ms: 20_000, ..pacing(1, 3, STEPS) };
    let third = tokio::time::timeout(Duration::from_secs(10), pace(&shards, third)).await.unwrap().unwrap();
    assert_eq!((third.low.unwrap().inserted, third.insert_until), (STEPS, STEPS));
    assert!(matches!(
        answers.message().await.unwrap().unwrap().kind,
        Some(append_response::Kind::Ack(v1::AppendAck { stored_sequence: 1 }))
    ));
    // Lowered, but not below what is stored.
    assert_eq!(pace(&shards, pacing(1, 4, 3)).await.unwrap().insert_until, STEPS);
    let feedback = pace(&shards, pacing(1, 5, 3)).await.unwrap().feedback.unwrap();
    assert_eq!((feedback.sessions, feedback.left), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waits_too_long_for_the_learner_is_told_so_and_nothing_is_stored() {
    let Served { shards, _stop, .. } = serve();
    let status = append(&shards, vec![opening(open(1)), batch(1, arbitrary_records())]).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("waits for the learner to allow more than 0"), "{status}");
    assert_eq!(shards.info().await.unwrap()[0].low.as_ref().unwrap().inserted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_fence_is_refused_and_sampling_waits_for_nothing() {
    let Served { shards, _stop, .. } = serve();
    let sample = async |fence| shards.client(0).sample(sampling(fence)).await.map(|r| r.into_inner().rows);
    assert_eq!(sample(3).await.unwrap_err().code(), Code::FailedPrecondition);
    pace(&shards, pacing(4, 1, 100)).await.unwrap();
    append(&shards, vec![opening(open(1)), batch(1, arbitrary_records())]).await.unwrap();
    assert_eq!(sample(4).await.unwrap(), 4);
    assert_eq!(sample(5).await.unwrap(), 4);
    for status in [sample(4).await.unwrap_err(), pace(&shards, pacing(4, 9, 100)).await.unwrap_err()] {
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("a newer learner leads: its fence is 5, not 4"), "{status}");
    }
    // Tools have none.
    assert_eq!(sample(0).await.unwrap(), 4);
    assert_eq!(pace(&shards, pacing(0, 9, 100)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(shards.info().await.unwrap()[0].fence, 5);
    // A new learner's orders begin anew.
    assert_eq!(pace(&shards, pacing(5, 1, 200)).await.unwrap().insert_until, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_writer_says_how_many_items_there_are() {
    let Served { shards, _stop, .. } = serve();
    for (n_items, right) in [(0, false), (u32::MAX, false), (100, true), (99, false), (100, true)] {
        let opened = append(&shards, vec![opening(v1::AppendOpen { n_items, ..open(1) })]).await;
        assert_eq!(opened.is_ok(), right, "{n_items}: {opened:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_one_process_are_not_paced() {
    let (shards, _replay) = crate::LocalReplay::start(&settings(), 1, &Handle::current()).unwrap();
    assert_eq!(pace(&shards, pacing(1, 1, 1)).await.unwrap_err().code(), Code::FailedPrecondition);
}
