//! The learner's hand on writers and samplers: one samples-per-insert balance over shards that are processes of their
//! own.
//!
//! In: the shards, the limits, the run's budget of steps, the learner's fence; out: every shard's `insert_until`, moved
//! as the [`Picture`] says; samples granted or held back; [`Totals`]. A task a shard asks it again and again (`Pace`);
//! one more follows the membership. They end with the last handle. Invariants: one request a shard that counts; its
//! number (`order`) ascends, so that one that was overtaken on the way changes nothing.

mod poll;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use common::{PolicyVersion, codec};
use proto::v1;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    Sampler, Shards, Sizes,
    draw::Source,
    members::{AbortOnDrop, Member},
    millis,
    picture::{Picture, Standing},
};
use crate::{
    Error, Settings,
    table::{Level, limiter::Limiter},
};

/// Between two lines of the log about shards that are waited for.
const REPORT: Duration = Duration::from_secs(5);

/// What a pacer is set to, beside the limits of [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Low-level steps of the whole run.
    pub budget: u64,
    /// The learner's fencing token, at least 1.
    pub fence: u64,
    /// Shards that must have answered before anything is granted.
    pub expected_shards: usize,
}

/// One shard, as the learner knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardState {
    /// Name of its contents.
    pub uid: u64,
    /// Where it is, or was when it was a member last; empty: known from a checkpoint only.
    pub address: String,
    /// Whether its last request was answered.
    pub up: bool,
    /// Whether it is no member any more: what it was granted counts as stored.
    pub gone: bool,
    /// Low-level steps stored.
    pub inserted: u64,
    /// Low-level steps that it may store.
    pub insert_until: u64,
    /// Rows held.
    pub sizes: Sizes,
    /// Steps that wait for a higher `insert_until`.
    pub waiting_steps: u64,
}

/// The run's replay as the learner knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Low-level steps stored, over all shards, those that are gone included.
    pub env_steps: u64,
    /// What was stored, by feedback and ending; of shards that are gone as they last said.
    pub feedback: v1::FeedbackCounts,
    /// Rows held.
    pub sizes: Sizes,
    /// Rows sampled: low, high.
    pub sampled: [u64; 2],
    /// samples_per_insert x inserted - sampled, since the tables have their least sizes.
    pub balance: f64,
    /// By uid.
    pub shards: Vec<ShardState>,
    /// How long the learner has waited for samples to be granted, of waits that have ended.
    pub sampling_waited: Duration,
    /// The bound that the learner waits on now.
    pub sampling_bound: Option<String>,
    /// The bound that writers wait on now.
    pub inserting_bound: Option<String>,
    /// The run's budget is used up: no batch that waits fits into what is left of it.
    pub is_spent: bool,
}

struct State {
    picture: Picture,
    /// Where each shard is, or was.
    addresses: BTreeMap<u64, String>,
    sampling_waited: Duration,
    sampling_bound: Option<String>,
    failed: Option<Error>,
}

struct Inner {
    shards: Shards,
    fence: u64,
    expected_shards: usize,
    policy_version: AtomicU64,
    orders: AtomicU64,
    state: Mutex<State>,
    /// Something has changed: waiters look again.
    changed: Notify,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Pacer {
    inner: Arc<Inner>,
    _task: Arc<AbortOnDrop>,
}

impl Pacer {
    /// Begins to ask the shards, on their runtime. Nothing is granted before [`Self::contact`]. `saved` is what
    /// [`Self::save`] gave the run's learner before.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that cannot work; [`Error::Snapshot`] if `saved` is damaged.
    pub fn start(
        shards: &Shards,
        settings: &Settings,
        pace: Pace,
        saved: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let Pace { budget, fence, expected_shards } = pace;
        settings.validate(expected_shards)?;
        if fence == 0 {
            return Err(Error::invalid("fence", "0 is no learner's"));
        }
        let mut picture = Picture::new(Limiter::new(settings), budget, settings.largest_batch_steps() as u64);
        if let Some(saved) = saved {
            let saved = codec::decode(saved).map_err(|error| Error::Snapshot(error.to_string()))?;
            picture.restore(saved);
        }
        let inner = Arc::new(Inner {
            shards: shards.clone(),
            fence,
            expected_shards,
            policy_version: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            state: Mutex::new(State {
                picture,
                addresses: BTreeMap::new(),
                sampling_waited: Duration::ZERO,
                sampling_bound: None,
                failed: None,
            }),
            changed: Notify::new(),
        });
        let task = shards.inner.runtime.spawn(poll::follow(Arc::clone(&inner)));
        Ok(Self { inner, _task: Arc::new(AbortOnDrop(task)) })
    }

    /// [`Self::meet`], then [`Self::begin`].
    pub async fn contact(&self) -> Result<(), Error> {
        self.meet().await.map(|()| self.begin())
    }

    /// Begins to grant.
    pub fn begin(&self) {
        self.inner.state().picture.begin();
        self.inner.changed.notify_waiters();
    }

    /// Waits until the expected number of shards has answered; names those it waits for every few seconds.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub async fn meet(&self) -> Result<(), Error> {
        let expected = self.inner.expected_shards;
        loop {
            let enough = async {
                loop {
                    let changed = self.inner.changed.notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    if let Some(answered) = self.inner.answered(expected) {
                        return answered;
                    }
                    changed.await;
                }
            };
            if let Ok(answered) = timeout(REPORT, enough).await {
                return answered;
            }
            let answered = self.inner.state().picture.n_up();
            let missing = self.inner.shards.missing().join(", ");
            tracing::warn!(answered, expected, missing, "waiting for replay shards");
        }
    }

    /// A sampler whose draws this pacer grants. Calls wait at most `wait`; `importance_exponent` is the power of the
    /// importance weights where rows are drawn by priority.
    pub fn sampler(&self, wait: Duration, importance_exponent: f64) -> Sampler {
        Sampler::paced(self.inner.shards.clone(), wait, importance_exponent, self.clone())
    }

    /// The newest version of the weights, which shards measure the age of rows by.
    pub fn set_policy_version(&self, version: PolicyVersion) {
        self.inner.policy_version.fetch_max(version, Relaxed);
    }

    /// The run's replay, now.
    pub fn totals(&self) -> Totals {
        let state = self.inner.state();
        let State { picture, addresses, .. } = &*state;
        let mut totals = Totals {
            env_steps: picture.inserted(),
            sampled: [Level::Low, Level::High].map(|level| picture.limiter.totals(level).sampled),
            balance: picture.limiter.balance(),
            sampling_waited: state.sampling_waited,
            sampling_bound: state.sampling_bound.clone(),
            inserting_bound: picture.against_insert(),
            is_spent: picture.is_spent(),
            ..Totals::default()
        };
        for (uid, shard) in &picture.shards {
            let sizes = Sizes { low: shard.sizes[0], high: shard.sizes[1] };
            totals.sizes.low += sizes.low;
            totals.sizes.high += sizes.high;
            totals.feedback.clicks += shard.feedback.clicks;
            totals.feedback.orders += shard.feedback.orders;
            totals.feedback.sessions += shard.feedback.sessions;
            totals.feedback.left += shard.feedback.left;
            totals.shards.push(ShardState {
                uid: *uid,
                address: addresses.get(uid).cloned().unwrap_or_default(),
                up: shard.standing == Standing::Up,
                gone: shard.standing == Standing::Gone,
                inserted: shard.inserted,
                insert_until: shard.granted,
                sizes,
                waiting_steps: shard.waiting_steps,
            });
        }
        totals
    }

    /// What a later learner needs to go on in balance, as bytes for its checkpoint.
    pub fn save(&self) -> Vec<u8> {
        codec::encode(&self.inner.state().picture.save()).expect("plain values encode")
    }

    /// Why nothing is granted any more: a newer learner leads.
    pub fn failure(&self) -> Option<Error> {
        self.inner.state().failed.clone()
    }

    pub(super) fn fence(&self) -> u64 {
        self.inner.fence
    }

    /// Ends all waits with an error that ends this learner.
    pub(super) fn fail(&self, error: Error) {
        self.inner.fail(error);
    }

    /// Waits at most `wait` until `rows` may be sampled, and counts them; the shards to draw from.
    pub(super) async fn admit_sample(
        &self,
        level: Level,
        rows: u64,
        wait: Duration,
    ) -> Result<Vec<Source>, Error> {
        let begun = Instant::now();
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let reason = {
                let mut state = self.inner.state();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                let against = state.picture.against_sample(level, rows);
                if against.is_none() {
                    state.picture.sample(level, rows);
                    state.sampling_waited += begun.elapsed();
                }
                let is_new = state.sampling_bound.is_none();
                state.sampling_bound = against.clone();
                match against {
                    None => break,
                    Some(_) if is_new => {
                        // Newer counts of the shards are wanted; this one looks again, too.
                        self.inner.changed.notify_waiters();
                        continue;
                    }
                    Some(reason) => reason,
                }
            };
            if tokio::time::timeout_at(begun + wait, changed).await.is_err() {
                let mut state = self.inner.state();
                state.sampling_waited += begun.elapsed();
                state.sampling_bound = None;
                return Err(Error::Deadline { waited: begun.elapsed(), reason });
            }
        }
        self.inner.changed.notify_waiters();
        Ok(self.sources(level))
    }

    /// Rows that were admitted could not be drawn: the next samples take them.
    pub(super) fn undo_sample(&self, level: Level, rows: u64) {
        self.inner.state().picture.undo_sample(level, rows);
        self.inner.changed.notify_waiters();
    }

    /// The shards that can be drawn from now, ascending by uid.
    pub(super) fn sources(&self, level: Level) -> Vec<Source> {
        let members = self.inner.shards.members();
        let state = self.inner.state();
        let source = |member: &Member| {
            let shard = state.picture.shards.get(&member.uid)?;
            let (mass, size) = (shard.masses[level as usize], shard.sizes[level as usize]);
            (shard.standing == Standing::Up && mass > 0.0).then(|| Source {
                member: member.clone(),
                mass,
                size,
            })
        };
        members.iter().filter_map(source).collect()
    }

    /// A request to a shard failed: it is left out until it answers again.
    pub(super) fn suspect(&self, uid: u64) {
        self.inner.state().picture.silent(uid);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Changed by whole steps of plain values.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many shards have answered, if it is not to be waited for.
    fn answered(&self, expected: usize) -> Option<Result<(), Error>> {
        let state = self.state();
        match &state.failed {
            Some(error) => Some(Err(error.clone())),
            None => (state.picture.n_up() >= expected).then_some(Ok(())),
        }
    }

    fn fail(&self, error: Error) {
        self.state().failed.get_or_insert(error);
        self.changed.notify_waiters();
    }

    fn request(&self, uid: u64, wait: Duration) -> v1::PaceRequest {
        let mut state = self.state();
        let insert_until = state.picture.next(uid);
        let known_inserted = state.picture.shards.get(&uid).map_or(0, |shard| shard.inserted);
        v1::PaceRequest {
            run: Some(self.shards.run()),
            fence: self.fence,
            policy_version: self.policy_version.load(Relaxed),
            insert_until,
            known_inserted,
            wait_ms: millis(wait),
            order: self.orders.fetch_add(1, Relaxed) + 1,
        }
    }

    /// Waits until a shard could go on by much more than it may.
    async fn urgent(&self, uid: u64) {
        self.until(|state| state.picture.is_urgent(uid)).await;
    }

    /// ... or a sample waits for rows.
    async fn wanted(&self, uid: u64) {
        self.until(|state| state.sampling_bound.is_some() || state.picture.is_urgent(uid)).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(&self.state()) {
                return;
            }
            changed.await;
        }
    }
}
