//! The writer of a rollout thread.
//!
//! In: periods and steps of many sessions; out: packed frames, a stream a shard. A record is a few bytes copied into
//! its shard's frame on the rollout thread (cheaper than passing it to another one); everything else happens on the
//! runtime. Owner: one thread that is not the runtime's, as calls may block (or async code through the `_async` ones).
//!
//! A session stays on its shard. Where shards come and go, new sessions go to those that are connected, and a session
//! whose shard is gone (or has lost what it acknowledged) ends with [`Error::SessionLost`], said once by the next call
//! for it. What a shard that is gone had not acknowledged is lost with it, also of sessions that had just ended: the next
//! flush says so by [`Error::NotStored`].

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use common::{
    SessionId,
    history::N_WINDOWS,
    transition::{Ending, PeriodStart, Shape, Step},
};
use foldhash::fast::RandomState;
use futures::future::join_all;
use node::metrics;
use proto::v1;
use tokio::runtime::Handle;

use super::{Shards, feed::Feed, roster::Roster};
use crate::{
    Error, TransitionSink,
    wire::{self, StepRecord, put_period, put_step},
};

/// How a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterSettings {
    /// Number of the writer, unique in the run. One that was used before goes on where it stood: with its sessions in
    /// progress, which must then be carried on.
    pub writer: u64,
    /// A frame is handed over once it has this many bytes, 1 to 524,288.
    pub frame_bytes: usize,
    /// ... or this many steps (or fewer, when the rate limiter allows fewer a batch). At least 1.
    pub frame_steps: usize,
    /// Frames in flight to each shard before a call waits. At least 1.
    pub in_flight: usize,
    /// How long a call may wait, for the rate limiter too.
    pub wait: Duration,
}

impl WriterSettings {
    /// Frames of 32 KiB, 8 in flight, waits of a minute.
    pub fn new(writer: u64) -> Self {
        let (frame_bytes, wait) = (32 << 10, Duration::from_secs(60));
        Self { writer, frame_bytes, frame_steps: wire::MAX_BATCH_STEPS, in_flight: 8, wait }
    }

    fn validate(&self) -> Result<(), Error> {
        let most = wire::MAX_BATCH_BYTES / 2;
        if !(1..=most).contains(&self.frame_bytes) {
            return Err(Error::invalid(
                "frame_bytes",
                format!("{} is outside 1 to {most}", self.frame_bytes),
            ));
        }
        if self.frame_steps == 0 || self.in_flight == 0 {
            return Err(Error::invalid("frame_steps and in_flight", "must be at least 1"));
        }
        Ok(())
    }
}

/// Where a session in progress is written to.
#[derive(Clone, Copy, Debug)]
struct Route {
    /// Place of its feed in the roster.
    feed: usize,
    lane: u16,
    period: u32,
    /// Steps of the period; c: the next one may begin.
    n_steps: u8,
    /// Sequence of the last step; 0: none yet, or another writer's.
    sequence: u64,
}

/// See the module. Flush it (or discard what it holds) before dropping it: frames that were not handed over are lost,
/// with a warning.
pub struct Writer {
    shape: Shape,
    runtime: Handle,
    roster: Roster,
    routes: HashMap<SessionId, Route, RandomState>,
    /// Sessions that were lost and not asked for since.
    lost: BTreeSet<SessionId>,
    /// Sessions of which steps were lost, which nobody was told.
    not_stored: BTreeSet<SessionId>,
    waited: Duration,
}

impl Shards {
    /// Opens a writer. Sessions that a writer of this number has in progress are known to it. Where shards come and go,
    /// at least one of them must be there within the writer's wait.
    pub async fn writer(&self, settings: WriterSettings) -> Result<Writer, Error> {
        settings.validate()?;
        let open = v1::AppendOpen {
            run: Some(self.run()),
            shape: Some(wire::shape_message(&self.inner.shape)),
            n_items: self.inner.n_items as u32,
            writer: settings.writer,
            wait_ms: 0,
        };
        let (roster, opened) = Roster::open(self.clone(), open, settings).await?;
        let mut writer = Writer {
            shape: self.inner.shape,
            runtime: self.inner.runtime.clone(),
            roster,
            routes: HashMap::default(),
            lost: BTreeSet::new(),
            not_stored: BTreeSet::new(),
            waited: Duration::ZERO,
        };
        for (feed, v1::OpenSession { lane, session, period, n_steps }) in opened {
            let route = Route { feed, lane: lane as u16, period, n_steps: n_steps as u8, sequence: 0 };
            writer.routes.insert(session, route);
        }
        Ok(writer)
    }
}

impl Writer {
    /// Sessions in progress, by ascending number: (session, period, steps stored or handed over of it).
    pub fn sessions(&self) -> Vec<(SessionId, u32, usize)> {
        let session = |(session, route): (&_, &Route)| (*session, route.period, usize::from(route.n_steps));
        let mut sessions: Vec<_> = self.routes.iter().map(session).collect();
        sessions.sort_unstable();
        sessions
    }

    /// Waits until a new session can begin: until a shard is connected.
    pub async fn ready_async(&mut self) -> Result<(), Error> {
        loop {
            self.tend();
            if self.roster.choose(0).is_some() {
                return Ok(());
            }
            self.roster.ready().await?;
        }
    }

    /// [`TransitionSink::submit`] for async code.
    pub async fn submit_async(&mut self) -> Result<(), Error> {
        self.tend();
        let ended = join_all(self.roster.feeds_mut().map(Feed::submit)).await;
        self.settled(ended)
    }

    /// [`TransitionSink::flush`] for async code.
    pub async fn flush_async(&mut self) -> Result<(), Error> {
        self.submit_async().await?;
        let ended = join_all(self.roster.feeds_mut().map(Feed::settle)).await;
        self.settled(ended)?;
        match std::mem::take(&mut self.not_stored) {
            none if none.is_empty() => Ok(()),
            some => Err(Error::NotStored { sessions: some.into_iter().collect() }),
        }
    }

    /// What was lost with a shard is noted, and no error here.
    fn settled(&mut self, ended: Vec<Result<(), Error>>) -> Result<(), Error> {
        if ended.iter().all(Result::is_ok) {
            return Ok(());
        }
        let is_lost: Vec<bool> = self.roster.feeds_mut().map(|feed| feed.lost().is_some()).collect();
        // A link ends a moment before it calls for attention.
        let lost = self.roster.take_lost();
        self.note_lost(lost);
        let failed = ended.into_iter().zip(is_lost).find(|(ended, is_lost)| ended.is_err() && !is_lost);
        failed.map_or(Ok(()), |(ended, _)| ended)
    }

    /// Takes note of shards that have come, and of those that are lost with their sessions.
    fn tend(&mut self) {
        let lost = self.roster.tend();
        self.note_lost(lost);
    }

    #[inline]
    fn note_lost(&mut self, feeds: Vec<(usize, Feed)>) {
        for (place, feed) in feeds {
            let stored = feed.stored();
            let mut sessions: BTreeSet<SessionId> = feed.ended_and_not_stored().collect();
            self.not_stored.extend(&sessions);
            for (session, route) in self.routes.extract_if(|_, route| route.feed == place) {
                if route.sequence > stored {
                    self.not_stored.insert(session);
                }
                self.lost.insert(session);
                sessions.insert(session);
            }
            metrics::ACTOR_SESSIONS_LOST.increment(sessions.len() as u64, []);
        }
    }

    /// Says once that a session is lost.
    fn check_lost(&mut self, session: SessionId) -> Result<(), Error> {
        match self.lost.remove(&session) {
            true => {
                self.not_stored.remove(&session);
                Err(Error::SessionLost { session })
            }
            false => Ok(()),
        }
    }

    /// The feed of a session (a new one's is chosen), with room in its frame. After an error nothing was taken.
    fn make_room(&mut self, session: SessionId) -> Result<usize, Error> {
        loop {
            self.tend();
            self.check_lost(session)?;
            let known = self.routes.get(&session).map(|route| route.feed);
            let place = match known.or_else(|| self.roster.choose(session)) {
                Some(place) => place,
                None => {
                    let (_guard, begun) = (self.runtime.enter(), Instant::now());
                    let ready = futures::executor::block_on(self.roster.ready());
                    self.waited += begun.elapsed();
                    ready?;
                    continue;
                }
            };
            let feed = self.roster.feed(place);
            if !feed.is_full() {
                return Ok(place);
            }
            let submitted = match feed.try_submit() {
                Ok(true) => return Ok(place),
                Ok(false) => {
                    let (_guard, begun) = (self.runtime.enter(), Instant::now());
                    let submitted = futures::executor::block_on(feed.submit());
                    self.waited += begun.elapsed();
                    submitted
                }
                Err(error) => Err(error),
            };
            match submitted {
                Ok(()) => return Ok(place),
                // The session hears of it, or is sent elsewhere.
                Err(_) if self.roster.feed(place).lost().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn check_lengths(&self, start: &PeriodStart) -> Result<(), Error> {
        let Shape { window, n_goals, n_dims, .. } = self.shape;
        for (field, found, expected) in [
            ("windows", start.windows.len(), N_WINDOWS * window),
            ("goals", start.goals.len(), n_goals * n_dims),
        ] {
            if found != expected {
                return Err(Error::invalid(field, format!("{found} values are not {expected}")));
            }
        }
        Ok(())
    }
}

impl TransitionSink for Writer {
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), Error> {
        self.check_lengths(start)?;
        let known = self.routes.get(&start.session).copied();
        if let Some(Route { period, n_steps, .. }) = known {
            let c = self.shape.n_steps;
            if usize::from(n_steps) < c {
                let problem =
                    format!("period {period} of session {} has {n_steps} of {c} steps", start.session);
                return Err(Error::invalid("period", problem));
            }
            if period.checked_add(1) != Some(start.period) {
                let problem = format!("{} of session {} follows {period}", start.period, start.session);
                return Err(Error::invalid("period", problem));
            }
        }
        let place = self.make_room(start.session)?;
        let feed = self.roster.feed(place);
        let lane = known.map_or_else(|| feed.take_lane(), |route| Ok(route.lane))?;
        put_period(&mut feed.frame, lane, start);
        let sequence = known.map_or(0, |route| route.sequence);
        let route = Route { feed: place, lane, period: start.period, n_steps: 0, sequence };
        self.routes.insert(start.session, route);
        Ok(())
    }

    fn step(&mut self, session: SessionId, step: Step) -> Result<(), Error> {
        self.tend();
        let c = self.shape.n_steps;
        let Some(route) = self.routes.get_mut(&session).filter(|route| usize::from(route.n_steps) < c) else {
            self.check_lost(session)?;
            return Err(Error::invalid("session", format!("session {session} has no open period")));
        };
        let (lane, feed) = (route.lane, self.roster.feed(route.feed));
        if feed.is_full() {
            // By then the session may be lost.
            self.make_room(session)?;
            return self.step(session, step);
        }
        put_step(&mut feed.frame, StepRecord { lane, position: route.n_steps, step });
        feed.steps += 1;
        (route.n_steps, route.sequence) = (route.n_steps + 1, feed.next_sequence());
        if step.ending != Ending::None {
            self.routes.remove(&session);
            feed.end_session(lane, session);
        }
        if feed.is_full() {
            // Without waiting: if there is no room, the next record of this shard waits.
            match feed.try_submit() {
                Err(error) if feed.lost().is_none() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Error> {
        let runtime = self.runtime.clone();
        let _guard = runtime.enter();
        futures::executor::block_on(self.submit_async())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let runtime = self.runtime.clone();
        let _guard = runtime.enter();
        let begun = Instant::now();
        let flushed = futures::executor::block_on(self.flush_async());
        self.waited += begun.elapsed();
        flushed
    }

    fn discard(&mut self) {
        for feed in self.roster.feeds_mut() {
            feed.frame.clear();
            feed.steps = 0;
        }
    }

    fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let steps: usize = self.roster.feeds_mut().map(|feed| feed.steps).sum();
        if steps > 0 {
            tracing::warn!(steps, "a writer was dropped before it was flushed");
        }
    }
}
