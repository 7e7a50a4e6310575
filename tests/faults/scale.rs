//! Shards that become more and fewer under load.

use std::{process::Command, time::Duration};

use rustix::process::Signal;
use system_tests::{
    cluster::{Cluster, START},
    process::{Process, program, wait_until},
    redis,
};

use crate::load::{self, Load};

/// Longest time for a shard from SIGTERM to its end.
const DRAIN: Duration = Duration::from_secs(15);

/// Deals the contents out to `n` shards, while writers wait; how many low-level rows there were.
fn deal_out(cluster: &mut Cluster, n: usize) -> u64 {
    cluster.shards.iter_mut().for_each(|shard| shard.signal(Signal::TERM));
    for shard in &mut cluster.shards {
        let status = shard.wait_for_end(DRAIN);
        assert!(status.success(), "{status}: {}", shard.log_since_start());
    }
    let output = Command::new(program("replay"))
        .args(["reshard", "--shards", &n.to_string(), "--config"])
        .arg(cluster.config_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.set_shards(n);
    cluster.shards.iter_mut().for_each(Process::start);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = said.split_once(" shards with ").and_then(|(_, rest)| rest.split_once(' '));
    rows.and_then(|(rows, _)| rows.parse().ok()).unwrap_or_else(|| panic!("no number of rows: {said}"))
}

#[test]
fn one_shard_becomes_four_then_two_under_load_and_no_row_is_lost_or_doubled() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = load::cluster(1, true, |_| {});
    let mut load = Load::start(&mut cluster);
    for n in [4, 2] {
        let dealt = deal_out(&mut cluster, n);
        wait_until("all new shards are up, and no other", START, cluster.folder(), || {
            let members = load.client.shards.members();
            (members.len() == n && members.iter().all(|member| member.up)).then_some(())
        });
        let took = load.wait_for_progress(&cluster, &format!("writers go on with {n} shards"));
        assert!(took < Duration::from_secs(15), "writers go on with {n} shards only after {took:?}");
        // The learner counts only what it has not counted in the shards of before.
        wait_until("a step counts once over a reshard", START, cluster.folder(), || {
            let totals = load.learner.pacer.totals();
            let there: Vec<_> = totals.shards.iter().filter(|shard| !shard.gone).collect();
            let [held, stored] = there
                .iter()
                .fold([0, 0], |[held, stored], shard| [held + shard.sizes.low, stored + shard.inserted]);
            (there.len() == n && held == dealt + stored).then_some(())
        });
    }
    // Sessions in progress end when shards are dealt out.
    let (report, seen) = load.check_beside_lost(&cluster);
    assert!(seen.batches > 0, "{seen:#?}");
    assert!(report.acknowledged > 0 && report.evicted == 0, "{report:?}");
}
