//! The control plane inside one process: single node, tests. Same semantics as Redis, time from tokio's clock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    CheckpointEntry, Error, Leader, RunRecord, ShardEntry,
    records::{Bid, Claim, Kept, Renewal, catalogue},
};

/// A connection to a store that the [`crate::Control`]s of one process share. Owner: whoever holds a clone; the last ends
/// the store.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    cut: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    /// Highest token ever given. Stands in for Redis's clock: it outlives [`Memory::clear`].
    ever: u64,
    contents: Contents,
}

#[derive(Debug, Default)]
struct Contents {
    run: Option<RunRecord>,
    fence: Option<u64>,
    lease: Option<Lease>,
    shards: BTreeMap<u64, (String, Instant)>,
    /// By (name, process).
    counters: BTreeMap<(String, u64), u64>,
    checkpoints: Vec<CheckpointEntry>,
}

#[derive(Clone, Debug)]
struct Lease {
    holder: String,
    leader: Leader,
    ends: Instant,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses everything, as a Redis without persistence does when it dies.
    pub fn clear(&self) {
        self.lock().contents = Contents::default();
    }

    /// Another connection to the same store; clones share theirs.
    pub fn another(&self) -> Self {
        Self { state: self.state.clone(), cut: Arc::default() }
    }

    /// Whether the store answers on this connection.
    pub fn set_reachable(&self, reachable: bool) {
        self.cut.store(!reachable, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(Error::Unreachable { address: "memory".into(), reason: "cut off".into() });
        }
        let mut state = self.lock();
        let now = Instant::now();
        let contents = &mut state.contents;
        contents.shards.retain(|_, (_, ends)| *ends > now);
        contents.lease.take_if(|lease| lease.ends <= now);
        Ok(state)
    }

    pub(crate) fn ping(&self) -> Result<(), Error> {
        self.state().map(drop)
    }

    pub(crate) fn put_run(&self, record: &RunRecord) -> Result<(), Error> {
        self.state()?.contents.run = Some(record.clone());
        Ok(())
    }

    pub(crate) fn run(&self) -> Result<Option<RunRecord>, Error> {
        Ok(self.state()?.contents.run.clone())
    }

    pub(crate) fn put_shard(&self, entry: &ShardEntry, lease: Duration) -> Result<(), Error> {
        let ends = Instant::now() + lease;
        self.state()?.contents.shards.insert(entry.uid, (entry.address.clone(), ends));
        Ok(())
    }

    pub(crate) fn remove_shard(&self, entry: &ShardEntry) -> Result<(), Error> {
        let shards = &mut self.state()?.contents.shards;
        if shards.get(&entry.uid).is_some_and(|(address, _)| *address == entry.address) {
            shards.remove(&entry.uid);
        }
        Ok(())
    }

    pub(crate) fn shards(&self) -> Result<Vec<ShardEntry>, Error> {
        let state = self.state()?;
        let entry =
            |(uid, (address, _)): (&u64, &(String, _))| ShardEntry { uid: *uid, address: address.clone() };
        Ok(state.contents.shards.iter().map(entry).collect())
    }

    pub(crate) fn claim(&self, bid: Bid<'_>) -> Result<Claim, Error> {
        let mut state = self.state()?;
        let State { ever, contents, .. } = &mut *state;
        let now = Instant::now();
        if let Some(lease) = &mut contents.lease {
            if lease.holder == bid.holder {
                lease.ends = now + bid.lease;
                return Ok(Claim::Won { fence: lease.leader.fence });
            }
            let highest = contents.fence.unwrap_or(0).max(lease.leader.fence);
            return Ok(Claim::Held { highest, free_in: lease.ends - now });
        }
        let known = contents.fence.unwrap_or(0);
        if known < bid.floor && !bid.settled {
            return Ok(Claim::Blank);
        }
        let fence = known.max(bid.floor).max(*ever) + 1;
        *ever = fence;
        contents.fence = Some(fence);
        contents.lease = Some(Lease::of(bid.holder, bid.address, fence, now + bid.lease));
        Ok(Claim::Won { fence })
    }

    pub(crate) fn renew(&self, bid: Bid<'_>, kept: &Kept) -> Result<Renewal, Error> {
        let mut state = self.state()?;
        let contents = &mut state.contents;
        let mine = bid.floor;
        let highest = contents.fence.unwrap_or(0);
        let rival = contents.lease.as_ref().filter(|lease| lease.holder != bid.holder);
        let rival = rival.map_or(0, |lease| lease.leader.fence);
        if highest > mine || rival >= mine {
            return Ok(Renewal::Superseded { by: highest.max(rival) });
        }
        contents.fence = Some(mine);
        contents.lease = Some(Lease::of(bid.holder, bid.address, mine, Instant::now() + bid.lease));
        if kept.run.is_some() {
            contents.run.clone_from(&kept.run);
        }
        for entry in &kept.checkpoints {
            if contents.checkpoints.iter().all(|other| other.step != entry.step) {
                contents.checkpoints.push(entry.clone());
            }
        }
        contents.checkpoints.sort_by_key(|entry| entry.step);
        Ok(Renewal::Renewed)
    }

    pub(crate) fn release(&self, holder: &str) -> Result<(), Error> {
        self.state()?.contents.lease.take_if(|lease| lease.holder == holder);
        Ok(())
    }

    pub(crate) fn leader(&self) -> Result<Option<Leader>, Error> {
        Ok(self.state()?.contents.lease.as_ref().map(|lease| lease.leader.clone()))
    }

    pub(crate) fn put_counter(&self, name: &str, process: u64, total: u64) -> Result<(), Error> {
        self.state()?.contents.counters.insert((name.to_owned(), process), total);
        Ok(())
    }

    pub(crate) fn counters(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut out = BTreeMap::new();
        for ((name, _), total) in &self.state()?.contents.counters {
            *out.entry(name.clone()).or_default() += total;
        }
        Ok(out)
    }

    pub(crate) fn put_checkpoint(&self, entry: &CheckpointEntry, keep: usize) -> Result<(), Error> {
        let contents = &mut self.state()?.contents;
        match contents.fence {
            Some(by) if by > entry.fence => Err(Error::Superseded { fence: entry.fence, by }),
            _ => {
                catalogue(&mut contents.checkpoints, entry.clone(), keep);
                Ok(())
            }
        }
    }

    pub(crate) fn checkpoints(&self) -> Result<Vec<CheckpointEntry>, Error> {
        Ok(self.state()?.contents.checkpoints.clone())
    }
}

impl Lease {
    fn of(holder: &str, address: &str, fence: u64, ends: Instant) -> Self {
        Self { holder: holder.to_owned(), leader: Leader { address: address.to_owned(), fence }, ends }
    }
}
