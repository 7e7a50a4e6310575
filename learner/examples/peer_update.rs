//! The learner's part of `make bench-peers`: milliseconds of an update of both levels, by engine.
//!
//! In: a line `update ENGINE BATCH SECONDS`, ENGINE one of those that `engines` lists, or `native-2`, which has two threads; out: a
//! line `ms=NUMBER`, or `error ...` (scripts/peers/protocol.py). Preset `paper` with virtual target actions and one loss over all heads, full windows: what
//! scripts/peers/update.py does. `product`: GFLOP/s of our matrix product.
//! `literal ENGINE BATCH SECONDS`: the preset as it is (mapped, a step for each head).

#[path = "../benches/engines/batches.rs"]
mod batches;
#[path = "../benches/engines/product.rs"]
mod product;

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Write,
    time::Instant,
};

use anyhow::Result;
use common::{
    ItemTable,
    config::{Config, EncoderUpdate, EngineKind, Precision, Preset, TargetAction},
    seed::Streams,
    transition::{HighBatch, LowBatch},
};
use learner::engine::{Engine, choice};
use rand::RngExt;

struct Case {
    engine: Box<dyn Engine>,
    high: HighBatch,
    low: LowBatch,
}

impl Case {
    /// Warm.
    fn new(engine: &str, batch: usize, literal: bool) -> Result<Self> {
        let mut config = Config::preset(Preset::Paper);
        config.train.device = "cpu".into();
        (config.train.engine, config.train.precision) = match engine {
            "native" | "native-2" => (EngineKind::Native, Precision::F32),
            "native-bf16" => (EngineKind::Native, Precision::Bf16),
            "torch" => (EngineKind::Torch, Precision::F32),
            other => anyhow::bail!("no engine `{other}`"),
        };
        config.train.learner_threads = if engine == "native-2" { 2 } else { 1 };
        if !literal {
            config.algorithm.target_action = TargetAction::Virtual;
            config.algorithm.encoder_update = EncoderUpdate::Summed;
        }
        let mut rng = Streams::new(1, "peers").sequential();
        let (n, n_dims) = (batches::N_ITEMS as usize, config.model.n_dims);
        let embeddings = (0..n * n_dims).map(|_| rng.random_range(-1.9..1.9)).collect();
        let items = ItemTable::new(n_dims, config.model.bound, embeddings, vec![0; n], vec![0.0; n])?;
        let (high, low) = batches::draw(&config, [batch; 2], true, &mut rng);
        let mut case = Self { engine: choice::open(&config, &items.into())?, high, low };
        for _ in 0..5 {
            case.engine.update(&case.high, &case.low)?;
        }
        Ok(case)
    }

    /// The median of the milliseconds of an update.
    fn measure(&mut self, seconds: f64) -> Result<f64> {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while times.len() < 2 || begun.elapsed().as_secs_f64() < seconds {
            let before = Instant::now();
            self.engine.update(&self.high, &self.low)?;
            times.push(1e3 * before.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// On one thread each; bf16 where the CPU has instructions for it.
fn engines() -> Vec<&'static str> {
    let all = [
        ("native", true),
        ("native-bf16", kernels::halves::is_native(kernels::Level::best())),
        ("torch", cfg!(feature = "torch")),
    ];
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

fn answer(line: &str, cases: &mut HashMap<String, Case>) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words == ["engines"] {
        return Ok(engines().iter().map(|name| format!("{name}=1")).collect::<Vec<_>>().join(" "));
    }
    if words == ["product"] {
        return Ok(format!("gflops={}", product::gflops()));
    }
    let [kind, engine, batch, seconds] = words[..] else { anyhow::bail!("not understood: {line}") };
    let case = match cases.entry(format!("{kind} {engine} {batch}")) {
        Entry::Occupied(made) => made.into_mut(),
        Entry::Vacant(free) => free.insert(Case::new(engine, batch.parse()?, kind == "literal")?),
    };
    Ok(format!("ms={}", case.measure(seconds.parse()?)?))
}

fn main() -> Result<()> {
    let mut cases = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        println!(
            "{}",
            answer(&line, &mut cases).unwrap_or_else(|error| format!("error {error:#}").replace('\n', " "))
        );
        std::io::stdout().flush()?;
    }
    Ok(())
}
