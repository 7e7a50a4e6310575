//! Minibatches for learners, one a call or many a stream.
//!
//! In: requests; out: packed columns. A call may wait for the rate limiter; in a stream nothing waits, so that its answers
//! come in the order of the requests, each within the poll that found the request: without a task, a queue or a wake-up of
//! its own.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use node::metrics;
use proto::v1::{self, minibatches_response::Kind};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{Ask, Inner, Responses};
use crate::{Error, table::limiter::Level, wire};

/// A request that may be served.
struct Wanted {
    level: Level,
    rows: usize,
    key: u64,
    whole_periods: bool,
}

impl Wanted {
    fn ask(&self) -> Ask {
        Ask::Sample { level: self.level, rows: self.rows as u64 }
    }
}

fn check(inner: &Inner, request: &v1::SampleRequest) -> Result<Wanted, Status> {
    wire::check_run(request.run.as_ref(), &inner.run_id)?;
    let level = Inner::level(request.table)?;
    let rows = request.rows as usize;
    let fits = wire::MAX_SAMPLE_BYTES / wire::columns::row_bytes(&inner.shape);
    let most = if level == Level::Low { inner.largest_sample } else { wire::MAX_SAMPLE_ROWS }.min(fits);
    if !(1..=most).contains(&rows) {
        return Err(Error::invalid("rows", format!("{rows} is outside 1 to {most}")).into());
    }
    inner.check_fence(request.fence)?;
    Ok(Wanted { level, rows, key: request.key, whole_periods: request.whole_periods })
}

/// What was granted.
fn draw(inner: &Inner, wanted: &Wanted) -> Result<v1::SampleResponse, Status> {
    let Wanted { level, rows, key, whole_periods } = *wanted;
    inner.shard()?.sample(level, rows, key, whole_periods).ok_or_else(|| {
        inner.gate.undo(wanted.ask());
        Status::failed_precondition("this shard's table is empty; the rows are on others")
    })
}

/// One minibatch, after a wait for the rate limiter.
pub(super) async fn once(inner: &Inner, request: v1::SampleRequest) -> Result<v1::SampleResponse, Status> {
    let begun = Instant::now();
    let wanted = check(inner, &request)?;
    inner.gate.admit(wanted.ask(), Duration::from_millis(request.wait_ms.into())).await?;
    let drawn = draw(inner, &wanted);
    metrics::REPLAY_SAMPLE_SECONDS.record(begun.elapsed().as_secs_f64(), []);
    drawn
}

/// One minibatch at once or not at all.
fn at_once(inner: &Inner, request: &v1::SampleRequest) -> Result<v1::SampleResponse, Status> {
    let begun = Instant::now();
    let wanted = check(inner, request)?;
    inner.gate.try_admit(wanted.ask())?;
    let drawn = draw(inner, &wanted);
    metrics::REPLAY_SAMPLE_SECONDS.record(begun.elapsed().as_secs_f64(), []);
    drawn
}

/// Serves a stream until either side ends it.
pub(super) fn serve(
    inner: Arc<Inner>,
    requests: Streaming<v1::SampleRequest>,
) -> Responses<v1::MinibatchesResponse> {
    let gate = Arc::clone(&inner.gate);
    let closed = async move { gate.closed().await };
    let answers = requests.map(move |request| {
        let kind = match super::counted(at_once(&inner, &request?)) {
            Ok(minibatch) => Kind::Minibatch(minibatch),
            Err(status) => Kind::Refusal(v1::Refusal {
                code: status.code() as u32,
                message: status.message().to_owned(),
            }),
        };
        Ok(v1::MinibatchesResponse { kind: Some(kind) })
    });
    Box::pin(answers.take_until(closed))
}
