//! Snapshots over the wire, in frames.

use std::sync::Arc;

use bytes::Bytes;
use proto::v1;
use tonic::{Status, Streaming};

use super::{Inner, Responses};
use crate::{Error, table::limiter::Level, wire};

/// The shard's contents; the lock is held while they are encoded.
pub(super) async fn save(
    inner: Arc<Inner>,
    request: v1::SnapshotRequest,
) -> Result<Responses<v1::SnapshotResponse>, Status> {
    wire::check_run(request.run.as_ref(), &inner.run_id)?;
    let bytes = blocking(move || Ok(inner.shard()?.save()?)).await?;
    let mut rest = Bytes::from(bytes);
    let frames = std::iter::from_fn(move || {
        let data = rest.split_to(rest.len().min(wire::SNAPSHOT_FRAME_BYTES));
        (!data.is_empty()).then_some(Ok(v1::SnapshotResponse { data }))
    });
    Ok(Box::pin(tokio_stream::iter(frames)))
}

/// Takes contents in place of the shard's.
pub(super) async fn restore(
    inner: Arc<Inner>,
    mut requests: Streaming<v1::RestoreRequest>,
) -> Result<v1::RestoreResponse, Status> {
    if inner.home.is_some() {
        // Its journal would go on from contents that are not on disk.
        return Err(Status::failed_precondition(
            "a shard with a data directory keeps its own snapshots: restore is for shards in memory",
        ));
    }
    let mut bytes = Vec::new();
    let mut first = true;
    while let Some(request) = requests.message().await? {
        if std::mem::take(&mut first) {
            wire::check_run(request.run.as_ref(), &inner.run_id)?;
        }
        if bytes.len() + request.data.len() > wire::MAX_SNAPSHOT_BYTES {
            let problem = format!("a snapshot has at most {} bytes", wire::MAX_SNAPSHOT_BYTES);
            return Err(Error::invalid("data", problem).into());
        }
        bytes.extend_from_slice(&request.data);
    }
    if first {
        return Err(Error::invalid("run", "is missing").into());
    }
    blocking(move || {
        let (before, after, response) = {
            let mut shard = inner.shard()?;
            let before = shard.totals();
            shard.restore(&bytes)?;
            let size = |level| shard.table(level).len() as u64;
            let response = v1::RestoreResponse { low: size(Level::Low), high: size(Level::High) };
            (before, shard.totals(), response)
        };
        inner.gate.replaced(before, after);
        Ok(response)
    })
    .await
}

/// Off the threads that serve streams: a large shard takes a while.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Status::internal(format!("the work on a snapshot failed: {error}")))?
}
