//! The client side: all shards as one replay.
//!
//! In: connections to shards, a fixed set or one that is discovered; out: [`Writer`]s for rollout threads, [`Sampler`]s
//! and the [`Pacer`] for learners, information and snapshots. Sessions are spread over shards by rendezvous hashing;
//! minibatches are split by what the shards hold, so that their union is sampled exactly.

mod absence;
mod draw;
mod feed;
mod importance;
mod link;
pub mod members;
mod minibatches;
mod pacer;
mod picture;
mod prefetch;
mod roster;
mod route;
mod sampler;
mod split;
mod writer;

use std::sync::Arc;

use common::transition::Shape;
use futures::future::try_join_all;
use node::{Dialer, connection::Connection};
use proto::v1;
#[cfg(test)]
use proto::v1::replay_client::ReplayClient;
use tokio::{runtime::Handle, sync::watch, time::Instant};
use tonic::{Code, Status};

pub use members::Member;
pub use pacer::{Pace, Pacer, ShardState, Totals};
pub use prefetch::{Minibatch, Prefetch, Request};
pub use route::{shard_at, shard_of};
pub use sampler::{Sampler, Sizes};
pub use writer::{Writer, WriterSettings};

use crate::{Error, Settings, agreement, wire};
use members::{AbortOnDrop, Directory, Members};

/// All shards of a replay service. Cheap to clone.
#[derive(Clone)]
pub struct Shards {
    inner: Arc<Inner>,
}

struct Inner {
    run: v1::RunHeader,
    shape: Shape,
    n_items: usize,
    members: Members,
    /// Of a set that is discovered. Without it, shards are those of this process: a stream that breaks stays broken.
    directory: Option<(Arc<Directory>, AbortOnDrop)>,
    runtime: Handle,
}

impl Shards {
    /// The shards of one process, in order. `runtime` must be multi-threaded: writers block on it from their own
    /// threads.
    pub fn new(
        connections: Vec<Connection>,
        run_id: &str,
        shape: Shape,
        n_items: usize,
        runtime: Handle,
    ) -> Self {
        let run = v1::RunHeader::current(run_id);
        let members = members::fixed(connections);
        Self { inner: Arc::new(Inner { run, shape, n_items, members, directory: None, runtime }) }
    }

    /// The shards at the listed addresses, which come and go with the list and are known by the names of their
    /// contents. Those whose settings are others than these in what decides what they hold are none of them. `runtime` as in
    /// [`Self::new`].
    pub fn discover(
        addresses: watch::Receiver<Vec<String>>,
        dialer: Dialer,
        settings: &Settings,
        runtime: Handle,
    ) -> Self {
        let _guard = runtime.enter();
        let run = v1::RunHeader::current(&settings.run_id);
        let said = (run.clone(), agreement::of(settings));
        let (directory, members, task) = Directory::follow(addresses, dialer, said);
        let inner = Inner {
            run,
            shape: settings.shape,
            n_items: settings.n_items,
            members,
            directory: Some((directory, task)),
            runtime: runtime.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Number of shards known now.
    pub fn n_shards(&self) -> usize {
        self.inner.members.borrow().len()
    }

    /// The shards known now, ascending by uid.
    pub fn members(&self) -> Arc<[Member]> {
        self.inner.members.borrow().clone()
    }

    /// Listed addresses that have not said who they are, each with the reason.
    pub fn missing(&self) -> Vec<String> {
        self.inner.directory.as_ref().map_or_else(Vec::new, |(directory, _)| directory.missing())
    }

    /// Sizes of records and batches.
    pub fn shape(&self) -> Shape {
        self.inner.shape
    }

    /// How every shard that is up is, now, ascending by uid.
    pub async fn info(&self) -> Result<Vec<v1::InfoResponse>, Error> {
        let infos = self.info_when(v1::Table::Unspecified, 0).await?;
        Ok(infos.into_iter().map(|(_, info)| info).collect())
    }

    /// ... once a table may be sampled.
    pub(crate) async fn info_when(
        &self,
        ready: v1::Table,
        wait_ms: u32,
    ) -> Result<Vec<(Member, v1::InfoResponse)>, Error> {
        let request = v1::InfoRequest { run: Some(self.run()), ready: ready as i32, wait_ms };
        let members = self.members();
        let ask = |member: &Member| {
            let (member, request) = (member.clone(), request.clone());
            async move {
                let begun = Instant::now();
                let response = member.client.clone().info(request).await;
                let info =
                    response.map_err(|status| shard_error(&member.address, begun, status))?.into_inner();
                Ok((member, info))
            }
        };
        try_join_all(members.iter().filter(|member| member.up).map(ask)).await
    }

    /// The contents of every shard, as opaque bytes. Consistent with each other only while nobody writes or samples.
    pub async fn snapshot(&self) -> Result<Vec<Vec<u8>>, Error> {
        try_join_all(self.members().iter().map(|member| self.snapshot_of(member.clone()))).await
    }

    async fn snapshot_of(&self, mut member: Member) -> Result<Vec<u8>, Error> {
        let begun = Instant::now();
        let error = |status| shard_error(&member.address, begun, status);
        let request = v1::SnapshotRequest { run: Some(self.run()) };
        let mut frames = member.client.snapshot(request).await.map_err(error)?.into_inner();
        let mut bytes = Vec::new();
        while let Some(frame) = frames.message().await.map_err(error)? {
            bytes.extend_from_slice(&frame.data);
        }
        Ok(bytes)
    }

    /// Puts the contents that [`Self::snapshot`] gave in place of those of every shard. Writers that are open fail;
    /// open them again. On an error some shards may have theirs and others not.
    pub async fn restore(&self, snapshots: Vec<Vec<u8>>) -> Result<(), Error> {
        let members = self.members();
        if snapshots.len() != members.len() {
            let problem = format!("it has {} shards, not {}", snapshots.len(), members.len());
            return Err(Error::Snapshot(problem));
        }
        let restore = |(member, bytes): (&Member, _)| self.restore_of(member.clone(), bytes);
        try_join_all(members.iter().zip(snapshots).map(restore)).await.map(drop)
    }

    async fn restore_of(&self, mut member: Member, bytes: Vec<u8>) -> Result<(), Error> {
        let (begun, mut run, mut rest) = (Instant::now(), Some(self.run()), bytes::Bytes::from(bytes));
        let frames = std::iter::from_fn(move || {
            let run = run.take();
            let data = rest.split_to(rest.len().min(wire::SNAPSHOT_FRAME_BYTES));
            (run.is_some() || !data.is_empty()).then_some(v1::RestoreRequest { run, data })
        });
        let response = member.client.restore(tokio_stream::iter(frames)).await;
        response.map(drop).map_err(|status| shard_error(&member.address, begun, status))
    }

    #[cfg(test)]
    pub(crate) fn client(&self, shard: usize) -> ReplayClient<Connection> {
        self.members()[shard].client.clone()
    }

    /// Whether shards come and go.
    fn is_discovered(&self) -> bool {
        self.inner.directory.is_some()
    }

    fn run(&self) -> v1::RunHeader {
        self.inner.run.clone()
    }
}

/// What a shard's status says, for callers.
fn shard_error(shard: &str, begun: Instant, status: Status) -> Error {
    let message = status.message().to_owned();
    match status.code() {
        Code::DeadlineExceeded => {
            Error::Deadline { waited: begun.elapsed(), reason: format!("replay shard {shard}: {message}") }
        }
        code => Error::Shard { shard: shard.to_owned(), code, message },
    }
}

/// Whole milliseconds of a wait, for the wire.
fn millis(wait: std::time::Duration) -> u32 {
    wait.as_millis().try_into().unwrap_or(u32::MAX)
}
