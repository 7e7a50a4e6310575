//! The feeds of a writer: one to each shard.
//!
//! In: the members; out: feeds by place, where a new session goes. Within a process every shard has its feed from the
//! start. Where shards come and go, feeds of new members are opened in the background, and places whose shard is lost
//! are emptied. Invariant: one feed, or one opening, a shard.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire},
        },
    },
    time::Duration,
};

use common::SessionId;
use futures::future::try_join_all;
use proto::v1;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tonic::Code;

use super::{
    Shards,
    feed::Feed,
    members::{Member, Members},
    route::shard_of,
    writer::WriterSettings,
};
use crate::Error;

/// Between two looks for a shard that is connected.
const LOOK: Duration = Duration::from_millis(5);
/// Between two attempts to open a feed.
const RETRY: Duration = Duration::from_millis(250);
/// How long a new writer waits for the other shards once it has one.
const OTHERS: Duration = Duration::from_secs(1);

/// How the opening of a feed has ended; `None`: the shard is down or gone.
type Opening = (u64, Option<Result<Feed, Error>>);

/// See the module.
pub(super) struct Roster {
    shards: Shards,
    members: Members,
    open: v1::AppendOpen,
    settings: WriterSettings,
    /// By place; empty places are used again.
    feeds: Vec<Option<Feed>>,
    attention: Arc<AtomicBool>,
    /// Shards whose feeds are being opened.
    opening: BTreeSet<u64>,
    opened: (mpsc::UnboundedSender<Opening>, mpsc::UnboundedReceiver<Opening>),
    /// Why a shard refused this writer: told by the next wait.
    refused: Option<Error>,
}

impl Roster {
    /// Opens the feeds; also the sessions that this writer has in progress, with the places of their feeds.
    pub(super) async fn open(
        shards: Shards,
        open: v1::AppendOpen,
        settings: WriterSettings,
    ) -> Result<(Self, Vec<(usize, v1::OpenSession)>), Error> {
        let mut roster = Self {
            members: shards.inner.members.clone(),
            shards,
            open,
            settings,
            feeds: Vec::new(),
            attention: Arc::default(),
            opening: BTreeSet::new(),
            // As many messages as openings, one a shard.
            opened: mpsc::unbounded_channel(),
            refused: None,
        };
        if roster.shards.is_discovered() {
            // A writer of a cluster never goes on from another one's sessions.
            roster.members.mark_changed();
            let begun = Instant::now();
            roster.ready().await?;
            while !roster.opening.is_empty() && begun.elapsed() < OTHERS {
                sleep(LOOK).await;
                roster.tend();
            }
            return Ok((roster, Vec::new()));
        }
        let members = roster.shards.members();
        let opened = try_join_all(members.iter().map(|member| roster.open_feed(member.clone()))).await?;
        let mut sessions = Vec::new();
        for (place, (feed, in_progress)) in opened.into_iter().enumerate() {
            roster.feeds.push(Some(feed));
            sessions.extend(in_progress.into_iter().map(|session| (place, session)));
        }
        Ok((roster, sessions))
    }

    fn open_feed(
        &self,
        member: Member,
    ) -> impl Future<Output = Result<(Feed, Vec<v1::OpenSession>), Error>> + use<> {
        let attention = Arc::clone(&self.attention);
        Feed::open(self.shards.clone(), member, self.open.clone(), self.settings, attention)
    }

    /// The feed at a place that is not empty.
    pub(super) fn feed(&mut self, place: usize) -> &mut Feed {
        self.feeds[place].as_mut().expect("routes lead to feeds: those of an emptied place were removed")
    }

    pub(super) fn feeds_mut(&mut self) -> impl Iterator<Item = &mut Feed> {
        self.feeds.iter_mut().flatten()
    }

    /// The place of the shard where a new session goes; `None` if no shard is connected.
    pub(super) fn choose(&self, session: SessionId) -> Option<usize> {
        let discovered = self.shards.is_discovered();
        let is_candidate = |feed: &&Feed| !discovered || feed.is_connected();
        let uid = shard_of(session, self.feeds.iter().flatten().filter(is_candidate).map(|feed| feed.uid))?;
        self.feeds.iter().position(|feed| feed.as_ref().is_some_and(|feed| feed.uid == uid))
    }

    /// Waits until a shard is connected, or one is lost ([`Self::tend`] first, then).
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            self.take_opened();
            self.look_at_members();
            if let Some(error) = self.refused.take() {
                return Err(error);
            }
            let is_lost = self.feeds.iter().flatten().any(|feed| feed.lost().is_some());
            if is_lost || self.choose(0).is_some() {
                return Ok(());
            }
            if begun.elapsed() >= self.settings.wait {
                let missing = self.shards.missing().join(", ");
                let down =
                    self.shards.members().iter().map(|m| m.address.clone()).collect::<Vec<_>>().join(", ");
                let reason =
                    format!("no replay shard is connected (not answering: {missing}; known: {down})");
                return Err(Error::Deadline { waited: begun.elapsed(), reason });
            }
            sleep(LOOK).await;
        }
    }

    /// Looks at what has changed; the feeds whose shards are lost, with the places that they leave empty.
    pub(super) fn tend(&mut self) -> Vec<(usize, Feed)> {
        self.look_at_members();
        // Looked at with every record: a load costs a tenth of a swap.
        if !self.attention.load(Acquire) || !self.attention.swap(false, AcqRel) {
            return Vec::new();
        }
        self.take_opened();
        self.take_lost()
    }

    /// The feeds whose shards are lost, with the places that they leave empty.
    pub(super) fn take_lost(&mut self) -> Vec<(usize, Feed)> {
        let mut lost = Vec::new();
        for place in 0..self.feeds.len() {
            let Some(why) = self.feeds[place].as_ref().and_then(Feed::lost) else { continue };
            let Some(feed) = self.feeds[place].take() else { continue };
            tracing::warn!(
                uid = feed.uid,
                writer = self.open.writer,
                unsent_steps = feed.steps,
                why,
                "a replay shard is lost, with what it had not acknowledged"
            );
            lost.push((place, feed));
        }
        if !lost.is_empty() {
            // One of them may still be a member, without what it had.
            self.members.mark_changed();
            self.look_at_members();
        }
        lost
    }

    fn look_at_members(&mut self) {
        if !self.shards.is_discovered() || !self.members.has_changed().unwrap_or(false) {
            return;
        }
        let members = self.members.borrow_and_update().clone();
        for member in members.iter().filter(|member| member.up) {
            let is_known = self.feeds.iter().flatten().any(|feed| feed.uid == member.uid);
            if !is_known && self.opening.insert(member.uid) {
                self.begin_opening(member.uid);
            }
        }
    }

    /// Opens a feed in the background, as long as its shard is up.
    fn begin_opening(&self, uid: u64) {
        let (sender, shards) = (self.opened.0.clone(), self.shards.clone());
        let (open, settings) = (self.open.clone(), self.settings);
        let attention = Arc::clone(&self.attention);
        self.shards.inner.runtime.spawn(async move {
            let opened = loop {
                let member = shards.members().iter().find(|member| member.uid == uid && member.up).cloned();
                let (Some(member), false) = (member, sender.is_closed()) else {
                    break None;
                };
                let (shards, attention) = (shards.clone(), Arc::clone(&attention));
                match Feed::open(shards, member, open.clone(), settings, attention).await {
                    Ok((feed, _)) => break Some(Ok(feed)),
                    Err(
                        error @ (Error::Shard { code: Code::InvalidArgument, .. } | Error::Invalid { .. }),
                    ) => {
                        break Some(Err(error));
                    }
                    Err(error) => {
                        tracing::debug!(uid, %error, "a feed cannot be opened yet");
                        sleep(RETRY).await;
                    }
                }
            };
            // An error: the writer is gone.
            let _gone = sender.send((uid, opened));
            attention.store(true, std::sync::atomic::Ordering::Release);
        });
    }

    fn take_opened(&mut self) {
        while let Ok((uid, opened)) = self.opened.1.try_recv() {
            self.opening.remove(&uid);
            match opened {
                Some(Ok(feed)) => match self.feeds.iter().position(Option::is_none) {
                    Some(place) => self.feeds[place] = Some(feed),
                    None => self.feeds.push(Some(feed)),
                },
                Some(Err(error)) => {
                    tracing::error!(uid, %error, "a replay shard refuses this writer");
                    self.refused = Some(error);
                }
                // It may have come up in between.
                None => self.members.mark_changed(),
            }
        }
    }
}
