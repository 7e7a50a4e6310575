//! Shards that become more and fewer under load.

use std::{collections::BTreeSet, process::Command, time::Duration};

use rustix::process::Signal;
use system_tests::{
    cluster::{Cluster, START},
    identity,
    ledger::Ledger,
    process::{Process, program, wait_until},
    redis,
};

use crate::load::{self, Load};

/// Longest time for a shard from SIGTERM to its end.
const DRAIN: Duration = Duration::from_secs(15);
/// Longer than writers go on before they flush.
const SETTLE: Duration = Duration::from_millis(500);

/// Deals the contents out to `n` shards, while writers wait; what was acknowledged before.
fn deal_out(cluster: &mut Cluster, load: &Load, n: usize) -> Ledger {
    cluster.shards.iter_mut().for_each(|shard| shard.signal(Signal::TERM));
    for shard in &mut cluster.shards {
        let status = shard.wait_for_end(DRAIN);
        assert!(status.success(), "{status}: {}", shard.log_since_start());
    }
    // Until writers wait for shards that are gone.
    std::thread::sleep(SETTLE);
    let acknowledged = Ledger::read(&load.ledgers);
    let output = Command::new(program("replay"))
        .args(["reshard", "--shards", &n.to_string(), "--config"])
        .arg(cluster.config_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.set_shards(n);
    cluster.shards.iter_mut().for_each(Process::start);
    acknowledged
}

#[test]
fn one_shard_becomes_four_then_two_under_load_and_no_row_is_lost_or_doubled() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = load::cluster(1, true, |_| {});
    let mut load = Load::start(&mut cluster);
    let mut before = Vec::new();
    for n in [4, 2] {
        before.push(deal_out(&mut cluster, &load, n));
        wait_until("all new shards are up, and no other", START, cluster.folder(), || {
            let members = load.client.shards.members();
            (members.len() == n && members.iter().all(|member| member.up)).then_some(())
        });
        let took = load.wait_for_progress(&cluster, &format!("writers go on with {n} shards"));
        assert!(took < Duration::from_secs(15), "writers go on with {n} shards only after {took:?}");
    }
    let seen = load.stop();
    assert!(seen.wrong.is_empty() && seen.batches > 0, "{seen:#?}");
    let mut ledger = Ledger::read(&load.ledgers);
    assert!(!ledger.lost().is_empty(), "sessions in progress end when shards are dealt out");
    // A flush says nothing of what was under way when a shard went for good: what counts of sessions in progress is what was
    // acknowledged before.
    let mut ended = BTreeSet::new();
    for (number, session) in before.iter().flat_map(|before| &before.sessions) {
        if session.acknowledged < identity::length(*number) && ended.insert(*number) {
            let of_all = ledger.sessions.get_mut(number).expect("a ledger only grows");
            (of_all.acknowledged, of_all.lost) = (session.acknowledged, false);
        }
    }
    let report = load.check_rows(&cluster, &ledger);
    assert!(report.acknowledged > 0 && report.evicted == 0, "{report:?}");
}
