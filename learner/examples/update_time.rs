//! Milliseconds an update of the torch engine, with full windows and with the windows of a real session.
//!
//! `cargo run -p learner --release --example update_time`

use std::{error::Error, time::Instant};

use common::{
    Feedback, ItemId, ItemTable,
    config::{Config, Preset},
    history,
    seed::{Rng, Streams},
    transition::{HighBatch, LowBatch},
};
use learner::engine::{Engine, torch::TorchEngine};
use rand::RngExt;

const N_ITEMS: u32 = 10_000;

/// Windows `[3, N]` after `steps` of the logging policy's rates (19% clicks, 0.5% orders), or full ones.
fn windows(n: usize, steps: Option<usize>, rng: &mut Rng) -> Vec<ItemId> {
    let mut windows = vec![ItemId::PADDING; 3 * n];
    let Some(steps) = steps else {
        return windows.iter().map(|_| ItemId(rng.random_range(0..N_ITEMS))).collect();
    };
    for _ in 0..steps {
        let draw: f32 = rng.random();
        let feedback = match draw {
            d if d < 0.005 => Feedback::Order,
            d if d < 0.19 => Feedback::Click,
            _ => Feedback::Skip,
        };
        history::push(&mut windows, ItemId(rng.random_range(0..N_ITEMS)), feedback);
    }
    windows
}

fn batches(config: &Config, sizes: [usize; 2], full: bool, rng: &mut Rng) -> (HighBatch, LowBatch) {
    let shape = config.shape();
    let mut of = |batch: usize| -> Vec<ItemId> {
        (0..batch)
            .flat_map(|_| {
                let steps = (!full).then(|| rng.random_range(20..70));
                windows(shape.window, steps, rng)
            })
            .collect()
    };
    let [high, low] = sizes;
    let (hw, hn, lw, ln) = (of(high), of(high), of(low), of(low));
    let mut goals = |batch: usize| -> Vec<f32> {
        (0..batch * shape.n_goals * shape.n_dims).map(|_| rng.random_range(-1.9..1.9)).collect()
    };
    let (hg, lg) = (goals(high), goals(low));
    let high = HighBatch {
        windows: hw,
        next_windows: hn,
        goals: hg,
        feedback: (0..high * shape.n_steps).map(|i| (i % 7 == 0).into()).collect(),
        terminated: vec![0; high],
        policy_versions: vec![1; high],
        ..HighBatch::default()
    };
    let low = LowBatch {
        windows: lw,
        next_windows: ln,
        goals: lg,
        items: (0..low).map(|_| ItemId(rng.random_range(0..N_ITEMS))).collect(),
        feedback: (0..low).map(|i| (i % 5 == 0).into()).collect(),
        positions: (0..low).map(|i| (i % shape.n_steps) as u8).collect(),
        terminated: vec![0; low],
        policy_versions: vec![1; low],
        ..LowBatch::default()
    };
    (high, low)
}

/// Milliseconds this thread has had a core, which a loaded machine does not change much; 0 where unknown.
fn on_cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(0.0, |ns| ns / 1e6)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = Streams::new(1, "update_time").sequential();
    let embeddings = (0..N_ITEMS as usize * 50).map(|_| rng.random_range(-1.9..1.9)).collect();
    let n = N_ITEMS as usize;
    let items = ItemTable::new(50, 1.94, embeddings, vec![0; n], vec![0.0; n])?;
    for (name, preset, sizes) in [
        ("paper, virtual, summed", Preset::Paper, [40, 40]),
        ("paper", Preset::Paper, [40, 40]),
        ("tuned, virtual", Preset::Tuned, [64, 512]),
        ("tuned", Preset::Tuned, [64, 512]),
    ] {
        for full in [true, false] {
            let mut config = Config::preset(preset);
            config.train.device = "cpu".into();
            if name.contains("virtual") {
                config.algorithm.target_action = common::config::TargetAction::Virtual;
            }
            if name.contains("summed") {
                config.algorithm.encoder_update = common::config::EncoderUpdate::Summed;
            }
            let mut engine = TorchEngine::new(&config, &items)?;
            let (high, low) = batches(&config, sizes, full, &mut rng);
            let (mut times, mut busy) = (Vec::new(), Vec::new());
            for _ in 0..60 {
                let start = (Instant::now(), on_cpu_ms());
                engine.update(&high, &low)?;
                times.push(start.0.elapsed().as_secs_f64() * 1e3);
                busy.push(on_cpu_ms() - start.1);
            }
            times.sort_by(f64::total_cmp);
            busy.sort_by(f64::total_cmp);
            let kind = if full { "full windows" } else { "session's windows" };
            println!(
                "{name:<24} {sizes:?} {kind:<18} {:6.2} ms (best {:6.2}), on the CPU {:6.2} ms (best {:6.2})",
                times[30], times[0], busy[30], busy[0]
            );
        }
    }
    Ok(())
}
