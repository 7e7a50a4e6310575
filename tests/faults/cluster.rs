//! Whole clusters: training goes on by itself whoever dies, and never goes back behind its last checkpoint.

use std::{
    collections::BTreeMap,
    io::Write,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::load::Beside;
use common::config::{Config, GoalConditioning};
use rustix::process::Signal;
use system_tests::{
    chance::Chance,
    client::Client,
    cluster::{Cluster, START},
    process::{Process, wait_until},
    redis,
};

/// Longest time until training goes on after the last restart.
const RESUME: Duration = Duration::from_secs(30);
/// What a busy machine may take from the end of a process until its parent hears of it.
const LATE: Duration = Duration::from_millis(500);
/// Environment steps and updates that count as training going on.
const GOES_ON: (f64, f64) = (50.0, 5.0);

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Actor,
    Shard,
    Learner,
    Redis,
}

use Victim::{Actor, Learner, Redis, Shard};

/// Everybody: all processes of the cluster.
const ALL: &[Victim] = &[Redis, Shard, Learner, Actor];

/// Each alone and every pair.
const VICTIMS: [&[Victim]; 10] = [
    &[Actor],
    &[Shard],
    &[Learner],
    &[Redis],
    &[Actor, Shard],
    &[Actor, Learner],
    &[Actor, Redis],
    &[Shard, Learner],
    &[Shard, Redis],
    &[Learner, Redis],
];

/// How far the run is.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) updates: f64,
    env_steps: f64,
    pub(crate) version: f64,
}

/// What the learner of this number exports while it leads.
fn standing(cluster: &Cluster, learner: usize) -> Option<Standing> {
    let metrics = cluster.metrics(&format!("learner-{learner}"));
    let value = |name: &str| metrics.get(name).copied();
    (value("mahrl_learner_leader") == Some(1.0)).then_some(())?;
    Some(Standing {
        updates: value("mahrl_learner_step")?,
        env_steps: value("mahrl_learner_env_steps")?,
        version: value("mahrl_weights_version")?,
    })
}

pub(crate) fn started(n_shards: usize, n_actors: usize, n_learners: usize) -> Cluster {
    started_with((n_shards, n_actors, n_learners), |_| {})
}

/// Shards, actors, learners.
pub(crate) fn started_with(
    (n_shards, n_actors, n_learners): (usize, usize, usize),
    change: impl FnOnce(&mut Config),
) -> Cluster {
    let mut cluster = Cluster::new(n_shards, true, change);
    for _ in 0..n_actors {
        cluster.add_actor(&[]);
    }
    for _ in 0..n_learners {
        cluster.add_learner();
    }
    cluster.shards.iter_mut().for_each(Process::start);
    cluster.learners[0].start();
    wait_until("the first learner leads", START, cluster.folder(), || standing(&cluster, 0));
    cluster.actors.iter_mut().for_each(Process::start);
    cluster.learners[1..].iter_mut().for_each(Process::start);
    cluster
}

/// Without a high level its table stays empty, and nobody may wait for it; actors that ask a critic must be sent one.
#[test]
fn clusters_without_a_high_level_and_without_critics_in_the_rollouts_train() {
    let low_alone: fn(&mut Config) = |config| {
        (config.model.n_goals, config.model.goal_conditioning) = (0, GoalConditioning::Reward);
    };
    // `best`, where these settings start from, has critics in its rollouts.
    let mapped: fn(&mut Config) = |config| config.model.rescored_items = 0;
    for change in [low_alone, mapped] {
        let mut cluster = Cluster::new(2, false, change);
        cluster.add_actor(&[]);
        cluster.add_learner();
        cluster.shards.iter_mut().for_each(Process::start);
        cluster.learners[0].start();
        cluster.actors[0].start();
        goes_on(&cluster, 0, None, "training begins");
    }
}

/// Steps of the actors that answer, each since it was started.
fn actor_steps(cluster: &Cluster) -> f64 {
    let steps = |k| cluster.metric(&format!("actor-{k}"), "mahrl_actor_steps_total");
    (0..cluster.actors.len()).filter_map(steps).sum()
}

/// Waits until the learner has gone on from `before`, and actors with it; where it is then.
pub(crate) fn goes_on(cluster: &Cluster, learner: usize, before: Option<&Standing>, what: &str) -> Standing {
    let first = wait_until(what, RESUME, cluster.folder(), || standing(cluster, learner));
    let before = before.map_or(first.env_steps, |before| before.env_steps.max(first.env_steps));
    let begun = actor_steps(cluster);
    wait_until(what, RESUME, cluster.folder(), || {
        let now = standing(cluster, learner)?;
        let learns = now.updates >= first.updates + GOES_ON.1 && now.env_steps >= before + GOES_ON.0;
        (learns && actor_steps(cluster) >= begun + GOES_ON.0).then_some(now)
    })
}

/// Updates of the newest checkpoint. Read without the learner's own code, which would link libtorch: a length, then JSON
/// whose metadata is JSON again.
fn checkpoint(cluster: &Cluster) -> Option<u64> {
    let folder = std::fs::read_dir(cluster.run_dir().join("checkpoints")).ok()?;
    let mut paths: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    // It may have been replaced by a newer one in the meantime.
    let bytes = std::fs::read(paths.last()?).ok()?;
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?) as usize;
    let header: serde_json::Value = serde_json::from_slice(bytes.get(8..8 + length)?).ok()?;
    let entry: serde_json::Value =
        serde_json::from_str(header["__metadata__"]["checkpoint"].as_str()?).ok()?;
    entry["updates"].as_str()?.parse().ok()
}

/// Steps inserted, by shard.
fn inserted(client: &Client) -> BTreeMap<u64, u64> {
    let infos = client.runtime.block_on(client.shards.info()).unwrap_or_default();
    infos.into_iter().map(|info| (info.shard_uid, info.low.map_or(0, |low| low.inserted))).collect()
}

fn process(cluster: &mut Cluster, victim: Victim, k: usize) -> &mut Process {
    match victim {
        Actor => &mut cluster.actors[k],
        Shard => &mut cluster.shards[k],
        Learner => &mut cluster.learners[0],
        Redis => &mut cluster.redis.as_mut().unwrap().process,
    }
}

#[test]
fn training_goes_on_by_itself_whoever_is_killed() {
    if redis::is_installed() {
        // Nothing gives way: every row is looked for in the end.
        let roomy = |config: &mut Config| {
            (config.replay.low.capacity, config.replay.high.capacity) = (4_000_000, 2_000_000);
        };
        rounds("cluster", VICTIMS.len(), started_with((2, 2, 1), roomy), true);
    }
}

#[test]
fn training_goes_on_with_shards_in_memory_only_whoever_is_killed() {
    if redis::is_installed() {
        let cluster = started_with((2, 2, 1), |config| config.replay.data_dir.clear());
        rounds("cluster-in-memory", 3, cluster, false);
    }
}

/// Kills and starts again; `keeps`: shards have what they had, every acknowledged row of writers beside the actors too.
fn rounds(name: &str, rounds: usize, mut cluster: Cluster, keeps: bool) {
    let mut chance = Chance::of(name, rounds);
    let client = Client::open(&cluster.config);
    let beside = keeps.then(|| Beside::start(&client, &cluster));
    let mut last = goes_on(&cluster, 0, None, "training begins");
    let mut rounds: Vec<&[Victim]> =
        VICTIMS.into_iter().cycle().take(chance.rounds.next_multiple_of(10)).collect();
    rounds.chunks_mut(VICTIMS.len()).for_each(|rounds| chance.shuffle(rounds));
    rounds.truncate(chance.rounds);
    rounds.extend(vec![ALL; chance.rounds.div_ceil(10)]);
    let (mut longest, mut stored) = (Duration::ZERO, inserted(&client));
    for (round, victims) in rounds.into_iter().enumerate() {
        sleep(chance.millis(100, 1_500));
        let k = chance.below(2);
        let saved = checkpoint(&cluster).unwrap_or(0);
        last = standing(&cluster, 0).unwrap_or(last);
        let killed: Vec<(Victim, usize)> = match victims == ALL {
            // All shards and all actors, not one of each.
            true => [(Redis, 0), (Shard, 0), (Shard, 1), (Learner, 0), (Actor, 0), (Actor, 1)].into(),
            false => victims.iter().map(|victim| (*victim, k)).collect(),
        };
        killed.iter().for_each(|(victim, k)| process(&mut cluster, *victim, *k).kill());
        sleep(chance.millis(0, 1_000));
        let begun = Instant::now();
        for (victim, k) in killed {
            match victim {
                Redis => cluster.redis.as_mut().unwrap().start_again(),
                other => process(&mut cluster, other, k).start(),
            }
        }
        let what = format!("training goes on after kill -9 of {victims:?} {k} in round {round}");
        let now = goes_on(&cluster, 0, Some(&last), &what);
        let took = begun.elapsed();
        let _ = writeln!(std::io::stderr(), "{name}: round {round}, {victims:?} {k}: back within {took:?}");
        assert!(took <= RESUME, "{what}: only after {took:?}\n{}", cluster.tails());
        longest = longest.max(took);
        assert!(now.updates >= saved as f64, "{what}: {} updates, {saved} were saved", now.updates);
        assert!(now.version >= last.version, "{what}: version {} after {}", now.version, last.version);
        let infos = wait_until("all shards answer", RESUME, cluster.folder(), || {
            Some(inserted(&client)).filter(|infos| infos.len() == 2)
        });
        for (uid, before) in &stored {
            let after = infos.get(uid).copied().unwrap_or(0);
            assert!(!keeps || after >= *before, "{what}: shard {uid} had stored {before} steps, now {after}");
        }
        (stored, last) = (infos, now);
    }
    let _ = writeln!(std::io::stderr(), "{name}: training back within {longest:?}; {last:?}");
    for process in cluster.actors.iter_mut().chain(&mut cluster.learners).chain(&mut cluster.shards) {
        assert!(process.runs(), "{} has ended by itself\n{}", process.name(), process.log());
    }
    if let Some(beside) = beside {
        let report = beside.check(&mut cluster);
        let _ = writeln!(std::io::stderr(), "{name}: {report:?}");
        assert!(report.acknowledged > 100, "{report:?}");
    }
}

/// The fencing token in numbers.json.
fn fence(cluster: &Cluster) -> u64 {
    let text = std::fs::read_to_string(cluster.run_dir().join("numbers.json")).unwrap_or_default();
    let numbers: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    numbers["fence"].as_u64().unwrap_or(0)
}

/// Environment steps and updates of the lines of metrics.jsonl, which must be whole.
fn recorded(cluster: &Cluster) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(cluster.run_dir().join("metrics.jsonl")).unwrap_or_default();
    let line = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let find = |key: &str| record[key].as_u64();
        Some((find("env_steps")?, find("updates")?))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn a_standby_takes_over_and_a_leader_that_was_stopped_is_fenced() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = started(1, 1, 2);
    let first = goes_on(&cluster, 0, None, "the first learner trains");
    let mut fences = vec![fence(&cluster)];
    assert_eq!(standing(&cluster, 1).map(|s| s.updates), None, "the second stands by");
    cluster.learners[0].kill();
    let second = goes_on(&cluster, 1, Some(&first), "the standby takes over after kill -9");
    assert!(second.version > first.version);
    fences.push(fence(&cluster));
    // The first comes back and stands by; then the one that leads is stopped for longer than its lease.
    cluster.learners[0].start();
    let ready = "waiting for the lead";
    wait_until("the first stands by", START, cluster.folder(), || {
        cluster.learners[0].log_since_start().contains(ready).then_some(())
    });
    cluster.learners[1].signal(Signal::STOP);
    let third = goes_on(&cluster, 0, Some(&second), "the standby takes over from one that was stopped");
    assert!(third.version > second.version);
    fences.push(fence(&cluster));
    cluster.learners[1].signal(Signal::CONT);
    let status = cluster.learners[1].wait_for_end(RESUME);
    let said = cluster.learners[1].log_since_start();
    assert!(!status.success(), "a learner that was replaced fails: {said}");
    assert!(said.contains("leads this run") || said.contains("has taken over"), "{said}");
    let last = goes_on(&cluster, 0, Some(&third), "training goes on under the one that leads");
    assert!(last.version > third.version);
    fences.push(fence(&cluster));
    assert!(fences[..3].windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
    assert_eq!(fences[2], fences[3], "the zombie changed numbers.json");
    let recorded = recorded(&cluster);
    assert!(recorded.windows(2).all(|pair| pair[0] <= pair[1]), "two learners wrote: {recorded:?}");
}

#[test]
fn an_actor_of_other_settings_is_refused_with_the_difference_named() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = started(1, 0, 1);
    let other = cluster.add_actor(&["--set", "algorithm.discount=0.123"]);
    cluster.actors[other].start();
    let status = cluster.actors[other].wait_for_end(RESUME);
    let said = cluster.actors[other].log();
    assert!(!status.success());
    assert!(said.contains("algorithm.discount") && said.contains("0.123"), "{said}");
    // What may differ between the processes of a run may differ.
    let same = cluster.add_actor(&["--threads", "2"]);
    cluster.actors[same].start();
    goes_on(&cluster, 0, None, "an actor with more threads trains");
}

#[test]
fn training_goes_on_without_redis_and_an_actor_joins_when_it_is_back_empty() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = started(1, 1, 1);
    let mut last = goes_on(&cluster, 0, None, "training begins");
    cluster.redis.as_mut().unwrap().process.kill();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        last = goes_on(&cluster, 0, Some(&last), "training goes on without Redis");
    }
    cluster.redis.as_mut().unwrap().start_again();
    let new = cluster.add_actor(&[]);
    cluster.actors[new].start();
    wait_until("the new actor steps", RESUME, cluster.folder(), || {
        cluster.metric(&format!("actor-{new}"), "mahrl_actor_steps_total").filter(|steps| *steps > 0.0)
    });
    let redis = cluster.redis.as_ref().unwrap();
    for key in ["run", "leader", "fence", "shards"] {
        wait_until(&format!("{key} is published again"), RESUME, cluster.folder(), || {
            redis
                .command(&format!("EXISTS mahrl:{}:{key}", cluster.config.cluster.run))
                .starts_with(":1")
                .then_some(())
        });
    }
}

#[test]
fn sigterm_ends_every_role_in_time_and_the_run_goes_on_where_it_was() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = started(1, 1, 1);
    let before = goes_on(&cluster, 0, None, "training begins");
    let grace = Duration::from_secs_f64(cluster.config.cluster.grace_seconds);
    let Cluster { actors, learners, shards, .. } = &mut cluster;
    for process in actors.iter_mut().chain(learners).chain(shards) {
        process.signal(Signal::TERM);
        let status = process.wait_for_end(grace);
        // The learner says by 130 that it was interrupted.
        assert!(
            status.success() || status.code() == Some(130),
            "{}: {status}\n{}",
            process.name(),
            process.log_since_start()
        );
    }
    let saved = checkpoint(&cluster).expect("the learner leaves a checkpoint");
    assert!(saved as f64 >= before.updates, "{saved} updates were saved, {} done", before.updates);
    cluster.shards[0].start();
    cluster.learners[0].start();
    cluster.actors[0].start();
    let after = goes_on(&cluster, 0, Some(&before), "training goes on");
    assert!(after.updates >= saved as f64);
}

#[test]
fn sigterm_ends_every_role_in_time_when_nobody_else_answers() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = started_with((2, 1, 1), |config| config.cluster.grace_seconds = 4.0);
    goes_on(&cluster, 0, None, "training begins");
    cluster.redis.as_mut().unwrap().process.signal(Signal::STOP);
    cluster.shards[1].signal(Signal::STOP);
    // Rollouts wait for the shard, minibatches come from the other one.
    sleep(Duration::from_secs(1));
    let grace = Duration::from_secs_f64(cluster.config.cluster.grace_seconds);
    let Cluster { actors, learners, shards, .. } = &mut cluster;
    let begun = Instant::now();
    let mut all = [&mut actors[0], &mut learners[0], &mut shards[0]];
    all.iter_mut().for_each(|process| process.signal(Signal::TERM));
    for process in all {
        let status = process.wait_for_end(grace.saturating_sub(begun.elapsed()) + LATE);
        let took = begun.elapsed();
        let _ = writeln!(std::io::stderr(), "{} ended by {status} within {took:?}", process.name());
        assert!(took <= grace + LATE, "{} took {took:?}\n{}", process.name(), process.log_since_start());
    }
    assert!(checkpoint(&cluster).is_some(), "the learner leaves a checkpoint");
}
