//! A writer's stream to one shard.
//!
//! In: frames of packed records; out: batches by sequence, bounded in flight. The protobuf and HTTP/2 framing happens
//! on the runtime, a task reads the acknowledgements. When the stream fails, all later calls fail with its error: what
//! was not acknowledged is not sent again from here.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use bytes::Bytes;
use proto::v1::{self, append_request, append_response, replay_client::ReplayClient};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::{millis, shard_error, writer::WriterSettings};
use crate::Error;

/// How far the shard is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Highest stored sequence.
    stored: u64,
    /// Why the stream has ended.
    failed: Option<Error>,
}

/// See the module.
pub(super) struct Feed {
    shard: usize,
    wait: Duration,
    /// Records that were not handed over yet.
    pub(super) frame: Vec<u8>,
    /// Steps in `frame`.
    pub(super) steps: usize,
    /// Most steps of a frame: the writer's setting and the shard's limit.
    most_steps: usize,
    frame_bytes: usize,
    /// Last sequence handed over.
    sequence: u64,
    requests: mpsc::Sender<v1::AppendRequest>,
    /// A permit for each batch that may still go into flight.
    room: Arc<Semaphore>,
    progress: watch::Receiver<Progress>,
    /// Lanes that were given back, lowest first.
    free_lanes: BinaryHeap<Reverse<u16>>,
    /// Lowest lane that was never used.
    next_lane: u32,
}

impl Feed {
    /// Opens the stream. Yields also the sessions of this writer that are in progress.
    pub(super) async fn open(
        mut client: ReplayClient<Channel>,
        shard: usize,
        open: v1::AppendOpen,
        settings: &WriterSettings,
    ) -> Result<(Self, Vec<v1::OpenSession>), Error> {
        let begun = Instant::now();
        // Room for every batch in flight and the opening: sending never waits, only `room` does.
        let (requests, receiver) = mpsc::channel(settings.in_flight + 1);
        let open = v1::AppendRequest {
            kind: Some(append_request::Kind::Open(v1::AppendOpen { wait_ms: millis(settings.wait), ..open })),
        };
        requests.try_send(open).expect("the channel is empty");
        let connect = async {
            let mut answers = client.append(ReceiverStream::new(receiver)).await?.into_inner();
            let first = answers.message().await?;
            Ok((answers, first))
        };
        let (answers, first) = tokio::time::timeout(settings.wait, connect)
            .await
            .map_err(|_| Error::Deadline {
                waited: begun.elapsed(),
                reason: format!("replay shard {shard} does not open the stream"),
            })?
            .map_err(|status| shard_error(shard, begun, status))?;
        let Some(append_response::Kind::Opened(opened)) = first.and_then(|first| first.kind) else {
            return Err(Error::invalid("opened", format!("replay shard {shard} began with something else")));
        };
        let stored = opened.stored_sequence;
        let (sender, progress) = watch::channel(Progress { stored, failed: None });
        let room = Arc::new(Semaphore::new(settings.in_flight));
        tokio::spawn(read_acks(shard, answers, sender, room.clone()));
        let used: Vec<u16> = opened.sessions.iter().map(|session| session.lane as u16).collect();
        let next_lane = used.iter().max().map_or(0, |&lane| u32::from(lane) + 1);
        let free_lanes = (0..next_lane as u16).filter(|lane| !used.contains(lane)).map(Reverse).collect();
        let feed = Self {
            shard,
            wait: settings.wait,
            frame: Vec::new(),
            steps: 0,
            most_steps: settings.frame_steps.min(opened.largest_batch_steps as usize).max(1),
            frame_bytes: settings.frame_bytes,
            sequence: stored,
            requests,
            room,
            progress,
            free_lanes,
            next_lane,
        };
        Ok((feed, opened.sessions))
    }

    /// A lane for a new session: the lowest free one.
    pub(super) fn take_lane(&mut self) -> Result<u16, Error> {
        if let Some(Reverse(lane)) = self.free_lanes.pop() {
            return Ok(lane);
        }
        let lane = u16::try_from(self.next_lane)
            .map_err(|_| Error::invalid("session", "65,536 sessions of this writer are in progress"))?;
        self.next_lane += 1;
        Ok(lane)
    }

    /// The lane's session has ended.
    pub(super) fn give_lane(&mut self, lane: u16) {
        self.free_lanes.push(Reverse(lane));
    }

    /// Whether the frame must be handed over before it takes another record.
    pub(super) fn is_full(&self) -> bool {
        self.steps >= self.most_steps || self.frame.len() >= self.frame_bytes
    }

    /// Hands the frame over if there is room in flight; says whether it is empty now.
    pub(super) fn try_submit(&mut self) -> Result<bool, Error> {
        if self.frame.is_empty() {
            return Ok(true);
        }
        let Ok(permit) = self.room.try_acquire() else {
            return self.failure().map_or(Ok(false), Err);
        };
        permit.forget();
        self.send()?;
        Ok(true)
    }

    /// Hands the frame over, waiting for room in flight. After [`Error::Deadline`] the frame is still here.
    pub(super) async fn submit(&mut self) -> Result<(), Error> {
        if self.try_submit()? {
            return Ok(());
        }
        match tokio::time::timeout(self.wait, self.room.acquire()).await {
            Ok(Ok(permit)) => permit.forget(),
            Ok(Err(_)) => return Err(self.ended()),
            Err(_) => return Err(self.late("has room for a batch")),
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), Error> {
        // A little more than a full frame, so that it does not grow.
        let next = Vec::with_capacity(self.frame_bytes + self.frame_bytes / 8);
        let records = Bytes::from(std::mem::replace(&mut self.frame, next));
        self.steps = 0;
        self.sequence += 1;
        let batch = v1::AppendBatch { sequence: self.sequence, records };
        let request = v1::AppendRequest { kind: Some(append_request::Kind::Batch(batch)) };
        self.requests.try_send(request).map_err(|_| self.ended())
    }

    /// Waits until everything handed over is stored.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let sequence = self.sequence;
        let settled = async {
            let reached = |progress: &Progress| progress.stored >= sequence || progress.failed.is_some();
            self.progress.wait_for(reached).await.is_ok_and(|progress| progress.stored >= sequence)
        };
        match tokio::time::timeout(self.wait, settled).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.ended()),
            Err(_) => Err(self.late("has stored everything")),
        }
    }

    fn failure(&self) -> Option<Error> {
        self.progress.borrow().failed.clone()
    }

    fn ended(&self) -> Error {
        self.failure().unwrap_or_else(|| Error::Closed(format!("the stream to replay shard {}", self.shard)))
    }

    fn late(&self, goal: &str) -> Error {
        let reason = format!(
            "replay shard {} does not say that it {goal}: {} of {} batches are stored",
            self.shard,
            self.progress.borrow().stored,
            self.sequence
        );
        Error::Deadline { waited: self.wait, reason }
    }
}

/// Notes acknowledgements until the stream ends, and why it did.
async fn read_acks(
    shard: usize,
    mut answers: Streaming<v1::AppendResponse>,
    progress: watch::Sender<Progress>,
    room: Arc<Semaphore>,
) {
    // Of the answer that is waited for, not of the stream.
    let mut begun = Instant::now();
    let failed = loop {
        match answers.message().await {
            Ok(Some(v1::AppendResponse { kind: Some(append_response::Kind::Ack(ack)) })) => {
                let before = progress.borrow().stored;
                progress.send_modify(|progress| progress.stored = ack.stored_sequence);
                room.add_permits(ack.stored_sequence.saturating_sub(before) as usize);
                begun = Instant::now();
            }
            Ok(Some(_)) => {
                break Error::invalid("ack", format!("replay shard {shard} answers with something else"));
            }
            Ok(None) => break Error::Closed(format!("the stream to replay shard {shard}")),
            Err(status) => break shard_error(shard, begun, status),
        }
    };
    progress.send_modify(|progress| progress.failed = Some(failed));
    room.close();
}
