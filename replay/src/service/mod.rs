//! The service `mahrl.v1.Replay` over one shard.
//!
//! In: requests of writers and samplers; out: acknowledgements, minibatches, information. Runs on tokio; the shard is
//! behind one lock that is never held across an await. Waiting is the [`gate`](Gate)'s.

mod append;
mod counted;
#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod gate;
mod info;
mod pace;
#[cfg(test)]
mod paced_tests;
mod sample;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use common::transition::Shape;
use futures::Stream;
use proto::v1::{self, replay_server::ReplayServer};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use counted::{Counted, counted};
pub(crate) use gate::{Ask, Gate};

use crate::{
    Error,
    agreement::{self, Agreed},
    journal::{home::Home, operation::Operation},
    server::{Figures, TableFigures},
    settings::Settings,
    shard::Shard,
    table::limiter::Level,
    wire,
};

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid { .. } | Error::Snapshot(_) => Self::invalid_argument(message),
            Error::Deadline { .. } => Self::deadline_exceeded(message),
            // The shard is about to end: whoever asked tries again.
            Error::Closed(_) | Error::Panicked => Self::unavailable(message),
            Error::SessionLost { .. } | Error::NotStored { .. } | Error::Fenced(_) => {
                Self::failed_precondition(message)
            }
            Error::Full(_) => Self::resource_exhausted(message),
            Error::Journal(_) => Self::internal(message),
            Error::Shard { code, .. } => Self::new(code, message),
        }
    }
}

/// How long priorities may wait for room in the journal.
const PRIORITIES: Duration = Duration::from_secs(1);

/// What all handlers of a shard share.
pub(crate) struct Inner {
    run_id: String,
    /// Number of the shard in its cluster, from 1, and how many there are; (0, 0): within a process.
    place: (u32, u32),
    shape: Shape,
    /// What clients must have set like this shard.
    agreed: Agreed,
    largest_batch_steps: usize,
    largest_sample: usize,
    shard: Mutex<Shard>,
    gate: Arc<Gate>,
    /// The shard's files; `None`: in memory only.
    home: Option<Home>,
    /// Writers that have had a stream since the service began.
    seen: Mutex<BTreeMap<u64, append::Seen>>,
    begun: Instant,
    /// Newest version of the weights that the learner has told.
    policy_version: AtomicU64,
    /// Waiting steps in the latest answer to whoever paces.
    told_waiting: AtomicU64,
}

impl Inner {
    fn shard(&self) -> Result<MutexGuard<'_, Shard>, Status> {
        // After a panic half way through a change the contents cannot be trusted: refuse rather than serve them.
        self.shard.lock().map_err(|_| Error::Panicked.into())
    }

    fn level(table: i32) -> Result<Level, Error> {
        match v1::Table::try_from(table) {
            Ok(v1::Table::Low) => Ok(Level::Low),
            Ok(v1::Table::High) => Ok(Level::High),
            _ => Err(Error::invalid("table", format!("{table} is none of 1 low, 2 high"))),
        }
    }

    /// Notes an operation that is applied to the shard whose lock is held; where it ends in the journal.
    fn note(&self, operation: impl FnOnce() -> Operation) -> u64 {
        self.home.as_ref().map_or(0, |home| home.append(&operation()))
    }

    /// Where the next operation begins in the journal.
    fn appended(&self) -> u64 {
        self.home.as_ref().map_or(0, Home::appended)
    }

    /// Waits until the journal takes more, at most `wait`.
    async fn room(&self, wait: Duration) -> Result<(), Error> {
        let Some(home) = &self.home else { return Ok(()) };
        if tokio::time::timeout(wait, home.room()).await.is_err() {
            let failure = home.progress().failure.unwrap_or_else(|| "the disk is slow".to_owned());
            return Err(Error::Deadline { waited: wait, reason: format!("the journal is full: {failure}") });
        }
        let progress = home.progress();
        match progress.failure.filter(|_| progress.is_broken) {
            Some(failure) => Err(Error::Closed(format!("the shard's journal ({failure}), which"))),
            None => Ok(()),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<u64, append::Seen>> {
        // Every change is a number.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything before a position of the journal is durable, at most `wait`.
    async fn durable(&self, position: u64, wait: Duration) -> Result<(), Error> {
        let Some(home) = &self.home else { return Ok(()) };
        match tokio::time::timeout(wait, home.durable(position)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(Error::Closed(format!("the shard's journal ({failure}), which"))),
            Err(_) => {
                let failure = home.progress().failure.unwrap_or_else(|| "the disk is slow".to_owned());
                let reason = format!("what was sent is not on disk yet: {failure}");
                Err(Error::Deadline { waited: wait, reason })
            }
        }
    }

    /// Writes a snapshot. Blocks.
    fn snapshot_to_disk(&self) -> std::io::Result<()> {
        let Some(home) = &self.home else { return Ok(()) };
        home.snapshot(|| {
            let mut shard = self.shard.lock().ok()?;
            Some((home.begin_snapshot(), shard.image()))
        })
    }

    /// Refuses a fencing token below the highest seen, remembers a higher one; 0: none. Where the journal has it.
    fn check_fence(&self, fence: u64) -> Result<u64, Status> {
        let mut shard = self.shard()?;
        let highest = shard.fence();
        if fence != 0 && fence < highest {
            let problem = format!("a newer learner leads: its fence is {highest}, not {fence}");
            return Err(Status::failed_precondition(problem));
        }
        if fence <= highest {
            return Ok(0);
        }
        shard.raise_fence(fence);
        Ok(self.note(|| Operation::Fence { fence }))
    }

    async fn update_priorities(
        &self,
        request: v1::UpdatePrioritiesRequest,
    ) -> Result<v1::UpdatePrioritiesResponse, Status> {
        wire::check_run(request.run.as_ref(), &self.run_id)?;
        let level = Self::level(request.table)?;
        let (keys, priorities) = wire::columns::priorities(&request.keys, &request.priorities)?;
        self.check_fence(request.fence)?;
        // They are not acknowledged, but wait in memory for the disk like batches.
        self.room(PRIORITIES).await?;
        let mut shard = self.shard()?;
        if !shard.table(level).is_prioritised() {
            return Err(Error::invalid("table", "it does not sample by priority").into());
        }
        let updated = shard.set_priorities(level, &keys, &priorities);
        self.note(|| Operation::Priorities { table: level.into(), keys, priorities });
        Ok(v1::UpdatePrioritiesResponse { updated })
    }
}

/// The service over one shard. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReplayService {
    inner: Arc<Inner>,
}

impl ReplayService {
    /// The services of all shards, with one rate limiter over them. The settings have been validated.
    pub(crate) fn all(settings: &Settings, n_shards: usize) -> (Vec<Self>, Arc<Gate>) {
        let gate = Arc::new(Gate::new(settings));
        let service =
            |shard| Self::over(settings, Shard::new(settings, shard, n_shards), gate.clone(), ((0, 0), None));
        ((0..n_shards).map(service).collect(), gate)
    }

    /// The service of a shard that is a process of its own, the `k`-th of `n`; its writers wait for `Pace`.
    pub(crate) fn paced(
        settings: &Settings,
        (k, n): (usize, usize),
        shard: Shard,
        home: Option<Home>,
    ) -> Self {
        let gate = Gate::paced(settings);
        gate.replaced(Default::default(), shard.totals());
        Self::over(settings, shard, Arc::new(gate), ((k as u32 + 1, n as u32), home))
    }

    fn over(
        settings: &Settings,
        shard: Shard,
        gate: Arc<Gate>,
        (place, home): ((u32, u32), Option<Home>),
    ) -> Self {
        let inner = Inner {
            run_id: settings.run_id.clone(),
            place,
            shape: settings.shape,
            agreed: agreement::of(settings),
            largest_batch_steps: settings.largest_batch_steps(),
            largest_sample: settings.ratio.map_or(wire::MAX_SAMPLE_ROWS, |ratio| ratio.largest_sample),
            shard: Mutex::new(shard),
            gate,
            home,
            seen: Mutex::default(),
            begun: Instant::now(),
            policy_version: AtomicU64::new(0),
            told_waiting: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Writes a snapshot, if the shard has a data directory. Blocks.
    pub(crate) fn snapshot_to_disk(&self) -> std::io::Result<()> {
        self.inner.snapshot_to_disk()
    }

    /// How the shard is; `None` after a panic damaged it.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let (_, [waiting, ..]) = self.inner.gate.info();
        let writers = self.inner.seen().values().filter(|seen| seen.has_stream()).count();
        let shard = self.inner.shard.lock().ok()?;
        let table = |level| {
            let (table, counts) = (shard.table(level), shard.table(level).counts());
            TableFigures {
                size: table.len() as u64,
                capacity: table.capacity() as u64,
                inserted: counts.inserted,
                sampled: counts.sampled,
                evicted: counts.evicted,
            }
        };
        Some(Figures {
            bytes: shard.bytes() as u64,
            writers: writers as u64,
            waiting_writers: waiting.waiting as u64,
            tables: [Level::Low, Level::High].map(table),
        })
    }

    /// Whether a panic left the shard, or its journal, in a state that cannot be trusted.
    pub(crate) fn is_damaged(&self) -> bool {
        let journal = self.inner.home.as_ref().is_some_and(|home| home.progress().has_panicked);
        self.inner.shard.is_poisoned() || journal
    }

    /// Whether it is time for a snapshot.
    pub(crate) fn is_snapshot_due(&self) -> bool {
        self.inner.home.as_ref().is_some_and(Home::is_snapshot_due)
    }

    /// Forgets writers whose last stream ended `silence` ago or longer; how many.
    pub(crate) fn forget_silent(&self, silence: Duration) -> Result<usize, Status> {
        append::forget_silent(&self.inner, silence)
    }

    /// A handler panics half way through a change.
    #[cfg(test)]
    pub(crate) fn panic_within(&self) {
        let inner = self.inner.clone();
        let handler = std::thread::spawn(move || {
            let _changing = inner.shard.lock();
            panic!("the test's handler panics");
        });
        assert!(handler.join().is_err() && self.is_damaged());
    }

    /// Something that a snapshot is due for.
    #[cfg(test)]
    pub(crate) fn note_fence(&self, fence: u64) {
        assert!(self.inner.check_fence(fence).is_ok());
    }

    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.inner)
    }

    /// Ends all waits and streams.
    pub(crate) fn close(&self) {
        self.inner.gate.close();
    }

    /// The tonic service, with its limit on message sizes.
    pub(crate) fn server(self) -> Counted<ReplayServer<Self>> {
        let server = ReplayServer::new(self)
            .max_decoding_message_size(wire::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(wire::MAX_SAMPLE_BYTES + (1 << 10));
        Counted(server)
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::replay_server::Replay for ReplayService {
    type AppendStream = Responses<v1::AppendResponse>;
    type MinibatchesStream = Responses<v1::MinibatchesResponse>;
    type SnapshotStream = Responses<v1::SnapshotResponse>;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        Ok(Response::new(append::serve(self.inner.clone(), request.into_inner())))
    }

    async fn sample(
        &self,
        request: Request<v1::SampleRequest>,
    ) -> Result<Response<v1::SampleResponse>, Status> {
        sample::once(&self.inner, request.into_inner()).await.map(Response::new)
    }

    async fn minibatches(
        &self,
        request: Request<Streaming<v1::SampleRequest>>,
    ) -> Result<Response<Self::MinibatchesStream>, Status> {
        Ok(Response::new(sample::serve(self.inner.clone(), request.into_inner())))
    }

    async fn update_priorities(
        &self,
        request: Request<v1::UpdatePrioritiesRequest>,
    ) -> Result<Response<v1::UpdatePrioritiesResponse>, Status> {
        self.inner.update_priorities(request.into_inner()).await.map(Response::new)
    }

    async fn pace(&self, request: Request<v1::PaceRequest>) -> Result<Response<v1::PaceResponse>, Status> {
        pace::serve(&self.inner, request.into_inner()).await.map(Response::new)
    }

    async fn info(&self, request: Request<v1::InfoRequest>) -> Result<Response<v1::InfoResponse>, Status> {
        info::serve(&self.inner, request.into_inner()).await.map(Response::new)
    }

    async fn snapshot(
        &self,
        request: Request<v1::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        snapshot::save(self.inner.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn restore(
        &self,
        request: Request<Streaming<v1::RestoreRequest>>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        snapshot::restore(self.inner.clone(), request.into_inner()).await.map(Response::new)
    }
}
