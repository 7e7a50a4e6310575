//! The broadcast of the weights over real sockets: actors that were stopped, subscribers that do not read.

use std::{thread::sleep, time::Duration};

use proto::v1::{RunHeader, SubscribeRequest, WeightsFrame, weights_client::WeightsClient};
use rustix::process::Signal;
use system_tests::{
    cluster::{Cluster, START},
    process::{Process, wait_until},
};
use tonic::{Streaming, transport::Endpoint};

/// Bound on the age of the weights: the upper end of a bucket of the exported ages.
const LIMIT: u64 = 3;
/// Choices that are to become too old, of goals and of items.
const STALE: f64 = 3.0;
/// Longest time until an actor steps again.
const RESUME: Duration = Duration::from_secs(30);

fn started(mut cluster: Cluster, n_actors: usize) -> Cluster {
    for _ in 0..n_actors {
        cluster.add_actor(&[]);
    }
    cluster.add_learner();
    let Cluster { shards, learners, actors, .. } = &mut cluster;
    shards.iter_mut().chain(learners).chain(actors).for_each(Process::start);
    rises_by(&cluster, "learner-0", "mahrl_weights_version", 3.0, START);
    cluster
}

/// Waits until a metric is so much higher than now; how high.
fn rises_by(cluster: &Cluster, process: &str, metric: &str, by: f64, deadline: Duration) -> f64 {
    let value = || cluster.metric(process, metric);
    let mut before = value();
    wait_until(&format!("{metric} of {process} rises by {by}"), deadline, cluster.folder(), || {
        let now = value()?;
        // A process that is not ready yet exports nothing.
        let before = *before.get_or_insert(0.0);
        (now >= before + by).then_some(now)
    })
}

#[test]
fn an_actor_that_was_stopped_hands_over_nothing_that_was_chosen_by_weights_over_the_limit() {
    let mut cluster = started(
        Cluster::new(1, false, |config| {
            config.actor.max_staleness_seconds = LIMIT as f64;
            // Rollouts are never held: they are stopped in the middle of a step.
            config.train.updates_per_step = 0.0002;
        }),
        2,
    );
    let stale = |cluster: &Cluster| -> f64 {
        let of = |stage| format!("mahrl_actor_stale_choices_total{{stage=\"{stage}\"}}");
        ["choice", "answer"].map(|stage| cluster.metric("actor-0", &of(stage)).unwrap_or(0.0)).iter().sum()
    };
    for _ in 0..12 {
        rises_by(&cluster, "actor-0", "mahrl_actor_steps_total", 100.0, RESUME);
        cluster.actors[0].signal(Signal::STOP);
        sleep(Duration::from_millis(1_000 * LIMIT + 700));
        cluster.actors[0].signal(Signal::CONT);
        rises_by(&cluster, "actor-0", "mahrl_actor_steps_total", 100.0, RESUME);
        if stale(&cluster) >= STALE {
            break;
        }
    }
    assert!(stale(&cluster) > 0.0, "it never was in the middle of a step\n{}", cluster.tails());
    let ages = cluster.metrics("actor-0");
    let steps = |key: &str| ages[&format!("mahrl_actor_policy_age_seconds_{key}")];
    let within = steps(&format!("bucket{{le=\"{LIMIT}\"}}"));
    assert!(within > 0.0);
    assert_eq!(steps("count") - within, 0.0, "steps by weights over the limit");
    assert!(ages["mahrl_actor_weights_delay_seconds_count"] > 0.0);
    let shard = cluster.metrics("replay-0");
    assert!(shard["mahrl_replay_inserted_age_versions_count"] > 0.0, "{shard:?}");
    let learner = cluster.metrics("learner-0");
    assert!(learner["mahrl_learner_sampled_age_versions_count"] > 0.0, "{learner:?}");
}

/// A stream whose client grants the server 64 KiB at a time, and only while it is read.
async fn subscribe(cluster: &Cluster) -> Streaming<WeightsFrame> {
    let address = format!("http://{}", cluster.config.cluster.learner);
    let endpoint = Endpoint::from_shared(address).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let request = SubscribeRequest {
        run: Some(RunHeader::current(&cluster.config.cluster.run)),
        subscriber: "slow".to_owned(),
        have_version: 0,
        format: 0,
        observer: true,
        ..SubscribeRequest::default()
    };
    let mut client = WeightsClient::new(endpoint.connect().await.unwrap());
    client.subscribe(request).await.unwrap().into_inner()
}

/// Versions published while the subscribers do not read.
const VERSIONS: f64 = 60.0;
/// Subscribers that do not read.
const SLOW: usize = 4;

#[test]
fn subscribers_that_do_not_read_hold_nobody_up_take_no_memory_and_then_get_the_newest_version() {
    let cluster = started(
        Cluster::new(1, false, |config| {
            (config.model.encoder_width, config.model.head_width) = (128, 256);
            config.train.publish_every = 1;
        }),
        1,
    );
    let published = |by| rises_by(&cluster, "learner-0", "mahrl_weights_version", by, 4 * RESUME);
    // Buffers and allocators have what they need.
    published(VERSIONS / 2.0);
    let before = cluster.learners[0].usage().resident_kib;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut streams: Vec<_> = (0..SLOW).map(|_| runtime.block_on(subscribe(&cluster))).collect();
    let mut begun = Vec::new();
    let mut bytes = 0;
    for stream in &mut streams {
        let frame = runtime.block_on(stream.message()).unwrap().unwrap();
        begun.push(frame.version);
        bytes = frame.total_bytes;
    }
    let newest = published(VERSIONS) as u64;
    let grown = cluster.learners[0].usage().resident_kib.saturating_sub(before);
    let queued = VERSIONS as u64 * SLOW as u64 * bytes / 1024;
    println!("versions of {bytes} bytes; {grown} KiB more, queues of all would be {queued} KiB");
    assert!(bytes > 4 * 65_536, "a version must not fit into what is under way: {bytes} bytes");
    assert!(grown < queued / 4, "{grown} KiB more, queues would be {queued} KiB");
    for (stream, first) in streams.iter_mut().zip(begun) {
        let next = runtime.block_on(async {
            loop {
                let frame = stream.message().await.unwrap().unwrap();
                if frame.version != first {
                    break frame.version;
                }
            }
        });
        assert!(next >= newest, "after version {first} came {next}, though {newest} was out");
    }
}
