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

/// What was granted, to a request that came at `begun`.
fn draw(inner: &Inner, wanted: &Wanted, begun: Instant) -> Result<v1::SampleResponse, Status> {
    let Wanted { level, rows, key, whole_periods } = *wanted;
    let drawn = inner.shard()?.sample(level, rows, key, whole_periods);
    metrics::REPLAY_SAMPLE_SECONDS.record(begun.elapsed().as_secs_f64(), []);
    drawn.ok_or_else(|| {
        inner.gate.undo(wanted.ask());
        Status::failed_precondition("this shard's table is empty; the rows are on others")
    })
}

/// One minibatch, after a wait for the rate limiter.
pub(super) async fn once(inner: &Inner, request: v1::SampleRequest) -> Result<v1::SampleResponse, Status> {
    let begun = Instant::now();
    let wanted = check(inner, &request)?;
    inner.gate.admit(wanted.ask(), Duration::from_millis(request.wait_ms.into())).await?;
    draw(inner, &wanted, begun)
}

/// One minibatch at once or not at all.
fn at_once(inner: &Inner, request: &v1::SampleRequest) -> Result<v1::SampleResponse, Status> {
    let begun = Instant::now();
    let wanted = check(inner, request)?;
    inner.gate.try_admit(wanted.ask())?;
    draw(inner, &wanted, begun)
}

/// Serves a stream until either side ends it.
pub(super) fn serve(
    inner: Arc<Inner>,
    requests: Streaming<v1::SampleRequest>,
) -> Responses<v1::MinibatchesResponse> {
    let gate = Arc::clone(&inner.gate);
    let closed = async move { gate.closed().await };
    let answers = requests.map(move |request| {
        let request = super::counted(request)?;
        let kind = match super::counted(at_once(&inner, &request)) {
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

#[cfg(test)]
mod tests {
    use tokio::{runtime::Handle, sync::mpsc};
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::Code;

    use super::{super::tests as raw, *};
    use crate::{
        LocalReplay, Ratio,
        testing::{arbitrary_records, settings},
    };

    fn request(rows: u32, key: u64) -> v1::SampleRequest {
        let run = Some(v1::RunHeader::current("test"));
        v1::SampleRequest { run, table: v1::Table::Low as i32, rows, key, ..v1::SampleRequest::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_answers_in_order_as_calls_would_and_goes_on_after_what_it_refuses() {
        let ratio =
            Ratio { samples_per_insert: 4.0, error_window: 128.0, largest_insert: 16, largest_sample: 64 };
        let settings = crate::Settings { ratio: Some(ratio), ..settings() };
        let (shards, replay) = LocalReplay::start(&settings, 1, &Handle::current()).unwrap();
        let stored = vec![raw::opening(raw::open(1)), raw::batch(1, arbitrary_records())];
        raw::append(&shards, stored).await.unwrap();
        let (sender, requests) = mpsc::channel(8);
        let mut answers =
            shards.client(0).minibatches(ReceiverStream::new(requests)).await.unwrap().into_inner();
        // A window of 128 samples.
        let asked =
            [request(10, 1), request(0, 2), request(20, 3), request(64, 4), request(64, 5), request(30, 6)];
        for request in &asked {
            sender.send(request.clone()).await.unwrap();
        }
        let mut found = Vec::new();
        for _ in &asked {
            found.push(match answers.message().await.unwrap().unwrap().kind.unwrap() {
                Kind::Minibatch(rows) => Ok(rows),
                Kind::Refusal(refusal) => Err((Code::from_i32(refusal.code as i32), refusal.message)),
            });
        }
        let rows: Vec<_> = found.iter().map(|answer| answer.as_ref().map_or(0, |rows| rows.rows)).collect();
        assert_eq!(rows, [10, 0, 20, 64, 0, 30], "{found:?}");
        assert_eq!(found[1].as_ref().unwrap_err().0, Code::InvalidArgument);
        let (code, bound) = found[4].as_ref().unwrap_err();
        assert_eq!((*code, bound.contains("window of -128")), (Code::DeadlineExceeded, true), "{bound}");
        // The same key on the same contents, by a call.
        let called = shards.client(0).sample(v1::SampleRequest { rows: 4, ..request(4, 1) }).await.unwrap();
        let called = called.into_inner();
        assert_eq!(called.items[..], found[0].as_ref().unwrap().items[..16]);
        replay.stop().await;
        assert!(answers.message().await.is_ok_and(|answer| answer.is_none()));
    }
}
