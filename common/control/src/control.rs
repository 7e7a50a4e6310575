//! [`Control`]: one process's handle on the control plane.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use common::config::ClusterConfig;

use crate::{
    CheckpointEntry, Error, Leader, Memory, RunRecord, ShardEntry,
    records::{Bid, Claim, Kept, Renewal, catalogue},
    redis::Redis,
    unique,
};

/// A process's handle on the control plane; clones share it. Every call ends within two seconds, and may be repeated.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    store: Store,
    /// Whether nobody else can reach the store.
    alone: bool,
    /// Whose counters these are: one handle's.
    process: u64,
    local: Mutex<Local>,
}

enum Store {
    Memory(Memory),
    Redis(Box<Redis>),
}

/// What this process writes again, when the store has lost it.
#[derive(Default)]
struct Local {
    kept: Kept,
    counters: BTreeMap<String, u64>,
}

/// `self.0.store`'s method of that name, in memory or in Redis.
macro_rules! ask {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &$self.0.store {
            Store::Memory(memory) => memory.$method($($argument),*),
            Store::Redis(redis) => redis.$method($($argument),*).await,
        }
    };
}

impl Control {
    /// The control plane that `[cluster]` names: Redis, or, without one, a store of this process's own. Does not connect:
    /// [`Self::ping`] does.
    ///
    /// Fails where the password file or a certificate cannot be read.
    pub fn open(config: &ClusterConfig) -> Result<Self, Error> {
        if config.redis.is_empty() {
            return Ok(Self::of(Store::Memory(Memory::new()), true));
        }
        Ok(Self::of(Store::Redis(Box::new(Redis::new(config)?)), false))
    }

    /// A handle of its own, as of another process, on a store within this one.
    pub fn in_memory(memory: &Memory) -> Self {
        Self::of(Store::Memory(memory.clone()), false)
    }

    fn of(store: Store, alone: bool) -> Self {
        Self(Arc::new(Inner { store, alone, process: unique(), local: Mutex::default() }))
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.0.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store answers and lets us in: for the start of a process, so that a wrong password is told there.
    pub async fn ping(&self) -> Result<(), Error> {
        ask!(self.ping())
    }

    /// Writes the run's record; the leader's lease writes it again with every renewal from here on.
    pub async fn publish_run(&self, record: RunRecord) -> Result<(), Error> {
        self.local().kept.run = Some(record.clone());
        ask!(self.put_run(&record))
    }

    /// The run's record, if there is one yet.
    pub async fn run(&self) -> Result<Option<RunRecord>, Error> {
        ask!(self.run())
    }

    /// Shards whose lease holds, by uid.
    pub async fn shards(&self) -> Result<Vec<ShardEntry>, Error> {
        ask!(self.shards())
    }

    /// Who leads, if anyone. It may have been superseded since; its token tells.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        ask!(self.leader())
    }

    /// Adds to a counter of the run. Kept as a total of this handle, so that nothing counts twice and nothing is lost with
    /// the store: a failed call is made good by the next, or by a heartbeat.
    pub async fn add(&self, counter: &str, n: u64) -> Result<(), Error> {
        let total = {
            let mut local = self.local();
            let total = local.counters.entry(counter.to_owned()).or_default();
            *total += n;
            *total
        };
        ask!(self.put_counter(counter, self.0.process, total))
    }

    /// Every counter, summed over the processes that ever added to it.
    pub async fn counters(&self) -> Result<BTreeMap<String, u64>, Error> {
        ask!(self.counters())
    }

    /// Adds a checkpoint to the catalogue, of which the newest `keep` stay. Later steps of earlier leaders are dropped: the
    /// run went back before them. Refused with [`Error::Superseded`] when a higher token is known.
    pub async fn publish_checkpoint(&self, entry: CheckpointEntry, keep: usize) -> Result<(), Error> {
        catalogue(&mut self.local().kept.checkpoints, entry.clone(), keep);
        ask!(self.put_checkpoint(&entry, keep))
    }

    /// The catalogue, ascending by step.
    pub async fn checkpoints(&self) -> Result<Vec<CheckpointEntry>, Error> {
        ask!(self.checkpoints())
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.0.alone
    }

    pub(crate) async fn put_shard(&self, entry: &ShardEntry, lease: Duration) -> Result<(), Error> {
        ask!(self.put_shard(entry, lease))
    }

    pub(crate) async fn remove_shard(&self, entry: &ShardEntry) -> Result<(), Error> {
        ask!(self.remove_shard(entry))
    }

    pub(crate) async fn claim(&self, bid: Bid<'_>) -> Result<Claim, Error> {
        ask!(self.claim(bid))
    }

    pub(crate) async fn renew(&self, bid: Bid<'_>) -> Result<Renewal, Error> {
        let kept = self.local().kept.clone();
        ask!(self.renew(bid, &kept))
    }

    pub(crate) async fn release(&self, holder: &str) -> Result<(), Error> {
        ask!(self.release(holder))
    }

    /// A new leader answers for what its predecessor published.
    pub(crate) async fn adopt(&self) {
        if let (Ok(run), Ok(checkpoints)) = (self.run().await, self.checkpoints().await) {
            let kept = &mut self.local().kept;
            kept.run = kept.run.take().or(run);
            if kept.checkpoints.is_empty() {
                kept.checkpoints = checkpoints;
            }
        }
    }

    /// Writes this handle's totals again.
    pub(crate) async fn publish_counters(&self) -> Result<(), Error> {
        let counters = self.local().counters.clone();
        for (name, total) in counters {
            ask!(self.put_counter(&name, self.0.process, total))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Control {
    /// Where it is, nothing secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.0.store {
            Store::Memory(_) => "memory",
            Store::Redis(redis) => redis.address(),
        };
        f.debug_tuple("Control").field(&place).finish()
    }
}
