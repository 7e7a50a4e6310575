//! Our side of `make bench-peers`: an actor's work, the replay service, and bare transports beside it.
//!
//! In: a line `CASE ARGUMENT ...`; out: a line `NAME=NUMBER ...`, until the input ends (scripts/peers/protocol.py). What is
//! dear to set up is kept between lines, so that the peers of a case can take turns within one run.
//!
//! | case | |
//! |---|---|
//! | `act E SECONDS` | microseconds of a step of E sessions: low-level policy and mapping |
//! | `rollout SECONDS` | environment steps a second of the whole loop into columns in memory |
//! | `play SECONDS` | the same into nothing |
//! | `stream SECONDS` | the same into two shards over loopback, and this process's resident memory |
//! | `insert SHARDS SECONDS`, `sample SHARDS SECONDS` | low-level rows a second into and from shards, CPU of all processes a row |
//! | `prefetch SHARDS SECONDS` | the same as `sample`, two minibatches ahead as a learner has them |
//! | `beside SHARDS SECONDS` | CPU of a sampled row alone, and while rows are inserted at half the maximum |
//! | `memory SHARDS`, `snapshot SHARDS`, `restore SHARDS`, `kill SHARDS` | what the shards take, their longest calls, their coming back |
//! | `restore-new SHARDS` | the coming back of shards that were just filled, for this line alone: there is no snapshot yet |
//! | `disk BYTES SECONDS` | rows a second that are appended to a file, each 256 brought to the disk |
//! | `tonic-insert`, `tonic-sample`, `tcp-insert`, `tcp-sample` `BYTES SECONDS` | rows of so many bytes, 256 a frame |
//! | `copy`, `loopback` | GB/s of this machine |

mod bare;
mod cpu;
mod goals;
#[path = "../../../learner/benches/services/socket.rs"]
mod loopback;
mod policy;
mod rollout;
#[path = "../../../replay/benches/service/rows.rs"]
mod rows;
mod shards;
mod socket;
mod table;

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    io::Write,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Names and numbers of a reply.
type Reply = Vec<(&'static str, f64)>;

/// Rows of a frame or a minibatch.
const ROWS: usize = 256;

/// What cases keep.
#[derive(Default)]
struct Kept {
    policies: HashMap<usize, policy::Case>,
    rollout: Option<rollout::Case>,
    shards: HashMap<String, shards::Case>,
    tonic: HashMap<usize, bare::Case>,
    tcp: HashMap<usize, socket::Case>,
}

/// The case of a map, made if it is new.
fn entry<K: Eq + Hash, V>(
    map: &mut HashMap<K, V>,
    key: K,
    make: impl FnOnce() -> Result<V>,
) -> Result<&mut V> {
    Ok(match map.entry(key) {
        Entry::Occupied(made) => made.into_mut(),
        Entry::Vacant(free) => free.insert(make()?),
    })
}

/// The same for the only one of its kind.
fn kept<V>(slot: &mut Option<V>, make: impl FnOnce() -> Result<V>) -> Result<&mut V> {
    if slot.is_none() {
        *slot = Some(make()?);
    }
    slot.as_mut().context("it was just put there")
}

impl Kept {
    /// The shards of that name.
    fn shards(&mut self, name: &str) -> Result<&mut shards::Case> {
        entry(&mut self.shards, name.to_owned(), || shards::Case::start(name))
    }
}

fn answer(line: &str, state: &mut Kept) -> Result<Reply> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let seconds: f64 = words.last().and_then(|word| word.parse().ok()).unwrap_or(1.0);
    let argument = || words.get(1).copied().context("an argument is missing");
    let size = || argument()?.parse().context("not a number");
    match words.first().copied().unwrap_or_default() {
        "act" => entry(&mut state.policies, size()?, || policy::Case::new(size()?))?.measure(seconds),
        "rollout" => kept(&mut state.rollout, rollout::Case::new)?.record(seconds),
        "play" => kept(&mut state.rollout, rollout::Case::new)?.alone(seconds),
        "stream" => kept(&mut state.rollout, rollout::Case::new)?
            .stream(entry(&mut state.shards, "two".into(), || shards::Case::start("two"))?, seconds),
        "insert" => state.shards(argument()?)?.insert(seconds),
        "sample" => state.shards(argument()?)?.sample(seconds),
        "prefetch" => state.shards(argument()?)?.prefetch(seconds),
        "beside" => state.shards(argument()?)?.beside_inserts(seconds),
        "memory" => state.shards(argument()?)?.memory(),
        "snapshot" => state.shards(argument()?)?.snapshot(),
        "restore" => state.shards(argument()?)?.restore(),
        "restore-new" => shards::Case::start(argument()?)?.restore(),
        "kill" => state.shards(argument()?)?.kill(),
        "tonic-insert" => entry(&mut state.tonic, size()?, || bare::Case::start(size()?))?.insert(seconds),
        "tonic-sample" => entry(&mut state.tonic, size()?, || bare::Case::start(size()?))?.sample(seconds),
        "tcp-insert" => entry(&mut state.tcp, size()?, || socket::Case::start(size()?))?.insert(seconds),
        "tcp-sample" => entry(&mut state.tcp, size()?, || socket::Case::start(size()?))?.sample(seconds),
        "disk" => goals::append_and_sync(size()?, seconds),
        "copy" => Ok(vec![("gb_per_s", table::copy_gb_per_s())]),
        "loopback" => Ok(vec![("gb_per_s", loopback::bytes_a_second()? / 1e9)]),
        other => bail!("no case `{other}`"),
    }
}

/// Calls `work` for some seconds, at least twice; the seconds of every call, the shortest first.
fn repeat(seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.len() < 2 || begun.elapsed().as_secs_f64() < seconds {
        let before = Instant::now();
        work()?;
        times.push(before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Of sorted values, the one below which a share of them lies.
fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // This program again, as a server that is measured.
    match args.get(1).map(String::as_str) {
        Some(shards::ROLE) => return replay::cli::run(&replay::cli::Cli::parse_from(&args[1..])),
        Some(bare::ROLE) => return bare::serve(&args[2], args[3].parse()?),
        Some(socket::ROLE) => return socket::serve(&args[2], args[3].parse()?),
        _ => {}
    }
    let mut state = Kept::default();
    for line in std::io::stdin().lines() {
        let reply = match answer(&line?, &mut state) {
            Ok(values) => {
                values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("error {error:#}").replace('\n', " "),
        };
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
