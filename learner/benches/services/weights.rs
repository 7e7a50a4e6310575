//! From the learner's parameters to policies in use at many subscribers, over sockets.
//!
//! The subscribers decode in this process, on the cores that also serve: with more of them than cores their decoding is most
//! of the time. A version is published once all use the one before. Serialising it is not in the time.

use std::time::Instant;

use anyhow::Result;
use common::config::{Config, Preset};
use learner::{
    engine::{Engine, torch::TorchEngine},
    world::World,
};

use crate::{
    Cells, percentiles,
    subscribers::{Broadcast, Subscribers},
    verdict,
};

const SUBSCRIBERS: [usize; 3] = [1, 16, 64];
/// Enough for a 99th percentile that is not the slowest but one.
const VERSIONS: u64 = 300;
/// Most milliseconds until 99% of the versions are in use everywhere.
pub(crate) const BAR: f64 = 50.0;

/// All lines.
pub(crate) fn measure(loopback: f64) -> Result<Vec<Cells>> {
    let mut config = Config::preset(Preset::Tuned);
    config.train.device = "cpu".into();
    let world = World::open(&config)?;
    SUBSCRIBERS.into_iter().map(|subscribers| line(&config, &world, subscribers, loopback)).collect()
}

fn line(config: &Config, world: &World, count: usize, loopback: f64) -> Result<Cells> {
    let (engine, broadcast) = (TorchEngine::new(config, world.items())?, Broadcast::start()?);
    let (runtime, publisher) = (&broadcast.runtime, &broadcast.publisher);
    let mut subscribers = Subscribers::start(runtime, &broadcast.address, count, (config, world.items()))?;
    publisher.publish(1, 0, engine.weights(false))?;
    runtime.block_on(subscribers.use_version(1))?;
    let (mut latencies, mut size) = (Vec::new(), 0);
    for version in 2..2 + VERSIONS {
        let weights = engine.weights(false);
        size = weights.len();
        let begun = Instant::now();
        publisher.publish(version, 0, weights)?;
        runtime.block_on(subscribers.use_version(version))?;
        latencies.push(begun.elapsed().as_secs_f64());
    }
    subscribers.stop();
    broadcast.end()?;
    let [median, late] = percentiles(latencies);
    let rate = (size * count) as f64 / (1e-3 * median);
    Ok(vec![
        format!("{count}, {:.2} MB each", size as f64 / 1e6),
        format!("{median:.1} / {late:.1}"),
        verdict(late <= BAR).into(),
        format!("{:.0}", rate / 1e6),
        format!("{:.0}%", 100.0 * rate / loopback),
    ])
}
