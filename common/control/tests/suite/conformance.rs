//! What every store must do. Each case runs in memory, with paused time, and in Redis.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::config::ClusterConfig;
use control::{CheckpointEntry, Control, Error, LeaseView, RunRecord, ShardEntry, Standing};
use tokio::time::{Instant, sleep, timeout};

use crate::world::{World, ends, until};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(super::World::memory().unwrap()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(world) = super::World::redis() {
                    super::$name(world).await;
                }
            })*
        }
    };
}

cases!(
    records_come_back_as_written,
    the_catalogue_keeps_the_newest_and_forgets_an_abandoned_branch,
    a_lower_fence_publishes_nothing,
    two_campaigners_never_both_hold_and_fences_rise,
    a_cut_leader_goes_on_until_it_sees_its_successor,
    a_leader_outlives_its_store_and_writes_everything_again,
    a_wiped_store_is_filled_again_before_a_standby_may_lead,
    a_fence_never_goes_back_though_nobody_remembers,
    a_store_that_knows_less_than_the_bidder_is_given_a_lease,
    a_shard_is_listed_while_its_lease_holds,
    what_others_report_ends_a_leadership,
);

fn checkpoint(step: u64, fence: u64) -> CheckpointEntry {
    CheckpointEntry { step, updates: step / 2, path: format!("step-{step}"), sha256: "ab".into(), fence }
}

fn record() -> RunRecord {
    RunRecord::new("mahrl", "seed = 1\n".into())
}

async fn records_come_back_as_written(world: World) {
    let (one, two) = (world.process().await.control, world.process().await.control);
    one.ping().await.unwrap();
    assert_eq!(two.run().await.unwrap(), None);
    assert_eq!(two.leader().await.unwrap(), None);
    assert!(two.shards().await.unwrap().is_empty() && two.checkpoints().await.unwrap().is_empty());
    one.publish_run(record()).await.unwrap();
    assert_eq!(two.run().await.unwrap(), Some(record()));
    assert_eq!(record().sha256, "46545c629053298cb8b068758bd6cb0ba83f1533f50a054de71575535afea66b");
    for (process, n) in [(&one, 2), (&two, 3), (&one, 5)] {
        process.add("takeovers", n).await.unwrap();
    }
    two.add("joins", 1).await.unwrap();
    let counters = one.counters().await.unwrap();
    assert_eq!(counters.into_iter().collect::<Vec<_>>(), [("joins".into(), 1), ("takeovers".into(), 10)]);
}

async fn the_catalogue_keeps_the_newest_and_forgets_an_abandoned_branch(world: World) {
    let process = world.process().await;
    let steps = async || {
        let entries = process.control.checkpoints().await.unwrap();
        entries.iter().map(|entry| (entry.step, entry.fence)).collect::<Vec<_>>()
    };
    for step in [100, 900, 1_000, 1_100] {
        process.control.publish_checkpoint(checkpoint(step, 1), 3).await.unwrap();
    }
    process.control.publish_checkpoint(checkpoint(1_100, 1), 3).await.unwrap();
    assert_eq!(steps().await, [(900, 1), (1_000, 1), (1_100, 1)]);
    process.control.publish_checkpoint(checkpoint(950, 2), 3).await.unwrap();
    assert_eq!(steps().await, [(900, 1), (950, 2)], "leader 2 went back to 900");
}

async fn a_lower_fence_publishes_nothing(world: World) {
    let process = world.process().await;
    let leadership = ends("the campaign", process.control.campaign("l:1", world.lease(), 7)).await.unwrap();
    let fence = leadership.fence();
    assert!(fence > 7);
    let refused = process.control.publish_checkpoint(checkpoint(5, fence - 1), 3).await;
    assert!(matches!(refused, Err(Error::Superseded { by, .. }) if by == fence), "{refused:?}");
    process.control.publish_checkpoint(checkpoint(5, fence), 3).await.unwrap();
    let absurd = process.control.campaign("l:1", world.lease(), u64::MAX).await;
    assert!(matches!(absurd, Err(Error::Fence { .. })), "{absurd:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_without_redis_leads_at_once() {
    let control = Control::open(&ClusterConfig::default()).unwrap();
    let (start, lease) = (Instant::now(), Duration::from_secs(5));
    let leadership = control.campaign("l:1", lease, 41).await.unwrap();
    assert_eq!((leadership.fence(), start.elapsed()), (42, Duration::ZERO));
    sleep(lease * 10).await;
    assert!(leadership.is_held());
}

/// Three processes lead in turn; every third time, the leader is cut off instead of giving back.
async fn two_campaigners_never_both_hold_and_fences_rise(world: World) {
    let lease = world.lease();
    let views: Arc<Mutex<Vec<LeaseView>>> = Arc::default();
    let seen = views.clone();
    let sampler = tokio::spawn(async move {
        loop {
            let held = seen.lock().unwrap().iter().filter(|view| view.is_held()).count();
            assert!(held <= 1, "{held} hold the lease");
            sleep(Duration::from_millis(1)).await;
        }
    });
    let campaigners: Vec<_> = (0..3).map(async |k| (k, world.process().await)).collect();
    let mut tasks = Vec::new();
    for campaigner in campaigners {
        let (k, process) = campaigner.await;
        let views = views.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..4_u64 {
                let leadership = process.control.campaign(&format!("l:{k}"), lease, 0).await.unwrap();
                {
                    let mut views = views.lock().unwrap();
                    let last = views.last().map_or(0, LeaseView::fence);
                    assert!(leadership.fence() > last, "{} after {last}", leadership.fence());
                    views.push(leadership.view());
                }
                sleep(lease / 8).await;
                if (round + k) % 3 == 0 {
                    process.cut();
                    let mut standing = leadership.view().watch();
                    standing.wait_for(|now| *now == Standing::Unconfirmed).await.unwrap();
                    assert!(!leadership.is_held());
                    process.heal();
                    drop(leadership);
                } else {
                    leadership.release().await;
                }
            }
        }));
    }
    for task in tasks {
        ends("the rounds", task).await.unwrap();
    }
    assert!(!sampler.is_finished(), "two held at once: {:?}", sampler.await);
    sampler.abort();
    assert_eq!(views.lock().unwrap().len(), 12);
}

async fn a_cut_leader_goes_on_until_it_sees_its_successor(world: World) {
    let (lease, slack) = (world.lease(), world.slack());
    let (old, new) = (world.process().await, world.process().await);
    let first = old.control.campaign("old:1", lease, 0).await.unwrap();
    let leader = new.control.leader().await.unwrap().unwrap();
    assert_eq!((leader.address.as_str(), leader.fence), ("old:1", first.fence()));
    let (start, standby) = (Instant::now(), new.control.clone());
    let standby = tokio::spawn(async move { standby.campaign("new:1", lease, 0).await.unwrap() });
    sleep(lease * 2).await;
    assert!(first.is_held() && !standby.is_finished(), "renewed leases do not end");
    let cut = Instant::now();
    old.cut();
    let second = ends("the standby", standby).await.unwrap();
    let took = cut.elapsed();
    assert!(took < lease + slack, "took over {took:?} after the cut, {:?} in all", start.elapsed());
    assert!(second.fence() > first.fence());
    assert_eq!(first.standing(), Standing::Unconfirmed);
    assert!(first.view().missed() > 0);
    old.heal();
    let over = ends("the old leader", first.view().over()).await;
    assert_eq!(over, Standing::Superseded { by: second.fence() });
    assert!(second.is_held() && !first.is_held() && first.view().is_over());
    let refused = old.control.publish_checkpoint(checkpoint(9, first.fence()), 3).await;
    assert!(matches!(refused, Err(Error::Superseded { .. })), "{refused:?}");
    drop(first);
    sleep(lease).await;
    assert!(second.is_held(), "an old lease that is given back is not the new one");
}

async fn a_leader_outlives_its_store_and_writes_everything_again(mut world: World) {
    let lease = world.lease();
    let (leader, standby, shard) = (world.process().await, world.process().await, world.process().await);
    let leadership = leader.control.campaign("l:1", lease, 0).await.unwrap();
    let fence = leadership.fence();
    leader.control.publish_run(record()).await.unwrap();
    leader.control.publish_checkpoint(checkpoint(10, fence), 3).await.unwrap();
    leader.control.add("updates", 4).await.unwrap();
    let entry = ShardEntry { uid: 7, address: "s:7".into() };
    let mut registration = shard.control.register_shard(entry.clone(), lease);
    ends("the first heartbeat", registration.written()).await;
    let second = standby.control.clone();
    let second = tokio::spawn(async move { second.campaign("l:2", lease, 0).await });
    // The standby has seen who leads.
    sleep(lease).await;
    world.die(&[&leader, &standby, &shard]);
    let mut standing = leadership.view().watch();
    ends("the lease", standing.wait_for(|now| *now == Standing::Unconfirmed)).await.unwrap();
    assert!(leader.control.run().await.is_err() && !leadership.view().is_over());
    // Published while nobody hears it.
    assert!(leader.control.publish_checkpoint(checkpoint(20, fence), 3).await.is_err());
    assert!(leader.control.add("updates", 1).await.is_err());
    world.come_back(&[&leader, &standby, &shard]);
    ends("the renewal", standing.wait_for(|now| *now == Standing::Held)).await.unwrap();
    let control = &standby.control;
    let found = ends("the leader", async {
        until("all is there again", async || {
            control.shards().await.is_ok_and(|shards| shards == [entry.clone()])
                && control.counters().await.is_ok_and(|counters| counters.get("updates") == Some(&5))
        })
        .await;
        control.leader().await.unwrap().unwrap()
    });
    assert_eq!(found.await.fence, fence);
    assert_eq!(control.run().await.unwrap(), Some(record()));
    let steps: Vec<u64> = control.checkpoints().await.unwrap().iter().map(|entry| entry.step).collect();
    assert_eq!(steps, [10, 20]);
    sleep(lease * 2).await;
    assert!(leadership.is_held() && !second.is_finished(), "the standby never led");
    second.abort();
}

async fn a_wiped_store_is_filled_again_before_a_standby_may_lead(world: World) {
    let lease = world.lease();
    let (leader, standby) = (world.process().await, world.process().await);
    let first = leader.control.campaign("l:1", lease, 0).await.unwrap();
    let (second, fence) = (standby.control.clone(), first.fence());
    let second = tokio::spawn(async move { second.campaign("l:2", lease, fence).await.unwrap() });
    for _ in 0..3 {
        world.wipe();
        sleep(lease).await;
        let found = standby.control.leader().await.unwrap().unwrap();
        assert_eq!(found.fence, first.fence());
    }
    assert!(first.is_held() && !second.is_finished());
    first.release().await;
    let second = ends("the standby", second).await.unwrap();
    assert!(second.fence() > fence, "{} after {fence}", second.fence());
}

async fn a_fence_never_goes_back_though_nobody_remembers(world: World) {
    let lease = world.lease();
    let (old, new) = (world.process().await, world.process().await);
    let first = old.control.campaign("l:1", lease, 0).await.unwrap();
    old.cut();
    world.wipe();
    let start = Instant::now();
    let second = ends("a newcomer", new.control.campaign("l:2", lease, 0)).await.unwrap();
    assert!(start.elapsed() < lease, "who knows of no leader waits for none");
    assert!(second.fence() > first.fence());
    old.heal();
    let over = ends("the old leader", first.view().over()).await;
    assert_eq!(over, Standing::Superseded { by: second.fence() });
    let fence = second.fence();
    second.release().await;
    world.wipe();
    let start = Instant::now();
    let third = ends("one who knows", new.control.campaign("l:3", lease, fence)).await.unwrap();
    assert!(third.fence() > fence && start.elapsed() >= lease, "an emptied store is given a lease");
}

async fn a_store_that_knows_less_than_the_bidder_is_given_a_lease(world: World) {
    let lease = world.lease();
    let process = world.process().await;
    let first = process.control.campaign("l:1", lease, 0).await.unwrap();
    let fence = first.fence();
    first.release().await;
    let second = timeout(lease, process.control.campaign("l:1", lease, fence)).await.unwrap().unwrap();
    assert!(second.fence() > fence, "it knows as much: at once");
    second.release().await;
    let (start, floor) = (Instant::now(), fence + 1_000_000_000);
    let third = ends("the wait", process.control.campaign("l:1", lease, floor)).await.unwrap();
    assert_eq!(third.fence(), floor + 1);
    assert!(start.elapsed() >= lease);
}

async fn a_shard_is_listed_while_its_lease_holds(world: World) {
    let (lease, slack) = (world.lease(), world.slack());
    let (one, two, reader) = (world.process().await, world.process().await, world.process().await);
    let uids = async || {
        let shards = reader.control.shards().await.unwrap();
        shards.iter().map(|shard| shard.uid).collect::<Vec<_>>()
    };
    let entry = |uid| ShardEntry { uid, address: format!("s:{uid}") };
    let mut late = two.control.register_shard(entry(u64::MAX), lease);
    let mut early = one.control.register_shard(entry(3), lease);
    ends("both", async { (early.written().await, late.written().await) }).await;
    sleep(lease * 2).await;
    assert_eq!(uids().await, [3, u64::MAX], "heartbeats keep them");
    early.deregister().await;
    assert_eq!(uids().await, [u64::MAX]);
    let cut = Instant::now();
    two.cut();
    until("its lease is over", async || uids().await.is_empty()).await;
    assert!(cut.elapsed() > lease / 3 && cut.elapsed() < lease + slack, "{:?}", cut.elapsed());
    two.heal();
    until("it is back", async || uids().await == [u64::MAX]).await;
    drop(late);
    until("it has left", async || uids().await.is_empty()).await;
}

async fn what_others_report_ends_a_leadership(world: World) {
    let (lease, process) = (world.lease(), world.process().await);
    let leadership = process.control.campaign("l:1", lease, 0).await.unwrap();
    leadership.view().report(leadership.fence());
    assert!(leadership.is_held(), "its own token is no news");
    leadership.view().report(leadership.fence() + 1);
    assert_eq!(leadership.standing(), Standing::Superseded { by: leadership.fence() + 1 });
    sleep(lease + world.slack()).await;
    assert_eq!(process.control.leader().await.unwrap(), None, "it renews no more");
}
