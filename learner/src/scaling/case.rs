//! The model's case of a study: measured costs, computed sizes, the settings of its runs.
//!
//! In: rows of a study, a run's settings and its policy; out: [`Case`]. Sizes on the wire are computed from the formats
//! (docs/scaling.md), not measured.

use std::path::Path;

use anyhow::{Context, Result};
use common::{
    config::{Config, WeightsForm},
    history::N_WINDOWS,
};
use replay::Settings;
use safetensors::SafeTensors;

use super::{
    costs::{Case, Costs, Setup},
    cpu,
    study::Row,
};
use crate::run_dir::RunDir;

/// Bytes of a low-level transition from actor to shard, high level included: the upper limit that a test of the replay
/// service holds the wire to.
const TRANSITION_BYTES: f64 = 100.0;
/// Of a sampled row, beside windows and goals: item, feedback, position, ends, version.
const ROW_REST_BYTES: f64 = 20.0;
/// Of 10 Gbit/s, 1e9 bytes a second arrive.
const BANDWIDTH: f64 = 1e9;
/// Between machines of one place.
const LATENCY: f64 = 0.0002;

/// The case of the run in `path`, with the costs of all `rows`, which are clusters. `None` if no row has its CPU
/// measured, or there is no row.
///
/// # Errors
/// A run directory without settings or policy.
pub fn of(path: &Path, rows: &[Row]) -> Result<Option<Case>> {
    let run_dir = RunDir::open(path)?;
    let config = Config::load_run(&run_dir.config_path(), &[])?;
    let Some(costs) = cpu::costs(rows, &wire(&config, &run_dir)?) else { return Ok(None) };
    let row = &rows[0];
    let setup = setup(&config, row.actors, row.cores.unwrap_or(0.0));
    Ok(Some(Case { costs, setup }))
}

/// What is computed; the rest is 0.
fn wire(config: &Config, run_dir: &RunDir) -> Result<Costs> {
    let model = &config.model;
    // Windows after a step are made by the learner.
    let row = 4.0 * (N_WINDOWS * model.window + model.n_goals * model.n_dims) as f64 + ROW_REST_BYTES;
    let rows = |table: &common::config::TableConfig| table.batch.rows(table.capacity) as f64;
    let high_share = rows(&config.replay.high) / rows(&config.replay.low);
    let form = match config.actor.weights {
        WeightsForm::F32 => 1.0,
        WeightsForm::Bf16 => 0.5,
    };
    Ok(Costs {
        actor_step_s: 0.0,
        insert_s: 0.0,
        row_s: 0.0,
        update_s: 0.0,
        learner_row_s: 0.0,
        publish_s: 0.0,
        send_s: 0.0,
        evaluation_s: 0.0,
        transition_bytes: TRANSITION_BYTES,
        row_bytes: row * (1.0 + high_share),
        weights_bytes: form * actor_bytes(&run_dir.policy_path())?,
    })
}

/// Bytes of both actors in f32: what is broadcast.
fn actor_bytes(policy: &Path) -> Result<f64> {
    let bytes = std::fs::read(policy).with_context(|| format!("cannot read {}", policy.display()))?;
    let tensors =
        SafeTensors::deserialize(&bytes).with_context(|| format!("{} is damaged", policy.display()))?;
    let actors = tensors.iter().filter(|(name, _)| name.contains("/actor/"));
    Ok(actors.map(|(_, tensor)| tensor.data().len() as f64).sum())
}

fn setup(config: &Config, actors: u64, cores: f64) -> Setup {
    let low = &config.replay.low;
    let rows = low.batch.rows(low.capacity) as f64;
    let ratio = Settings::from_config(config, &config.cluster.run, 1).ratio;
    Setup {
        actors,
        threads: config.actor.actors as u64,
        sessions: config.actor.sessions as u64,
        shards: config.replay.shards as u64,
        shared_cores: cores,
        actor_cores: config.actor.actors as f64,
        shard_cores: 4.0,
        learner_cores: 8.0,
        bandwidth: BANDWIDTH,
        latency_s: LATENCY,
        in_flight: 8,
        updates_per_step: config.train.updates_per_step,
        rows,
        window_rows: ratio.map_or(2.0 * rows, |ratio| ratio.error_window),
        prefetch: 2,
        publish_every: config.train.publish_every as f64,
        evaluate_every: config.train.evaluate_every as f64,
        period_steps: config.model.period_steps as u64,
        min_size: low.min_size as f64,
        capacity: low.capacity as f64,
        steps: config.train.steps as f64,
    }
}
