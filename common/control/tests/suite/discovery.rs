//! Lists of addresses that follow the cluster.

use std::time::Duration;

use common::config::ClusterConfig;
use control::{Control, Discovery, Memory, ShardEntry};
use tokio::time::{sleep, timeout};

use crate::world::{Process, World, ends};

#[tokio::test]
async fn addresses_that_are_settings_stay() {
    let control = Control::in_memory(&Memory::new());
    let config = ClusterConfig {
        shards: vec!["b:2".into(), "a:1".into(), "b:2".into()],
        learner: "l:1".into(),
        ..ClusterConfig::default()
    };
    assert_eq!(*Discovery::start(&config, &control).borrow(), ["a:1", "b:2"]);
    let learner = Discovery::learner(&config, &control).borrow().clone().unwrap();
    assert_eq!((learner.address.as_str(), learner.fence), ("l:1", 0));
}

#[tokio::test]
async fn a_host_name_stands_for_all_its_addresses() {
    let control = Control::in_memory(&Memory::new());
    let config = ClusterConfig { shards: vec!["dns:localhost:7410".into()], ..ClusterConfig::default() };
    let mut list = Discovery::start(&config, &control);
    let found = ends("an answer", list.wait_for(|list| !list.is_empty())).await.unwrap().clone();
    assert!(
        found.contains(&"127.0.0.1:7410".to_owned()) || found.contains(&"[::1]:7410".to_owned()),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_host_name_without_an_address_is_asked_again() {
    let control = Control::in_memory(&Memory::new());
    let config = ClusterConfig {
        shards: vec!["dns:nowhere.invalid:7410".into()],
        lease_seconds: 0.1,
        ..ClusterConfig::default()
    };
    let mut list = Discovery::start(&config, &control);
    assert!(timeout(Duration::from_millis(200), list.changed()).await.is_err(), "still waiting, not ended");
}

#[tokio::test(start_paused = true)]
async fn the_directory_is_followed_in_memory() {
    the_directory_is_followed(World::memory().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_is_followed_in_redis() {
    if let Some(world) = World::redis() {
        the_directory_is_followed(world).await;
    }
}

async fn the_directory_is_followed(mut world: World) {
    let lease = world.lease();
    let (learner, reader) = (world.process().await, world.process().await);
    let shards: [Process; 2] = [world.process().await, world.process().await];
    let config = world.config(1);
    let mut list = Discovery::start(&config, &reader.control);
    let mut leader = Discovery::learner(&config, &reader.control);
    assert!(list.borrow().is_empty() && leader.borrow().is_none());
    let leadership = learner.control.campaign("l:1", lease, 0).await.unwrap();
    let entry = |uid| ShardEntry { uid, address: format!("s:{uid}") };
    let one = shards[0].control.register_shard(entry(1), lease);
    let two = shards[1].control.register_shard(entry(2), lease);
    ends("both", list.wait_for(|list| *list == ["s:1", "s:2"])).await.unwrap();
    ends("the learner", leader.wait_for(Option::is_some)).await.unwrap();
    list.mark_unchanged();
    leader.mark_unchanged();
    // Away, back empty, emptied: nobody has left.
    let all = [&learner, &reader, &shards[0], &shards[1]];
    world.die(&all);
    sleep(lease * 2).await;
    world.come_back(&all);
    sleep(lease).await;
    world.wipe();
    sleep(lease * 2).await;
    assert!(!list.has_changed().unwrap() && !leader.has_changed().unwrap(), "{:?}", list.borrow());
    drop(two);
    ends("one", list.wait_for(|list| *list == ["s:1"])).await.unwrap();
    drop(one);
    sleep(lease * 3).await;
    assert_eq!(*list.borrow(), ["s:1"], "an empty list is not believed");
    let fence = leadership.fence();
    leadership.release().await;
    let next = learner.control.campaign("l:2", lease, 0).await.unwrap();
    let found = ends("the next", leader.wait_for(|leader| leader.as_ref().is_some_and(|l| l.fence > fence)));
    let found = found.await.unwrap().clone().unwrap();
    assert_eq!((found.address.as_str(), found.fence), ("l:2", next.fence()));
}
