//! One shard as a process of its own serves it: writers are paced by the learner.
//!
//! In: settings and which shard it is; out: [`ShardServer::routes`] for any tonic server. Owner: the process; its
//! clones are the same shard.

use std::hash::{BuildHasher, RandomState};

use tonic::service::Routes;

use std::{path::Path, sync::Arc, time::Duration};

use common::config::Sync;

use crate::{
    Error, Settings,
    journal::{
        disk::{Disk, Files},
        home::{Address, Home},
    },
    service::ReplayService,
    shard::Shard,
};

/// A writer that has had no stream for so long is forgotten.
pub const SILENCE: Duration = Duration::from_secs(600);

/// Between two looks at what is due.
const ROUND: Duration = Duration::from_secs(1);

/// How a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Memory of records and tables, in bytes.
    pub bytes: u64,
    /// Writers with an open stream.
    pub writers: u64,
    /// Writers that wait to store.
    pub waiting_writers: u64,
    /// The low-level and the high-level table.
    pub tables: [TableFigures; 2],
}

/// How a table is, in transitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableFigures {
    /// Held now.
    pub size: u64,
    /// Most that it holds.
    pub capacity: u64,
    /// Since the shard began.
    pub inserted: u64,
    /// Since the shard began.
    pub sampled: u64,
    /// Since the shard began.
    pub evicted: u64,
}

/// What a shard found in its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Low-level rows.
    pub low: u64,
    /// High-level rows.
    pub high: u64,
    /// Whether there was a snapshot.
    pub snapshot: bool,
    /// Operations of the journal behind it.
    pub operations: u64,
    /// What was damaged; empty: nothing.
    pub damage: Vec<String>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct ShardServer {
    uid: u64,
    service: ReplayService,
}

impl ShardServer {
    /// An empty shard, the `shard`-th of `n_shards`, that keeps nothing. Its capacity is its share of the settings';
    /// its writers wait until a learner paces it. `settings.n_items` may be 0: the first writer's is taken then.
    pub fn in_memory(settings: &Settings, shard: usize, n_shards: usize) -> Result<Self, Error> {
        Self::named(settings, (shard, n_shards), draw_uid())
    }

    /// [`Self::in_memory`] under a name that is given, for simulations that must come out the same every time. Not 0.
    pub fn named(settings: &Settings, (shard, n_shards): (usize, usize), uid: u64) -> Result<Self, Error> {
        settings.validate_shards(n_shards)?;
        let contents = Shard::new(settings, shard, n_shards).named(uid);
        Ok(Self { uid, service: ReplayService::paced(settings, (shard, n_shards), contents, None) })
    }

    /// The `shard`-th of `n_shards` shards, with what it had acknowledged before in its folder of `data_dir`; it goes on
    /// there. What it acknowledges is as durable as `sync` says. Also tells what was read back, for people.
    pub fn open(
        settings: &Settings,
        (shard, n_shards): (usize, usize),
        data_dir: &Path,
        sync: Sync,
    ) -> Result<(Self, Recovery), Error> {
        Self::open_on(Arc::new(Files), settings, (shard, n_shards), data_dir, sync)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        settings: &Settings,
        (shard, n_shards): (usize, usize),
        data_dir: &Path,
        sync: Sync,
    ) -> Result<(Self, Recovery), Error> {
        settings.validate_shards(n_shards)?;
        let empty = Shard::new(settings, shard, n_shards);
        let address = Address { data_dir, shard, n_shards };
        let (home, contents, recovered) =
            Home::open(address, disk, (&settings.run_id, draw_uid(), sync), empty)?;
        let [low, high] = contents.totals().map(|totals| totals.size);
        let recovery = Recovery {
            low,
            high,
            snapshot: recovered.snapshot.is_some(),
            operations: recovered.operations,
            damage: recovered.damage,
        };
        let uid = contents.uid();
        let service = ReplayService::paced(settings, (shard, n_shards), contents, Some(home));
        Ok((Self { uid, service }, recovery))
    }

    /// Writes a snapshot, if the shard has a folder. Blocks for as long as the disk takes.
    pub fn snapshot(&self) -> std::io::Result<()> {
        self.service.snapshot_to_disk()
    }

    /// How the shard is, for operators; `None` after a panic damaged it.
    pub fn figures(&self) -> Option<Figures> {
        self.service.figures()
    }

    /// Writes snapshots when they are due, and forgets writers that are silent for [`SILENCE`]; until it is dropped.
    /// Yields an error when a panic has damaged the shard: it serves nothing more, and the process should end, so that
    /// whoever runs it starts it again with what it had acknowledged.
    pub async fn keep_house(&self) -> Error {
        loop {
            tokio::time::sleep(ROUND).await;
            if self.service.is_damaged() {
                return Error::Panicked;
            }
            if let Ok(n @ 1..) = self.service.forget_silent(SILENCE) {
                tracing::info!(writers = n, "writers were silent for long and are forgotten");
            }
            if self.service.is_snapshot_due() {
                let service = self.service.clone();
                let written = tokio::task::spawn_blocking(move || service.snapshot_to_disk()).await;
                if let Ok(Err(error)) = written {
                    tracing::error!(
                        %error,
                        "no snapshot could be written; the journal goes on, and the next try comes after a minute, \
                         twice as long after each failure, an hour at most"
                    );
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn service(&self) -> &ReplayService {
        &self.service
    }

    /// How many have this shard: services, streams.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        self.service.holders()
    }

    /// Name of the shard's contents, as `InfoResponse.shard_uid`.
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// `mahrl.v1.Replay` over this shard.
    pub fn routes(&self) -> Routes {
        Routes::new(self.service.clone().server())
    }

    /// Ends all waits and streams with UNAVAILABLE. Whoever asks afterwards is told the same.
    pub fn stop(&self) {
        self.service.close();
    }
}

/// A number that no other shard has. Not one of the run's random streams: contents that begin anew must not be taken
/// for those before them, also under the same seed.
pub(crate) fn draw_uid() -> u64 {
    // The standard library's hasher is keyed by the system's randomness.
    RandomState::new().hash_one(std::process::id()).max(1)
}
