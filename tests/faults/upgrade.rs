//! A rolling upgrade: processes are replaced one after the other under load; another schema version stays outside.

use std::time::Duration;

use proto::v1;
use rustix::process::Signal;
use system_tests::{
    client::{Learner, bare},
    process::Process,
    redis,
};
use tonic::Code;

use crate::{
    cluster::{goes_on, started},
    load::{self, Load},
};

/// Longest time for a process from SIGTERM to its end.
const DRAIN: Duration = Duration::from_secs(15);

/// As an orchestrator does it: SIGTERM, the end, another process in its place.
fn replace(process: &mut Process) {
    process.signal(Signal::TERM);
    let status = process.wait_for_end(DRAIN);
    // The learner says by 130 that it was interrupted.
    let ended_well = status.success() || status.code() == Some(130);
    assert!(ended_well, "{}: {status}\n{}", process.name(), process.log_since_start());
    process.start();
}

#[test]
fn shards_writers_and_the_learner_are_replaced_under_load_and_nothing_is_lost_or_doubled() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = load::cluster(2, true, |_| {});
    let mut load = Load::start(&mut cluster);
    for shard in 0..2 {
        replace(&mut cluster.shards[shard]);
        load.wait_for_progress(&cluster, &format!("writers go on after shard {shard} was replaced"));
    }
    load.kill_writer(&cluster);
    load.wait_for_progress(&cluster, "writers go on after one was replaced");
    let before = load.learner.stop();
    assert!(before.wrong.is_empty() && before.batches > 0, "{before:?}");
    load.learner = Learner::start(&load.client, &cluster.config, 2);
    load.wait_for_progress(&cluster, "writers go on under another learner");
    load.check(&cluster);
}

#[test]
fn training_goes_on_while_every_role_is_replaced_one_after_the_other() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = started(2, 2, 1);
    let mut last = goes_on(&cluster, 0, None, "training begins");
    for role in ["replay-0", "replay-1", "actor-0", "actor-1", "learner-0"] {
        let mut all = cluster.shards.iter_mut().chain(&mut cluster.actors).chain(&mut cluster.learners);
        replace(all.find(|process| process.name() == role).unwrap());
        let now = goes_on(&cluster, 0, Some(&last), &format!("training goes on after {role} was replaced"));
        assert!(now.version >= last.version, "{role}: version {} after {}", now.version, last.version);
        assert!(now.updates >= last.updates, "{role}: {} updates after {}", now.updates, last.updates);
        last = now;
    }
}

#[test]
fn a_writer_and_a_sampler_of_another_schema_version_are_refused_while_the_others_go_on() {
    let mut cluster = load::cluster(1, false, |_| {});
    let mut load = Load::start(&mut cluster);
    let newer = v1::RunHeader {
        schema_version: proto::SCHEMA_VERSION + 1,
        ..v1::RunHeader::current(&cluster.config.cluster.run)
    };
    let (info, sample, opened) = load.client.runtime.block_on(async {
        let mut client = bare(&cluster.addresses[0]);
        let run = Some(newer.clone());
        let info = client.info(v1::InfoRequest { run: run.clone(), ..Default::default() }).await.err();
        let sample = v1::SampleRequest { run: run.clone(), rows: 1, table: 1, ..Default::default() };
        let sample = client.sample(sample).await.err();
        let open = v1::AppendOpen { run, writer: 1 << 40, ..Default::default() };
        let open = v1::AppendRequest { kind: Some(v1::append_request::Kind::Open(open)) };
        let mut stream = client.append(tokio_stream::iter([open])).await.unwrap().into_inner();
        (info, sample, stream.message().await.err())
    });
    for status in [info, sample, opened] {
        let status = status.expect("another schema version is refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("schema"), "{status}");
    }
    load.wait_for_progress(&cluster, "the others go on");
    load.check(&cluster);
}
