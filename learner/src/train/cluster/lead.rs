//! Who leads: the lease, the run directory, the numbers.
//!
//! In: settings, the run directory; out: a [`Lead`], once nobody else leads. With Redis a learner stands by until the lease
//! is free; without, the lock of the run directory decides, and a fencing token above all that the directory and the
//! shards have seen. With a lease, a lock that is not given up (its holder hangs) keeps nobody from leading: that holder's
//! token is refused everywhere from then on. Owner: the learner's thread.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use common::config::Config;
use control::{Control, Leadership, LeaseView, RunRecord};
use replay::Shards;
use tokio::runtime::Runtime;

use super::numbers::Numbers;
use crate::{
    run_dir::{Error as RunDirError, RunDir},
    train::{Interrupt, resume::changed},
};

/// Between two looks at the interrupt, or at a lock.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// Between two lines of the log about Redis being away.
const REPORT: Duration = Duration::from_secs(5);
/// How long shards may take to name the highest token they have seen.
const SHARDS_ANSWER: Duration = Duration::from_secs(2);

/// The right to write: to the run directory, to the shards, to the actors.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) run_dir: RunDir,
    /// Whether the run directory held a run.
    pub(super) resumes: bool,
    /// Taken out once.
    pub(super) numbers: Option<Numbers>,
    pub(super) fence: u64,
    lease: Option<(Leadership, LeaseView)>,
    _lock: Option<File>,
}

impl Lead {
    /// Waits until this learner may lead; `None` if it was interrupted before. `address` is where actors find it.
    pub(super) fn campaign(
        config: &Config,
        path: &Path,
        (control, shards): (&Control, &Shards),
        address: &str,
        interrupt: &Interrupt,
        runtime: &Runtime,
    ) -> Result<Option<Self>> {
        let numbers_path = RunDir::numbers_of(path);
        let floor = Numbers::last_fence(&numbers_path)?;
        if RunDir::holds_run(path) {
            check_settings(config, &RunDir::open(path)?)?;
        }
        let (lease, fence) = if config.cluster.redis.is_empty() {
            let asked = ask(shards, runtime);
            // Before a shard hears of this learner: from then on it would take nothing from the one that leads.
            Numbers::check_held(&numbers_path, asked.held)?;
            (None, floor.max(asked.fence) + 1)
        } else {
            if !runtime.block_on(redis_answers(control, interrupt)).context("cannot use cluster.redis")? {
                return Ok(None);
            }
            let lease = Duration::from_secs_f64(config.cluster.lease_seconds);
            let won = runtime.block_on(async {
                tokio::select! {
                    won = control.campaign(address, lease, floor) => won.map(Some),
                    () = interrupted(interrupt) => Ok(None),
                }
            });
            let Some(won) = won.context("cannot take the learner's lease")? else { return Ok(None) };
            let (view, fence) = (won.view(), won.fence());
            (Some((won, view)), fence)
        };
        let resumes = RunDir::holds_run(path);
        let run_dir = if resumes { RunDir::resume(path)? } else { RunDir::create(path, config)? };
        let lock = match lock(&run_dir, Duration::from_secs_f64(config.cluster.lease_seconds), interrupt) {
            Ok(None) if interrupt.raised() => return Ok(None),
            Ok(None) if lease.is_some() => {
                tracing::warn!(
                    "the run directory is still locked by a learner whose lease has ended; going on without"
                );
                None
            }
            Ok(None) => return Err(RunDirError::InUse { path: path.to_owned() }.into()),
            Ok(Some(lock)) => Some(lock),
            Err(error) => return Err(error),
        };
        if resumes {
            check_settings(config, &run_dir)?;
        }
        let numbers = Numbers::lead(&numbers_path, fence)?;
        let record = RunRecord::new(&config.cluster.run, config.to_toml());
        if let Err(error) = runtime.block_on(control.publish_run(record)) {
            tracing::warn!(%error, "the run's record will be published later");
        }
        Ok(Some(Self { run_dir, resumes, numbers: Some(numbers), fence, lease, _lock: lock }))
    }

    /// Fails once another learner leads.
    pub(super) fn check(&self) -> Result<()> {
        if let Some((_, view)) = &self.lease
            && let control::Standing::Superseded { by } = view.standing()
        {
            bail!("another learner leads this run under fencing token {by}; this one has {}", self.fence);
        }
        Ok(())
    }

    /// Lets another one lead.
    pub(super) fn resign(self, runtime: &Runtime) {
        if let Some((leadership, _)) = self.lease {
            runtime.block_on(leadership.release());
        }
    }
}

/// Waits until Redis answers, as everything may be started at once; false if interrupted before. What waiting does not
/// help against, a wrong password say, is an error.
async fn redis_answers(control: &Control, interrupt: &Interrupt) -> Result<bool, control::Error> {
    let mut reported = None::<Instant>;
    while !interrupt.raised() {
        match control.ping().await {
            Err(error @ control::Error::Unreachable { .. }) => {
                if reported.is_none_or(|at| at.elapsed() >= REPORT) {
                    tracing::warn!(%error, "waiting for Redis");
                    reported = Some(Instant::now());
                }
                tokio::time::sleep(LOOK_AROUND).await;
            }
            answered => return answered.map(|()| true),
        }
    }
    Ok(false)
}

/// What shards say to somebody who does not lead yet, as far as they answer.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// The highest fencing token that any has seen.
    fence: u64,
    /// Steps that they have stored.
    held: u64,
}

fn ask(shards: &Shards, runtime: &Runtime) -> Asked {
    let begun = Instant::now();
    runtime.block_on(async {
        // Shards say who they are when they are found, not before.
        while shards.n_shards() == 0 && begun.elapsed() < SHARDS_ANSWER {
            tokio::time::sleep(LOOK_AROUND).await;
        }
        let answers = tokio::time::timeout(SHARDS_ANSWER, shards.info()).await;
        let infos = answers.ok().and_then(Result::ok).unwrap_or_default();
        infos.iter().fold(Asked::default(), |asked, info| Asked {
            fence: asked.fence.max(info.fence),
            held: asked.held + info.low.as_ref().map_or(0, |low| low.inserted),
        })
    })
}

/// Waits for an interrupt.
pub(super) async fn interrupted(interrupt: &Interrupt) {
    while !interrupt.raised() {
        tokio::time::sleep(LOOK_AROUND).await;
    }
}

/// Locks the run directory; whoever led before may still be ending. `None`: it is still locked, or an interrupt came.
fn lock(run_dir: &RunDir, patience: Duration, interrupt: &Interrupt) -> Result<Option<File>> {
    let begun = Instant::now();
    loop {
        match run_dir.lock() {
            Err(RunDirError::InUse { .. }) if interrupt.raised() || begun.elapsed() >= patience => {
                return Ok(None);
            }
            Err(RunDirError::InUse { .. }) => std::thread::sleep(LOOK_AROUND),
            locked => return Ok(Some(locked?)),
        }
    }
}

/// A run goes on under its own name and settings.
fn check_settings(config: &Config, run_dir: &RunDir) -> Result<()> {
    let path = run_dir.config_path();
    let (own, now) = (Config::load_run(&path, &[])?.cluster.run, &config.cluster.run);
    if own != *now {
        bail!(
            "{} is the folder of the run `{own}`, cluster.run is `{now}`: give the run a folder of its own (--run-dir)",
            run_dir.path().display()
        );
    }
    let kept = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let differs = changed(config, &kept).with_context(|| format!("{} is damaged", path.display()))?;
    if let Some(differs) = differs {
        bail!(
            "{} was begun with {} = {}, now it is {}: put it back, or begin another run (cluster.run, --run-dir)",
            run_dir.path().display(),
            differs.key,
            differs.theirs,
            differs.ours
        );
    }
    Ok(())
}
