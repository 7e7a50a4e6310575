//! A writer's stream: one task, one batch after the other.
//!
//! In: an opening, then batches; out: an answer to each. A batch is checked, then waits for the rate limiter, then is
//! stored, and acknowledged once the journal has it; there is no await between the grant and the store, so a task that is
//! dropped leaves no half of either. The next batch does not wait for the acknowledgement of the one before.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::transition::Shape;
use node::metrics;
use proto::v1::{self, append_request, append_response};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Ask, Inner, Responses};
use crate::{
    Error,
    journal::operation::Operation,
    shard::{Opened, Verdict},
    wire::{self, Batch},
};

/// How long the disk may take before a stream is opened.
const OPENING: Duration = Duration::from_secs(5);
/// How long a batch may take to the disk at least, also of a writer that does not wait for the rate limiter.
const ON_DISK: Duration = Duration::from_secs(1);
/// Acknowledgements that wait for the client to read them; the task stands still beyond.
const UNREAD_ACKS: usize = 16;
/// Batches of a stream that wait for the journal; the stream is not read beyond. Enough for a disk that takes its time: what
/// they hold in memory is bounded by the journal.
const UNACKNOWLEDGED: usize = 128;

/// Serves a stream on its own task, which ends with either side.
pub(super) fn serve(
    inner: Arc<Inner>,
    requests: Streaming<v1::AppendRequest>,
) -> Responses<v1::AppendResponse> {
    let (responses, receiver) = mpsc::channel(UNREAD_ACKS);
    tokio::spawn(async move {
        let ended = tokio::select! {
            biased;
            () = responses.closed() => Ok(()),
            () = inner.gate.closed() => Err(Error::Closed("the replay service".into()).into()),
            ended = run(&inner, requests, &responses) => super::counted(ended),
        };
        if let Err(status) = ended {
            tracing::debug!(code = ?status.code(), message = status.message(), "a writer's stream ends");
            // The client may have gone: then nobody is left to tell.
            let _gone = responses.send(Err(status)).await;
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

/// What the opening fixes for the stream.
struct Stream {
    writer: u64,
    generation: u64,
    n_items: usize,
    wait: Duration,
}

/// A batch whose acknowledgement waits for the journal.
struct Stored {
    /// Of the journal.
    position: u64,
    sequence: u64,
    wait: Duration,
    /// When the batch came.
    begun: Instant,
}

async fn run(
    inner: &Inner,
    requests: Streaming<v1::AppendRequest>,
    responses: &mpsc::Sender<Result<v1::AppendResponse, Status>>,
) -> Result<(), Status> {
    let (stored, acks) = mpsc::channel(UNACKNOWLEDGED);
    futures::try_join!(receive(inner, requests, responses, stored), acknowledge(inner, acks, responses))?;
    Ok(())
}

async fn receive(
    inner: &Inner,
    mut requests: Streaming<v1::AppendRequest>,
    responses: &mpsc::Sender<Result<v1::AppendResponse, Status>>,
    acks: mpsc::Sender<Stored>,
) -> Result<(), Status> {
    let mut stream: Option<(Stream, Presence<'_>)> = None;
    while let Some(request) = requests.message().await? {
        match (request.kind, &stream) {
            (Some(append_request::Kind::Open(open)), None) => {
                let presence = Presence::of(inner, open.writer);
                let (opened, answer) = open_stream(inner, &open).await?;
                stream = Some((opened, presence));
                let kind = Some(append_response::Kind::Opened(answer));
                if responses.send(Ok(v1::AppendResponse { kind })).await.is_err() {
                    return Ok(());
                }
            }
            (Some(append_request::Kind::Batch(batch)), Some((stream, _))) => {
                let stored = store(inner, stream, batch).await?;
                if acks.send(stored).await.is_err() {
                    return Ok(());
                }
            }
            (Some(append_request::Kind::Open(_)), Some(_)) => {
                return Err(Error::invalid("open", "the stream is open already").into());
            }
            (Some(append_request::Kind::Batch(_)), None) => {
                return Err(Error::invalid("batch", "the first message must open the stream").into());
            }
            (None, _) => return Err(Error::invalid("kind", "is missing").into()),
        }
    }
    Ok(())
}

/// Acknowledges what is durable, in order.
async fn acknowledge(
    inner: &Inner,
    mut stored: mpsc::Receiver<Stored>,
    responses: &mpsc::Sender<Result<v1::AppendResponse, Status>>,
) -> Result<(), Status> {
    while let Some(Stored { position, sequence, wait, begun }) = stored.recv().await {
        inner.durable(position, wait.max(ON_DISK)).await?;
        metrics::REPLAY_APPEND_SECONDS.record(begun.elapsed().as_secs_f64(), []);
        let kind = Some(append_response::Kind::Ack(v1::AppendAck { stored_sequence: sequence }));
        if responses.send(Ok(v1::AppendResponse { kind })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn open_stream(inner: &Inner, open: &v1::AppendOpen) -> Result<(Stream, v1::AppendOpened), Status> {
    wire::check_run(open.run.as_ref(), &inner.run_id)?;
    let shape = open.shape.ok_or_else(|| Error::invalid("shape", "is missing"))?;
    check_same_shape(&shape, &inner.shape)?;
    let n_items = open.n_items as usize;
    let (opened, uid, position) = {
        let mut shard = inner.shard()?;
        match shard.n_items() {
            // The first writer says how many items there are.
            0 if (1..u32::MAX as usize).contains(&n_items) => {
                shard.set_n_items(n_items);
                inner.note(|| Operation::Catalogue { n_items: n_items as u64 });
            }
            known if known == n_items && known > 0 => {}
            known => {
                let problem = format!("{n_items} is not {known}, the shard's");
                return Err(Error::invalid("n_items", problem).into());
            }
        }
        (shard.open(open.writer)?, shard.uid(), inner.appended())
    };
    // What the answer calls stored, the writer will not send again.
    inner.durable(position, OPENING).await?;
    let Opened { generation, stored, lanes } = opened;
    let wait = Duration::from_millis(open.wait_ms.into());
    let stream = Stream { writer: open.writer, generation, n_items, wait };
    let sessions = lanes.into_iter().map(|(lane, state)| v1::OpenSession {
        lane: lane.into(),
        session: state.session,
        period: state.period,
        n_steps: state.n_steps.into(),
    });
    let answer = v1::AppendOpened {
        stored_sequence: stored,
        largest_batch_steps: inner.largest_batch_steps as u32,
        sessions: sessions.collect(),
        shard_uid: uid,
    };
    Ok((stream, answer))
}

fn check_same_shape(theirs: &v1::Shape, ours: &Shape) -> Result<(), Error> {
    let ours = wire::shape_message(ours);
    for (field, theirs, ours) in [
        ("shape.window", theirs.window, ours.window),
        ("shape.n_steps", theirs.n_steps, ours.n_steps),
        ("shape.n_goals", theirs.n_goals, ours.n_goals),
        ("shape.n_dims", theirs.n_dims, ours.n_dims),
    ] {
        if theirs != ours {
            return Err(Error::invalid(field, format!("{theirs} is not {ours}, the shard's")));
        }
    }
    Ok(())
}

async fn store(inner: &Inner, stream: &Stream, batch: v1::AppendBatch) -> Result<Stored, Status> {
    let begun = Instant::now();
    let Stream { writer, generation, n_items, wait } = *stream;
    let sequence = batch.sequence;
    let superseded =
        || Status::aborted(format!("a newer stream of writer {writer}, or a restore, ended this one"));
    let batch = Batch::check(batch.records, &inner.shape, n_items, inner.largest_batch_steps)?;
    inner.room(wait).await?;
    let verdict = inner.shard()?.look(writer, generation, sequence, &batch).ok_or_else(superseded)??;
    if verdict == Verdict::Duplicate {
        metrics::REPLAY_DUPLICATES.increment(1, []);
        // It may be on its way to the disk still.
        let (position, sequence) = (inner.appended(), inner.shard()?.stored(writer));
        return Ok(Stored { position, sequence, wait, begun });
    }
    let ask = Ask::Insert { rows: batch.n_steps() as u64 };
    inner.gate.admit(ask, wait).await?;
    let (before, stored, after) = {
        let mut shard = inner.shard()?;
        let before = shard.totals();
        let position = shard
            .store(writer, generation, sequence, &batch)
            .then(|| inner.note(|| Operation::Batch { writer, sequence, records: batch.bytes() }));
        (before, position, shard.totals())
    };
    let Some(position) = stored else {
        inner.gate.undo(ask);
        return Err(superseded());
    };
    inner.gate.stored(before, after);
    let newest = inner.policy_version.load(Ordering::Relaxed);
    if let Some(oldest) = batch.oldest_version().filter(|_| newest > 0) {
        metrics::REPLAY_INSERTED_AGE_VERSIONS.record(newest.saturating_sub(oldest) as f64, []);
    }
    Ok(Stored { position, sequence, wait, begun })
}

/// A stream of a writer that is open.
struct Presence<'a> {
    inner: &'a Inner,
    writer: u64,
}

/// Since when a writer has no stream, and how many it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    streams: usize,
    last: Instant,
}

impl Seen {
    pub(super) fn has_stream(&self) -> bool {
        self.streams > 0
    }
}

impl<'a> Presence<'a> {
    fn of(inner: &'a Inner, writer: u64) -> Self {
        let mut seen = inner.seen();
        seen.entry(writer).or_insert(Seen { streams: 0, last: Instant::now() }).streams += 1;
        Self { inner, writer }
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if let Some(seen) = self.inner.seen().get_mut(&self.writer) {
            seen.streams -= 1;
            seen.last = Instant::now();
        }
    }
}

/// Forgets writers that have had no stream for so long, and were not seen at all since the service began as long ago.
pub(super) fn forget_silent(inner: &Inner, silence: Duration) -> Result<usize, Status> {
    let mut shard = inner.shard()?;
    let mut seen = inner.seen();
    let silent = |writer: &u64| match seen.get(writer) {
        Some(seen) => !seen.has_stream() && seen.last.elapsed() >= silence,
        None => inner.begun.elapsed() >= silence,
    };
    let silent: Vec<u64> = shard.writers().filter(silent).collect();
    for &writer in &silent {
        shard.forget(writer);
        seen.remove(&writer);
        inner.note(|| Operation::Forget { writer });
    }
    // Whoever only knocked is forgotten, too.
    seen.retain(|_, seen| seen.has_stream() || seen.last.elapsed() < silence);
    Ok(silent.len())
}
