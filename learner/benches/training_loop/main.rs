//! The rates of the training loop at the sizes of the preset `tuned`, each beside a floor where one is known, and where
//! the time of a short real run in mode `async` goes.
//!
//! `cargo bench -p learner --bench training_loop [-- --steps 200000]`. Rates are medians of several rounds on one thread
//! unless said otherwise. The floors: a matrix product of 1,024 x 1,024 and a copy of 64 MiB, measured here too; the
//! world alone for rollouts.

mod arithmetic;
mod machine;
mod parts;
mod run;

use anyhow::{Context, Result};
use common::config::{Config, Preset};
use learner::world::World;

/// Settings of all measurements: `tuned`, on the CPU.
fn config() -> Config {
    let mut config = Config::preset(Preset::Tuned);
    config.train.device = "cpu".into();
    config
}

/// The number behind `--steps`.
fn steps(args: &[String]) -> Result<u64> {
    let Some(at) = args.iter().position(|arg| arg == "--steps") else { return Ok(150_000) };
    let value = args.get(at + 1).context("--steps needs a number")?;
    value.parse().with_context(|| format!("--steps {value}"))
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` runs this too, without the flag.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    tch::set_num_threads(1);
    let config = config();
    let world = World::open(&config)?;
    let machine = machine::measure();
    println!("one thread: matrix product {:.0} GFLOP/s, copy {:.1} GB/s", machine.gflops, machine.copy_gbps);
    println!();
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_header(["part", "rate", "size", "floor", "reached"]);
    for row in parts::measure(&config, &world, &machine)? {
        table.add_row([row.part.to_owned(), row.rate, row.size, row.floor, row.reached]);
    }
    println!("{table}");
    println!();
    run::measure(steps(&args)?)
}
