//! Whether a row costs a shard as much in a large table as in a small one, and from many connections as from one.
//!
//! All shards live at once and take turns, round after round, so that what else the machine does meets all of them. Tables
//! are full and evict. A frame is what an actor sends: a step of each of its 256 sessions. More actors are more connections,
//! but also more sessions in progress, whose periods lie further apart in memory; so the sessions of as many actors are also
//! sent over fewer connections.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use replay::{Sampler, TransitionSink, Writer};
use tempfile::TempDir;

use crate::{
    Cells, median,
    ratio::Ratio,
    rows::Rows,
    shard::{CAPACITY, Shard},
};

/// Low-level rows that the tables hold; one connection, one actor.
const SIZES: [usize; 3] = [10_000, 100_000, CAPACITY];
/// Writers, each with a connection of its own; `CAPACITY` rows.
const CONNECTIONS: [usize; 3] = [1, 8, 64];
/// 256 sessions each.
const MOST_ACTORS: usize = 64;
/// Of a frame and of a minibatch.
const ROWS: usize = 256;
/// Frames between two looks at the clock: each actor has had its turn. Beside the inserts of connections one minibatch is
/// drawn before as many, one sampled row for 64 inserted ones.
const FRAMES: usize = MOST_ACTORS;
const ROUNDS: usize = 11;
/// Of a turn.
const TIME: Duration = Duration::from_millis(400);
/// Most that a row may cost, of the first line.
pub(crate) const BAR: f64 = 1.1;

/// What a turn came to.
#[derive(Clone, Copy)]
struct Turn {
    /// CPU us of the shard's process a row.
    cost: f64,
    /// Rows a second.
    rate: f64,
}

/// A shard with a full table, and those who use it.
struct Case {
    shard: Shard,
    writers: Vec<Writer>,
    /// What the actors send, by the writers in turn.
    actors: Vec<Rows>,
    /// Whose frame is next.
    next: usize,
    sampler: Sampler,
    key: u64,
    _folder: TempDir,
}

impl Case {
    fn start(capacity: usize, connections: usize, actors: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (shard, _) = Shard::start(folder.path(), capacity, None, "uniform")?;
        let sampler = shard.shards.sampler(Duration::from_secs(5));
        let writers = (0..connections as u64).map(|k| shard.writer_alone(k, ROWS)).collect::<Result<_>>()?;
        // Sessions of their own for each.
        let actors = (0..actors as u64).map(|k| Rows::from_round(1_000_000 * k)).collect();
        let mut case = Self { shard, writers, actors, next: 0, sampler, key: 0, _folder: folder };
        // Full, and evicting for a while.
        case.put(capacity * 6 / 5 / ROWS + FRAMES)?;
        case.flush()?;
        let held = case.shard.held()?;
        ensure!(
            held == capacity as u64,
            "{held} transitions are in a table of {capacity} that should be full"
        );
        Ok(case)
    }

    /// Frames of the actors in turn.
    fn put(&mut self, frames: usize) -> Result<()> {
        for _ in 0..frames {
            let connections = self.writers.len();
            let writer = &mut self.writers[self.next % connections];
            self.actors[self.next].put(writer, ROWS as u64);
            writer.submit()?;
            self.next = (self.next + 1) % self.actors.len();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for writer in &mut self.writers {
            writer.flush()?;
        }
        Ok(())
    }

    fn minibatch(&mut self) -> Result<()> {
        self.key += 1;
        self.shard.runtime.block_on(self.sampler.sample_low(ROWS, self.key))?;
        Ok(())
    }

    /// `work` over and over, until the time is up and all is stored; it says how many rows it was.
    fn turn(&mut self, work: impl Fn(&mut Self) -> Result<usize>) -> Result<Turn> {
        let (begun, cpu, mut rows) = (Instant::now(), self.shard.cpu()?, 0);
        while begun.elapsed() < TIME {
            rows += work(self)?;
        }
        self.flush()?;
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), self.shard.cpu()? - cpu);
        Ok(Turn { cost: 1e6 * cpu / rows as f64, rate: rows as f64 / seconds })
    }

    fn insert(&mut self) -> Result<usize> {
        self.put(FRAMES)?;
        Ok(FRAMES * ROWS)
    }

    fn insert_and_sample(&mut self) -> Result<usize> {
        self.minibatch()?;
        self.insert()
    }

    fn sample(&mut self) -> Result<usize> {
        self.minibatch()?;
        Ok(ROWS)
    }
}

/// All lines.
pub(crate) fn measure() -> Result<Vec<Cells>> {
    let start = |of: [(usize, usize, usize); 3]| {
        let cases = of.map(|(capacity, connections, actors)| Case::start(capacity, connections, actors));
        cases.into_iter().collect::<Result<Vec<_>>>()
    };
    let mut sizes = start(SIZES.map(|size| (size, 1, 1)))?;
    let mut growing = start(CONNECTIONS.map(|n| (CAPACITY, n, n)))?;
    let mut shared = start(CONNECTIONS.map(|n| (CAPACITY, n, MOST_ACTORS)))?;
    let [mut inserts, mut samples, mut of_growing, mut of_shared]: [[Vec<Turn>; 3]; 4] = Default::default();
    for _ in 0..ROUNDS {
        for k in 0..3 {
            inserts[k].push(sizes[k].turn(Case::insert)?);
            samples[k].push(sizes[k].turn(Case::sample)?);
            of_growing[k].push(growing[k].turn(Case::insert_and_sample)?);
            of_shared[k].push(shared[k].turn(Case::insert_and_sample)?);
        }
    }
    let of_size = |work: &str| SIZES.map(|size| format!("{work}, {size} rows held"));
    let sessions = MOST_ACTORS * ROWS;
    let groups = [
        (of_size("insert"), inserts),
        (of_size("sample"), samples),
        (
            CONNECTIONS.map(|n| format!("insert beside minibatches, {n} connections, {} sessions", n * ROWS)),
            of_growing,
        ),
        (
            CONNECTIONS.map(|n| format!("insert beside minibatches, {n} connections, {sessions} sessions")),
            of_shared,
        ),
    ];
    Ok(groups.into_iter().flat_map(|(names, turns)| lines(names, &turns)).collect())
}

fn lines(names: [String; 3], turns: &[Vec<Turn>; 3]) -> Vec<Cells> {
    let line = |(name, of): (String, &Vec<Turn>)| {
        let ratio = Ratio::of(of.iter().map(|turn| turn.cost), turns[0].iter().map(|turn| turn.cost));
        vec![
            name,
            format!("{:.3}", median(of.iter().map(|turn| turn.cost).collect())),
            format!("{:.0} k", 1e-3 * median(of.iter().map(|turn| turn.rate).collect())),
            ratio.to_string(),
            ratio.within(BAR).into(),
        ]
    };
    names.into_iter().zip(turns).map(line).collect()
}
