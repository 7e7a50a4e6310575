//! From the learner's parameters to policies in use at many subscribers, over sockets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actor::weights::{Subscription, Version};
use agent::Policy;
use anyhow::{Context, Result};
use common::config::Config;
use learner::{
    engine::{Engine, torch::TorchEngine},
    weights::{Publisher, WeightsService},
    world::World,
};
use node::{Limits, Security, Server, Shutdown, connect};
use tokio::runtime::Runtime;
use tonic::service::Routes;

use crate::{Cells, percentiles};

const SUBSCRIBERS: [usize; 3] = [1, 16, 64];
const VERSIONS: u64 = 100;

/// All lines.
pub(crate) fn measure(loopback: f64) -> Result<Vec<Cells>> {
    let mut config = Config::default();
    config.train.device = "cpu".into();
    let world = World::open(&config)?;
    SUBSCRIBERS.into_iter().map(|subscribers| line(&config, &world, subscribers, loopback)).collect()
}

fn line(config: &Config, world: &World, subscribers: usize, loopback: f64) -> Result<Cells> {
    let engine = TorchEngine::new(config, world.items())?;
    let (runtime, publisher, security) = (Runtime::new()?, Publisher::new(), Security::default());
    let shutdown = Shutdown::new();
    let server = runtime.block_on(Server::bind("127.0.0.1:0", &security, Limits::default()))?;
    let address = server.address().to_string();
    let routes = Routes::new(WeightsService::new("bench", 0, &publisher).into_server());
    let serving = runtime.spawn(server.serve(routes, shutdown.clone(), Duration::from_secs(1)));
    publisher.publish(1, 0, engine.weights(false))?;
    let mut feeds = Vec::new();
    let mut subscriptions = Vec::new();
    for k in 0..subscribers {
        let _guard = runtime.enter();
        let (model, items) = (config.model.clone(), Arc::clone(world.items()));
        let decode = move |version: Version| {
            Policy::from_safetensors(&version.data, &model, Arc::clone(&items)).map(|_| version.version)
        };
        let connection = connect(&address, &security)?;
        let mut subscription =
            Subscription::start(runtime.handle(), connection, "bench", &format!("actor-{k}"), decode);
        runtime.block_on(subscription.first()).context("the first version arrives")?;
        feeds.push(subscription.feed());
        subscriptions.push(subscription);
    }
    let (mut latencies, mut size) = (Vec::new(), 0);
    for version in 2..2 + VERSIONS {
        let weights = engine.weights(false);
        size = weights.len();
        let begun = Instant::now();
        publisher.publish(version, 0, weights)?;
        runtime.block_on(async {
            for feed in &mut feeds {
                feed.wait_for(|newest| newest.as_deref() == Some(&version)).await?;
            }
            anyhow::Ok(())
        })?;
        latencies.push(begun.elapsed().as_secs_f64());
    }
    subscriptions.into_iter().for_each(Subscription::stop);
    shutdown.begin();
    runtime.block_on(serving)??;
    let [median, late] = percentiles(latencies);
    let rate = (size * subscribers) as f64 / (1e-3 * median);
    Ok(vec![
        format!("{subscribers}, {:.2} MB each", size as f64 / 1e6),
        format!("{median:.1} / {late:.1}"),
        format!("{:.0}", rate / 1e6),
        format!("{:.0}%", 100.0 * rate / loopback),
    ])
}
