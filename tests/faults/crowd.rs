//! Too many, too quiet, too long, all on one: idle connections, a hot shard, a soak.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use system_tests::{
    cluster::Cluster,
    ledger::Ledger,
    process::{Process, Usage, wait_until},
    redis,
    writers::{Plan, Threads},
};

use crate::{
    cluster::{goes_on, started_with},
    hostile::{Target, batch, open, records},
    load::{self, Load, RESUME},
};

#[test]
fn a_thousand_idle_connections_cost_nobody_anything_and_are_closed() {
    const CONNECTIONS: usize = 1_000;
    let target = Target::start();
    let append = |writer: u64| {
        let opening = proto::v1::AppendOpen { writer, ..target.open() };
        target.append(vec![open(opening), batch(1, records(2 * writer))]).1.unwrap();
    };
    append(1);
    let shard = &target.cluster.shards[0];
    let before = shard.usage();
    // The first of them is idle from here on; on a busy machine it takes seconds until the last is connected.
    let connecting = Instant::now();
    let mut idle: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(target.address()).unwrap()).collect();
    let folder = target.cluster.folder();
    wait_until("all are connected", RESUME, folder, || {
        // The first writer's connection, counted before, may be gone.
        (shard.usage().descriptors + 10 >= before.descriptors + CONNECTIONS as u64).then_some(())
    });
    let begun = Instant::now();
    append(2);
    assert!(begun.elapsed() < Duration::from_secs(2), "a writer was held up for {:?}", begun.elapsed());
    let after = shard.usage();
    // What a connection needs before it has said anything, and no more.
    assert!(after.resident_kib < before.resident_kib + 64 * CONNECTIONS as u64, "{before:?}, then {after:?}");
    assert!(after.threads <= before.threads + 1, "{before:?}, then {after:?}");
    let limit = node::Limits::default().idle;
    wait_until("the idle ones are closed", limit + RESUME, folder, || {
        (shard.usage().descriptors <= before.descriptors + 10).then_some(())
    });
    let open = connecting.elapsed();
    assert!(open + Duration::from_secs(1) > limit, "closed already after {open:?}");
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Closed: what the server said before, then the end, or a reset.
        let _reset = stream.read_to_end(&mut Vec::new());
    }
    append(3);
}

/// Steps acknowledged, by writer.
fn by_writer(load: &Load) -> BTreeMap<u64, u64> {
    let mut acknowledged = BTreeMap::new();
    for session in Ledger::read(&load.ledgers).sessions.values() {
        *acknowledged.entry(session.writer).or_default() += session.acknowledged;
    }
    acknowledged
}

#[test]
fn a_hot_shard_slows_its_writers_and_starves_nobody() {
    const HOT: std::ops::Range<u64> = 100..106;
    let mut cluster = load::cluster(2, false, |_| {});
    let mut load = Load::start(&mut cluster);
    let members = load.client.shards.members();
    let (hot, cold) = (members[0].uid, members[1].uid);
    drop(members);
    let inserted = |load: &Load, uid: u64| {
        let totals = load.learner.pacer.totals();
        totals.shards.iter().find(|shard| shard.uid == uid).map_or(0, |shard| shard.inserted)
    };
    let start = [hot, cold].map(|uid| inserted(&load, uid));
    let threads = Threads::start(&load.client, &Plan { only: Some(hot), ..Plan::new(&load.ledgers) }, HOT);
    sleep(Duration::from_secs(2));
    let before = by_writer(&load);
    wait_until("every writer goes on", RESUME, cluster.folder(), || {
        let now = by_writer(&load);
        let goes_on = |writer: &u64| {
            now.get(writer).copied().unwrap_or(0) > before.get(writer).copied().unwrap_or(0) + 50
        };
        (1..=3).chain(HOT).all(|writer| goes_on(&writer)).then_some(())
    });
    let stored = [(hot, start[0]), (cold, start[1])].map(|(uid, start)| inserted(&load, uid) - start);
    assert!(stored[0] > 2 * stored[1] && stored[1] > 0, "hot and cold have stored {stored:?}");
    threads.stop();
    load.check(&cluster);
}

/// Everybody's usage, by name.
fn usages(cluster: &Cluster) -> BTreeMap<String, Usage> {
    let all = cluster.shards.iter().chain(&cluster.actors).chain(&cluster.learners);
    all.map(|process: &Process| (process.name().to_owned(), process.usage())).collect()
}

/// Half a minute, or MAHRL_SOAK_MINUTES.
fn soak_time() -> Duration {
    match std::env::var("MAHRL_SOAK_MINUTES") {
        Ok(minutes) => Duration::from_secs_f64(60.0 * minutes.parse::<f64>().unwrap()),
        Err(_) => Duration::from_secs(30),
    }
}

#[test]
fn memory_descriptors_and_threads_of_a_running_cluster_stay_flat() {
    if !redis::is_installed() {
        return;
    }
    let time = soak_time();
    let cluster = started_with((2, 2, 1), |config| {
        // Full early: what is flat then must stay so.
        (config.replay.low.capacity, config.replay.high.capacity) = (1_000, 200);
        config.train.checkpoint_every = 500;
    });
    goes_on(&cluster, 0, None, "training begins");
    // A third to fill tables, pools and caches.
    sleep(time / 3);
    let before = usages(&cluster);
    let stands = goes_on(&cluster, 0, None, "training goes on");
    sleep(time * 2 / 3);
    let after = usages(&cluster);
    goes_on(&cluster, 0, Some(&stands), "training goes on");
    for (name, then) in before {
        let now = after[&name];
        let _ = writeln!(std::io::stderr(), "soak of {time:?}: {name} {then:?}, then {now:?}");
        let told = format!("{name}: {then:?}, then {now:?} after {time:?}");
        // Allocators and page caches of threads settle; a leak does not.
        assert!(now.resident_kib < then.resident_kib + then.resident_kib / 8 + (8 << 10), "{told}");
        assert!(now.descriptors <= then.descriptors + 4, "{told}");
        assert!(now.threads <= then.threads + 2, "{told}");
    }
}
