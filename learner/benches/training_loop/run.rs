//! A short real run in mode `async`: where the time goes. In: environment steps; out: shares of timing.jsonl.

use anyhow::{Context, Result};
use learner::{
    run_dir::{RunDir, metrics::TimingRecord, read_lines},
    train::{self, Interrupt},
};

/// Runs `tuned` with a short beginning and prints the shares over the records behind it.
pub(crate) fn measure(steps: u64) -> Result<()> {
    let mut config = crate::config();
    config.train.steps = steps;
    config.train.evaluate_every = (steps / 3).max(1);
    config.train.checkpoint_every = steps;
    config.exploration.random_steps = 5_000;
    config.replay.low.min_size = 5_000;
    config.replay.high.min_size = 500;
    let folder = tempfile::tempdir()?;
    let run_dir = RunDir::create(&folder.path().join("run"), &config)?;
    let world = train::prepare(&config)?;
    println!(
        "a run of {steps} steps, {} actor thread(s) of {} sessions, one update every {:.0} steps:",
        config.actor.actors,
        config.actor.sessions,
        1.0 / config.train.updates_per_step
    );
    train::run(&config, &world, &run_dir, false, &Interrupt::default())?;
    let records: Vec<TimingRecord> = read_lines(&run_dir.timing_path())?;
    let (last, first) = (records.last(), records.iter().find(|record| record.updates > 0));
    let (first, last) = first.zip(last).context("the run is too short for an update")?;
    // Shares are of the time since the record before: weighted by it.
    let mut before = 0.0;
    let mut weighted = Vec::new();
    for record in &records {
        let seconds = record.seconds - before;
        before = record.seconds;
        if record.seconds > first.seconds {
            weighted.push((seconds, record));
        }
    }
    let total: f64 = weighted.iter().map(|(seconds, _)| seconds).sum();
    let mean = |of: fn(&TimingRecord) -> f64| {
        100.0 * weighted.iter().map(|(seconds, record)| seconds * of(record)).sum::<f64>() / total.max(1e-9)
    };
    println!(
        "{:.0} steps/s, {:.1} updates/s",
        (last.env_steps - first.env_steps) as f64 / total.max(1e-9),
        (last.updates - first.updates) as f64 / total.max(1e-9)
    );
    let learner = [
        ("update", mean(|r| r.update_share)),
        ("sample (wait for a minibatch)", mean(|r| r.sample_share)),
        ("publish", mean(|r| r.publish_share)),
        ("evaluate", mean(|r| r.evaluation_share)),
    ];
    let actor = [
        ("forward", mean(|r| r.actor_forward_share)),
        ("world", mean(|r| r.actor_environment_share)),
        ("write", mean(|r| r.actor_write_share)),
        ("wait for the replay", mean(|r| r.actor_wait_share)),
    ];
    for (who, parts) in [("learner", learner), ("actor", actor)] {
        let rest = 100.0 - parts.iter().map(|(_, share)| share).sum::<f64>();
        let parts: Vec<String> = parts.iter().map(|(name, share)| format!("{name} {share:.1}%")).collect();
        println!("{who:<8} {}, rest {rest:.1}%", parts.join(", "));
    }
    Ok(())
}
