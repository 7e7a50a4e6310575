//! The limiter with those who wait for it. One gate for all shards of a process, or one for a shard whose writers are
//! paced: then inserts wait until the learner allows them, samples for nothing.
//!
//! In: requests to insert or sample; out: granted and counted, or after the caller's deadline the bound that stood
//! against it. Everybody who waits looks again whenever a count changes. Dropping a wait takes it out of the books.
//! Invariant: on each side who came first goes first, so that under a tight limit small requests starve no large one.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    Error,
    settings::Settings,
    table::limiter::{Level, Limiter, Totals},
};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// Insert low-level rows.
    Insert { rows: u64 },
    /// Sample rows; 0: only be allowed to.
    Sample { level: Level, rows: u64 },
}

/// Who waits on one side.
#[derive(Debug, Default)]
struct Side {
    /// By ticket, so oldest first: since when, on which bound, and how many rows.
    waiting: BTreeMap<u64, (Instant, String, u64)>,
    waits: u64,
    total: Duration,
}

/// [`Side`] for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideInfo {
    pub(crate) waiting: usize,
    pub(crate) longest: Duration,
    pub(crate) waits: u64,
    pub(crate) total: Duration,
    pub(crate) bound: String,
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    /// `None`: the limiter holds.
    pace: Option<Pace>,
    /// Inserting; sampling low; sampling high.
    sides: [Side; 3],
    tickets: u64,
}

/// How far the writers of a shard may go.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Low-level rows, counted as inserted.
    until: u64,
    /// Fence and order of the request that said so.
    said_by: (u64, u64),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Notify,
    closed: watch::Sender<bool>,
}

impl Ask {
    fn side(self) -> usize {
        match self {
            Self::Insert { .. } => 0,
            Self::Sample { level: Level::Low, .. } => 1,
            Self::Sample { level: Level::High, .. } => 2,
        }
    }

    fn rows(self) -> u64 {
        match self {
            Self::Insert { rows } | Self::Sample { rows, .. } => rows,
        }
    }

    /// The bound of whoever waits before it, by ticket; `None`: it is its turn. Who takes nothing stands in nobody's way.
    fn against_turn(self, sides: &[Side; 3], ticket: Option<u64>) -> Option<String> {
        let (first, (_, bound, _)) = sides[self.side()].waiting.first_key_value()?;
        (self.rows() > 0 && ticket.is_none_or(|ticket| *first < ticket)).then(|| bound.clone())
    }

    /// Counts the request if nothing stands against it; else what does.
    fn grant(self, limiter: &mut Limiter, pace: Option<Pace>) -> Option<String> {
        match self {
            Self::Insert { rows } => {
                let against = match pace {
                    None => limiter.against_insert(rows),
                    Some(pace) => pace.against_insert(rows, limiter),
                };
                if against.is_none() {
                    limiter.insert(Level::Low, rows);
                }
                against
            }
            Self::Sample { level, rows } => {
                // In a paced shard only who asks for readiness waits, for the first row.
                let against = match pace {
                    None => limiter.against_sample(level, rows),
                    Some(_) => (rows == 0).then(|| limiter.against_empty(level)).flatten(),
                };
                if against.is_none() {
                    limiter.sample(level, rows);
                }
                against
            }
        }
    }
}

impl Pace {
    fn against_insert(&self, rows: u64, limiter: &Limiter) -> Option<String> {
        let inserted = limiter.totals(Level::Low).inserted;
        (inserted + rows > self.until).then(|| {
            format!(
                "inserting {rows} low-level steps waits for the learner to allow more than {} ({inserted} inserted)",
                self.until
            )
        })
    }
}

impl Gate {
    /// A gate whose limiter couples inserts and samples.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self::with(settings, None)
    }

    /// A gate of one shard, whose inserts wait for [`Self::pace`].
    pub(crate) fn paced(settings: &Settings) -> Self {
        // The ratio is the learner's to keep.
        Self::with(&Settings { ratio: None, ..settings.clone() }, Some(Pace::default()))
    }

    fn with(settings: &Settings, pace: Option<Pace>) -> Self {
        let state = State { limiter: Limiter::new(settings), pace, sides: Default::default(), tickets: 0 };
        Self { state: Mutex::new(state), changed: Notify::new(), closed: watch::Sender::new(false) }
    }

    /// From now on inserts may go on up to `until`, or what is granted already if that is more; nothing changes where
    /// the request was overtaken (see `PaceRequest.order`). Yields what holds; `None`: this gate is not paced.
    pub(crate) fn pace(&self, until: u64, fence: u64, order: u64) -> Option<u64> {
        let until = {
            let State { limiter, pace, .. } = &mut *self.lock();
            let (pace, granted) = (pace.as_mut()?, limiter.totals(Level::Low).inserted);
            let overtaken =
                fence < pace.said_by.0 || fence == pace.said_by.0 && order != 0 && order <= pace.said_by.1;
            if !overtaken {
                // Not below the highest order of its fence, which an unchecked request leaves alone.
                let highest = if fence == pace.said_by.0 { pace.said_by.1 } else { 0 };
                *pace = Pace { until, said_by: (fence, order.max(highest)) };
            }
            pace.until.max(granted)
        };
        self.changed.notify_waiters();
        Some(until)
    }

    /// Up to where inserts may go on, and the rows of those who wait to insert.
    pub(crate) fn paced_to(&self) -> (u64, u64) {
        let state = self.lock();
        let granted = state.limiter.totals(Level::Low).inserted;
        let until = state.pace.map_or(u64::MAX, |pace| pace.until.max(granted));
        (until, state.sides[0].waiting.values().map(|(.., rows)| rows).sum())
    }

    /// Resolves at the next change of any count. Enable it before looking.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a few additions: it is whole after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most `wait` until the request is granted, and counts it.
    pub(crate) async fn admit(&self, ask: Ask, wait: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let mut ticket: Option<Ticket<'_>> = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let reason = {
                let mut state = self.lock();
                self.check_open()?;
                let State { limiter, pace, sides, .. } = &mut *state;
                let turn = ask.against_turn(sides, ticket.as_ref().map(|ticket| ticket.number));
                match turn.or_else(|| ask.grant(limiter, *pace)) {
                    None => break,
                    Some(reason) => reason,
                }
            };
            let ticket = ticket.get_or_insert_with(|| Ticket::new(self, ask, begun));
            if ticket.waits_on(&reason) {
                // Whoever paces the writers hears of those who wait; this one looks again, too.
                self.changed.notify_waiters();
                continue;
            }
            if tokio::time::timeout_at(begun + wait, changed).await.is_err() {
                return Err(Error::Deadline { waited: begun.elapsed(), reason });
            }
        }
        // Out of the books before the next in line looks.
        drop(ticket);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Counts the request if it can be granted at once; else the bound that stands against it.
    pub(crate) fn try_admit(&self, ask: Ask) -> Result<(), Error> {
        {
            let State { limiter, pace, sides, .. } = &mut *self.lock();
            self.check_open()?;
            let turn = ask.against_turn(sides, None);
            if let Some(reason) = turn.or_else(|| ask.grant(limiter, *pace)) {
                return Err(Error::Deadline { waited: Duration::ZERO, reason });
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Takes back what [`Self::admit`] or [`Self::try_admit`] granted.
    pub(crate) fn undo(&self, ask: Ask) {
        match ask {
            Ask::Insert { rows } => self.lock().limiter.undo_insert(rows),
            Ask::Sample { level, rows } => self.lock().limiter.undo_sample(level, rows),
        }
        self.changed.notify_waiters();
    }

    /// A granted batch was stored: sizes, and the inserts of the high-level table, have changed.
    pub(crate) fn stored(&self, before: [Totals; 2], after: [Totals; 2]) {
        {
            let limiter = &mut self.lock().limiter;
            limiter.resize(Level::Low, before[0].size, after[0].size);
            limiter.insert(Level::High, after[1].inserted - before[1].inserted);
            limiter.resize(Level::High, before[1].size, after[1].size);
        }
        self.changed.notify_waiters();
    }

    /// A shard's contents were replaced by others.
    pub(crate) fn replaced(&self, before: [Totals; 2], after: [Totals; 2]) {
        self.lock().limiter.replace(before, after);
        self.changed.notify_waiters();
    }

    /// Ends all waits; nothing is granted from now on.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.changed.notify_waiters();
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(Error::Closed("the replay service".into())) } else { Ok(()) }
    }

    /// Waits until [`Self::close`].
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // An error would mean that this gate is gone.
        let _closed = closed.wait_for(|closed| *closed).await;
    }

    /// The limiter as it stands, and who waits to insert, to sample low, to sample high.
    pub(crate) fn info(&self) -> (Limiter, [SideInfo; 3]) {
        let state = self.lock();
        let sides = state.sides.each_ref().map(|side| {
            let oldest = side.waiting.values().next();
            SideInfo {
                waiting: side.waiting.len(),
                longest: oldest.map_or(Duration::ZERO, |(since, ..)| since.elapsed()),
                waits: side.waits,
                total: side.total,
                bound: oldest.map_or_else(String::new, |(_, bound, _)| bound.clone()),
            }
        });
        (state.limiter.clone(), sides)
    }
}

/// A place in the books while somebody waits.
struct Ticket<'a> {
    gate: &'a Gate,
    side: usize,
    rows: u64,
    number: u64,
    begun: Instant,
}

impl<'a> Ticket<'a> {
    fn new(gate: &'a Gate, ask: Ask, begun: Instant) -> Self {
        let mut state = gate.lock();
        state.tickets += 1;
        Self { gate, side: ask.side(), rows: ask.rows(), number: state.tickets, begun }
    }

    /// Notes the bound; says whether it is the first of a paced insert.
    fn waits_on(&self, bound: &str) -> bool {
        let mut state = self.gate.lock();
        let place = (self.begun, bound.to_owned(), self.rows);
        let first = state.sides[self.side].waiting.insert(self.number, place).is_none();
        first && self.side == 0 && state.pace.is_some()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.gate.lock();
            let side = &mut state.sides[self.side];
            side.waiting.remove(&self.number);
            side.waits += 1;
            side.total += self.begun.elapsed();
        }
        // Whoever stood behind it may be next.
        self.gate.changed.notify_waiters();
    }
}
