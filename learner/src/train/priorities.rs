//! What the critics' errors say of rows that were drawn by priority.
//!
//! In: a minibatch and what its update measured; out: priorities in the shards that hold the rows. Nothing where rows are
//! drawn otherwise.

use std::time::Duration;

use anyhow::Result;
use replay::{Level, Sampler, client::Minibatch};
use tokio::{runtime::Runtime, time::timeout};

use crate::engine::UpdateMetrics;

/// How long the shards may take.
const WAIT: Duration = Duration::from_secs(2);
/// Added to a row's error: none becomes impossible to draw (Schaul et al. 2016, Sec 3.3).
const LEAST: f64 = 1e-6;

/// Tells the shards how wrong the critics were about each row.
pub(super) fn update(
    runtime: &Runtime,
    sampler: &Sampler,
    batch: &Minibatch,
    measured: &UpdateMetrics,
) -> Result<()> {
    let levels =
        [(Level::High, &measured.high, &batch.high.keys), (Level::Low, &measured.low, &batch.low.keys)];
    for (level, measured, keys) in levels {
        let Some(measured) = measured.as_ref().filter(|_| !keys.is_empty()) else { continue };
        let priorities: Vec<f64> = measured.td_errors.iter().map(|error| error + LEAST).collect();
        let update = sampler.update_priorities(level, keys, &priorities);
        match runtime.block_on(async { timeout(WAIT, update).await }) {
            Ok(Err(error @ replay::Error::Fenced(_))) => return Err(error.into()),
            // Old priorities do no harm beyond a slower start.
            Ok(Err(error)) => tracing::warn!(%error, "priorities were not updated"),
            Err(_) => tracing::warn!("priorities were not updated in time"),
            Ok(Ok(_)) => {}
        }
    }
    Ok(())
}
