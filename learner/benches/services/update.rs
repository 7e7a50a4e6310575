//! Whether subscribers to the weights make the learner slower.
//!
//! The preset `tuned` on the native engine and one thread: updates, and a version published as often as the preset does. The
//! subscribers are another process. Turns with none, 16 and 64 of them alternate, so that what else the machine does meets
//! all. The learner thread's own CPU is what the broadcast costs the learner; the wall clock has besides what it waits for
//! cores that the service and the subscribers are on: where they have their own, as in a cluster, that is nothing.

use std::time::Instant;

use anyhow::{Context, Result};
use common::{
    config::{Config, EngineKind, Preset},
    seed::Streams,
    transition::{HighBatch, LowBatch},
};
use learner::{
    engine::{Engine, native::NativeEngine},
    scaling::cpu,
    world::World,
};

use crate::{
    Cells, batches, median,
    ratio::Ratio,
    subscribers::{Broadcast, Elsewhere},
};

const SUBSCRIBERS: [usize; 3] = [0, 16, 64];
/// Rows of a minibatch of the preset: high level, low level.
const ROWS: [usize; 2] = [64, 512];
const ROUNDS: usize = 9;
/// Versions published in a turn.
const VERSIONS: u64 = 5;
/// Most that an update may take, of one without subscribers.
pub(crate) const BAR: f64 = 1.03;

/// Milliseconds an update, with its share of the publishing.
#[derive(Clone, Copy)]
struct Turn {
    wall: f64,
    cpu: f64,
}

/// CPU seconds of this thread, the process's first, so far.
fn own_cpu() -> Result<f64> {
    Ok(cpu::process_s(std::process::id()).context("this thread's CPU is not known")?.0)
}

/// A number of subscribers.
struct Case {
    broadcast: Broadcast,
    subscribers: Elsewhere,
    turns: Vec<Turn>,
}

impl Case {
    fn start(count: usize, engine: &NativeEngine) -> Result<Self> {
        let broadcast = Broadcast::start()?;
        let mut subscribers = Elsewhere::start(&broadcast.address, count)?;
        broadcast.publisher.publish(1, 0, engine.weights(false))?;
        subscribers.use_version(1)?;
        Ok(Self { broadcast, subscribers, turns: Vec::new() })
    }

    fn turn(
        &mut self,
        engine: &mut NativeEngine,
        (high, low): &(HighBatch, LowBatch),
        every: u64,
    ) -> Result<()> {
        let (begun, cpu, publisher) = (Instant::now(), own_cpu()?, &self.broadcast.publisher);
        for _ in 0..VERSIONS {
            // First, so that the updates behind the last version meet what becomes of it.
            publisher.publish(publisher.version() + 1, engine.updates(), engine.weights(false))?;
            for _ in 0..every {
                engine.update(high, low)?;
            }
        }
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), own_cpu()? - cpu);
        // Nothing of this turn goes on in the next.
        self.subscribers.use_version(publisher.version())?;
        let ms = |seconds: f64| 1e3 * seconds / (VERSIONS * every) as f64;
        self.turns.push(Turn { wall: ms(seconds), cpu: ms(cpu) });
        Ok(())
    }
}

/// All lines.
pub(crate) fn measure() -> Result<Vec<Cells>> {
    let mut config = Config::preset(Preset::Tuned);
    (config.train.engine, config.train.learner_threads) = (EngineKind::Native, 1);
    let world = World::open(&config)?;
    let mut engine = NativeEngine::new(&config, world.items())?;
    let batch = batches::draw(&config, ROWS, false, &mut Streams::new(1, "bench/services").sequential());
    let mut cases =
        SUBSCRIBERS.into_iter().map(|count| Case::start(count, &engine)).collect::<Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.turn(&mut engine, &batch, config.train.publish_every)?;
        }
    }
    let turns: Vec<Vec<Turn>> = cases.iter().map(|case| case.turns.clone()).collect();
    for Case { broadcast, subscribers, .. } in cases {
        drop(subscribers);
        broadcast.end()?;
    }
    Ok(SUBSCRIBERS.into_iter().zip(&turns).map(|(count, of)| line(count, of, &turns[0])).collect())
}

fn line(count: usize, turns: &[Turn], first: &[Turn]) -> Cells {
    let [cpu, wall] = [|turn: &Turn| turn.cpu, |turn: &Turn| turn.wall].map(|figure| {
        let middle = median(turns.iter().map(figure).collect());
        (format!("{middle:.2}"), Ratio::of(turns.iter().map(figure), first.iter().map(figure)))
    });
    vec![
        count.to_string(),
        cpu.0,
        cpu.1.to_string(),
        cpu.1.within(BAR).into(),
        wall.0,
        wall.1.to_string(),
        wall.1.within(BAR).into(),
    ]
}
