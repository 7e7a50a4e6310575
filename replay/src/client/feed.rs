//! A writer's way to one shard.
//!
//! In: frames of packed records; out: batches by sequence, bounded in flight. The protobuf and HTTP/2 framing happens
//! on the runtime; a [`Link`] keeps the stream open and reads the acknowledgements. Once the link has ended, all later
//! calls fail.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use common::SessionId;
use proto::v1;
use tokio::sync::watch;

use super::{
    Shards,
    link::{self, End, Link, Progress, Shared},
    members::Member,
    millis,
    writer::WriterSettings,
};
use crate::Error;

/// See the module.
pub(super) struct Feed {
    pub(super) uid: u64,
    address: String,
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
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    /// Lanes that were given back, lowest first.
    free_lanes: BinaryHeap<Reverse<u16>>,
    /// Lowest lane that was never used.
    next_lane: u32,
    /// Sessions that have ended, each with the sequence of its last step; those that were stored are forgotten in time.
    ended_sessions: VecDeque<(u64, SessionId)>,
}

impl Feed {
    /// Opens the stream. Yields also the sessions of this writer that are in progress.
    pub(super) async fn open(
        shards: Shards,
        member: Member,
        open: v1::AppendOpen,
        settings: WriterSettings,
        attention: Arc<AtomicBool>,
    ) -> Result<(Self, Vec<v1::OpenSession>), Error> {
        let open = v1::AppendOpen { wait_ms: millis(settings.wait), ..open };
        let opened = link::open(&member, open.clone(), settings.in_flight, settings.wait).await?;
        let v1::AppendOpened { stored_sequence, largest_batch_steps, sessions, shard_uid } =
            opened.message.clone();
        if shards.is_discovered() && ![0, member.uid].contains(&shard_uid) {
            return Err(Error::Closed(format!("the replay shard that was at {}", member.address)));
        }
        let used: Vec<u16> = sessions.iter().map(|session| session.lane as u16).collect();
        let next_lane = used.iter().max().map_or(0, |&lane| u32::from(lane) + 1);
        let free_lanes = (0..next_lane as u16).filter(|lane| !used.contains(lane)).map(Reverse).collect();
        let (uid, address) = (member.uid, member.address.clone());
        let (shared, progress) = Link::start(shards, member, (open, settings.in_flight), opened, attention);
        let feed = Self {
            uid,
            address,
            wait: settings.wait,
            frame: Vec::new(),
            steps: 0,
            most_steps: settings.frame_steps.min(largest_batch_steps as usize).max(1),
            frame_bytes: settings.frame_bytes,
            sequence: stored_sequence,
            shared,
            progress,
            free_lanes,
            next_lane,
            ended_sessions: VecDeque::new(),
        };
        Ok((feed, sessions))
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

    /// A session has ended, by the last step in the frame.
    pub(super) fn end_session(&mut self, lane: u16, session: SessionId) {
        self.free_lanes.push(Reverse(lane));
        self.ended_sessions.push_back((self.next_sequence(), session));
    }

    /// The sequence under which the frame will be handed over.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }

    /// The last sequence that is stored, as far as is known.
    pub(super) fn stored(&self) -> u64 {
        self.progress.borrow().stored
    }

    /// Sessions that have ended with steps that are not stored, as far as is known.
    pub(super) fn ended_and_not_stored(&self) -> impl Iterator<Item = SessionId> {
        let stored = self.stored();
        self.ended_sessions.iter().filter(move |(last, _)| *last > stored).map(|(_, session)| *session)
    }

    /// Whether the frame must be handed over before it takes another record.
    pub(super) fn is_full(&self) -> bool {
        self.steps >= self.most_steps || self.frame.len() >= self.frame_bytes
    }

    /// Whether the stream is open now.
    pub(super) fn is_connected(&self) -> bool {
        self.progress.borrow().connected
    }

    /// Why the sessions of this feed cannot go on, if they cannot.
    pub(super) fn lost(&self) -> Option<String> {
        match &self.progress.borrow().ended {
            Some(End::Lost(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// Hands the frame over if there is room in flight; says whether it is empty now.
    pub(super) fn try_submit(&mut self) -> Result<bool, Error> {
        if self.frame.is_empty() {
            return Ok(true);
        }
        let Ok(permit) = self.shared.room.try_acquire() else {
            return match self.progress.borrow().ended {
                Some(_) => Err(self.ended()),
                None => Ok(false),
            };
        };
        permit.forget();
        self.send();
        Ok(true)
    }

    /// Hands the frame over, waiting for room in flight. After [`Error::Deadline`] the frame is still here.
    pub(super) async fn submit(&mut self) -> Result<(), Error> {
        if self.try_submit()? {
            return Ok(());
        }
        match tokio::time::timeout(self.wait, self.shared.room.acquire()).await {
            Ok(Ok(permit)) => permit.forget(),
            Ok(Err(_)) => return Err(self.ended()),
            Err(_) => return Err(self.late("has room for a batch")),
        }
        self.send();
        Ok(())
    }

    fn send(&mut self) {
        // A little more than this one, so that it does not grow.
        let next = Vec::with_capacity(self.frame.len() + self.frame.len() / 8);
        let records = Bytes::from(std::mem::replace(&mut self.frame, next));
        self.steps = 0;
        self.sequence += 1;
        let stored = self.stored();
        while self.ended_sessions.pop_front_if(|(last, _)| *last <= stored).is_some() {}
        self.shared.send(v1::AppendBatch { sequence: self.sequence, records });
    }

    /// Waits until everything handed over is stored.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let sequence = self.sequence;
        let settled = async {
            let reached = |progress: &Progress| progress.stored >= sequence || progress.ended.is_some();
            self.progress.wait_for(reached).await.is_ok_and(|progress| progress.stored >= sequence)
        };
        match tokio::time::timeout(self.wait, settled).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.ended()),
            Err(_) => Err(self.late("has stored everything")),
        }
    }

    fn ended(&self) -> Error {
        match &self.progress.borrow().ended {
            Some(End::Failed(error)) => error.clone(),
            Some(End::Lost(why)) => Error::Closed(format!("{why}: its stream")),
            None => Error::Closed(format!("the stream to replay shard {}", self.address)),
        }
    }

    fn late(&self, goal: &str) -> Error {
        let progress = self.progress.borrow();
        let reason = format!(
            "replay shard {} does not say that it {goal}: {} of {} batches are stored{}",
            self.address,
            progress.stored,
            self.sequence,
            progress
                .trouble
                .as_ref()
                .map_or_else(String::new, |error| format!("; its stream broke last: {error}"))
        );
        Error::Deadline { waited: self.wait, reason }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.close();
    }
}
