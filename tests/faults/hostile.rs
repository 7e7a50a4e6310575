//! Hostile input over real sockets: refused with the right status, counted, nothing stored, nobody else held up.

use std::time::Duration;

use common::seed::Streams;
use proto::v1;
use rand::RngExt;
use system_tests::{
    client::{bare, info},
    cluster::{Cluster, START},
    identity::{self, N_ITEMS, SHAPE},
    process::wait_until,
};
use tokio::runtime::Runtime;
use tonic::{Code, Status};

/// Longest time for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// One shard that writers may fill.
pub(crate) struct Target {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: Runtime,
    run: v1::RunHeader,
}

impl Target {
    pub(crate) fn start() -> Self {
        let mut cluster = Cluster::new(1, false, |_| {});
        cluster.shards[0].start();
        let run = v1::RunHeader::current(&cluster.config.cluster.run);
        let target = Self { cluster, runtime: Runtime::new().unwrap(), run };
        let folder = target.cluster.folder().to_owned();
        wait_until("the shard answers", START, &folder, || target.info());
        target.runtime.block_on(async {
            let pace = v1::PaceRequest { fence: 3, insert_until: 1 << 40, ..target.pace() };
            bare(target.address()).pace(pace).await.unwrap();
        });
        target
    }

    pub(crate) fn address(&self) -> &str {
        &self.cluster.addresses[0]
    }

    fn pace(&self) -> v1::PaceRequest {
        v1::PaceRequest { run: Some(self.run.clone()), known_inserted: 1, ..v1::PaceRequest::default() }
    }

    pub(crate) fn open(&self) -> v1::AppendOpen {
        let shape = v1::Shape {
            window: SHAPE.window as u32,
            n_steps: SHAPE.n_steps as u32,
            n_goals: SHAPE.n_goals as u32,
            n_dims: SHAPE.n_dims as u32,
        };
        v1::AppendOpen {
            run: Some(self.run.clone()),
            shape: Some(shape),
            n_items: N_ITEMS as u32,
            writer: 1,
            wait_ms: 2_000,
        }
    }

    fn info(&self) -> Option<v1::InfoResponse> {
        info(&self.runtime, &self.run.run_id, self.address())
    }

    /// Steps stored.
    pub(crate) fn inserted(&self) -> u64 {
        self.info().expect("the shard answers").low.unwrap_or_default().inserted
    }

    /// Requests refused so far, over all reasons.
    pub(crate) fn refused(&self) -> f64 {
        let metrics = self.cluster.metrics("replay-0");
        let refused = |name: &String| name.starts_with("mahrl_replay_rejected_total");
        metrics.iter().filter(|(name, _)| refused(name)).map(|(_, value)| value).sum()
    }

    /// Those of them that could not be read.
    pub(crate) fn unreadable(&self) -> f64 {
        let name = "mahrl_replay_rejected_total{reason=\"unreadable\"}";
        self.cluster.metric("replay-0", name).unwrap_or(0.0)
    }

    /// Sends messages; all answers, and how the stream ended.
    pub(crate) fn append(
        &self,
        kinds: Vec<v1::append_request::Kind>,
    ) -> (Vec<v1::AppendResponse>, Result<(), Status>) {
        let requests: Vec<_> = kinds.into_iter().map(|kind| v1::AppendRequest { kind: Some(kind) }).collect();
        let stream = async {
            let mut answers = Vec::new();
            let stream = bare(self.address()).append(tokio_stream::iter(requests)).await;
            let mut stream = match stream {
                Ok(stream) => stream.into_inner(),
                Err(status) => return (answers, Err(status)),
            };
            loop {
                match stream.message().await {
                    Ok(Some(answer)) => answers.push(answer),
                    Ok(None) => return (answers, Ok(())),
                    Err(status) => return (answers, Err(status)),
                }
            }
        };
        self.runtime
            .block_on(async { tokio::time::timeout(ANSWER, stream).await.expect("an answer in time") })
    }
}

pub(crate) fn open(open: v1::AppendOpen) -> v1::append_request::Kind {
    v1::append_request::Kind::Open(open)
}

pub(crate) fn batch(sequence: u64, records: Vec<u8>) -> v1::append_request::Kind {
    v1::append_request::Kind::Batch(v1::AppendBatch { sequence, records: records.into() })
}

/// A period start and a step of it, packed by the words of replay.proto.
pub(crate) fn records(session: u64) -> Vec<u8> {
    let (start, step) = (identity::period_start(session, 0), identity::step(session, 0));
    let mut bytes = vec![0x80, 0, 0, 0];
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(session.to_le_bytes());
    bytes.extend(start.policy_version.to_le_bytes());
    start.windows.iter().for_each(|item| bytes.extend(item.0.to_le_bytes()));
    start.goals.iter().for_each(|goal| bytes.extend(goal.to_le_bytes()));
    bytes.extend([step.feedback.code() | (step.ending as u8) << 2, 0, 0, 0]);
    bytes.extend(step.item.0.to_le_bytes());
    bytes
}

/// Bytes of a period start.
const PERIOD: usize = 24 + 4 * 3 * SHAPE.window + 4 * SHAPE.n_goals * SHAPE.n_dims;

#[test]
fn batches_that_are_wrong_are_refused_by_field_and_nothing_of_them_is_stored() {
    let target = Target::start();
    let session = (0..).find(|session| identity::length(*session) > 1).unwrap();
    let good = records(session);
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let mut random = vec![0; 500];
    Streams::new(1, "tests/hostile").sequential().fill(&mut random[..]);
    random[0] = 3;
    let goals = PERIOD - 4 * SHAPE.n_goals * SHAPE.n_dims;
    for (what, sequence, bytes, named) in [
        ("an empty batch", 1, Vec::new(), "records"),
        ("random bytes", 1, random, "feedback"),
        ("a record that is cut", 1, good[..good.len() - 1].to_vec(), "records"),
        ("NaN in a goal", 1, with(goals, &f32::NAN.to_le_bytes()), "goals"),
        ("an infinite goal", 1, with(goals + 4, &f32::NEG_INFINITY.to_le_bytes()), "goals"),
        ("an item beyond the catalogue", 1, with(good.len() - 4, &(N_ITEMS as u32).to_le_bytes()), "item"),
        ("a window's item beyond the catalogue", 1, with(24 + 8, &(N_ITEMS as u32).to_le_bytes()), "windows"),
        ("a step without its period", 1, good[PERIOD..].to_vec(), "lane"),
        ("a position that is left out", 1, with(PERIOD + 1, &[1]), "position"),
        ("a sequence out of order", 2, good.clone(), "sequence"),
        ("sequence 0", 0, good.clone(), "sequence"),
        ("more than a megabyte", 1, good.repeat((1 << 20) / good.len() + 1), "records"),
    ] {
        let refused = target.refused();
        let (answers, ended) = target.append(vec![open(target.open()), batch(sequence, bytes)]);
        let status = ended.expect_err(what);
        assert_eq!(answers.len(), 1, "{what}: the opening alone is answered");
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().contains(named), "{what}: `{}` does not name {named}", status.message());
        assert_eq!(target.inserted(), 0, "{what}");
        assert!(target.refused() > refused, "{what} is not counted");
    }
    // The writer is as good as new; a batch that comes twice is stored once.
    let (answers, ended) = target.append(vec![
        open(target.open()),
        batch(1, good.clone()),
        batch(1, good.clone()),
        batch(1, good),
    ]);
    ended.unwrap();
    assert_eq!(answers.len(), 4);
    assert_eq!(target.inserted(), 1);
}

#[test]
fn openings_and_requests_that_are_wrong_are_refused_by_field() {
    let target = Target::start();
    let header = |run: v1::RunHeader| Some(run);
    let other = v1::RunHeader::current("another");
    let old = v1::RunHeader { schema_version: 0, ..target.run.clone() };
    let newer = v1::RunHeader { schema_version: 99, ..target.run.clone() };
    // The first writer fixes the catalogue.
    target.append(vec![open(target.open())]).1.unwrap();
    let opening = target.open();
    for (what, wrong, named) in [
        ("another run", v1::AppendOpen { run: header(other.clone()), ..opening.clone() }, "run_id"),
        ("no run", v1::AppendOpen { run: None, ..opening.clone() }, "run"),
        ("an old schema", v1::AppendOpen { run: header(old), ..opening.clone() }, "schema_version"),
        (
            "a newer schema",
            v1::AppendOpen { run: header(newer.clone()), ..opening.clone() },
            "schema_version",
        ),
        ("no shape", v1::AppendOpen { shape: None, ..opening.clone() }, "shape"),
        (
            "another shape",
            v1::AppendOpen {
                shape: opening.shape.map(|shape| v1::Shape { window: shape.window + 1, ..shape }),
                ..opening.clone()
            },
            "shape.window",
        ),
        ("another catalogue", v1::AppendOpen { n_items: 7, ..opening.clone() }, "n_items"),
    ] {
        let status = target.append(vec![open(wrong)]).1.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().contains(named), "{what}: {}", status.message());
    }
    let status = target.append(vec![batch(1, records(1))]).1.expect_err("no opening");
    assert_eq!(status.code(), Code::InvalidArgument);
    let sample =
        v1::SampleRequest { run: header(target.run.clone()), table: 1, rows: 8, ..Default::default() };
    let update = v1::UpdatePrioritiesRequest {
        run: header(target.run.clone()),
        table: 1,
        keys: vec![0; 8].into(),
        priorities: 1.0_f64.to_le_bytes().to_vec().into(),
        fence: 0,
    };
    let update_of = |priority: f64| v1::UpdatePrioritiesRequest {
        priorities: priority.to_le_bytes().to_vec().into(),
        ..update.clone()
    };
    target.runtime.block_on(async {
        let mut client = bare(target.address());
        let mut refusals: Vec<(&str, Result<(), Status>, Code)> = Vec::new();
        let invalid = Code::InvalidArgument;
        for (what, wrong) in [
            ("samples of another run", v1::SampleRequest { run: header(other.clone()), ..sample.clone() }),
            ("samples of a newer schema", v1::SampleRequest { run: header(newer.clone()), ..sample.clone() }),
            ("samples of no table", v1::SampleRequest { table: 0, ..sample.clone() }),
            ("samples of an unknown table", v1::SampleRequest { table: 77, ..sample.clone() }),
            ("no rows", v1::SampleRequest { rows: 0, ..sample.clone() }),
            ("too many rows", v1::SampleRequest { rows: u32::MAX, ..sample.clone() }),
        ] {
            refusals.push((what, client.sample(wrong).await.map(drop), invalid));
        }
        for (what, priority) in [("NaN", f64::NAN), ("infinite", f64::INFINITY), ("negative", -1.0)] {
            let answer = client.update_priorities(update_of(priority)).await.map(drop);
            refusals.push((what, answer, invalid));
        }
        let uneven = v1::UpdatePrioritiesRequest { keys: vec![0; 16].into(), ..update.clone() };
        refusals.push((
            "more keys than priorities",
            client.update_priorities(uneven).await.map(drop),
            invalid,
        ));
        let old_fence = v1::SampleRequest { fence: 2, ..sample.clone() };
        let failed = Code::FailedPrecondition;
        refusals.push(("a sample of an old learner", client.sample(old_fence).await.map(drop), failed));
        let pace = v1::PaceRequest { fence: 2, ..target.pace() };
        refusals.push(("the pace of an old learner", client.pace(pace).await.map(drop), failed));
        refusals.push(("the pace of nobody", client.pace(target.pace()).await.map(drop), invalid));
        let garbage = v1::RestoreRequest { run: header(target.run.clone()), data: vec![7; 1000].into() };
        let restored = client.restore(tokio_stream::iter([garbage])).await.map(drop);
        // Whatever it holds: a shard with files of its own takes nobody else's.
        refusals.push(("a snapshot of garbage", restored, failed));
        for (what, answer, code) in refusals {
            let status = answer.expect_err(what);
            assert_eq!(status.code(), code, "{what}: {status}");
        }
    });
    assert_eq!(target.inserted(), 0);
    assert!(target.refused() >= 15.0, "only {} are counted", target.refused());
}
