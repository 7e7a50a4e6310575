//! The broadcast as a whole: publisher, service, in-memory pipe, the actors' subscription.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actor::weights::{Subscription, Version};
use node::{Bearer, Peer};
use proto::v1::{RunHeader, SubscribeRequest, weights_client::WeightsClient};
use tokio::runtime::Handle;
use tonic::transport::Channel;

use super::{Error, Publisher, WeightsService, serve_in_memory};

/// No wait of these tests is longer.
const DEADLINE: Duration = Duration::from_secs(20);

fn serve(publisher: &Publisher) -> Channel {
    let (channel, server) = serve_in_memory(WeightsService::new("run", 0, publisher));
    tokio::spawn(server);
    channel
}

fn subscribe(channel: &Channel) -> Subscription<Version> {
    Subscription::start(&Handle::current(), Bearer::none(channel.clone()), "run", "test", Ok::<_, Infallible>)
}

/// A version of more than three frames.
fn data(version: u64) -> Vec<u8> {
    (0..200_000_u64).map(|k| (k * version) as u8).collect()
}

async fn wait_for(subscription: &Subscription<Version>, version: u64) -> Arc<Version> {
    let mut feed = subscription.feed();
    let newer = feed.wait_for(|newest| newest.as_ref().is_some_and(|v| v.version >= version));
    tokio::time::timeout(DEADLINE, newer).await.unwrap().unwrap().clone().unwrap()
}

#[tokio::test]
async fn a_version_reaches_all_subscribers_and_a_late_one_at_once() {
    let publisher = Publisher::new();
    let channel = serve(&publisher);
    let early: Vec<_> = (0..8).map(|_| subscribe(&channel)).collect();
    publisher.publish(1, 10, data(1)).unwrap();
    for subscription in &early {
        assert_eq!(wait_for(subscription, 1).await.data, data(1));
    }
    let mut late = subscribe(&channel);
    let first = tokio::time::timeout(DEADLINE, late.first()).await.unwrap().unwrap();
    assert_eq!((first.version, first.learner_step), (1, 10));
    assert_eq!(publisher.n_actors(), 9);
    publisher.publish(7, 70, data(7)).unwrap();
    for subscription in early.iter().chain([&late]) {
        assert_eq!(wait_for(subscription, 7).await.data, data(7));
    }
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_newest_version_and_no_queue_of_old_ones() {
    let publisher = Publisher::new();
    let channel = serve(&publisher);
    let request = SubscribeRequest {
        run: Some(RunHeader::current("run")),
        subscriber: "slow".to_owned(),
        have_version: 0,
        format: 0,
        ..SubscribeRequest::default()
    };
    publisher.publish(1, 1, vec![1; 64 << 20]).unwrap();
    let mut frames = WeightsClient::new(channel).subscribe(request).await.unwrap().into_inner();
    let mut versions = vec![frames.message().await.unwrap().unwrap().version];
    // The first version is larger than every buffer on the way: the stream stands while these come and go.
    for version in 2..=50 {
        publisher.publish(version, version, data(version)).unwrap();
    }
    drop(publisher);
    while let Some(frame) = frames.message().await.unwrap() {
        versions.push(frame.version);
    }
    versions.dedup();
    assert_eq!(versions, [1, 50]);
}

#[tokio::test]
async fn the_end_of_the_publisher_ends_the_stream_after_its_last_version() {
    let publisher = Publisher::new();
    let channel = serve(&publisher);
    let subscription = subscribe(&channel);
    publisher.publish(3, 0, data(3)).unwrap();
    drop(publisher);
    let feed = subscription.feed();
    tokio::time::timeout(DEADLINE, subscription.end()).await.unwrap().unwrap();
    assert_eq!(feed.borrow().as_ref().unwrap().version, 3);
}

#[tokio::test]
async fn another_run_is_refused_by_name() {
    let publisher = Publisher::new();
    let channel = serve(&publisher);
    let stranger = Subscription::start(
        &Handle::current(),
        Bearer::none(channel),
        "other",
        "test",
        Ok::<Version, Infallible>,
    );
    let error = stranger.end().await.unwrap_err().to_string();
    assert!(error.contains("run_id") && error.contains("other"), "{error}");
}

#[tokio::test]
async fn bytes_that_cannot_be_decoded_end_the_subscription_with_the_version_and_the_reason() {
    let publisher = Publisher::new();
    publisher.publish(4, 0, data(4)).unwrap();
    let channel = serve(&publisher);
    let decode = |_: Version| Err::<(), _>("tensor `low.actor.bias` is missing");
    let mut subscription =
        Subscription::start(&Handle::current(), Bearer::none(channel), "run", "test", decode);
    assert!(subscription.first().await.is_none());
    let error = subscription.end().await.unwrap_err().to_string();
    assert!(error.contains("version 4") && error.contains("low.actor.bias"), "{error}");
}

#[test]
fn versions_only_rise_and_empty_ones_are_refused() {
    let publisher = Publisher::new();
    publisher.publish(2, 0, data(2)).unwrap();
    assert!(matches!(publisher.publish(2, 1, data(2)), Err(Error::NotNewer { found: 2, current: 2 })));
    assert!(matches!(publisher.publish(3, 1, Vec::new()), Err(Error::Size(0))));
    assert_eq!(publisher.version(), 2);
}

#[tokio::test]
async fn a_stream_without_versions_gives_signs_of_life_and_says_when_the_run_is_over() {
    let publisher = Publisher::new();
    publisher.publish(3, 30, data(3)).unwrap();
    let channel = serve(&publisher);
    let (_leader, peer) = tokio::sync::watch::channel(Some(Peer::within(Bearer::none(channel))));
    let learner = actor::weights::Learner {
        observes: true,
        peer,
        run_id: "run".to_owned(),
        subscriber: "test".to_owned(),
        form: common::config::WeightsForm::F32,
        items_sha256: String::new(),
    };
    let subscription = Subscription::keep(&Handle::current(), learner, Ok::<_, Infallible>);
    wait_for(&subscription, 3).await;
    assert_eq!((publisher.n_subscribers(), publisher.n_actors()), (1, 0), "it only looks on");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(subscription.freshness().age() < Duration::from_millis(1_200));
    publisher.finish();
    tokio::time::timeout(DEADLINE, subscription.end()).await.unwrap().unwrap();
}

#[test]
fn what_lay_in_a_socket_counts_from_when_it_was_sent() {
    let runtime = |workers| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
    };
    let (learners, actors) = (runtime(1), runtime(1));
    let publisher = Publisher::new();
    publisher.publish(1, 1, data(1)).unwrap();
    let channel = {
        let _guard = learners.enter();
        serve(&publisher)
    };
    let ours = Arc::new(std::sync::OnceLock::<actor::weights::Freshness>::new());
    let (freshness, (age, ages)) = (Arc::clone(&ours), std::sync::mpsc::channel());
    // The age of the version before, as the next one is found behind the signs of life.
    let decode = move |version: Version| {
        let known = freshness.get().map(actor::weights::Freshness::age);
        age.send((version.version, known)).map(|()| version)
    };
    let (_leader, peer) = tokio::sync::watch::channel(Some(Peer::within(Bearer::none(channel))));
    let learner = actor::weights::Learner {
        observes: false,
        peer,
        run_id: "run".to_owned(),
        subscriber: "test".to_owned(),
        form: common::config::WeightsForm::F32,
        items_sha256: String::new(),
    };
    let subscription = Subscription::keep(actors.handle(), learner, decode);
    ours.set(subscription.freshness()).unwrap();
    assert_eq!(ages.recv_timeout(DEADLINE).unwrap().0, 1);
    std::thread::sleep(Duration::from_millis(200));
    // The actor stands still, as one that was stopped: its only worker is busy.
    let (stopped, silence) = (std::time::Instant::now(), Duration::from_millis(3_400));
    actors.spawn(async move { std::thread::sleep(silence) });
    std::thread::sleep(Duration::from_millis(2_500));
    publisher.publish(2, 2, data(2)).unwrap();
    let (version, age) = ages.recv_timeout(DEADLINE).unwrap();
    // Signs of life of seconds 1 and 2 said that version 1 was the newest; what came later did not.
    let least = stopped.elapsed() - Duration::from_millis(2_500);
    assert_eq!(version, 2);
    assert!(age.unwrap() >= least, "{age:?} of at least {least:?}");
    // Reckoned from the request: by no more than its way too old.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(subscription.freshness().age() < Duration::from_millis(1_400));
}

#[tokio::test]
async fn weights_are_rounded_once_for_those_who_ask_for_half_the_bytes() {
    let model = common::config::Config::default().model;
    let whole = agent::Weights::random(&model, 1).to_safetensors();
    let publisher = Publisher::new();
    publisher.publish(1, 1, whole.clone()).unwrap();
    let request = |format: proto::v1::WeightsFormat| SubscribeRequest {
        run: Some(RunHeader::current("run")),
        subscriber: "test".to_owned(),
        have_version: 0,
        format: format.into(),
        ..SubscribeRequest::default()
    };
    let mut sizes = Vec::new();
    for format in [proto::v1::WeightsFormat::F32, proto::v1::WeightsFormat::Bf16] {
        let mut client = WeightsClient::new(serve(&publisher));
        let mut frames = client.subscribe(request(format)).await.unwrap().into_inner();
        sizes.push(frames.message().await.unwrap().unwrap().total_bytes);
    }
    assert_eq!(sizes[0], whole.len() as u64);
    assert!((0.45..0.6).contains(&(sizes[1] as f64 / sizes[0] as f64)), "{sizes:?}");
}
