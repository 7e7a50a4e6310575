//! The writer of a rollout thread.
//!
//! In: periods and steps of many sessions; out: packed frames, a stream a shard. A record is a few bytes copied into
//! its shard's frame on the rollout thread (cheaper than passing it to another one); everything else happens on the
//! runtime. Owner: one thread that is not the runtime's, as calls may block (or async code through the `_async` ones).

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use common::{
    SessionId,
    history::N_WINDOWS,
    transition::{Ending, PeriodStart, Shape, Step},
};
use futures::future::try_join_all;
use proto::v1;
use tokio::runtime::Handle;

use super::{Shards, feed::Feed, route::shard_of};
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
    shard: usize,
    lane: u16,
    period: u32,
    /// Steps of the period; c: the next one may begin.
    n_steps: u8,
}

/// See the module. Flush it (or discard what it holds) before dropping it: frames that were not handed over are lost,
/// with a warning.
pub struct Writer {
    shape: Shape,
    runtime: Handle,
    feeds: Vec<Feed>,
    routes: HashMap<SessionId, Route>,
    waited: Duration,
}

impl Shards {
    /// Opens a writer. Sessions that a writer of this number has in progress are known to it.
    pub async fn writer(&self, settings: WriterSettings) -> Result<Writer, Error> {
        settings.validate()?;
        let open = v1::AppendOpen {
            run: Some(self.run()),
            shape: Some(wire::shape_message(&self.inner.shape)),
            n_items: self.inner.n_items as u32,
            writer: settings.writer,
            wait_ms: 0,
        };
        let open = |shard| Feed::open(self.client(shard), shard, open.clone(), &settings);
        let opened = try_join_all((0..self.n_shards()).map(open)).await?;
        let (mut feeds, mut routes) = (Vec::new(), HashMap::new());
        for (shard, (feed, sessions)) in opened.into_iter().enumerate() {
            feeds.push(feed);
            for v1::OpenSession { lane, session, period, n_steps } in sessions {
                let route = Route { shard, lane: lane as u16, period, n_steps: n_steps as u8 };
                routes.insert(session, route);
            }
        }
        let runtime = self.inner.runtime.clone();
        Ok(Writer { shape: self.inner.shape, runtime, feeds, routes, waited: Duration::ZERO })
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

    /// [`TransitionSink::submit`] for async code.
    pub async fn submit_async(&mut self) -> Result<(), Error> {
        try_join_all(self.feeds.iter_mut().map(Feed::submit)).await.map(drop)
    }

    /// [`TransitionSink::flush`] for async code.
    pub async fn flush_async(&mut self) -> Result<(), Error> {
        self.submit_async().await?;
        try_join_all(self.feeds.iter_mut().map(Feed::settle)).await.map(drop)
    }

    /// Makes room in a full frame. After an error nothing was taken.
    fn make_room(&mut self, shard: usize) -> Result<(), Error> {
        let feed = &mut self.feeds[shard];
        if feed.is_full() && !feed.try_submit()? {
            let (_guard, begun) = (self.runtime.enter(), Instant::now());
            let submitted = futures::executor::block_on(feed.submit());
            self.waited += begun.elapsed();
            submitted?;
        }
        Ok(())
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
        let shard = known.map_or_else(|| shard_of(start.session, self.feeds.len()), |route| route.shard);
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
        self.make_room(shard)?;
        let feed = &mut self.feeds[shard];
        let lane = known.map_or_else(|| feed.take_lane(), |route| Ok(route.lane))?;
        put_period(&mut feed.frame, lane, start);
        self.routes.insert(start.session, Route { shard, lane, period: start.period, n_steps: 0 });
        Ok(())
    }

    fn step(&mut self, session: SessionId, step: Step) -> Result<(), Error> {
        let open = self.routes.get(&session).copied().filter(|r| usize::from(r.n_steps) < self.shape.n_steps);
        let Some(Route { shard, lane, n_steps, .. }) = open else {
            return Err(Error::invalid("session", format!("session {session} has no open period")));
        };
        self.make_room(shard)?;
        let feed = &mut self.feeds[shard];
        put_step(&mut feed.frame, StepRecord { lane, position: n_steps, step });
        feed.steps += 1;
        if let Entry::Occupied(mut route) = self.routes.entry(session) {
            if step.ending == Ending::None {
                route.get_mut().n_steps += 1;
            } else {
                route.remove();
                feed.give_lane(lane);
            }
        }
        if feed.is_full() {
            // Without waiting: if there is no room, the next record of this shard waits.
            feed.try_submit()?;
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
        for feed in &mut self.feeds {
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
        let steps: usize = self.feeds.iter().map(|feed| feed.steps).sum();
        if steps > 0 {
            tracing::warn!(steps, "a writer was dropped before it was flushed");
        }
    }
}
