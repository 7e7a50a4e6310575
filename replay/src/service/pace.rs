//! The learner's hand on the writers of a shard.
//!
//! In: how far they may go; out: how far they are, once that is news to the caller or its wait has ended.

use std::{sync::atomic::Ordering, time::Duration};

use proto::v1;
use tokio::time::Instant;
use tonic::Status;

use super::{Inner, info};
use crate::{Error, wire};

/// How long the disk may take to note a new learner's fencing token.
const FENCE_DURABLE: Duration = Duration::from_secs(5);

/// Notes the request, then answers as soon as `inserted` is not what the caller knows, more steps wait than it was told,
/// or its wait has ended.
pub(super) async fn serve(inner: &Inner, request: v1::PaceRequest) -> Result<v1::PaceResponse, Status> {
    wire::check_run(request.run.as_ref(), &inner.run_id)?;
    if request.fence == 0 {
        return Err(Error::invalid("fence", "0 is not at least 1: only a learner paces").into());
    }
    // On disk before anybody acts on it: a shard that forgot it would obey a learner that was replaced.
    let position = inner.check_fence(request.fence)?;
    inner.durable(position, FENCE_DURABLE).await?;
    if inner.gate.pace(request.insert_until, request.fence, request.order).is_none() {
        return Err(Status::failed_precondition(
            "the shards of one process share a limiter: nobody paces them",
        ));
    }
    inner.policy_version.fetch_max(request.policy_version, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_millis(request.wait_ms.into());
    loop {
        let changed = inner.gate.changed();
        tokio::pin!(changed);
        // From here on no change is missed.
        changed.as_mut().enable();
        inner.gate.check_open()?;
        let response = answer(inner)?;
        let inserted = response.low.as_ref().map_or(0, |low| low.inserted);
        let news = inserted != request.known_inserted
            || response.waiting_steps > inner.told_waiting.load(Ordering::Relaxed);
        if news || tokio::time::timeout_at(deadline, changed).await.is_err() {
            inner.told_waiting.store(response.waiting_steps, Ordering::Relaxed);
            return Ok(response);
        }
    }
}

fn answer(inner: &Inner) -> Result<v1::PaceResponse, Status> {
    let (insert_until, waiting_steps) = inner.gate.paced_to();
    let (info, dealt) = info::of(inner)?;
    // The learner counts a step where it was stored, once: what was dealt out to this shard is none of its inserts.
    let stored = |table: Option<v1::TableInfo>, dealt: u64| {
        table.map(|table| v1::TableInfo { inserted: table.inserted - dealt, ..table })
    };
    Ok(v1::PaceResponse {
        shard_uid: info.shard_uid,
        insert_until,
        low: stored(info.low, dealt[0]),
        high: stored(info.high, dealt[1]),
        waiting_steps,
        feedback: info.feedback,
    })
}
