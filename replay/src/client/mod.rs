//! The client side: all shards as one replay.
//!
//! In: a channel a shard; out: [`Writer`]s for rollout threads, [`Sampler`]s for learners, information and snapshots.
//! Sessions are spread over shards by rendezvous hashing; minibatches are split by the sizes of the shards, so that
//! their union is uniform.

mod feed;
mod prefetch;
mod route;
mod sampler;
mod split;
mod writer;

use std::sync::Arc;

use common::transition::Shape;
use futures::future::try_join_all;
use proto::v1::{self, replay_client::ReplayClient};
use tokio::{runtime::Handle, time::Instant};
use tonic::{Code, Status, transport::Channel};

pub use prefetch::{Minibatch, Prefetch, Request};
pub use route::shard_of;
pub use sampler::{Sampler, Sizes};
pub use writer::{Writer, WriterSettings};

use crate::{Error, wire};

/// All shards of a replay service. Cheap to clone.
#[derive(Clone)]
pub struct Shards {
    inner: Arc<Inner>,
}

struct Inner {
    run: v1::RunHeader,
    shape: Shape,
    n_items: usize,
    clients: Vec<ReplayClient<Channel>>,
    runtime: Handle,
}

impl Shards {
    /// The shards behind `channels`, of which every client of the run must have the same in the same order. `runtime`
    /// must be multi-threaded: writers block on it from their own threads.
    pub fn new(channels: Vec<Channel>, run_id: &str, shape: Shape, n_items: usize, runtime: Handle) -> Self {
        let client = |channel| {
            ReplayClient::new(channel)
                .max_decoding_message_size(wire::MAX_SAMPLE_BYTES + (1 << 10))
                .max_encoding_message_size(wire::MAX_MESSAGE_BYTES)
        };
        let clients = channels.into_iter().map(client).collect();
        let run = v1::RunHeader::current(run_id);
        Self { inner: Arc::new(Inner { run, shape, n_items, clients, runtime }) }
    }

    /// Number of shards.
    pub fn n_shards(&self) -> usize {
        self.inner.clients.len()
    }

    /// Sizes of records and batches.
    pub fn shape(&self) -> Shape {
        self.inner.shape
    }

    /// How every shard is, now.
    pub async fn info(&self) -> Result<Vec<v1::InfoResponse>, Error> {
        let request =
            v1::InfoRequest { run: Some(self.run()), ready: v1::Table::Unspecified as i32, wait_ms: 0 };
        try_join_all((0..self.n_shards()).map(|shard| self.info_of(shard, request.clone()))).await
    }

    pub(crate) async fn info_of(
        &self,
        shard: usize,
        request: v1::InfoRequest,
    ) -> Result<v1::InfoResponse, Error> {
        let begun = Instant::now();
        let response = self.client(shard).info(request).await;
        Ok(response.map_err(|status| shard_error(shard, begun, status))?.into_inner())
    }

    /// The contents of every shard, as opaque bytes. Consistent with each other only while nobody writes or samples.
    pub async fn snapshot(&self) -> Result<Vec<Vec<u8>>, Error> {
        try_join_all((0..self.n_shards()).map(|shard| self.snapshot_of(shard))).await
    }

    async fn snapshot_of(&self, shard: usize) -> Result<Vec<u8>, Error> {
        let begun = Instant::now();
        let error = |status| shard_error(shard, begun, status);
        let request = v1::SnapshotRequest { run: Some(self.run()) };
        let mut frames = self.client(shard).snapshot(request).await.map_err(error)?.into_inner();
        let mut bytes = Vec::new();
        while let Some(frame) = frames.message().await.map_err(error)? {
            bytes.extend_from_slice(&frame.data);
        }
        Ok(bytes)
    }

    /// Puts the contents that [`Self::snapshot`] gave in place of those of every shard. Writers that are open fail;
    /// open them again. On an error some shards may have theirs and others not.
    pub async fn restore(&self, snapshots: Vec<Vec<u8>>) -> Result<(), Error> {
        if snapshots.len() != self.n_shards() {
            let problem = format!("it has {} shards, not {}", snapshots.len(), self.n_shards());
            return Err(Error::Snapshot(problem));
        }
        let restore = |(shard, bytes)| self.restore_of(shard, bytes);
        try_join_all(snapshots.into_iter().enumerate().map(restore)).await.map(drop)
    }

    async fn restore_of(&self, shard: usize, bytes: Vec<u8>) -> Result<(), Error> {
        let (begun, mut run, mut rest) = (Instant::now(), Some(self.run()), bytes::Bytes::from(bytes));
        let frames = std::iter::from_fn(move || {
            let run = run.take();
            let data = rest.split_to(rest.len().min(wire::SNAPSHOT_FRAME_BYTES));
            (run.is_some() || !data.is_empty()).then_some(v1::RestoreRequest { run, data })
        });
        let response = self.client(shard).restore(tokio_stream::iter(frames)).await;
        response.map(drop).map_err(|status| shard_error(shard, begun, status))
    }

    pub(crate) fn client(&self, shard: usize) -> ReplayClient<Channel> {
        self.inner.clients[shard].clone()
    }

    fn run(&self) -> v1::RunHeader {
        self.inner.run.clone()
    }
}

/// What a shard's status says, for callers.
fn shard_error(shard: usize, begun: Instant, status: Status) -> Error {
    let message = status.message().to_owned();
    match status.code() {
        Code::DeadlineExceeded => {
            Error::Deadline { waited: begun.elapsed(), reason: format!("replay shard {shard}: {message}") }
        }
        code => Error::Shard { shard, code, message },
    }
}

/// Whole milliseconds of a wait, for the wire.
fn millis(wait: std::time::Duration) -> u32 {
    wait.as_millis().try_into().unwrap_or(u32::MAX)
}
