//! Bytes that are no requests, too many requests, and what a learner refuses.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use common::seed::Streams;
use proto::v1::{self, control_client::ControlClient, weights_client::WeightsClient};
use rand::RngExt;
use system_tests::{
    client::bare,
    cluster::{Cluster, START},
    process::{Process, wait_until},
    redis,
};
use tokio::runtime::Runtime;
use tonic::Code;

use crate::hostile::{ANSWER, Target, batch, open, records};

/// Resident memory of a process, in MiB.
fn resident(process: &Process) -> u64 {
    process.usage().resident_kib / 1024
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A gRPC request with this body, in HTTP/2 frames written by hand: preface, settings, headers, data.
fn request(path: &str, body: &[u8], ended: bool) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // A literal field without indexing, neither name nor value compressed.
        headers.extend([0, name.len() as u8]);
        headers.extend(name.bytes());
        headers.push(value.len() as u8);
        headers.extend(value.bytes());
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 4, 1, &headers));
    bytes.extend(frame(0, u8::from(ended), 1, body));
    bytes
}

/// Sends bytes and reads until the peer closes or nothing more comes.
fn send(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // The peer may close while we still write.
    let _closed = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _timeout = stream.take(1 << 16).read_to_end(&mut answer);
    answer
}

fn throw_bytes(address: &str, path: &str) {
    let mut rng = Streams::new(2, "tests/hostile").sequential();
    for k in 0..30 {
        let mut random = vec![0; rng.random_range(1..4_000)];
        rng.fill(&mut random[..]);
        let mut bytes = if k % 2 == 0 { Vec::new() } else { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() };
        bytes.extend(random);
        send(address, &bytes);
    }
    // What is right is answered: the requests below are wrong in their bodies only.
    assert!(!send(address, &request(path, &[0, 0, 0, 0, 0], true)).is_empty());
    let oversized = [&[0, 0xff, 0xff, 0xff, 0xff][..], &[1; 100]].concat();
    let compressed = [1, 0, 0, 0, 4, 1, 2, 3, 4];
    let truncated = [&[0, 0, 0, 0, 100][..], &[1; 10]].concat();
    let no_message = [&[0, 0, 0, 0, 20][..], &[0xff; 20]].concat();
    for body in [&oversized[..], &compressed, &truncated, &no_message, &[0, 0]] {
        for ended in [true, false] {
            send(address, &request(path, body, ended));
        }
    }
}

#[test]
fn random_bytes_truncated_frames_and_oversized_lengths_leave_a_shard_as_it_was() {
    let mut target = Target::start();
    let before = resident(&target.cluster.shards[0]);
    let address = target.address().to_owned();
    let streams = ["Append", "Minibatches", "Restore"];
    let calls = ["Sample", "UpdatePriorities", "Pace", "Info"];
    for call in streams.into_iter().chain(calls) {
        let path = format!("/mahrl.v1.Replay/{call}");
        let (refused, unreadable) = (target.refused(), target.unreadable());
        throw_bytes(&address, &path);
        assert!(target.refused() >= refused + 3.0, "{path}: what cannot be read is not counted");
        let unreadable = target.unreadable() - unreadable;
        assert!(streams.contains(&call) || unreadable >= 3.0, "{path}: {unreadable} count as unreadable");
    }
    assert!(target.cluster.shards[0].runs(), "{}", target.cluster.tails());
    assert_eq!(target.inserted(), 0);
    let after = resident(&target.cluster.shards[0]);
    assert!(after < before + 64, "{before} MiB became {after}");
    let said = target.cluster.shards[0].log();
    assert!(!said.contains("panicked"), "{said}");
    // Who behaves is served as ever.
    target.append(vec![open(target.open()), batch(1, records(2))]).1.unwrap();
    assert_eq!(target.inserted(), 1);
}

#[test]
fn a_thousand_writers_that_come_at_once_are_all_served() {
    const STREAMS: u64 = 1_000;
    /// Streams of one connection.
    const TOGETHER: u64 = 50;
    let target = Target::start();
    let before = resident(&target.cluster.shards[0]);
    let opened = target.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for connection in 0..STREAMS / TOGETHER {
            let client = bare(target.address());
            for k in 0..TOGETHER {
                let (mut client, writer) = (client.clone(), connection * TOGETHER + k + 1);
                let opening = v1::AppendOpen { writer, ..target.open() };
                let request = v1::AppendRequest { kind: Some(open(opening)) };
                tasks.spawn(async move {
                    let mut stream = client.append(tokio_stream::iter([request])).await?.into_inner();
                    stream.message().await
                });
            }
        }
        tokio::time::timeout(2 * ANSWER, tasks.join_all()).await.expect("all are answered in time")
    });
    let served = opened.iter().filter(|answer| matches!(answer, Ok(Some(_)))).count();
    assert_eq!(served as u64, STREAMS, "{:?}", opened.iter().find(|answer| answer.is_err()));
    let after = resident(&target.cluster.shards[0]);
    assert!(after < before + 128, "{before} MiB became {after}");
    target.append(vec![open(target.open()), batch(1, records(2))]).1.unwrap();
}

#[test]
fn a_learner_refuses_what_is_wrong_and_gives_nothing_away() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = Cluster::new(1, true, |_| {});
    cluster.shards[0].start();
    cluster.add_learner();
    cluster.learners[0].start();
    let folder = cluster.folder().to_owned();
    let address = wait_until("the learner listens", START, &folder, || {
        let log = cluster.learners[0].log();
        let at = log.find("waiting for the lead, at ")?;
        log[at..].split_whitespace().nth(5).map(str::to_owned)
    });
    wait_until("the learner leads", START, &folder, || {
        cluster.metric("learner-0", "mahrl_learner_leader").filter(|leads| *leads == 1.0)
    });
    for path in ["/mahrl.v1.Control/Join", "/mahrl.v1.Weights/Subscribe"] {
        throw_bytes(&address, path);
    }
    let right = v1::JoinRequest {
        run: Some(v1::RunHeader::current(&cluster.config.cluster.run)),
        actor: "test".into(),
        settings: cluster.config.to_toml(),
        threads: 1,
        items_sha256: std::fs::read_to_string(cluster.run_dir().join("items.sha256")).unwrap(),
        simulator_sha256: String::new(),
    };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let connection = node::connect(&address, &node::Security::default()).unwrap();
        let mut control = ControlClient::new(connection.clone());
        let before = control.join(right.clone()).await.unwrap().into_inner();
        let other = Some(v1::RunHeader::current("another"));
        let newer = right.run.clone().map(|run| v1::RunHeader { schema_version: 9, ..run });
        let right_run = right.run.clone();
        let settings = right.settings.replace("seed = ", "seed = 1");
        for (what, wrong, code) in [
            ("another run", v1::JoinRequest { run: other.clone(), ..right.clone() }, Code::InvalidArgument),
            ("no run", v1::JoinRequest { run: None, ..right.clone() }, Code::InvalidArgument),
            ("a newer schema", v1::JoinRequest { run: newer, ..right.clone() }, Code::InvalidArgument),
            ("no threads", v1::JoinRequest { threads: 0, ..right.clone() }, Code::InvalidArgument),
            (
                "a long name",
                v1::JoinRequest { actor: "x".repeat(200), ..right.clone() },
                Code::InvalidArgument,
            ),
            ("no TOML", v1::JoinRequest { settings: "[".into(), ..right.clone() }, Code::InvalidArgument),
            (
                "long settings",
                v1::JoinRequest { settings: " ".repeat(70_000), ..right.clone() },
                Code::InvalidArgument,
            ),
            ("other settings", v1::JoinRequest { settings, ..right.clone() }, Code::FailedPrecondition),
            (
                "other embeddings",
                v1::JoinRequest { items_sha256: "0".repeat(64), ..right.clone() },
                Code::FailedPrecondition,
            ),
            (
                "a simulator where there is none",
                v1::JoinRequest { simulator_sha256: "0".repeat(64), ..right.clone() },
                Code::FailedPrecondition,
            ),
        ] {
            let status = control.join(wrong).await.expect_err(what);
            assert_eq!(status.code(), code, "{what}: {status}");
        }
        let after = control.join(right).await.unwrap().into_inner();
        assert_eq!(after.incarnation, before.incarnation + 1, "those refused were given numbers");
        let right = v1::SubscribeRequest { run: right_run, ..v1::SubscribeRequest::default() };
        for (what, wrong) in [
            ("another run", v1::SubscribeRequest { run: other, ..right.clone() }),
            ("other embeddings", v1::SubscribeRequest { items_sha256: "0".repeat(64), ..right }),
        ] {
            let status = WeightsClient::new(connection.clone()).subscribe(wrong).await.expect_err(what);
            assert_eq!(status.code(), Code::InvalidArgument, "{what}");
        }
    });
    let refused: f64 = cluster
        .metrics("learner-0")
        .iter()
        .filter(|(name, _)| name.starts_with("mahrl_learner_joins_refused_total"))
        .map(|(_, value)| value)
        .sum();
    assert!(refused >= 8.0, "only {refused} refusals are counted");
    assert!(
        cluster.learners[0].runs() && !cluster.learners[0].log().contains("panicked"),
        "{}",
        cluster.tails()
    );
}
