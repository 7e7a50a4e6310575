//! The weights' part of `make bench-peers`: a version from its encoding until all subscribers use it.
//!
//! In: a line `weights SUBSCRIBERS SECONDS`; out: a line `NAME=NUMBER ...` (scripts/peers/protocol.py): milliseconds from published
//! to decoded by all, megabytes of a version, microseconds that encoding it took. Both actors of the preset
//! `tuned`, over loopback; the subscribers decode in this process.

#[path = "../benches/services/subscribers.rs"]
#[expect(dead_code, reason = "subscribers in a process of their own are the other benchmark's")]
mod subscribers;

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Write,
    sync::Arc,
    time::Instant,
};

use anyhow::Result;
use common::{
    ItemTable,
    config::{Config, EngineKind, Preset},
};
use learner::{
    engine::{Engine, native::NativeEngine},
    world::World,
};
use subscribers::{Broadcast, Subscribers};

struct Case {
    engine: NativeEngine,
    broadcast: Broadcast,
    subscribers: Subscribers,
    version: u64,
}

impl Case {
    fn start(count: usize) -> Result<Self> {
        let mut config = Config::preset(Preset::Tuned);
        (config.train.engine, config.train.learner_threads) = (EngineKind::Native, 1);
        let world = World::open(&config)?;
        let items: &Arc<ItemTable> = world.items();
        let (engine, broadcast) = (NativeEngine::new(&config, items)?, Broadcast::start()?);
        let subscribers =
            Subscribers::start(&broadcast.runtime, &broadcast.address, count, (&config, items))?;
        let mut case = Self { engine, broadcast, subscribers, version: 0 };
        case.publish()?;
        Ok(case)
    }

    /// Seconds from published until all use it, those of encoding it before, bytes.
    fn publish(&mut self) -> Result<(f64, f64, usize)> {
        // Once before: the subscribers have had the caches since.
        drop(self.engine.weights(false));
        let begun = Instant::now();
        let weights = self.engine.weights(false);
        let encoding = begun.elapsed().as_secs_f64();
        let (bytes, begun) = (weights.len(), Instant::now());
        self.version += 1;
        self.broadcast.publisher.publish(self.version, 0, weights)?;
        self.broadcast.runtime.block_on(self.subscribers.use_version(self.version))?;
        Ok((begun.elapsed().as_secs_f64(), encoding, bytes))
    }

    fn measure(&mut self, seconds: f64) -> Result<String> {
        let (begun, mut times, mut encodings, mut size) = (Instant::now(), Vec::new(), Vec::new(), 0);
        while times.len() < 2 || begun.elapsed().as_secs_f64() < seconds {
            let (time, encoding, bytes) = self.publish()?;
            times.push(time);
            encodings.push(encoding);
            size = bytes;
        }
        times.sort_by(f64::total_cmp);
        encodings.sort_by(f64::total_cmp);
        let at = |seconds: &[f64], share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
        let ([p50, p99], encoding) =
            ([0.5, 0.99].map(|share| 1e3 * at(&times, share)), 1e6 * at(&encodings, 0.5));
        Ok(format!("p50_ms={p50} p99_ms={p99} mb={} encoding_us={encoding}", size as f64 / 1e6))
    }
}

fn answer(line: &str, cases: &mut HashMap<usize, Case>) -> Result<String> {
    let ["weights", count, seconds] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        anyhow::bail!("not understood: {line}")
    };
    let count = count.parse()?;
    let case = match cases.entry(count) {
        Entry::Occupied(made) => made.into_mut(),
        Entry::Vacant(free) => free.insert(Case::start(count)?),
    };
    case.measure(seconds.parse()?)
}

fn main() -> Result<()> {
    let mut cases = HashMap::new();
    for line in std::io::stdin().lines() {
        let reply =
            answer(&line?, &mut cases).unwrap_or_else(|error| format!("error {error:#}").replace('\n', " "));
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
