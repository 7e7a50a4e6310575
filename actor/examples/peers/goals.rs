//! What a replay service owes its users beside speed: how inserts and samples bear each other, memory, snapshots, restarts.
//!
//! All of it is measured over loopback at shards that are full and evict, with an actor's writer and a learner's sampler.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use node::{Security, health};
use replay::{TransitionSink, Writer};
use tokio::runtime::Runtime;

use crate::{
    ROWS, Reply,
    cpu::thread_s,
    repeat,
    rows::{ROUND, Rows},
    shards::Case,
};

/// Of a wait that ends in an error.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_micros(200);
/// How long a shard that was killed stays away; how long what a snapshot replaces may take to be removed.
const AWAY: Duration = Duration::from_millis(300);

/// Frames at so many rows a second for some seconds, all stored; how many rows.
fn insert_at(rate: f64, seconds: f64, writer: &mut Writer, rows: &mut Rows) -> Result<u64> {
    let (begun, mut stored) = (Instant::now(), 0);
    loop {
        let elapsed = begun.elapsed().as_secs_f64();
        if elapsed >= seconds {
            break;
        }
        if stored as f64 <= elapsed * rate {
            rows.put(writer, ROWS as u64);
            writer.submit()?;
            stored += ROWS as u64;
        } else {
            thread::sleep(LOOK);
        }
    }
    writer.flush()?;
    Ok(stored)
}

/// Rows as bytes to the end of a file: what a disk takes that is waited for after every frame.
pub(crate) fn append_and_sync(row_bytes: usize, seconds: f64) -> Result<Reply> {
    let (mut file, frame) = (tempfile::tempfile()?, vec![7; ROWS * row_bytes]);
    let times = repeat(seconds, || {
        file.write_all(&frame)?;
        Ok(file.sync_data()?)
    })?;
    Ok(vec![("rows_per_s", (ROWS * times.len()) as f64 / times.iter().sum::<f64>())])
}

/// Files of all shards that begin and end so, with what stands between.
fn files(data: &Path, prefix: &str, suffix: &str) -> Vec<(String, PathBuf)> {
    let entries = |folder: &Path| {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let position = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned();
        Some((name, path))
    };
    entries(data).iter().flat_map(|shard| entries(shard)).filter_map(position).collect()
}

/// The one at the highest position.
fn newest(data: &Path, prefix: &str, suffix: &str) -> Option<(String, PathBuf)> {
    files(data, prefix, suffix).into_iter().max()
}

/// Calls over and over, until it is done.
fn longest_call(is_done: &AtomicBool, mut call: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    while !is_done.load(Relaxed) {
        let begun = Instant::now();
        call()?;
        longest = begun.elapsed().max(longest);
    }
    Ok(longest)
}

impl Case {
    /// Minibatches one after the other, first alone, then while another connection inserts at half of its maximum: CPU of all
    /// processes a sampled row, without what the inserts take by themselves.
    pub(crate) fn beside_inserts(&mut self, seconds: f64) -> Result<Reply> {
        let figure = |reply: &Reply, name| {
            reply.iter().find(|(key, _)| *key == name).map_or(f64::NAN, |(_, value)| *value)
        };
        let most = figure(&self.insert(seconds)?, "rows_per_s");
        let alone = figure(&self.sample(seconds)?, "cpu_us");
        let cpu = self.cpu_s();
        let inserted = insert_at(most / 2.0, seconds, &mut self.writer, &mut self.rows)?;
        let an_insert = (self.cpu_s() - cpu) / inserted as f64;
        let (cpu, begun, mut calls) = (self.cpu_s(), Instant::now(), 0);
        let Self { writer, rows, runtime, sampler, key, .. } = self;
        let (inserted, inserting) = thread::scope(|scope| {
            // A thread that has ended is in no process's account.
            let inserting =
                scope.spawn(|| anyhow::Ok((insert_at(most / 2.0, seconds, writer, rows)?, thread_s())));
            while begun.elapsed().as_secs_f64() < seconds {
                *key += 1;
                runtime.block_on(sampler.sample_low(ROWS, *key))?;
                calls += 1;
            }
            inserting.join().expect("a writer does not panic")
        })?;
        let share = inserted as f64 / seconds / most;
        ensure!(share > 0.45, "{share:.2} of the maximum was inserted, not half");
        let beside =
            1e6 * (self.cpu_s() + inserting - cpu - an_insert * inserted as f64) / (ROWS * calls) as f64;
        Ok(vec![("alone_us", alone), ("beside_us", beside)])
    }

    /// Resident bytes that the shards took since they were empty, of the bytes of what they hold.
    pub(crate) fn memory(&self) -> Result<Reply> {
        let full = self.servers.iter().map(|server| server.resident_mb()).sum::<Result<f64>>()?;
        let infos = self.runtime.block_on(self.shards.info())?;
        let layout: u64 = infos.iter().map(|info| info.bytes).sum();
        Ok(vec![("resident_mb", full - self.empty_mb), ("layout_mb", 1e-6 * layout as f64)])
    }

    /// Inserts, each until it is on the disk, and minibatches beside, until the first shard has written a snapshot and removed
    /// what it replaces: the longest call of both kinds.
    pub(crate) fn snapshot(&mut self) -> Result<Reply> {
        let data = self.folder.path().join("data");
        let is_done = AtomicBool::new(false);
        let Self { writer, rows, runtime, sampler, key, .. } = self;
        let longest = thread::scope(|scope| {
            let inserting = scope.spawn(|| {
                longest_call(&is_done, || {
                    rows.store(writer, ROWS as u64);
                    Ok(())
                })
            });
            let sampling = scope.spawn(|| {
                longest_call(&is_done, || {
                    *key += 1;
                    Ok(runtime.block_on(sampler.sample_low(ROWS, *key)).map(drop)?)
                })
            });
            let (begun, before) = (Instant::now(), newest(&data, "snapshot-", ".bin"));
            while newest(&data, "snapshot-", ".bin") == before && begun.elapsed() < PATIENCE {
                thread::sleep(LOOK);
            }
            let is_written = newest(&data, "snapshot-", ".bin") != before;
            thread::sleep(AWAY);
            is_done.store(true, Relaxed);
            let longest = [inserting, sampling].map(|thread| thread.join().expect("a caller does not panic"));
            ensure!(is_written, "no snapshot was written within {PATIENCE:?}");
            let [insert, sample] = longest;
            anyhow::Ok([insert?, sample?])
        })?;
        let [insert, sample] = longest.map(|span| 1e3 * span.as_secs_f64());
        Ok(vec![("insert_ms", insert), ("sample_ms", sample)])
    }

    /// kill -9 and a start: seconds until the first shard is ready with what it held, and those that reading the files it
    /// needs for that takes; how many of these are snapshots.
    pub(crate) fn restore(&mut self) -> Result<Reply> {
        let data = self.folder.path().join("data");
        self.servers[0].kill();
        let snapshot = newest(&data, "snapshot-", ".bin");
        let behind =
            |(position, _): &(String, PathBuf)| snapshot.as_ref().is_none_or(|(at, _)| position >= at);
        let journal = files(&data, "journal-", ".log").into_iter().filter(behind);
        let needed: Vec<PathBuf> = journal.chain(snapshot.clone()).map(|(_, path)| path).collect();
        let read = || -> Result<(f64, usize)> {
            let begun = Instant::now();
            let sizes = needed.iter().map(|file| Ok(fs::read(file)?.len())).collect::<Result<Vec<_>>>()?;
            Ok((begun.elapsed().as_secs_f64(), sizes.iter().sum()))
        };
        // Once before, so that the system has the files in memory for both.
        read()?;
        let (reading, bytes) = read()?;
        let begun = Instant::now();
        self.servers[0].start_again()?;
        wait_until_ready(&self.addresses[0], &self.runtime)?;
        let restoring = begun.elapsed().as_secs_f64();
        // The writer is connected again before the next measurement.
        self.rows.store(&mut self.writer, 4 * ROWS as u64);
        let snapshots = f64::from(u8::from(snapshot.is_some()));
        Ok(vec![
            ("restore_s", restoring),
            ("read_s", reading),
            ("mb", 1e-6 * bytes as f64),
            ("snapshots", snapshots),
        ])
    }

    /// kill -9 of a shard that is written to, and its start: from when it listens until it has acknowledged what it owed (what it
    /// held is read back meanwhile), and the longest minibatch from the kill until then, which the other shards give.
    pub(crate) fn kill(&mut self) -> Result<Reply> {
        ensure!(self.servers.len() > 1, "no other shard");
        let Self { servers, addresses, runtime, sampler, key, writer, rows, .. } = self;
        // To where a period of every session of a round has ended, and begun none.
        rows.store(writer, ROUND - rows.written % ROUND + 10 * ROWS as u64);
        let is_done = AtomicBool::new(false);
        servers[0].kill();
        let (acknowledged, longest) = thread::scope(|scope| {
            // For both shards: what is for the one that is away waits for it.
            let storing = scope.spawn(|| {
                rows.store(writer, 4 * ROWS as u64);
                Instant::now()
            });
            let sampling = scope.spawn(|| {
                longest_call(&is_done, || {
                    *key += 1;
                    Ok(runtime.block_on(sampler.sample_low(ROWS, *key)).map(drop)?)
                })
            });
            thread::sleep(AWAY);
            let is_owed = !storing.is_finished();
            let listens = servers[0].start_again().and_then(|()| wait_until_it_listens(&addresses[0]));
            let stored = storing.join();
            is_done.store(true, Relaxed);
            let longest = sampling.join().expect("a sampler does not panic")?;
            ensure!(is_owed, "the shard that was away owed nothing");
            let stored = stored.ok().context("the writer gave up")?;
            anyhow::Ok((stored.saturating_duration_since(listens?), longest))
        })?;
        Ok(vec![("ack_ms", 1e3 * acknowledged.as_secs_f64()), ("stall_ms", 1e3 * longest.as_secs_f64())])
    }
}

/// Waits until somebody listens; when that was.
fn wait_until_it_listens(address: &str) -> Result<Instant> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "nobody listens at {address}");
        thread::sleep(LOOK);
    }
    Ok(Instant::now())
}

/// Waits until a shard serves.
fn wait_until_ready(address: &str, runtime: &Runtime) -> Result<()> {
    let begun = wait_until_it_listens(address)?;
    let _guard = runtime.enter();
    while runtime.block_on(health::ready(address, &Security::default(), PATIENCE)).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "the shard at {address} does not come back");
        thread::sleep(LOOK);
    }
    Ok(())
}
