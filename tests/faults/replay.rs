//! Shards that die, stop and move under load; what they acknowledged is all there afterwards.

use std::{io::Write, thread::sleep, time::Duration};

use proto::v1;
use replay::Ratio;
use rustix::process::Signal;
use system_tests::{
    chance::Chance,
    client::bare,
    cluster::{Cluster, START},
    ledger::Ledger,
    process::wait_until,
    redis,
};

use crate::load::{self, Load, RESUME};

/// How long a shard that does not answer stays a member.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// Longest time for a shard from SIGTERM to its end.
const DRAIN: Duration = Duration::from_secs(15);

/// What happens to shards and writers in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillShard(usize),
    KillBothShards,
    KillWriter,
    KillShardAndWriter(usize),
    Stop(usize),
    Terminate(usize),
    ReplaceLearner,
    ReplaceLearnerAndKillShard(usize),
    KillRedis,
    KillRedisAndShard(usize),
}

const FAULTS: [Fault; 11] = [
    Fault::KillShard(0),
    Fault::KillBothShards,
    Fault::KillShardAndWriter(1),
    Fault::KillShard(1),
    Fault::Stop(0),
    Fault::KillWriter,
    Fault::Terminate(1),
    Fault::KillShardAndWriter(0),
    Fault::KillBothShards,
    Fault::ReplaceLearner,
    Fault::ReplaceLearnerAndKillShard(1),
];

/// Redis comes back empty and does not list shards for a moment.
const FAULTS_OF_REDIS: [Fault; 2] = [Fault::KillRedis, Fault::KillRedisAndShard(0)];

fn inflict(fault: Fault, cluster: &mut Cluster, load: &mut Load, chance: &mut Chance) {
    let away = chance.millis(0, 400);
    let kill = |cluster: &mut Cluster, shards: &[usize]| {
        shards.iter().for_each(|shard| cluster.shards[*shard].kill());
        sleep(away);
        shards.iter().for_each(|shard| cluster.shards[*shard].start());
    };
    match fault {
        Fault::KillShard(shard) => kill(cluster, &[shard]),
        Fault::KillBothShards => kill(cluster, &[0, 1]),
        Fault::KillWriter => load.kill_writer(cluster),
        Fault::KillShardAndWriter(shard) => {
            cluster.shards[shard].kill();
            load.kill_writer(cluster);
            cluster.shards[shard].start();
        }
        Fault::Stop(shard) => {
            cluster.shards[shard].signal(Signal::STOP);
            sleep(chance.millis(1_000, 3_000));
            cluster.shards[shard].signal(Signal::CONT);
        }
        Fault::Terminate(shard) => {
            cluster.shards[shard].signal(Signal::TERM);
            let status = cluster.shards[shard].wait_for_end(DRAIN);
            assert!(status.success(), "a shard that drains ends well: {status}\n{}", cluster.tails());
            cluster.shards[shard].start();
        }
        Fault::ReplaceLearner => load.replace_learner(cluster),
        Fault::ReplaceLearnerAndKillShard(shard) => {
            cluster.shards[shard].kill();
            cluster.shards[shard].start();
            load.replace_learner(cluster);
        }
        Fault::KillRedis | Fault::KillRedisAndShard(_) => {
            cluster.redis.as_mut().expect("there is a Redis").process.kill();
            if let Fault::KillRedisAndShard(shard) = fault {
                kill(cluster, &[shard]);
            }
            sleep(away);
            cluster.redis.as_mut().expect("there is a Redis").start_again();
        }
    }
}

/// Rounds of faults on two shards under load, then the checker.
fn rounds(name: &str, mut cluster: Cluster, mut chance: Chance, each: &[Fault]) {
    let mut load = Load::start(&mut cluster);
    let mut faults: Vec<Fault> =
        each.iter().copied().cycle().take(chance.rounds.next_multiple_of(each.len())).collect();
    faults.chunks_mut(each.len()).for_each(|faults| chance.shuffle(faults));
    let (mut longest, mut last_inserted) = (Duration::ZERO, 0);
    for (round, fault) in faults.into_iter().take(chance.rounds).enumerate() {
        sleep(chance.millis(50, 500));
        inflict(fault, &mut cluster, &mut load, &mut chance);
        let what = format!("writers go on after {fault:?} in round {round}");
        longest = longest.max(load.wait_for_progress(&cluster, &what));
        let inserted = load.learner.pacer.totals().env_steps;
        assert!(inserted >= last_inserted, "{inserted} steps after {last_inserted}: {what}");
        last_inserted = inserted;
    }
    let window = Ratio::for_updates(cluster.config.train.updates_per_step, 256, 1_024).error_window;
    let (report, seen) = load.check(&cluster);
    let _ = writeln!(
        std::io::stderr(),
        "{name}: {report:?}; writers back within {longest:?}; {} minibatches, the slowest after {:?}, balance {:.0} to \
         {:.0}",
        seen.batches,
        seen.longest,
        seen.least,
        seen.most
    );
    assert!(report.acknowledged > 0 && seen.batches > 0);
    // Of floats: a hundredth of a sample is rounding.
    let window = window + 0.01;
    assert!(
        seen.least >= -window && seen.most <= window,
        "the balance left its window of {window}: {seen:?}"
    );
}

#[test]
fn shards_and_writers_that_are_killed_lose_and_double_nothing() {
    let chance = Chance::of("replay", FAULTS.len());
    rounds("replay", load::cluster(2, false, |_| {}), chance, &FAULTS);
}

#[test]
fn shards_that_come_back_at_other_addresses_lose_and_double_nothing() {
    if !redis::is_installed() {
        return;
    }
    let each = [&FAULTS[..], &FAULTS_OF_REDIS].concat();
    let chance = Chance::of("replay-moving", each.len());
    rounds("replay-moving", load::cluster(2, true, |_| {}), chance, &each);
}

#[test]
fn a_redis_that_comes_back_empty_costs_neither_row_nor_session_and_doubles_none() {
    if !redis::is_installed() {
        return;
    }
    let chance = Chance::of("replay-redis", 2 * FAULTS_OF_REDIS.len());
    rounds("replay-redis", load::cluster(2, true, |_| {}), chance, &FAULTS_OF_REDIS);
}

#[test]
fn what_full_tables_evict_is_the_oldest_over_all_faults() {
    let mut cluster = load::cluster(2, false, |config| {
        (config.replay.low.capacity, config.replay.high.capacity) = (3_000, 600);
    });
    let mut load = Load::start(&mut cluster);
    let full = |load: &Load| (load.acknowledged() > 5_000).then_some(());
    wait_until("the tables are full", RESUME, cluster.folder(), || full(&load));
    let mut chance = Chance::of("replay-full", 3);
    for _ in 0..chance.rounds {
        inflict(Fault::KillBothShards, &mut cluster, &mut load, &mut chance);
        load.wait_for_progress(&cluster, "writers go on at full tables");
    }
    let (report, _) = load.check(&cluster);
    assert!(report.evicted > 1_000 && report.low <= 3_000, "{report:?}");
}

#[test]
fn a_shard_in_a_crash_loop_keeps_everything() {
    let mut cluster = load::cluster(1, false, |_| {});
    let mut load = Load::start(&mut cluster);
    let mut chance = Chance::of("replay-crash-loop", 10);
    for _ in 0..chance.rounds {
        // Sometimes before it serves, sometimes while writers come back.
        sleep(chance.millis(0, 150));
        cluster.shards[0].kill();
        cluster.shards[0].start();
    }
    load.wait_for_progress(&cluster, "writers go on after a crash loop");
    load.check(&cluster);
}

#[test]
fn a_shard_that_is_stopped_holds_nobody_else_up() {
    let mut cluster = load::cluster(2, false, |_| {});
    let mut load = Load::start(&mut cluster);
    cluster.shards[0].signal(Signal::STOP);
    // Sessions on the other shard go on: as long as the first is away, minibatches come from the second.
    let sampled = |load: &Load| load.learner.pacer.totals().sampled[1];
    wait_until("the learner notices", RESUME, cluster.folder(), || {
        load.learner.pacer.totals().shards.iter().any(|shard| !shard.up).then_some(())
    });
    let before = sampled(&load);
    wait_until("minibatches of the other shard", RESUME, cluster.folder(), || {
        (sampled(&load) > before + 64).then_some(())
    });
    cluster.shards[0].signal(Signal::CONT);
    load.wait_for_progress(&cluster, "all writers go on");
    load.check(&cluster);
}

#[test]
fn a_shard_that_was_given_up_and_comes_back_with_its_rows_loses_and_doubles_nothing() {
    let mut cluster = load::cluster(2, false, |_| {});
    let mut load = Load::start(&mut cluster);
    cluster.shards[0].signal(Signal::STOP);
    // Longer than anybody waits for a shard: its sessions begin anew on the other one.
    sleep(GONE_AFTER + Duration::from_secs(3));
    load.wait_for_progress(&cluster, "sessions go on at the other shard");
    cluster.shards[0].signal(Signal::CONT);
    wait_until("the shard is a member again", RESUME, cluster.folder(), || {
        (load.client.shards.members().iter().filter(|member| member.up).count() == 2).then_some(())
    });
    load.wait_for_progress(&cluster, "writers go on");
    load.check_beside_lost(&cluster);
}

#[test]
fn a_sampler_that_reads_nothing_holds_nobody_up_and_no_memory_gathers() {
    let mut cluster = load::cluster(1, false, |_| {});
    let mut load = Load::start(&mut cluster);
    let request = v1::SampleRequest {
        run: Some(v1::RunHeader::current(&cluster.config.cluster.run)),
        table: v1::Table::Low.into(),
        rows: 1_024,
        ..v1::SampleRequest::default()
    };
    // Answers of gigabytes, were they made before anybody reads them.
    let requests = tokio_stream::iter(std::iter::repeat_n(request, 100_000));
    let before = cluster.shards[0].usage().resident_kib / 1024;
    let address = &cluster.addresses[0];
    let stuck = load.client.runtime.block_on(async { bare(address).minibatches(requests).await }).unwrap();
    let sampled = load.learner.pacer.totals().sampled[1];
    for _ in 0..3 {
        sleep(Duration::from_secs(1));
        load.wait_for_progress(&cluster, "writers go on beside a sampler that reads nothing");
    }
    assert!(load.learner.pacer.totals().sampled[1] > sampled, "the learner gets no minibatches");
    let after = cluster.shards[0].usage().resident_kib / 1024;
    assert!(after < before + 64, "{before} MiB became {after}");
    drop(stuck);
    load.check(&cluster);
}

#[test]
fn memory_stays_within_its_budget_however_much_writers_bring() {
    const MIB: f64 = (1 << 20) as f64;
    let mut cluster = load::cluster(1, false, |config| config.replay.memory_mib = 1);
    let mut load = Load::start(&mut cluster);
    let metric = |name: &str| cluster.metric("replay-0", name);
    let resident = || cluster.shards[0].usage().resident_kib / 1024;
    let evicted = |least: f64| {
        wait_until("rows give way", 2 * RESUME, cluster.folder(), || {
            let bytes = metric("mahrl_replay_bytes")?;
            assert!(bytes <= MIB, "{bytes} bytes are held");
            metric("mahrl_replay_evicted_total{table=\"low\"}").filter(|evicted| *evicted > least)
        })
    };
    let first = evicted(100.0);
    // As much again as it may hold, and half of that.
    let (before, held) = (resident(), metric("mahrl_replay_size{table=\"low\"}").unwrap());
    evicted(first + 1.5 * held);
    let after = resident();
    assert!(after <= before + 16, "{before} MiB became {after}");
    let (report, _) = load.check(&cluster);
    assert!(report.evicted > 0, "{report:?}");
}

#[test]
fn a_shard_that_lost_its_disk_is_another_one_and_its_sessions_are_given_up() {
    let mut cluster = load::cluster(2, false, |_| {});
    let mut load = Load::start(&mut cluster);
    // Whether a session of this shard is in progress at the moment is chance: as often as it takes.
    for _ in 0..10 {
        cluster.shards[0].kill();
        std::fs::remove_dir_all(cluster.data_of(0)).unwrap();
        cluster.shards[0].start();
        load.wait_for_progress(&cluster, "writers begin other sessions");
        wait_until("the new shard is up", START, cluster.folder(), || {
            (load.client.shards.members().iter().filter(|member| member.up).count() == 2).then_some(())
        });
        load.wait_for_progress(&cluster, "writers go on");
        if !Ledger::read(&load.ledgers).lost().is_empty() {
            break;
        }
    }
    let seen = load.stop();
    assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    let mut ledger = Ledger::read(&load.ledgers);
    assert!(
        !ledger.lost().is_empty(),
        "sessions of the lost shard were given up, not carried on with a hole"
    );
    // Whole sessions of the lost shard are gone too: what is there must be whole all the same.
    for session in ledger.sessions.values_mut() {
        session.acknowledged = 0;
    }
    load.check_rows(&cluster, &ledger);
}
