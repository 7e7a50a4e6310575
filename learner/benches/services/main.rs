//! What the services of a cluster do over real sockets: the replay shard as a process of its own, the weights to many
//! subscribers.
//!
//! `cargo bench -p learner --bench services [-- TABLE ...]`, of `shard recovery growth weights update`. Loopback, plain text,
//! one shard, N = 10, c = 10, M = 2, n = 50. A shard's CPU is that of its process, so that rows a second and core say what a
//! shard is good for when the client is elsewhere. An insert counts a low-level step with its share of the periods; a sample a
//! low-level row with both its windows. What the tables mean is in docs/benchmarks.md.
//!
//! | module | what it holds |
//! |---|---|
//! | [`stored`] | inserts and samples of a shard, and its recovery |
//! | [`growth`] | their cost a row by size of the table and number of connections |
//! | [`weights`] | from published to in use |
//! | [`update`] | the learner's update by number of subscribers |
//! | [`shard`], [`subscribers`] | this program again, as other processes |
//! | [`socket`] | what loopback carries |
//! | [`ratio`] | a line against the first one |

#[path = "../engines/batches.rs"]
mod batches;
mod growth;
mod ratio;
#[path = "../../../replay/benches/service/rows.rs"]
mod rows;
mod shard;
mod socket;
mod stored;
mod subscribers;
mod update;
mod weights;

use anyhow::{Result, bail};
use clap::Parser;

/// A line of a table.
type Cells = Vec<String>;

const TABLES: [&str; 5] = ["shard", "recovery", "growth", "weights", "update"];

/// The values below which half and 99% of the seconds lie, in milliseconds.
fn percentiles(mut seconds: Vec<f64>) -> [f64; 2] {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    [at(0.5), at(0.99)]
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The cell of a bar.
fn verdict(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "NO" }
}

fn print(title: &str, header: &[&str], lines: Vec<Cells>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(header);
    table.add_rows(lines);
    println!("{title}\n{table}\n");
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // This program again, as the shard or the subscribers that are measured.
    match args.get(1).map(String::as_str) {
        Some(shard::ROLE) => return replay::cli::run(&replay::cli::Cli::parse_from(&args[1..])),
        Some(subscribers::ROLE) => return subscribers::run(&args[2..]),
        _ => {}
    }
    // `cargo test --benches` runs this too, without the flag.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let asked: Vec<&str> =
        args[1..].iter().map(String::as_str).filter(|arg| !arg.starts_with("--")).collect();
    if let Some(unknown) = asked.iter().find(|name| !TABLES.contains(name)) {
        bail!("there is no table `{unknown}`: {}", TABLES.join(", "));
    }
    tch::set_num_threads(1);
    let loopback = socket::bytes_a_second()?;
    println!("loopback: {:.1} GB/s in pieces of 32 KiB, one connection\n", loopback / 1e9);
    for name in TABLES.into_iter().filter(|name| asked.is_empty() || asked.contains(name)) {
        table(name, loopback)?;
    }
    Ok(())
}

fn table(name: &str, loopback: f64) -> Result<()> {
    let of_loopback = "of loopback";
    match name {
        "shard" => {
            let header = [
                "replay shard",
                "rows a call",
                "rows/s",
                "rows/s a core",
                "p50 / p99 of a call, ms",
                of_loopback,
            ];
            print("one shard, one client", &header, stored::measure(loopback)?);
        }
        "recovery" => {
            let header = ["1,000,000 transitions", "listens again after"];
            print("back after kill -9", &header, stored::recover()?);
        }
        "growth" => {
            let header = [
                "256 rows a call",
                "CPU us a row of the shard",
                "rows/s",
                "CPU a row / first line",
                &format!("<= {}x", growth::BAR),
            ];
            print("growth: a full and evicting table, turn by turn", &header, growth::measure()?);
        }
        "weights" => {
            let header = [
                "subscribers in this process",
                "published until all use it, p50 / p99 ms",
                &format!("p99 <= {} ms", weights::BAR),
                "MB/s, all together",
                of_loopback,
            ];
            print("weights, both actors of the preset `tuned`", &header, weights::measure(loopback)?);
        }
        _ => {
            let bar = format!("<= {}x", update::BAR);
            let header = [
                "subscribers in another process",
                "CPU ms of the learner's thread",
                "/ without",
                &bar,
                "wall clock, ms",
                "/ without",
                &bar,
            ];
            let title = "an update of the preset `tuned` (native, one thread, a version every 10), turn by turn\n\
                         the wall clock has besides what the learner waits for cores that subscribers decode on";
            print(title, &header, update::measure()?);
        }
    }
    Ok(())
}
