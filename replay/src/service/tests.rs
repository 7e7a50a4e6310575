//! The service as a hostile or unlucky client sees it: raw messages over the real transport.

use bytes::Bytes;
use common::{Feedback, ItemId, transition::Ending};
use proto::v1::{self, append_request, append_response};
use tokio::runtime::Handle;
use tokio_stream::iter;
use tonic::{Code, Status};

use crate::{
    LocalReplay, Settings, Shards,
    testing::{SHAPE, arbitrary_records, nth_step, period_start, settings, step},
    wire::{self, StepRecord, put_period, put_step},
};

fn start(settings: &Settings) -> (Shards, LocalReplay) {
    LocalReplay::start(settings, 1, &Handle::current()).unwrap()
}

pub(super) fn open(writer: u64) -> v1::AppendOpen {
    v1::AppendOpen {
        run: Some(v1::RunHeader::current("test")),
        shape: Some(wire::shape_message(&SHAPE)),
        n_items: 100,
        writer,
        wait_ms: 0,
    }
}

pub(super) fn batch(sequence: u64, records: impl Into<Bytes>) -> v1::AppendRequest {
    let batch = v1::AppendBatch { sequence, records: records.into() };
    v1::AppendRequest { kind: Some(append_request::Kind::Batch(batch)) }
}

pub(super) fn opening(open: v1::AppendOpen) -> v1::AppendRequest {
    v1::AppendRequest { kind: Some(append_request::Kind::Open(open)) }
}

/// All answers to a stream of these requests: stored sequences, the opening's first; or the status that ended it.
pub(super) async fn append(shards: &Shards, requests: Vec<v1::AppendRequest>) -> Result<Vec<u64>, Status> {
    let mut answers = shards.client(0).append(iter(requests)).await?.into_inner();
    let mut stored = Vec::new();
    while let Some(answer) = answers.message().await? {
        stored.push(match answer.kind.unwrap() {
            append_response::Kind::Opened(opened) => opened.stored_sequence,
            append_response::Kind::Ack(ack) => ack.stored_sequence,
        });
    }
    Ok(stored)
}

/// (low, high, periods) held.
async fn sizes(shards: &Shards) -> (u64, u64, u64) {
    let info = shards.info().await.unwrap().remove(0);
    (info.low.unwrap().size, info.high.unwrap().size, info.periods)
}

fn records(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    build(&mut bytes);
    bytes
}

fn one_step(lane: u16, position: u8, item: u32) -> StepRecord {
    StepRecord { lane, position, step: step(item, Feedback::Click, Ending::None) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_batch_is_stored_once() {
    let (shards, _replay) = start(&settings());
    let once = arbitrary_records();
    let requests = vec![opening(open(3)), batch(1, once.clone()), batch(1, once.clone())];
    assert_eq!(append(&shards, requests).await.unwrap(), [0, 1, 1]);
    assert_eq!(sizes(&shards).await, (16, 4, 4));
    // On a new stream, too; another writer's sequence is its own.
    let requests = vec![opening(open(3)), batch(1, once.clone())];
    assert_eq!(append(&shards, requests).await.unwrap(), [1, 1]);
    assert_eq!(sizes(&shards).await, (16, 4, 4));
    assert_eq!(append(&shards, vec![opening(open(4)), batch(1, once)]).await.unwrap(), [0, 1]);
    assert_eq!(sizes(&shards).await, (32, 8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_batch_is_refused_by_field_and_none_of_it_is_stored() {
    let (shards, _replay) = start(&settings());
    let good = |out: &mut Vec<u8>| {
        put_period(out, 0, &period_start(1, 0));
        put_step(out, one_step(0, 0, 7));
    };
    let change_period = |change: fn(&mut common::transition::PeriodStart)| {
        records(|out| {
            good(out);
            let mut start = period_start(2, 0);
            change(&mut start);
            put_period(out, 1, &start);
        })
    };
    let cases: Vec<(&str, &str, u64, Vec<u8>)> = vec![
        ("records", "nothing", 1, vec![]),
        (
            "records",
            "a cut record",
            1,
            records(|out| {
                good(out);
                out.pop();
            }),
        ),
        ("records", "windows that are too short", 1, change_period(|start| start.windows.truncate(11))),
        ("records", "more bytes than a batch has", 1, arbitrary_records().repeat(4_000)),
        ("goals", "NaN", 1, change_period(|start| start.goals[4] = f32::NAN)),
        ("goals", "infinity", 1, change_period(|start| start.goals[0] = f32::NEG_INFINITY)),
        ("windows", "an unknown item", 1, change_period(|start| start.windows[3] = ItemId(100))),
        (
            "windows",
            "padding on the right",
            1,
            change_period(|start| {
                start.windows[..4].copy_from_slice(&[ItemId(1), ItemId(2), ItemId::PADDING, ItemId(3)]);
            }),
        ),
        (
            "item",
            "an unknown item",
            1,
            records(|out| {
                good(out);
                put_step(out, one_step(0, 1, 100));
            }),
        ),
        (
            "item",
            "padding",
            1,
            records(|out| {
                good(out);
                put_step(out, one_step(0, 1, u32::MAX));
            }),
        ),
        (
            "feedback",
            "code 3",
            1,
            records(|out| {
                good(out);
                out.extend_from_slice(&[3, 1, 0, 0, 5, 0, 0, 0]);
            }),
        ),
        (
            "ending",
            "code 3",
            1,
            records(|out| {
                good(out);
                out.extend_from_slice(&[3 << 2, 1, 0, 0, 5, 0, 0, 0]);
            }),
        ),
        (
            "lane",
            "a step without a period",
            1,
            records(|out| {
                good(out);
                put_step(out, one_step(1, 0, 5));
            }),
        ),
        (
            "lane",
            "more than c steps",
            1,
            records(|out| {
                put_period(out, 0, &period_start(1, 0));
                (0..6).for_each(|position| put_step(out, one_step(0, position, 5)));
            }),
        ),
        (
            "lane",
            "a period in a period",
            1,
            records(|out| {
                good(out);
                put_period(out, 0, &period_start(1, 1));
            }),
        ),
        (
            "lane",
            "a step after the session's end",
            1,
            records(|out| {
                good(out);
                put_step(
                    out,
                    StepRecord { lane: 0, position: 1, step: step(5, Feedback::Skip, Ending::Terminated) },
                );
                put_step(out, one_step(0, 2, 5));
            }),
        ),
        (
            "position",
            "a gap",
            1,
            records(|out| {
                good(out);
                put_step(out, one_step(0, 2, 5));
            }),
        ),
        (
            "position",
            "the same again",
            1,
            records(|out| {
                good(out);
                put_step(out, one_step(0, 0, 5));
            }),
        ),
        (
            "session",
            "another one on the lane",
            1,
            records(|out| {
                put_period(out, 0, &period_start(1, 0));
                (0..5).for_each(|position| put_step(out, one_step(0, position, 5)));
                put_period(out, 0, &period_start(2, 1));
            }),
        ),
        (
            "period",
            "a gap",
            1,
            records(|out| {
                put_period(out, 0, &period_start(1, 0));
                (0..5).for_each(|position| put_step(out, one_step(0, position, 5)));
                put_period(out, 0, &period_start(1, 2));
            }),
        ),
        ("sequence", "a gap", 2, records(good)),
        ("sequence", "zero", 0, records(good)),
    ];
    for (field, what, sequence, records) in cases {
        let status = append(&shards, vec![opening(open(1)), batch(sequence, records)]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().starts_with(&format!("{field}: ")), "{what}: {}", status.message());
        assert_eq!(sizes(&shards).await, (0, 0, 0), "{what}");
    }
    // After all of that the writer still stands at its beginning.
    assert_eq!(append(&shards, vec![opening(open(1)), batch(1, records(good))]).await.unwrap(), [0, 1]);
    assert_eq!(sizes(&shards).await, (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_opening_is_refused_by_field() {
    let (shards, _replay) = start(&settings());
    let run = |schema_version, run_id: &str| Some(v1::RunHeader { schema_version, run_id: run_id.into() });
    let shape = |change: fn(&mut v1::Shape)| {
        let mut shape = wire::shape_message(&SHAPE);
        change(&mut shape);
        Some(shape)
    };
    for (field, requests) in [
        ("run", vec![opening(v1::AppendOpen { run: None, ..open(1) })]),
        ("run.schema_version", vec![opening(v1::AppendOpen { run: run(2, "test"), ..open(1) })]),
        ("run.schema_version", vec![opening(v1::AppendOpen { run: run(0, "test"), ..open(1) })]),
        ("run.run_id", vec![opening(v1::AppendOpen { run: run(1, "other"), ..open(1) })]),
        ("run.run_id", vec![opening(v1::AppendOpen { run: run(1, ""), ..open(1) })]),
        ("shape", vec![opening(v1::AppendOpen { shape: None, ..open(1) })]),
        ("shape.window", vec![opening(v1::AppendOpen { shape: shape(|s| s.window += 1), ..open(1) })]),
        ("shape.n_steps", vec![opening(v1::AppendOpen { shape: shape(|s| s.n_steps = 0), ..open(1) })]),
        ("shape.n_dims", vec![opening(v1::AppendOpen { shape: shape(|s| s.n_dims = u32::MAX), ..open(1) })]),
        ("n_items", vec![opening(v1::AppendOpen { n_items: 99, ..open(1) })]),
        ("open", vec![opening(open(1)), opening(open(1))]),
        ("batch", vec![batch(1, arbitrary_records())]),
        ("kind", vec![v1::AppendRequest { kind: None }]),
    ] {
        let status = append(&shards, requests).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert!(status.message().starts_with(&format!("{field}: ")), "{field}: {}", status.message());
    }
    assert_eq!(sizes(&shards).await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_sample_request_is_refused_by_field() {
    let (shards, _replay) = start(&settings());
    append(&shards, vec![opening(open(1)), batch(1, arbitrary_records())]).await.unwrap();
    let right = v1::SampleRequest {
        run: Some(v1::RunHeader::current("test")),
        table: v1::Table::Low as i32,
        rows: 4,
        key: 1,
        wait_ms: 0,
        fence: 0,
        whole_periods: false,
    };
    assert_eq!(shards.client(0).sample(right.clone()).await.unwrap().into_inner().items.len(), 16);
    for (field, request) in [
        ("run.run_id", v1::SampleRequest { run: Some(v1::RunHeader::current("x")), ..right.clone() }),
        ("table", v1::SampleRequest { table: 0, ..right.clone() }),
        ("table", v1::SampleRequest { table: 7, ..right.clone() }),
        ("rows", v1::SampleRequest { rows: 0, ..right.clone() }),
        ("rows", v1::SampleRequest { rows: u32::MAX, ..right.clone() }),
    ] {
        let status = shards.client(0).sample(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert!(status.message().starts_with(&format!("{field}: ")), "{field}: {}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_of_a_writer_ends_the_older_one() {
    let (shards, _replay) = start(&settings());
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    requests.send(opening(open(1))).await.unwrap();
    let older = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = shards.client(0).append(older).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let half = records(|out| {
        put_period(out, 5, &period_start(9, 0));
        put_step(out, StepRecord { lane: 5, position: 0, step: nth_step(9, 0, 8) });
    });
    append(&shards, vec![opening(open(1)), batch(1, half.clone())]).await.unwrap();
    requests.send(batch(1, half)).await.unwrap();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(sizes(&shards).await, (1, 0, 1));
    // What is in progress is told to the next stream.
    let mut answers = shards.client(0).append(iter(vec![opening(open(1))])).await.unwrap().into_inner();
    let Some(append_response::Kind::Opened(opened)) = answers.message().await.unwrap().unwrap().kind else {
        panic!("not opened")
    };
    assert_eq!(opened.sessions, [v1::OpenSession { lane: 5, session: 9, period: 0, n_steps: 1 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transition_takes_at_most_100_bytes_on_the_wire() {
    use common::transition::{PeriodStart, Shape};
    use prost::Message;

    let shape = Shape { window: 10, n_steps: 10, n_goals: 2, n_dims: 50 };
    let (mut frame, mut bytes, mut steps, mut sequence) = (Vec::new(), 0, 0, 0);
    let mut hand_over = |frame: &mut Vec<u8>| {
        sequence += 1;
        let message = batch(sequence, std::mem::take(frame)).encoded_len();
        // The gRPC prefix, and a header for each HTTP/2 frame of 16 KiB.
        bytes += message + 5 + 9 * message.div_ceil(16 << 10);
    };
    for t in 0..50 {
        for lane in 0..64 {
            if t % 10 == 0 {
                put_period(
                    &mut frame,
                    lane,
                    &PeriodStart {
                        session: lane.into(),
                        period: t / 10,
                        policy_version: 1,
                        windows: vec![ItemId(1); 3 * shape.window],
                        goals: vec![0.5; shape.n_goals * shape.n_dims],
                    },
                );
            }
            put_step(&mut frame, one_step(lane, (t % 10) as u8, 3));
            steps += 1;
            if frame.len() >= 32 << 10 {
                hand_over(&mut frame);
            }
        }
    }
    hand_over(&mut frame);
    let share = bytes as f64 / f64::from(steps);
    println!("{share:.2} bytes a low-level transition, its share of the period included");
    assert!(share <= 100.0 && share > 62.0, "{share}");
}
