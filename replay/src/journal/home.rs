//! The files of a running shard: its journal, its snapshots, and when the next of these is due.
//!
//! In: operations, in the order in which they are applied; images; out: positions to wait for. Snapshots are written by
//! whoever calls [`Home::snapshot`], one at a time, while the shard goes on.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use common::config::Sync;
use node::metrics;
use proto::v1;

use super::{
    Error,
    disk::Disk,
    folder,
    log::{Identity, Log, Progress},
    operation::Operation,
    recover::{self, Recovered},
    retry::Retry,
    snapshot,
};
use crate::shard::{Shard, image::Image};

/// A snapshot is due once the journal behind the last has this many bytes, and as many as the last snapshot.
pub(super) const DUE: u64 = 64 << 20;

/// See the module.
pub(crate) struct Home {
    log: Log,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    identity: Identity,
    /// Position of the newest snapshot; where the journal began, if there is none.
    snapshot_at: AtomicU64,
    snapshot_bytes: AtomicU64,
    /// Held while a snapshot is written: one at a time.
    writing: Mutex<Retry>,
    _lock: File,
}

/// Where a shard lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) shard: usize,
    pub(crate) n_shards: usize,
}

impl Home {
    /// Fills an empty shard with what is on disk, under its old name (or `new_uid`), and goes on writing there.
    pub(crate) fn open(
        address: Address<'_>,
        disk: Arc<dyn Disk>,
        (run_id, new_uid, sync): (&str, u64, Sync),
        mut shard: Shard,
    ) -> Result<(Self, Shard, Recovered), Error> {
        let (folder, lock) = folder::open(address.data_dir, address.shard, address.n_shards)?;
        let begun = Instant::now();
        let recovered = recover::recover(&folder, run_id, &mut shard)?;
        folder::say_settings(&folder, &shard)?;
        metrics::REPLAY_RECOVERY_SECONDS.set(begun.elapsed().as_secs_f64(), []);
        let uid = recovered.uid.unwrap_or(new_uid);
        let identity = Identity { run_id: run_id.to_owned(), uid };
        let log = Log::start(Arc::clone(&disk), &folder, identity.clone(), recovered.position, sync)
            .map_err(Error::file("begin a journal in", &folder))?;
        for operation in ["write", "sync", "create", "snapshot"] {
            // Whoever scrapes sees a rise only from what it has seen before.
            metrics::REPLAY_JOURNAL_FAILURES.increment(0, [operation]);
        }
        let (snapshot_at, snapshot_bytes) = recovered.snapshot.unwrap_or((0, 0));
        let home = Self {
            log,
            disk,
            folder,
            identity,
            snapshot_at: AtomicU64::new(snapshot_at),
            snapshot_bytes: AtomicU64::new(snapshot_bytes),
            writing: Mutex::default(),
            _lock: lock,
        };
        Ok((home, shard.named(uid), recovered))
    }

    /// Takes an operation; the position behind it. Call it under the lock of the shard that it is applied to.
    pub(crate) fn append(&self, operation: &Operation) -> u64 {
        self.log.append(operation)
    }

    /// Where the next operation begins.
    pub(crate) fn appended(&self) -> u64 {
        self.log.appended()
    }

    /// See [`Log::durable`].
    pub(crate) async fn durable(&self, position: u64) -> Result<(), String> {
        self.log.durable(position).await
    }

    /// See [`Log::room`].
    pub(crate) async fn room(&self) {
        self.log.room().await;
    }

    /// Bytes that wait to be written.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.log.pending()
    }

    /// How far the journal is.
    pub(crate) fn progress(&self) -> Progress {
        self.log.progress()
    }

    /// For [`v1::InfoResponse`].
    pub(crate) fn info(&self) -> v1::JournalInfo {
        let Progress { durable, failure, .. } = self.progress();
        v1::JournalInfo {
            durable,
            since_snapshot: durable.saturating_sub(self.snapshot_at.load(Relaxed)),
            snapshot_bytes: self.snapshot_bytes.load(Relaxed),
            failure: failure.unwrap_or_default(),
        }
    }

    /// Whether it is time for a snapshot, nobody writes one, and the last, if it failed, did so long enough ago.
    pub(crate) fn is_snapshot_due(&self) -> bool {
        let since = self.appended().saturating_sub(self.snapshot_at.load(Relaxed));
        since > DUE.max(self.snapshot_bytes.load(Relaxed))
            && self.writing.try_lock().is_ok_and(|retry| retry.is_due(Instant::now()))
    }

    /// Writes a snapshot, then removes files that nothing needs any more. `image` is called once: under the shard's lock it
    /// yields the image together with [`Self::begin_snapshot`]'s position. Blocks for as long as the disk takes.
    pub(crate) fn snapshot(&self, image: impl FnOnce() -> Option<(u64, Image)>) -> io::Result<()> {
        let mut retry = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.write_snapshot(image);
        if written.is_ok() {
            retry.succeeded();
        } else {
            metrics::REPLAY_JOURNAL_FAILURES.increment(1, ["snapshot"]);
            retry.failed(Instant::now());
        }
        written
    }

    /// Call it with [`Self::writing`] held.
    fn write_snapshot(&self, image: impl FnOnce() -> Option<(u64, Image)>) -> io::Result<()> {
        let begun = Instant::now();
        let Some((position, image)) = image() else { return Ok(()) };
        let before = self.snapshot_at.load(Relaxed);
        if position == before {
            return Ok(());
        }
        let size = snapshot::write(&*self.disk, &self.folder, &self.identity, position, image)?;
        self.snapshot_at.store(position, Relaxed);
        self.snapshot_bytes.store(size, Relaxed);
        metrics::REPLAY_SNAPSHOT_SECONDS.record(begun.elapsed().as_secs_f64(), []);
        tracing::info!(position, bytes = size, seconds = begun.elapsed().as_secs_f64(), "snapshot written");
        self.clean(before)
    }

    /// Ends the journal's file: what follows is not in the snapshot that is made now. Call it under the shard's lock.
    pub(crate) fn begin_snapshot(&self) -> u64 {
        // At the place of the last one nothing has come since.
        match self.appended() {
            position if position == self.snapshot_at.load(Relaxed) => position,
            _ => self.log.rotate(),
        }
    }

    /// Removes what came before a snapshot, all that can be removed; the first error.
    fn clean(&self, before: u64) -> io::Result<()> {
        let mut all = Ok(());
        for (prefix, suffix) in [("journal-", ".log"), ("snapshot-", ".bin")] {
            let files = recover::list(&self.folder, prefix, suffix).map_err(io::Error::other)?;
            for (position, path) in files {
                if position < before {
                    all = all.and(self.disk.remove(&path));
                }
            }
        }
        all
    }
}
