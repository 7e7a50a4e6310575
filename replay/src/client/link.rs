//! The stream behind a [`Feed`](super::feed::Feed): a task that keeps it open.
//!
//! In: batches that the feed puts into the [`Outbox`]; out: acknowledgements as [`Progress`]. Batches stay in the outbox
//! until they are acknowledged. When the stream breaks, a discovered shard is connected again after a pause, and sent
//! what it says it has not stored, in order: each batch is stored once. Invariant: the batches of the outbox have the
//! sequences after `Progress::stored`, without gap.
//!
//! The link ends *lost* when its shard has left the membership or has lost what it acknowledged; *failed* when the
//! shard refuses something (a bug: it would again), when another process writes under the same number, or, within a
//! process, when the stream breaks at all.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Release},
    },
    time::Duration,
};

use common::seed::Streams;
use node::metrics;
use proto::v1::{self, append_request, append_response};
use rand::RngExt;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::{
    Shards,
    absence::Absence,
    members::{Member, from_now_on},
    shard_error,
};
use crate::Error;

/// How long opening again may take.
const OPENING: Duration = Duration::from_secs(5);

/// Why a link has ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// See the module.
    Failed(Error),
    /// See the module; why.
    Lost(String),
}

/// How far the shard is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Highest stored sequence.
    pub(super) stored: u64,
    /// Whether the stream is open.
    pub(super) connected: bool,
    /// Why it broke last.
    pub(super) trouble: Option<Error>,
    pub(super) ended: Option<End>,
}

/// Batches on their way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    unacknowledged: VecDeque<v1::AppendBatch>,
    /// Into the open stream.
    requests: Option<mpsc::Sender<v1::AppendRequest>>,
    /// The feed is gone.
    closing: bool,
}

/// What feed and link share.
#[derive(Debug)]
pub(super) struct Shared {
    outbox: Mutex<Outbox>,
    /// A permit for each batch that may still go into flight; closed at the end.
    pub(super) room: Semaphore,
    /// The writer has something to look at.
    pub(super) attention: Arc<AtomicBool>,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Changed by whole pushes and pops.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a batch, now or when the stream is open again. There is room for it.
    pub(super) fn send(&self, batch: v1::AppendBatch) {
        let mut outbox = self.outbox();
        outbox.unacknowledged.push_back(batch.clone());
        if let Some(requests) = &outbox.requests
            && requests.try_send(request(batch)).is_err()
        {
            // The stream has just ended: the link sends it again.
            outbox.requests = None;
        }
    }

    /// The feed is gone: what is on its way goes on, nothing is tried again.
    pub(super) fn close(&self) {
        let mut outbox = self.outbox();
        outbox.closing = true;
        outbox.requests = None;
    }

    /// Drops what is stored; how many batches that are.
    fn acknowledge(&self, stored: u64) -> usize {
        let mut outbox = self.outbox();
        let before = outbox.unacknowledged.len();
        while outbox.unacknowledged.front().is_some_and(|batch| batch.sequence <= stored) {
            outbox.unacknowledged.pop_front();
        }
        before - outbox.unacknowledged.len()
    }
}

fn request(batch: v1::AppendBatch) -> v1::AppendRequest {
    v1::AppendRequest { kind: Some(append_request::Kind::Batch(batch)) }
}

/// An open stream.
pub(super) struct Opened {
    answers: Streaming<v1::AppendResponse>,
    requests: mpsc::Sender<v1::AppendRequest>,
    pub(super) message: v1::AppendOpened,
}

/// Opens a writer's stream to a shard, with room for `in_flight` batches.
pub(super) async fn open(
    member: &Member,
    open: v1::AppendOpen,
    in_flight: usize,
    patience: Duration,
) -> Result<Opened, Error> {
    let (begun, mut client) = (Instant::now(), member.client.clone());
    // Room for every batch in flight and the opening: sending never waits, only the semaphore does.
    let (requests, receiver) = mpsc::channel(in_flight + 1);
    let first = v1::AppendRequest { kind: Some(append_request::Kind::Open(open)) };
    requests.try_send(first).expect("the channel is empty");
    let connect = async {
        let mut answers = client.append(ReceiverStream::new(receiver)).await?.into_inner();
        let first = answers.message().await?;
        Ok((answers, first))
    };
    let address = &member.address;
    let (answers, first) = timeout(patience, connect)
        .await
        .map_err(|_| Error::Deadline {
            waited: begun.elapsed(),
            reason: format!("replay shard {address} does not open the stream"),
        })?
        .map_err(|status| shard_error(address, begun, status))?;
    match first.and_then(|first| first.kind) {
        Some(append_response::Kind::Opened(message)) => Ok(Opened { answers, requests, message }),
        _ => Err(Error::invalid("opened", format!("replay shard {address} began with something else"))),
    }
}

/// See the module.
pub(super) struct Link {
    pub(super) shards: Shards,
    /// Where the stream goes.
    pub(super) member: Member,
    pub(super) open: v1::AppendOpen,
    pub(super) in_flight: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) progress: watch::Sender<Progress>,
    attempts: u64,
    absence: Absence,
}

/// Why reading a stream has stopped.
enum Stop {
    /// It broke, or its shard has moved.
    Broken(Error),
    End(End),
    /// The feed is gone.
    Closed,
}

impl Link {
    /// Keeps an open stream on the current runtime.
    pub(super) fn start(
        shards: Shards,
        member: Member,
        (open, in_flight): (v1::AppendOpen, usize),
        opened: Opened,
        attention: Arc<AtomicBool>,
    ) -> (Arc<Shared>, watch::Receiver<Progress>) {
        let Opened { answers, requests, message } = opened;
        let outbox = Outbox { requests: Some(requests), ..Outbox::default() };
        let shared =
            Arc::new(Shared { outbox: Mutex::new(outbox), room: Semaphore::new(in_flight), attention });
        let stored = message.stored_sequence;
        let (progress, receiver) =
            watch::channel(Progress { stored, connected: true, trouble: None, ended: None });
        let link = Self {
            shards,
            member,
            open,
            in_flight,
            shared: Arc::clone(&shared),
            progress,
            attempts: 0,
            absence: Absence::none(),
        };
        tokio::spawn(link.run(answers));
        (shared, receiver)
    }

    async fn run(mut self, mut answers: Streaming<v1::AppendResponse>) {
        let end = loop {
            let stop = match self.read(answers).await {
                Stop::Broken(error) if self.shards.is_discovered() => {
                    let (uid, address) = (self.member.uid, &self.member.address);
                    metrics::ACTOR_RECONNECTS.increment(1, ["replay"]);
                    tracing::info!(uid, address, %error, "the stream to a replay shard broke: it is opened again");
                    self.shared.outbox().requests = None;
                    self.progress.send_modify(|progress| {
                        (progress.connected, progress.trouble) = (false, Some(error));
                    });
                    self.reopen().await
                }
                Stop::Broken(error) => Err(Stop::End(End::Failed(error))),
                stop => Err(stop),
            };
            match stop {
                Ok(opened) => answers = opened,
                Err(Stop::End(end)) => break Some(end),
                Err(Stop::Broken(_) | Stop::Closed) => break None,
            }
        };
        self.progress.send_modify(|progress| (progress.connected, progress.ended) = (false, end));
        self.shared.room.close();
        self.shared.attention.store(true, Release);
    }

    /// Notes acknowledgements until the stream stops.
    async fn read(&mut self, mut answers: Streaming<v1::AppendResponse>) -> Stop {
        let address = self.member.address.clone();
        let mut members = self.shards.inner.members.clone();
        // Of the answer that is waited for, not of the stream.
        let mut begun = Instant::now();
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.message() => answer,
                Ok(()) = members.changed() => match self.look_up() {
                    Ok(member) if member.address == address => continue,
                    Ok(_) => return Stop::Broken(Error::Closed(format!("replay shard {address} has moved: the stream"))),
                    Err(stop) => return stop,
                },
            };
            match answer {
                Ok(Some(v1::AppendResponse { kind: Some(append_response::Kind::Ack(ack)) })) => {
                    let stored = ack.stored_sequence;
                    let n = self.shared.acknowledge(stored);
                    self.progress.send_modify(|progress| progress.stored = progress.stored.max(stored));
                    self.shared.room.add_permits(n);
                    self.absence.is_over();
                    begun = Instant::now();
                }
                Ok(Some(_)) => {
                    let problem = format!("replay shard {address} answers with something else");
                    return Stop::End(End::Failed(Error::invalid("ack", problem)));
                }
                _ if self.shared.outbox().closing => return Stop::Closed,
                Ok(None) => {
                    return Stop::Broken(Error::Closed(format!("the stream to replay shard {address}")));
                }
                Err(status) => {
                    let is_final = status.code() == Code::InvalidArgument;
                    let error = shard_error(&address, begun, status);
                    return if is_final { Stop::End(End::Failed(error)) } else { Stop::Broken(error) };
                }
            }
        }
    }

    /// Where the shard is now.
    fn look_up(&self) -> Result<Member, Stop> {
        let uid = self.member.uid;
        let member = self.shards.members().iter().find(|member| member.uid == uid).cloned();
        member.ok_or_else(|| Stop::End(End::Lost(format!("replay shard {} has left", self.member.address))))
    }

    /// Opens the stream again and sends what is not stored.
    async fn reopen(&mut self) -> Result<Streaming<v1::AppendResponse>, Stop> {
        // The pauses are for those changes alone that come meanwhile.
        let mut members = from_now_on(&self.shards.inner.members);
        self.absence.broke();
        loop {
            self.attempts += 1;
            let jitter = Streams::new(self.open.writer, "replay/backoff");
            let part = jitter.at(self.member.uid, self.attempts).random_range(0.5..1.0);
            let pause = self.absence.pause(part);
            tokio::select! {
                biased;
                () = sleep(pause) => {}
                // It may have moved.
                Ok(()) = members.changed() => {}
            }
            if self.shared.outbox().closing {
                return Err(Stop::Closed);
            }
            self.member = self.look_up()?;
            match open(&self.member, self.open.clone(), self.in_flight, OPENING).await {
                Ok(opened) if ![0, self.member.uid].contains(&opened.message.shard_uid) => {
                    // Another one at its address: the membership will say so.
                }
                Ok(opened) => {
                    self.absence.opened();
                    return self.resume(opened);
                }
                Err(error @ (Error::Shard { code: Code::InvalidArgument, .. } | Error::Invalid { .. })) => {
                    return Err(Stop::End(End::Failed(error)));
                }
                Err(error) => {
                    self.progress.send_modify(|progress| progress.trouble = Some(error));
                }
            }
        }
    }

    fn resume(&mut self, opened: Opened) -> Result<Streaming<v1::AppendResponse>, Stop> {
        let Opened { answers, requests, message: v1::AppendOpened { stored_sequence: stored, .. } } = opened;
        let acknowledged = self.progress.borrow().stored;
        let address = &self.member.address;
        if stored < acknowledged {
            let why = format!(
                "replay shard {address} had acknowledged {acknowledged} batches of this writer and holds {stored}"
            );
            return Err(Stop::End(End::Lost(why)));
        }
        let n = self.shared.acknowledge(stored);
        if n as u64 != stored - acknowledged {
            let problem = format!(
                "{} is in use by another process: replay shard {address} holds {stored} batches, {} were sent",
                self.open.writer,
                acknowledged + n as u64
            );
            return Err(Stop::End(End::Failed(Error::invalid("writer", problem))));
        }
        if n > 0 {
            self.absence.is_over();
        }
        {
            let mut outbox = self.shared.outbox();
            metrics::ACTOR_RESENT_BATCHES.increment(outbox.unacknowledged.len() as u64, []);
            for batch in &outbox.unacknowledged {
                // There is room for all that is in flight. Closed: this stream has broken too, which its answers say.
                if requests.try_send(request(batch.clone())).is_err() {
                    break;
                }
            }
            outbox.requests = (!outbox.closing).then_some(requests);
        }
        self.progress.send_modify(|progress| (progress.stored, progress.connected) = (stored, true));
        self.shared.room.add_permits(n);
        Ok(answers)
    }
}
