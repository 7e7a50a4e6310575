//! An update of the torch engine beside one of the native engine, on one thread and two, with products of 16 bits
//! (`train.precision = bf16`), and beside what a plain matrix product of the same arithmetic would take on this machine in f32.
//!
//! Behind it the mapping of the targets' actions (Eq 9) by itself, in catalogues of up to a million items (D28).
//!
//! `cargo bench -p learner --bench engines [-- --seconds 20]`. Updates of the engines take turns, so that whatever else the
//! machine does meets all of them. Milliseconds and ratios are medians over the turns, ratios with the quartiles; the share
//! of the floor is that of the best turn, as the floor is the best of some rounds.

#[path = "../training_loop/arithmetic.rs"]
mod arithmetic;
mod batches;
#[allow(dead_code)] // targets look through no recall set
#[path = "../../../common/agent/tests/clustered/mod.rs"]
mod clustered;
#[path = "../training_loop/machine.rs"]
mod machine;
mod mapping;
mod product;

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use common::{
    ItemTable,
    config::{Config, EncoderUpdate, Precision, Preset, TargetAction},
    seed::Streams,
};
use kernels::Level;
use learner::engine::{Engine, native::NativeEngine, torch::TorchEngine};
use machine::{median, seconds};
use rand::RngExt;

/// What is measured.
struct Case {
    name: &'static str,
    config: Config,
    rows: [usize; 2],
    full: bool,
}

fn cases() -> Vec<Case> {
    let config = |preset| {
        let mut config = Config::preset(preset);
        config.train.device = "cpu".into();
        config
    };
    let mut summed = config(Preset::Paper);
    summed.algorithm.encoder_update = EncoderUpdate::Summed;
    // Both levels do the same: the update that is compared with other programs.
    let mut alike = summed.clone();
    alike.algorithm.target_action = TargetAction::Virtual;
    let mut cases = vec![
        Case { name: "paper, summed, virtual", config: alike, rows: [40, 40], full: true },
        Case { name: "paper, summed", config: summed, rows: [40, 40], full: true },
    ];
    cases.extend([40, 256, 1024].map(|rows| Case {
        name: "paper",
        config: config(Preset::Paper),
        rows: [rows, rows],
        full: true,
    }));
    let tuned = config(Preset::Tuned);
    cases.push(Case { name: "tuned, windows of sessions", config: tuned, rows: [64, 512], full: false });
    cases
}

/// The number behind `--seconds`: time a case.
fn budget(args: &[String]) -> Result<f64> {
    let Some(at) = args.iter().position(|arg| arg == "--seconds") else { return Ok(20.0) };
    let value = args.get(at + 1).context("--seconds needs a number")?;
    value.parse().with_context(|| format!("--seconds {value}"))
}

/// Median and quartiles.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.25), at(0.75))
}

/// Milliseconds of the updates of each engine, turn by turn: torch, native on one thread, native on two, native on one
/// with bf16.
fn measure(case: &Case, items: &Arc<ItemTable>, budget: f64) -> Result<([Vec<f64>; 4], f64)> {
    let mut rng = Streams::new(1, "bench/engines").sequential();
    let (high, low) = batches::draw(&case.config, case.rows, case.full, &mut rng);
    let native = |threads, precision| {
        let mut config = case.config.clone();
        (config.train.learner_threads, config.train.precision) = (threads, precision);
        NativeEngine::new(&config, items)
    };
    let mut engines: [Box<dyn Engine>; 4] = [
        Box::new(TorchEngine::new(&case.config, items)?),
        Box::new(native(1, Precision::F32)?),
        Box::new(native(2, Precision::F32)?),
        Box::new(native(1, Precision::Bf16)?),
    ];
    let mut times: [Vec<f64>; 4] = Default::default();
    for engine in &mut engines {
        engine.update(&high, &low)?;
    }
    let begun = Instant::now();
    while times[0].len() < 5 || begun.elapsed().as_secs_f64() < budget {
        for (engine, times) in engines.iter_mut().zip(&mut times) {
            let mut result = Ok(());
            let took = seconds(|| result = engine.update(&high, &low).map(drop));
            result?;
            times.push(took * 1e3);
        }
    }
    let gflop = arithmetic::update(&case.config, items.n_items(), &high, &low);
    Ok((times, gflop))
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` runs this too, without the flag.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    tch::set_num_threads(1);
    let mut rng = Streams::new(1, "bench/items").sequential();
    let n = batches::N_ITEMS as usize;
    let embeddings = (0..n * 50).map(|_| rng.random_range(-1.9..1.9)).collect();
    let items = Arc::new(ItemTable::new(50, 1.94, embeddings, vec![0; n], vec![0.0; n])?);
    let (torch, own) = (machine::measure().gflops, product::gflops());
    println!(
        "one thread, {}{}: matrix product of torch {torch:.0} GFLOP/s, of our kernels {own:.0}",
        Level::best(),
        if kernels::halves::is_native(Level::best()) { "" } else { ", bf16 emulated" }
    );
    let floor = torch.max(own);
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header([
        "update",
        "rows",
        "torch ms",
        "native ms",
        "torch / native",
        "best GFLOP/s",
        "of the floor",
        "two threads ms",
        "one / two",
        "bf16 ms",
        "f32 / bf16",
        "of the f32 floor",
    ]);
    for case in cases() {
        let (times, gflop) = measure(&case, &items, budget(&args)?)?;
        let ratios = |a: &[f64], b: &[f64]| spread(a.iter().zip(b).map(|(a, b)| a / b).collect());
        let [torch, one, two, bf16] = &times;
        let speed = |times: &[f64]| gflop / (times.iter().copied().fold(f64::INFINITY, f64::min) / 1e3);
        let of_floor = |times: &[f64]| format!("{:.0}%", 100.0 * speed(times) / floor);
        table.add_row([
            case.name.to_owned(),
            format!("{} + {}", case.rows[0], case.rows[1]),
            format!("{:.2}", median(torch.clone())),
            format!("{:.2}", median(one.clone())),
            ratios(torch, one),
            format!("{:.1}", speed(one)),
            of_floor(one),
            format!("{:.2}", median(two.clone())),
            ratios(one, two),
            format!("{:.2}", median(bf16.clone())),
            ratios(one, bf16),
            of_floor(bf16),
        ]);
    }
    println!("{table}");
    mapping::measure();
    Ok(())
}
