//! What a replay service owes its users beside speed: how inserts and samples bear each other, memory, snapshots, restarts.
//!
//! All of it is measured over loopback at shards that are full and evict, with an actor's writer and a learner's sampler.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use node::{Security, health};
use replay::{TransitionSink, Writer};
use tokio::runtime::Runtime;

use crate::{ROWS, Reply, repeat, rows::Rows, shards::Case};

/// Of a wait that ends in an error.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_micros(200);
/// How long a shard that was killed stays away.
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

/// Files of all shards, with a part of a name.
fn files(data: &Path, part: &str) -> Vec<PathBuf> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = entries(data).flat_map(|shard| entries(&shard).collect::<Vec<_>>());
    all.filter(|file| file.to_string_lossy().contains(part)).collect()
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
        let inserted = thread::scope(|scope| {
            let inserting = scope.spawn(|| insert_at(most / 2.0, seconds, writer, rows));
            while begun.elapsed().as_secs_f64() < seconds {
                *key += 1;
                runtime.block_on(sampler.sample_low(ROWS, *key))?;
                calls += 1;
            }
            inserting.join().expect("a writer does not panic")
        })?;
        let beside = 1e6 * (self.cpu_s() - cpu - an_insert * inserted as f64) / (ROWS * calls) as f64;
        let rate = inserted as f64 / seconds;
        Ok(vec![("alone_us", alone), ("beside_us", beside), ("inserts_share", rate / most)])
    }

    /// Resident bytes that the shards took since they were empty, of the bytes of what they hold.
    pub(crate) fn memory(&self) -> Result<Reply> {
        let full = self.servers.iter().map(|server| server.resident_mb()).sum::<Result<f64>>()?;
        let infos = self.runtime.block_on(self.shards.info())?;
        let held: u64 = infos.iter().filter_map(|info| info.low.as_ref()).map(|low| low.size).sum();
        let layout: u64 = infos.iter().map(|info| info.bytes).sum();
        let resident = 1e6 * (full - self.empty_mb);
        Ok(vec![("row_bytes", resident / held as f64), ("layout_bytes", layout as f64 / held as f64)])
    }

    /// Inserts, each until it is on the disk, and minibatches beside, until all shards have written a snapshot: the longest call of
    /// both kinds while one was being written, and while none was.
    pub(crate) fn snapshot(&mut self) -> Result<Reply> {
        let data = self.folder.path().join("data");
        let (is_writing, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
        // Microseconds of inserts and of minibatches: while none is written, while one is.
        let longest: [[AtomicU64; 2]; 2] = Default::default();
        let timed = |kind: usize, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
            let (before, call) = (is_writing.load(Relaxed), Instant::now());
            work()?;
            let during = before || is_writing.load(Relaxed);
            longest[kind][usize::from(during)].fetch_max(call.elapsed().as_micros() as u64, Relaxed);
            Ok(())
        };
        let n_shards = self.servers.len();
        let Self { writer, rows, runtime, sampler, key, .. } = self;
        let seconds = thread::scope(|scope| {
            let inserting = scope.spawn(|| -> Result<()> {
                while !is_done.load(Relaxed) {
                    timed(0, &mut || {
                        rows.store(writer, ROWS as u64);
                        Ok(())
                    })?;
                }
                Ok(())
            });
            let sampling = scope.spawn(|| -> Result<()> {
                while !is_done.load(Relaxed) {
                    *key += 1;
                    timed(1, &mut || Ok(runtime.block_on(sampler.sample_low(ROWS, *key)).map(drop)?))?;
                }
                Ok(())
            });
            let (begun, mut written, mut seconds) = (Instant::now(), 0, 0.0);
            while written < n_shards && begun.elapsed() < PATIENCE {
                if !files(&data, ".partial").is_empty() && !is_writing.swap(true, Relaxed) {
                    let writing = Instant::now();
                    while !files(&data, ".partial").is_empty() {
                        thread::sleep(LOOK);
                    }
                    seconds += writing.elapsed().as_secs_f64();
                    written += 1;
                    is_writing.store(false, Relaxed);
                }
                thread::sleep(LOOK);
            }
            is_done.store(true, Relaxed);
            for thread in [inserting, sampling] {
                thread.join().expect("a caller does not panic")?;
            }
            ensure!(written == n_shards, "no snapshot was written within {PATIENCE:?}");
            anyhow::Ok(seconds)
        })?;
        let ms = |kind: usize, during: usize| 1e-3 * longest[kind][during].load(Relaxed) as f64;
        Ok(vec![
            ("insert_ms", ms(0, 1)),
            ("insert_otherwise_ms", ms(0, 0)),
            ("sample_ms", ms(1, 1)),
            ("sample_otherwise_ms", ms(1, 0)),
            ("seconds", seconds),
        ])
    }

    /// kill -9 and a start: seconds until the first shard is ready with what it held, and those that reading the files it
    /// needs for that takes.
    pub(crate) fn restore(&mut self) -> Result<Reply> {
        let data = self.folder.path().join("data");
        self.servers[0].kill();
        let newest = files(&data, "/snapshot-").into_iter().max();
        let position = |file: &PathBuf| -> Option<String> {
            Some(file.file_stem()?.to_str()?.split_once('-')?.1.to_owned())
        };
        let behind = |file: &PathBuf| position(file) >= newest.as_ref().and_then(position);
        let needed: Vec<PathBuf> =
            files(&data, "/journal-").into_iter().filter(behind).chain(newest.clone()).collect();
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
        Ok(vec![("restore_s", restoring), ("read_s", reading), ("mb", 1e-6 * bytes as f64)])
    }

    /// kill -9 of a shard that is written to, and its start: from when it is ready until it has acknowledged something, and the
    /// longest minibatch from the kill until then, which the other shards give.
    pub(crate) fn kill(&mut self) -> Result<Reply> {
        ensure!(self.servers.len() > 1, "no other shard");
        let Self { servers, addresses, runtime, sampler, key, writer, rows, .. } = self;
        let (is_done, mut longest) = (AtomicBool::new(false), Duration::ZERO);
        servers[0].kill();
        let acknowledged = thread::scope(|scope| {
            // For both shards: what is for the one that is away waits for it.
            let storing = scope.spawn(|| {
                rows.store(writer, 4 * ROWS as u64);
                Instant::now()
            });
            let sampling = scope.spawn(|| -> Result<()> {
                while !is_done.load(Relaxed) {
                    *key += 1;
                    let call = Instant::now();
                    runtime.block_on(sampler.sample_low(ROWS, *key))?;
                    longest = call.elapsed().max(longest);
                }
                Ok(())
            });
            thread::sleep(AWAY);
            let ready = servers[0].start_again().and_then(|()| wait_until_ready(&addresses[0], runtime));
            let stored = storing.join().expect("a writer does not panic");
            is_done.store(true, Relaxed);
            sampling.join().expect("a sampler does not panic")?;
            anyhow::Ok(stored.saturating_duration_since(ready?))
        })?;
        Ok(vec![("ack_ms", 1e3 * acknowledged.as_secs_f64()), ("stall_ms", 1e3 * longest.as_secs_f64())])
    }
}

/// Waits until a shard serves; when that was.
fn wait_until_ready(address: &str, runtime: &Runtime) -> Result<Instant> {
    let (begun, security) = (Instant::now(), Security::default());
    let _guard = runtime.enter();
    loop {
        // A port that nobody listens on is known at once; a channel would wait before it tries again.
        if TcpStream::connect(address).is_ok()
            && runtime.block_on(health::ready(address, &security, PATIENCE)).is_ok()
        {
            return Ok(Instant::now());
        }
        ensure!(begun.elapsed() < PATIENCE, "the shard at {address} does not come back");
        thread::sleep(LOOK);
    }
}
