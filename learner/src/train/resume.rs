//! What a checkpoint holds beside the networks and the optimisers, by name in [`Checkpoint::extra`].
//!
//! | part | mode | holds |
//! |---|---|---|
//! | `loop` | both | [`LoopState`] |
//! | `averages` | both | sums since the last record of metrics.jsonl |
//! | `replay/K` | both | contents of replay shard K |
//! | `rollouts/A` | lockstep | sessions in progress of actor A |
//! | `cluster` | cluster | how far shards and balance were; shards keep their contents themselves |
//! | `weights` | lockstep | the weights that the rollouts use |

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use common::{
    codec,
    config::{Config, Difference, Mode},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sim::OpenWorld;

use crate::{checkpoint::Checkpoint, run_dir::metrics::TimingRecord};

/// The part of a checkpoint that those of a cluster have alone.
pub(super) const CLUSTER: &str = "cluster";

/// Whether a setting may change when a run goes on: how far it goes, when it is evaluated and saved, the device, the
/// engine and its precision, how processes meet, where shards keep what they have and how much of it, and without lockstep how the work is
/// shared out. Of the length, the device and the last, each may change what is learned: learning
/// rates that fall over a run (`learning_rate_final`) do so over all of its steps, and devices, engines and precisions
/// round differently.
pub fn may_change(mode: Mode, key: &str) -> bool {
    let shared_out = ["actor.actors", "actor.sessions", "replay.shards"];
    let never_learned_from = [
        "actor.weights",
        "actor.max_staleness_seconds",
        "replay.data_dir",
        "replay.sync",
        "replay.memory_mib",
        "train.evaluate_every",
        "train.evaluation_sessions",
        "train.checkpoint_every",
        "train.keep_checkpoints",
    ];
    ["train.steps", "train.device", "train.engine", "train.learner_threads", "train.precision"].contains(&key)
        || key.starts_with("cluster.")
        || never_learned_from.contains(&key)
        || (mode == Mode::Async && shared_out.contains(&key))
}

/// Whether a run in `world` may go on in the log `now`: its own, which has moved. That it has the items that the run has learned
/// with is for [`RunDir::keep_items`](crate::run_dir::RunDir::keep_items).
pub fn may_move(world: &str, now: &str) -> bool {
    !OpenWorld::is_built_in(world) && !OpenWorld::is_built_in(now) && Path::new(now).is_dir()
}

/// The first setting that differs from a text of stored ones, beside those that [`may_change`] and a log that [`may_move`].
pub(super) fn changed(config: &Config, stored: &str) -> Result<Option<Difference>> {
    let moved = has_moved(config, stored);
    let may = |key: &str| may_change(config.train.mode, key) || (moved && key == "environment.name");
    Ok(common::config::difference(&config.to_toml(), stored, may)?)
}

/// Whether the log of a text of stored settings is elsewhere now.
pub(super) fn has_moved(config: &Config, stored: &str) -> bool {
    let stored = toml::from_str::<toml::Table>(stored).ok();
    let world = stored.as_ref().and_then(|stored| stored.get("environment")?.get("name")?.as_str());
    let now = &config.environment.name;
    world.is_some_and(|world| world != now && may_move(world, now))
}

/// Refuses a checkpoint that was written under other settings than the run's, see [`changed`].
pub(super) fn check_settings(config: &Config, path: &Path, stored: &str) -> Result<()> {
    let differs = changed(config, stored)
        .with_context(|| format!("checkpoint {}: its settings are damaged", path.display()))?;
    if let Some(Difference { key, ours, theirs }) = differs {
        bail!(
            "checkpoint {} was written with {key} = {theirs}, but the run's config.toml says {ours}: put it back, or \
             begin another run",
            path.display()
        );
    }
    Ok(())
}

/// Where the loop itself stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LoopState {
    /// Version of the last broadcast.
    pub(super) version: u64,
    /// Updates that environment steps have earned and that are not done (lockstep).
    pub(super) earned: f64,
    /// Length of metrics.jsonl: what came behind it belongs to steps that will be done again.
    pub(super) metrics_bytes: u64,
    /// How often the run was resumed without its sessions in progress (async). Lockstep keeps them.
    pub(super) epoch: u64,
}

/// Parts of a resumed run, taken out one by one.
#[derive(Debug)]
pub(super) struct Resumed {
    path: PathBuf,
    extra: BTreeMap<String, Vec<u8>>,
}

impl Resumed {
    pub(super) fn new(path: PathBuf, checkpoint: Checkpoint) -> Self {
        Self { path, extra: checkpoint.extra }
    }

    /// Refuses what was written as part of a cluster where `cluster` is false, and on a single node where it is true.
    pub(super) fn check_kind(&self, cluster: bool) -> Result<()> {
        let (path, is_clusters) = (self.path.display(), self.extra.contains_key(CLUSTER));
        match (is_clusters, cluster) {
            (true, false) => {
                bail!("checkpoint {path} is of a cluster's run: go on with --cluster, not with --resume")
            }
            (false, true) => bail!(
                "checkpoint {path} is of a run without a cluster: go on with --resume, not with --cluster"
            ),
            _ => Ok(()),
        }
    }

    /// Raw bytes of a part.
    pub(super) fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.display();
        self.extra.remove(name).with_context(|| {
            format!("checkpoint {path} lacks the part `{name}`: was it written in another mode?")
        })
    }

    /// Parts written by [`put_all`].
    pub(super) fn take_all(&mut self, name: &str) -> Vec<Vec<u8>> {
        (0..).map_while(|k| self.extra.remove(&format!("{name}/{k}"))).collect()
    }

    /// A part written by [`put`].
    pub(super) fn decode<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        let bytes = self.take(name)?;
        codec::decode(&bytes)
            .with_context(|| format!("checkpoint {}: the part `{name}` is damaged", self.path.display()))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Adds a part.
pub(super) fn put(extra: &mut BTreeMap<String, Vec<u8>>, name: &str, value: &impl Serialize) {
    extra.insert(name.to_owned(), codec::encode(value).expect("plain values encode"));
}

/// Adds parts that are bytes already, `NAME/0`, `NAME/1`, ...
pub(super) fn put_all(extra: &mut BTreeMap<String, Vec<u8>>, name: &str, parts: Vec<Vec<u8>>) {
    extra.extend(parts.into_iter().enumerate().map(|(k, bytes)| (format!("{name}/{k}"), bytes)));
}

/// Bytes of timing.jsonl that belong to the first `env_steps` steps. Rates differ from run to run, so that a checkpoint
/// cannot say, unlike for metrics.jsonl.
pub(super) fn timing_bytes(path: &Path, env_steps: u64) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let of_these = |line: &&str| {
        line.ends_with('\n')
            && serde_json::from_str::<TimingRecord>(line).is_ok_and(|record| record.env_steps <= env_steps)
    };
    text.split_inclusive('\n').take_while(of_these).map(|line| line.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_order_and_a_missing_one_is_named() {
        let mut checkpoint = Checkpoint::default();
        put_all(&mut checkpoint.extra, "replay", (0..12_u8).map(|k| vec![k]).collect());
        put(&mut checkpoint.extra, "loop", &LoopState { epoch: 3, ..LoopState::default() });
        let mut resumed = Resumed::new("x.safetensors".into(), checkpoint);
        assert_eq!(resumed.take_all("replay"), (0..12_u8).map(|k| vec![k]).collect::<Vec<_>>());
        assert_eq!(resumed.decode::<LoopState>("loop").unwrap().epoch, 3);
        let message = resumed.take("weights").unwrap_err().to_string();
        assert!(message.contains("x.safetensors lacks the part `weights`"), "{message}");
    }

    #[test]
    fn a_checkpoint_of_other_settings_is_refused_by_the_first_that_differs() {
        let config = Config::default();
        let path = Path::new("step-1.safetensors");
        check_settings(&config, path, &config.to_toml()).unwrap();
        let mut other = config.clone();
        (other.train.steps, other.actor.actors) = (7, 3);
        check_settings(&config, path, &other.to_toml()).unwrap();
        other.algorithm.discount = 0.123;
        let message = check_settings(&config, path, &other.to_toml()).unwrap_err().to_string();
        assert!(message.contains("step-1") && message.contains("algorithm.discount = 0.123"), "{message}");
        let mut lockstep = config.clone();
        lockstep.train.mode = Mode::Lockstep;
        let stored = lockstep.to_toml();
        lockstep.actor.actors = 3;
        assert!(check_settings(&lockstep, path, &stored).is_err(), "lockstep keeps its actors");
    }

    #[test]
    fn a_log_may_have_moved_and_a_world_may_not_be_another() {
        let moved = tempfile::tempdir().unwrap();
        let moved = moved.path().to_str().unwrap();
        let check = |before: &str, now: &str| {
            let [mut config, mut stored] = [Config::default(), Config::default()];
            (config.environment.name, stored.environment.name) = (now.to_owned(), before.to_owned());
            check_settings(&config, Path::new("step-1.safetensors"), &stored.to_toml()).is_ok()
        };
        assert!(check("logs/gone", moved) && check(moved, moved));
        for (before, now) in [
            ("shopworld", "shopworld:dense"),
            ("shopworld", moved),
            ("logs/gone", "shopworld"),
            ("logs/gone", "nowhere"),
        ] {
            assert!(!check(before, now), "from {before} to {now}");
        }
    }

    #[test]
    fn timing_behind_the_checkpoint_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("timing.jsonl");
        assert_eq!(timing_bytes(&path, 100), 0);
        let line = |env_steps| {
            serde_json::to_string(&TimingRecord { env_steps, ..TimingRecord::default() }).unwrap() + "\n"
        };
        std::fs::write(&path, line(50) + &line(100) + &line(150) + "{\"env_st").unwrap();
        assert_eq!(timing_bytes(&path, 100), (line(50) + &line(100)).len() as u64);
        // Cut off just before its end: what comes next would be on the same line.
        std::fs::write(&path, line(50) + line(100).trim_end()).unwrap();
        assert_eq!(timing_bytes(&path, 100), line(50).len() as u64);
    }
}
