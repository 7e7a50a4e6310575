//! What the services of a cluster do over real sockets: the replay shard as a process of its own, the weights to many
//! subscribers.
//!
//! `cargo bench -p learner --bench services`. Loopback, plain text, one shard, N = 10, c = 10, M = 2, n = 50. A shard's CPU
//! is that of its process, so that rows a second and core say what a shard is good for when the client is elsewhere. An
//! insert counts a low-level step with its share of the periods; a sample a low-level row with both its windows.

#[path = "../../../replay/benches/service/rows.rs"]
mod rows;
mod shard;
mod socket;
mod stored;
mod weights;

use anyhow::Result;
use clap::Parser;

/// A line of a table.
type Cells = Vec<String>;

/// The values below which half and 99% of the seconds lie, in milliseconds.
fn percentiles(mut seconds: Vec<f64>) -> [f64; 2] {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    [at(0.5), at(0.99)]
}

fn print(title: &str, header: &[&str], lines: Vec<Cells>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(header);
    table.add_rows(lines);
    println!("{title}\n{table}\n");
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // This program again, as the shard that is measured.
    if args.get(1).is_some_and(|arg| arg == shard::ROLE) {
        return replay::cli::run(&replay::cli::Cli::parse_from(&args[1..]));
    }
    // `cargo test --benches` runs this too, without the flag.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    tch::set_num_threads(1);
    let loopback = socket::bytes_a_second()?;
    println!("loopback: {:.1} GB/s in pieces of 32 KiB, one connection\n", loopback / 1e9);
    let header =
        ["replay shard", "rows a call", "rows/s", "rows/s a core", "p50 / p99 of a call, ms", "of loopback"];
    print("one shard, one client", &header, stored::measure(loopback)?);
    print("back after kill -9", &["1,000,000 transitions", "listens again after"], stored::recover()?);
    let header =
        ["subscribers", "published until all use it, p50 / p99 ms", "MB/s, all together", "of loopback"];
    print("weights, both actors of the preset `tuned`", &header, weights::measure(loopback)?);
    Ok(())
}
