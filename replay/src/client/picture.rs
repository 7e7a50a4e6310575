//! What the learner knows of all shards, and how much each may store. Pure: the tasks around it are the [`Pacer`](super::Pacer)'s.
//!
//! In: what shards answer, who is silent, back or gone, what is sampled; out: the `insert_until` of the next request to
//! a shard, whether a sample may be drawn.
//!
//! - A shard has stored `inserted` when it last answered, and may have stored up to `granted` by now: the largest
//!   `insert_until` sent since its last answer, or that answer's. Only the answer to the newest request counts.
//! - Invariant: the sum of `granted` over all shards stays below the limiter's bound and the run's budget. So a grant is
//!   raised only by what that sum leaves free, and what is taken from one shard is free once it has agreed.
//! - A silent shard keeps what it was granted. A shard that is gone counts as if it had stored all of it.
//! - Samples wait by what is known to be stored, inserts by what may be: the true balance lies between the two.
//! - Never both wait when every shard answers: see [`Picture::target`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use proto::v1;
use serde::{Deserialize, Serialize};

use crate::table::{Level, limiter::Limiter};

/// How a shard is related to this learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It is a member and has never answered.
    New,
    /// Its last request was answered.
    Up,
    /// It was not; or it is known from a checkpoint and has not answered since.
    Silent,
    /// It is no member any more.
    Gone,
}

/// One shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) standing: Standing,
    /// Low-level rows stored when it last answered; when gone, all it was granted.
    pub(crate) inserted: u64,
    /// Most low-level rows it may have stored by now; at least `inserted`.
    pub(crate) granted: u64,
    /// High-level rows stored.
    pub(crate) periods: u64,
    /// Rows held: low, high.
    pub(crate) sizes: [u64; 2],
    /// What it is worth in the split of a minibatch: low, high.
    pub(crate) masses: [f64; 2],
    pub(crate) waiting_steps: u64,
    pub(crate) feedback: v1::FeedbackCounts,
    /// Room with which its writers were last seen waiting, since it last stored.
    tried: u64,
}

impl Shard {
    fn new() -> Self {
        Self {
            standing: Standing::New,
            inserted: 0,
            granted: 0,
            periods: 0,
            sizes: [0; 2],
            masses: [0.0; 2],
            waiting_steps: 0,
            feedback: v1::FeedbackCounts::default(),
            tried: 0,
        }
    }
}

/// What is kept of a shard in a checkpoint.
#[derive(Serialize, Deserialize)]
struct SavedShard {
    uid: u64,
    gone: bool,
    inserted: u64,
    granted: u64,
    periods: u64,
    /// Clicks, orders, sessions, left.
    feedback: [u64; 4],
}

/// What is kept in a checkpoint.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    sampled: [u64; 2],
    unused: [u64; 2],
    base: (i64, i64),
    shards: Vec<SavedShard>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) shards: BTreeMap<u64, Shard>,
    pub(crate) limiter: Limiter,
    /// Low-level rows of the whole run.
    pub(crate) budget: u64,
    largest_batch: u64,
    /// Rows that were granted and not drawn, by level: they are drawn before new ones are granted.
    unused: [u64; 2],
    /// Enough shards have answered: grants may begin.
    ready: bool,
}

impl Picture {
    pub(crate) fn new(limiter: Limiter, budget: u64, largest_batch: u64) -> Self {
        Self { shards: BTreeMap::new(), limiter, budget, largest_batch, unused: [0; 2], ready: false }
    }

    /// What a later learner needs to go on in balance.
    pub(crate) fn save(&self) -> Saved {
        let shard = |(uid, shard): (&u64, &Shard)| SavedShard {
            uid: *uid,
            gone: shard.standing == Standing::Gone,
            inserted: shard.inserted,
            granted: shard.granted,
            periods: shard.periods,
            feedback: [
                shard.feedback.clicks,
                shard.feedback.orders,
                shard.feedback.sessions,
                shard.feedback.left,
            ],
        };
        let known = self.shards.iter().filter(|(_, shard)| shard.standing != Standing::New);
        Saved {
            sampled: [Level::Low, Level::High].map(|level| self.limiter.totals(level).sampled),
            unused: self.unused,
            base: self.limiter.base(),
            shards: known.map(shard).collect(),
        }
    }

    /// Goes on from a checkpoint, before any shard has answered.
    pub(crate) fn restore(&mut self, saved: Saved) {
        self.limiter.resume(saved.sampled, saved.base);
        self.unused = saved.unused;
        for shard in saved.shards {
            let [clicks, orders, sessions, left] = shard.feedback;
            let restored = Shard {
                standing: if shard.gone { Standing::Gone } else { Standing::Silent },
                inserted: shard.inserted,
                granted: shard.granted.max(shard.inserted),
                periods: shard.periods,
                feedback: v1::FeedbackCounts { clicks, orders, sessions, left },
                ..Shard::new()
            };
            self.shards.insert(shard.uid, restored);
        }
    }

    /// Grants begin.
    pub(crate) fn begin(&mut self) {
        self.ready = true;
        self.recount();
    }

    /// Shards whose last request was answered.
    pub(crate) fn n_up(&self) -> usize {
        self.shards.values().filter(|shard| shard.standing == Standing::Up).count()
    }

    /// A shard is a member.
    pub(crate) fn joined(&mut self, uid: u64) {
        self.shards.entry(uid).or_insert_with(Shard::new);
    }

    /// A shard's request failed.
    pub(crate) fn silent(&mut self, uid: u64) {
        if let Some(shard) = self.shards.get_mut(&uid).filter(|shard| shard.standing == Standing::Up) {
            shard.standing = Standing::Silent;
        }
    }

    /// A shard is no member any more.
    pub(crate) fn gone(&mut self, uid: u64) {
        match self.shards.get_mut(&uid) {
            Some(shard) if shard.standing == Standing::New => {
                self.shards.remove(&uid);
            }
            Some(shard) => {
                shard.standing = Standing::Gone;
                shard.inserted = shard.granted;
                (shard.sizes, shard.masses, shard.waiting_steps) = ([0; 2], [0.0; 2], 0);
            }
            None => {}
        }
        self.recount();
    }

    /// A shard has answered the newest request to it.
    pub(crate) fn answered(&mut self, uid: u64, answer: &v1::PaceResponse) {
        let shard = self.shards.entry(uid).or_insert_with(Shard::new);
        let (low, high) = (answer.low.clone().unwrap_or_default(), answer.high.clone().unwrap_or_default());
        let is_news = matches!(shard.standing, Standing::New | Standing::Gone);
        if is_news || low.inserted < shard.inserted {
            // Rows that nobody was held back for: they count for the budget, not for the balance.
            self.limiter.shift_base(low.inserted as i64 - shard.inserted as i64);
        }
        shard.granted = answer.insert_until.max(low.inserted);
        shard.tried = match answer.waiting_steps {
            0 => 0,
            _ if low.inserted != shard.inserted => shard.granted - low.inserted,
            _ => shard.tried.max(shard.granted - low.inserted),
        };
        shard.standing = Standing::Up;
        shard.inserted = low.inserted;
        shard.periods = high.inserted;
        shard.sizes = [low.size, high.size];
        shard.masses = [low.mass, high.mass];
        shard.waiting_steps = answer.waiting_steps;
        shard.feedback = answer.feedback.unwrap_or_default();
        self.recount();
    }

    /// Low-level rows stored, as far as is known.
    pub(crate) fn inserted(&self) -> u64 {
        self.shards.values().map(|shard| shard.inserted).sum()
    }

    /// Low-level rows that may have been stored by now.
    fn exposed(&self) -> u64 {
        self.shards.values().map(|shard| shard.granted).sum()
    }

    /// Low-level rows that may be stored.
    fn limit(&self) -> u64 {
        self.limiter.insert_limit().min(self.budget)
    }

    /// Rows that all shards that answer may store together beyond what they have.
    fn room(&self) -> u64 {
        let bound = |shard: &Shard| match shard.standing {
            Standing::Up => shard.inserted,
            _ => shard.granted,
        };
        self.limit().saturating_sub(self.shards.values().map(bound).sum())
    }

    /// What a shard's `insert_until` should be: equal shares of the room. Where those are smaller than the largest
    /// batch, whole batches (or all there is) go to some shards and nothing to the others: those first whose writers
    /// wait, the one that has tried with the least room before.
    ///
    /// When samples are blocked the room is at least window / samples_per_insert rows, which is at least one batch: a
    /// writer that waits gets it, as soon as the other shards have agreed to less.
    fn target(&self, uid: u64) -> u64 {
        let shard = &self.shards[&uid];
        let up = || self.shards.iter().filter(|(_, shard)| shard.standing == Standing::Up);
        let (room, n_up) = (self.room(), up().count().max(1) as u64);
        if room / n_up >= self.largest_batch {
            return shard.inserted.saturating_add(room / n_up);
        }
        let part = self.largest_batch.min(room);
        let mut order: Vec<_> =
            up().map(|(uid, shard)| (shard.waiting_steps == 0, shard.tried, *uid)).collect();
        order.sort_unstable();
        let chosen = room.checked_div(part).unwrap_or(0) as usize;
        match order.iter().take(chosen).any(|place| place.2 == uid) {
            true => shard.inserted + part,
            false => shard.inserted,
        }
    }

    /// The `insert_until` of the next request to a shard, which counts as granted from now on.
    pub(crate) fn next(&mut self, uid: u64) -> u64 {
        let known = self.shards.get(&uid).filter(|shard| shard.standing == Standing::Up);
        let Some(Shard { granted, inserted, .. }) = known.filter(|_| self.ready).cloned() else {
            // What it has, it keeps: first it must say what that is.
            return 0;
        };
        let free = self.limit().saturating_sub(self.exposed());
        let next = self.target(uid).max(inserted).min(granted.saturating_add(free));
        if let Some(shard) = self.shards.get_mut(&uid) {
            shard.granted = granted.max(next);
        }
        next
    }

    /// Whether a request to a shard should not wait for the answer to the one before: it could go on by half of what it
    /// may store more.
    pub(crate) fn is_urgent(&self, uid: u64) -> bool {
        let Some(shard) = self.shards.get(&uid).filter(|shard| shard.standing == Standing::Up) else {
            return false;
        };
        let free = self.limit().saturating_sub(self.exposed());
        let target = self.target(uid);
        let more = target.min(shard.granted.saturating_add(free)).saturating_sub(shard.granted);
        self.ready && (more > (shard.granted - shard.inserted) / 2 || more > 0 && shard.waiting_steps > 0)
    }

    /// The bound against sampling `rows` now.
    pub(crate) fn against_sample(&self, level: Level, rows: u64) -> Option<String> {
        if !self.ready {
            return Some("sampling waits for the first answers of the replay shards".into());
        }
        let new = rows.saturating_sub(self.unused[level as usize]);
        self.limiter.against_sample(level, new).or_else(|| {
            let drawable =
                |shard: &Shard| shard.standing == Standing::Up && shard.masses[level as usize] > 0.0;
            let none = !self.shards.values().any(drawable);
            none.then(|| "sampling waits for a replay shard that answers and holds rows".into())
        })
    }

    /// Counts a sample that [`Self::against_sample`] found nothing against.
    pub(crate) fn sample(&mut self, level: Level, rows: u64) {
        let unused = &mut self.unused[level as usize];
        let new = rows.saturating_sub(*unused);
        *unused -= rows - new;
        self.limiter.sample(level, new);
        self.recount();
    }

    /// Rows that were counted could not be drawn. They stay counted, since inserts may have been granted for them, and
    /// the next samples take them first.
    pub(crate) fn undo_sample(&mut self, level: Level, rows: u64) {
        self.unused[level as usize] += rows;
    }

    /// The bound against inserting, while somebody waits for it.
    pub(crate) fn against_insert(&self) -> Option<String> {
        let waiting: u64 = self.shards.values().map(|shard| shard.waiting_steps).sum();
        let bound = || {
            let (inserted, budget) = (self.inserted(), self.budget);
            let left = budget.saturating_sub(inserted);
            if left < self.largest_batch {
                return format!("{left} of the run's {budget} steps are left");
            }
            let rows = self.largest_batch;
            self.limiter.against_insert(rows).unwrap_or_else(|| "the next grant is on its way".into())
        };
        (waiting > 0).then(|| format!("{waiting} steps wait: {}", bound()))
    }

    /// Whether the run's budget is used up: no batch that waits fits into what is left.
    pub(crate) fn is_spent(&self) -> bool {
        let left = self.budget.saturating_sub(self.inserted());
        let mut waiting = self.shards.values().filter(|shard| shard.waiting_steps > 0).peekable();
        let nothing_fits = left < self.largest_batch && waiting.peek().is_some();
        left == 0 || nothing_fits && waiting.all(|shard| shard.tried >= left)
    }

    fn recount(&mut self) {
        if !self.ready {
            return;
        }
        let mut sums = [(0, 0); 2];
        for shard in self.shards.values() {
            for (sum, (size, inserted)) in
                sums.iter_mut().zip(shard.sizes.into_iter().zip([shard.inserted, shard.periods]))
            {
                *sum = (sum.0 + size, sum.1 + inserted);
            }
        }
        self.limiter.observe(sums[0], sums[1], self.exposed());
    }
}
