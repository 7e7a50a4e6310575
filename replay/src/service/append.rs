//! A writer's stream: one task, one batch after the other.
//!
//! In: an opening, then batches; out: an answer to each. A batch is checked, then waits for the rate limiter, then is
//! stored and acknowledged; there is no await between the grant and the store, so a task that is dropped leaves no
//! half of either.

use std::{sync::Arc, time::Duration};

use common::transition::Shape;
use proto::v1::{self, append_request, append_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Ask, Inner, Responses};
use crate::{
    Error,
    shard::{Opened, Verdict},
    wire::{self, Batch},
};

/// Acknowledgements that wait for the client to read them; the task stands still beyond.
const UNREAD_ACKS: usize = 16;

/// Serves a stream on its own task, which ends with either side.
pub(super) fn serve(
    inner: Arc<Inner>,
    requests: Streaming<v1::AppendRequest>,
) -> Responses<v1::AppendResponse> {
    let (responses, receiver) = mpsc::channel(UNREAD_ACKS);
    tokio::spawn(async move {
        let ended = tokio::select! {
            () = responses.closed() => Ok(()),
            () = inner.gate.closed() => Err(Error::Closed("the replay service".into()).into()),
            ended = run(&inner, requests, &responses) => ended,
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

async fn run(
    inner: &Inner,
    mut requests: Streaming<v1::AppendRequest>,
    responses: &mpsc::Sender<Result<v1::AppendResponse, Status>>,
) -> Result<(), Status> {
    let mut stream = None;
    while let Some(request) = requests.message().await? {
        let kind = match (request.kind, &stream) {
            (Some(append_request::Kind::Open(open)), None) => {
                let (opened, answer) = open_stream(inner, &open)?;
                stream = Some(opened);
                append_response::Kind::Opened(answer)
            }
            (Some(append_request::Kind::Batch(batch)), Some(stream)) => {
                append_response::Kind::Ack(store(inner, stream, batch).await?)
            }
            (Some(append_request::Kind::Open(_)), Some(_)) => {
                return Err(Error::invalid("open", "the stream is open already").into());
            }
            (Some(append_request::Kind::Batch(_)), None) => {
                return Err(Error::invalid("batch", "the first message must open the stream").into());
            }
            (None, _) => return Err(Error::invalid("kind", "is missing").into()),
        };
        if responses.send(Ok(v1::AppendResponse { kind: Some(kind) })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn open_stream(inner: &Inner, open: &v1::AppendOpen) -> Result<(Stream, v1::AppendOpened), Status> {
    wire::check_run(open.run.as_ref(), &inner.run_id)?;
    let shape = open.shape.ok_or_else(|| Error::invalid("shape", "is missing"))?;
    check_same_shape(&shape, &inner.shape)?;
    let n_items = open.n_items as usize;
    let mut shard = inner.shard()?;
    match shard.n_items() {
        // The first writer says how many items there are.
        0 if (1..u32::MAX as usize).contains(&n_items) => shard.set_n_items(n_items),
        known if known == n_items && known > 0 => {}
        known => {
            let problem = format!("{n_items} is not {known}, the shard's");
            return Err(Error::invalid("n_items", problem).into());
        }
    }
    let Opened { generation, stored, lanes } = shard.open(open.writer)?;
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
        shard_uid: shard.uid(),
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

async fn store(inner: &Inner, stream: &Stream, batch: v1::AppendBatch) -> Result<v1::AppendAck, Status> {
    let Stream { writer, generation, n_items, wait } = *stream;
    let sequence = batch.sequence;
    let superseded =
        || Status::aborted(format!("a newer stream of writer {writer}, or a restore, ended this one"));
    let batch = Batch::check(batch.records, &inner.shape, n_items, inner.largest_batch_steps)?;
    let verdict = inner.shard()?.look(writer, generation, sequence, &batch).ok_or_else(superseded)??;
    if verdict == Verdict::New {
        let ask = Ask::Insert { rows: batch.n_steps() as u64 };
        inner.gate.admit(ask, wait).await?;
        let (before, stored, after) = {
            let mut shard = inner.shard()?;
            (shard.totals(), shard.store(writer, generation, sequence, &batch), shard.totals())
        };
        if !stored {
            inner.gate.undo(ask);
            return Err(superseded());
        }
        inner.gate.stored(before, after);
    }
    let stored_sequence = inner.shard()?.stored(writer);
    Ok(v1::AppendAck { stored_sequence })
}
