//! The service `mahrl.v1.Replay` over one shard.
//!
//! In: requests of writers and samplers; out: acknowledgements, minibatches, information. Runs on tokio; the shard is
//! behind one lock that is never held across an await. Waiting is the [`gate`](Gate)'s.

mod append;
pub(crate) mod gate;
mod info;
mod pace;
#[cfg(test)]
mod paced_tests;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64},
    time::Duration,
};

use common::transition::Shape;
use futures::Stream;
use proto::v1::{self, replay_server::ReplayServer};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use gate::{Ask, Gate};

use crate::{Error, settings::Settings, shard::Shard, table::limiter::Level, wire};

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid { .. } | Error::Snapshot(_) => Self::invalid_argument(message),
            Error::Deadline { .. } => Self::deadline_exceeded(message),
            Error::Closed(_) => Self::unavailable(message),
            Error::SessionLost { .. } | Error::Fenced(_) => Self::failed_precondition(message),
            Error::Shard { code, .. } => Self::new(code, message),
        }
    }
}

/// What all handlers of a shard share.
pub(crate) struct Inner {
    run_id: String,
    shape: Shape,
    largest_batch_steps: usize,
    largest_sample: usize,
    shard: Mutex<Shard>,
    gate: Arc<Gate>,
    /// Newest version of the weights that the learner has told.
    policy_version: AtomicU64,
    /// Waiting steps in the latest answer to whoever paces.
    told_waiting: AtomicU64,
}

impl Inner {
    fn shard(&self) -> Result<MutexGuard<'_, Shard>, Status> {
        // After a panic half way through a change the contents cannot be trusted: refuse rather than serve them.
        self.shard.lock().map_err(|_| Status::internal("the shard was damaged by a panic"))
    }

    fn level(table: i32) -> Result<Level, Error> {
        match v1::Table::try_from(table) {
            Ok(v1::Table::Low) => Ok(Level::Low),
            Ok(v1::Table::High) => Ok(Level::High),
            _ => Err(Error::invalid("table", format!("{table} is none of 1 low, 2 high"))),
        }
    }

    /// Refuses a fencing token below the highest seen, remembers a higher one; 0: none.
    fn check_fence(&self, fence: u64) -> Result<(), Status> {
        let mut shard = self.shard()?;
        let highest = shard.fence();
        if fence != 0 && fence < highest {
            let problem = format!("a newer learner leads: its fence is {highest}, not {fence}");
            return Err(Status::failed_precondition(problem));
        }
        shard.raise_fence(fence);
        Ok(())
    }

    async fn sample(&self, request: v1::SampleRequest) -> Result<v1::SampleResponse, Status> {
        wire::check_run(request.run.as_ref(), &self.run_id)?;
        let level = Self::level(request.table)?;
        let rows = request.rows as usize;
        let fits = wire::MAX_SAMPLE_BYTES / wire::columns::row_bytes(&self.shape);
        let most = if level == Level::Low { self.largest_sample } else { wire::MAX_SAMPLE_ROWS }.min(fits);
        if !(1..=most).contains(&rows) {
            return Err(Error::invalid("rows", format!("{rows} is outside 1 to {most}")).into());
        }
        self.check_fence(request.fence)?;
        let ask = Ask::Sample { level, rows: rows as u64 };
        self.gate.admit(ask, Duration::from_millis(request.wait_ms.into())).await?;
        let response = self.shard()?.sample(level, rows, request.key);
        response.ok_or_else(|| {
            self.gate.undo(ask);
            Status::failed_precondition("this shard's table is empty; the rows are on others")
        })
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
        let service = |shard| Self::over(settings, Shard::new(settings, shard, n_shards), gate.clone());
        ((0..n_shards).map(service).collect(), gate)
    }

    /// The service of a shard that is a process of its own; its writers wait for `Pace`.
    pub(crate) fn paced(settings: &Settings, shard: Shard) -> Self {
        let gate = Gate::paced(settings);
        gate.replaced(Default::default(), shard.totals());
        Self::over(settings, shard, Arc::new(gate))
    }

    fn over(settings: &Settings, shard: Shard, gate: Arc<Gate>) -> Self {
        let inner = Inner {
            run_id: settings.run_id.clone(),
            shape: settings.shape,
            largest_batch_steps: settings.largest_batch_steps(),
            largest_sample: settings.ratio.map_or(wire::MAX_SAMPLE_ROWS, |ratio| ratio.largest_sample),
            shard: Mutex::new(shard),
            gate,
            policy_version: AtomicU64::new(0),
            told_waiting: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends all waits and streams.
    pub(crate) fn close(&self) {
        self.inner.gate.close();
    }

    /// The tonic service, with its limit on message sizes.
    pub(crate) fn server(self) -> ReplayServer<Self> {
        ReplayServer::new(self)
            .max_decoding_message_size(wire::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(wire::MAX_SAMPLE_BYTES + (1 << 10))
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::replay_server::Replay for ReplayService {
    type AppendStream = Responses<v1::AppendResponse>;
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
        self.inner.sample(request.into_inner()).await.map(Response::new)
    }

    async fn update_priorities(
        &self,
        _request: Request<v1::UpdatePrioritiesRequest>,
    ) -> Result<Response<v1::UpdatePrioritiesResponse>, Status> {
        Err(Status::unimplemented("update_priorities"))
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
