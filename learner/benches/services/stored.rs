//! Inserts, samples and recovery of one shard.

use std::time::{Duration, Instant};

use anyhow::Result;
use common::{history::N_WINDOWS, transition::Shape};
use replay::{TransitionSink, wire};

use crate::{
    Cells, percentiles,
    rows::{ROUND, Rows, SHAPE},
    shard::{CAPACITY, Shard},
};

/// Rows of a frame, or of a minibatch.
const SIZES: [usize; 3] = [40, 256, 1024];
/// Of every measurement.
const TIME: Duration = Duration::from_secs(2);

/// Bytes of a step on the wire, with its share of the periods.
fn step_bytes(shape: &Shape) -> f64 {
    wire::STEP_BYTES as f64 + wire::period_bytes(shape) as f64 / shape.n_steps as f64
}

/// Bytes of a sampled low-level row: two windows, the goals, the rest.
fn row_bytes(shape: &Shape) -> f64 {
    (2 * 4 * N_WINDOWS * shape.window + 4 * shape.n_goals * shape.n_dims + 20) as f64
}

/// All lines.
pub(crate) fn measure(loopback: f64) -> Result<Vec<Cells>> {
    let mut lines = Vec::new();
    for (name, sync) in
        [("insert, in memory", None), ("insert, `system`", Some("system")), ("insert, `disk`", Some("disk"))]
    {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let data_dir = sync.map(|sync| (data.as_path(), sync));
        let (shard, _) = Shard::start(folder.path(), CAPACITY, data_dir, "uniform")?;
        for (k, size) in SIZES.into_iter().enumerate() {
            lines.push(insert(&shard, name, (k as u64, size), loopback)?);
        }
    }
    for sampling in ["uniform", "prioritised"] {
        let folder = tempfile::tempdir()?;
        let (shard, _) = Shard::start(folder.path(), CAPACITY, None, sampling)?;
        Rows::from_round(0).store(&mut shard.writer(0, 1024)?, 20 * ROUND);
        for size in SIZES {
            lines.push(sample(&shard, &format!("sample, {sampling}"), size, loopback)?);
        }
    }
    Ok(lines)
}

/// As fast as frames of `size` are taken, then one frame after the other, each until it is acknowledged.
fn insert(shard: &Shard, name: &str, (number, size): (u64, usize), loopback: f64) -> Result<Cells> {
    let mut writer = shard.writer(number, size)?;
    // Sessions of their own for each writer.
    let mut rows = Rows::from_round(1_000_000 * number);
    rows.store(&mut writer, ROUND);
    let (begun, cpu, mut stored) = (Instant::now(), shard.cpu()?, 0);
    while begun.elapsed() < TIME {
        rows.put(&mut writer, ROUND);
        stored += ROUND;
    }
    writer.flush()?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), shard.cpu()? - cpu);
    let (begun, mut calls) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let call = Instant::now();
        rows.store(&mut writer, size as u64);
        calls.push(call.elapsed().as_secs_f64());
    }
    let bytes = step_bytes(&SHAPE);
    Ok(line(name, size, (stored as f64, seconds, cpu), calls, bytes / loopback))
}

/// One minibatch after the other.
fn sample(shard: &Shard, name: &str, size: usize, loopback: f64) -> Result<Cells> {
    let sampler = shard.shards.sampler(Duration::from_secs(5));
    let mut calls = Vec::new();
    let (begun, cpu, mut key) = (Instant::now(), shard.cpu()?, 0);
    while begun.elapsed() < TIME {
        key += 1;
        let call = Instant::now();
        shard.runtime.block_on(sampler.sample_low(size, key))?;
        calls.push(call.elapsed().as_secs_f64());
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), shard.cpu()? - cpu);
    let rows = (calls.len() * size) as f64;
    Ok(line(name, size, (rows, seconds, cpu), calls, row_bytes(&SHAPE) / loopback))
}

fn line(
    name: &str,
    size: usize,
    (rows, seconds, cpu): (f64, f64, f64),
    calls: Vec<f64>,
    floor: f64,
) -> Cells {
    let [median, late] = percentiles(calls);
    vec![
        name.to_owned(),
        size.to_string(),
        format!("{:.0} k", 1e-3 * rows / seconds),
        format!("{:.0} k", 1e-3 * rows / cpu.max(1e-9)),
        format!("{median:.2} / {late:.2}"),
        format!("{:.1}%", 100.0 * floor * rows / seconds),
    ]
}

/// From the start of the process until it is ready, after it was killed with a full table.
pub(crate) fn recover() -> Result<Vec<Cells>> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let start = || Shard::start(folder.path(), CAPACITY, Some((&data, "system")), "uniform");
    let (shard, empty) = start()?;
    Rows::from_round(0).store(&mut shard.writer(0, 1024)?, CAPACITY as u64);
    drop(shard);
    let (shard, full) = start()?;
    let held = shard.held()?;
    anyhow::ensure!(held == CAPACITY as u64, "{held} of {CAPACITY} transitions came back");
    Ok(vec![
        vec!["from journal and snapshots".into(), format!("{:.0} ms", 1e3 * full)],
        vec!["an empty shard, to compare with".into(), format!("{:.0} ms", 1e3 * empty)],
    ])
}
