//! The learner's lease: who leads.
//!
//! In: campaigns; out: at most one holder at a time, each with a fencing token above all before it. Owner of a lease: the
//! [`Leadership`], whose background task renews it three times a lease.
//!
//! What a holder may believe ([`Standing`]), measured on its own monotonic clock from the start of its last renewal that
//! succeeded, which is before the store began to count:
//! - `Held`: less than a lease ago. Nobody else holds it, not even where the store lost its contents since: a campaigner
//!   that knows of a higher token than the store does lets a whole lease pass first, in which the holder writes itself in
//!   again. (One that knows of none does not wait; its token is the higher.)
//! - `Unconfirmed`: the store has been away for longer. Nobody can have taken the lease through it meanwhile, so the holder
//!   goes on; but it may have come back for others only, or its own process may have been stopped. Its token decides:
//!   shards and actors refuse any that is lower than one they have seen. A new leader must therefore show its token to
//!   every shard before it writes anything else, and a learner must stop when a shard refuses its own.
//! - `Superseded`: a higher token was given. The holder must stop, and will never hold this lease again. `Released`: the
//!   same, by its own will.
//!
//! Tokens: above the store's counter, above the bidder's floor, and not below the store's clock in microseconds, so that a
//! token lies above those before it also where the counter was lost, or an old one restored, and nobody is left who knows.
//! Every renewal writes the counter again. A holder whose token is above the lease's takes it back: the higher token leads.
//!
//! Assumed: over a lease, the clocks of the holder and the store run at the same rate to one part in a thousand. What they
//! show does not matter to the holder. A store whose clock jumps ahead ends leases early, and two may hold for a moment, of
//! whom the fence stops one; one whose clock goes back *and* that loses its counter relies on the floors.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Control, Error, MAX_FENCE,
    records::{Bid, Claim, Renewal},
    unique,
};

/// What a holder may believe; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody else leads.
    Held,
    /// The store is away for longer than a lease: go on, the fence decides.
    Unconfirmed,
    /// Another leads: stop.
    Superseded {
        /// Its token.
        by: u64,
    },
    /// Given back: stop.
    Released,
}

impl Standing {
    /// Whether the holder must stop.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Superseded { .. } | Self::Released)
    }
}

/// A lease as seen by whoever works under it, on any thread.
#[derive(Clone, Debug)]
pub struct LeaseView(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fence: u64,
    lease: Duration,
    /// Start of the last renewal that succeeded.
    confirmed: Mutex<Instant>,
    missed: AtomicU64,
    standing: watch::Sender<Standing>,
}

/// The lease itself; dropped, it is given back.
#[derive(Debug)]
pub struct Leadership {
    view: LeaseView,
    control: Control,
    holder: String,
    heart: JoinHandle<()>,
}

impl LeaseView {
    /// The fencing token, at least 1: to be said with every write.
    pub fn fence(&self) -> u64 {
        self.0.fence
    }

    /// What the holder may believe now.
    pub fn standing(&self) -> Standing {
        match *self.0.standing.borrow() {
            over if over.is_over() => over,
            _ if Instant::now() < self.0.ends() => Standing::Held,
            _ => Standing::Unconfirmed,
        }
    }

    /// Whether nobody else can hold the lease now.
    pub fn is_held(&self) -> bool {
        self.standing() == Standing::Held
    }

    /// Whether the holder must stop.
    pub fn is_over(&self) -> bool {
        self.standing().is_over()
    }

    /// Changes of the standing. `Unconfirmed` arrives at the lease's end.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Waits until the holder must stop; why.
    pub async fn over(&self) -> Standing {
        let mut standing = self.watch();
        *standing.wait_for(|now| now.is_over()).await.expect("the view holds the sender")
    }

    /// Renewals that failed since the lease was won.
    pub fn missed(&self) -> u64 {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Marks the lease as lost to a token that a shard or an actor reported, ahead of the store.
    pub fn report(&self, by: u64) {
        if by > self.0.fence {
            self.0.stand(Standing::Superseded { by });
        }
    }
}

impl Leadership {
    /// For those who work under the lease.
    pub fn view(&self) -> LeaseView {
        self.view.clone()
    }

    /// The fencing token.
    pub fn fence(&self) -> u64 {
        self.view.fence()
    }

    /// What the holder may believe now.
    pub fn standing(&self) -> Standing {
        self.view.standing()
    }

    /// Whether nobody else can hold the lease now.
    pub fn is_held(&self) -> bool {
        self.view.is_held()
    }

    /// Nobody works under the lease any more, before the store hears of it.
    fn end(&self) {
        self.view.0.stand(Standing::Released);
        self.heart.abort();
    }

    /// Gives the lease back, so that a standby need not wait for its end; as far as the store answers.
    pub async fn release(self) {
        self.end();
        if let Err(error) = self.control.release(&self.holder).await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.end();
        let (control, holder) = (self.control.clone(), self.holder.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Repeated after `release`, which changes nothing.
            runtime.spawn(async move { control.release(&holder).await });
        }
    }
}

impl Control {
    /// Waits until the lease is free, also while the store is away, and takes it. In: where actors find this learner, a
    /// lease above 0, and the highest token known from elsewhere (checkpoint, shards), 0 if none.
    ///
    /// A store that knows of no token as high as the floor is given one lease for its leader to return, unless it is this process's own. Fails only
    /// where the store refuses this process, or the token is no token. Dropped while waiting, it may leave a lease behind that
    /// runs out.
    pub async fn campaign(&self, address: &str, lease: Duration, floor: u64) -> Result<Leadership, Error> {
        if floor >= MAX_FENCE {
            return Err(Error::Fence { fence: floor });
        }
        let holder = format!("{:016x}", unique());
        let (mut floor, mut blank_since, mut away) = (floor, None, false);
        loop {
            let start = Instant::now();
            let settled = self.is_alone() || blank_since.is_some_and(|since| start - since >= lease);
            let bid = Bid { holder: &holder, address, lease, floor, settled };
            match self.claim(bid).await {
                Ok(Claim::Won { fence }) => {
                    tracing::info!(fence, address, "this learner leads");
                    self.adopt().await;
                    return Ok(self.lead(holder, address.to_owned(), fence, lease, start));
                }
                Ok(Claim::Held { highest, free_in }) => {
                    (floor, blank_since, away) = (floor.max(highest), None, false);
                    sleep(free_in.min(lease / 4).max(Duration::from_millis(1))).await;
                }
                Ok(Claim::Blank) => {
                    let since = *blank_since.get_or_insert_with(Instant::now);
                    away = false;
                    sleep((since + lease - start).min(lease / 4)).await;
                }
                Err(error @ Error::Unreachable { .. }) => {
                    if !away {
                        tracing::warn!(%error, "cannot ask for the learner's lease, waiting");
                    }
                    (away, blank_since) = (true, None);
                    sleep(crate::pause(lease, false)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn lead(
        &self,
        holder: String,
        address: String,
        fence: u64,
        lease: Duration,
        start: Instant,
    ) -> Leadership {
        let (standing, _) = watch::channel(Standing::Held);
        let shared = Arc::new(Shared {
            fence,
            lease,
            confirmed: Mutex::new(start),
            missed: AtomicU64::new(0),
            standing,
        });
        let heart = tokio::spawn(renew(self.clone(), holder.clone(), address, shared.clone()));
        Leadership { view: LeaseView(shared), control: self.clone(), holder, heart }
    }
}

impl Shared {
    /// When somebody else may hold the lease. A thousandth early, for clocks of unequal rates.
    fn ends(&self) -> Instant {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) + self.lease.mul_f64(0.999)
    }

    /// Unless it is over, which is final.
    fn stand(&self, now: Standing) {
        self.standing.send_if_modified(|standing| {
            let changes = *standing != now && !standing.is_over();
            if changes {
                *standing = now;
            }
            changes
        });
    }
}

/// Renews until it is over, as the store or a [`LeaseView::report`] says.
async fn renew(control: Control, holder: String, address: String, shared: Arc<Shared>) {
    let mut renewed = true;
    loop {
        until_ended(&shared, sleep(crate::pause(shared.lease, renewed))).await;
        if shared.standing.borrow().is_over() {
            return;
        }
        let start = Instant::now();
        let bid = Bid {
            holder: &holder,
            address: &address,
            lease: shared.lease,
            floor: shared.fence,
            settled: true,
        };
        let answer = until_ended(&shared, control.renew(bid)).await;
        match answer {
            Ok(Renewal::Renewed) => {
                *shared.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = start;
                shared.stand(Standing::Held);
                if !renewed {
                    tracing::info!(
                        fence = shared.fence,
                        missed = shared.missed.load(Ordering::Relaxed),
                        "the learner's lease is renewed again"
                    );
                }
                renewed = true;
                if let Err(error) = control.publish_counters().await {
                    tracing::debug!(%error, "the counters are written with the next renewal");
                }
            }
            Ok(Renewal::Superseded { by }) => {
                tracing::error!(fence = shared.fence, by, "another learner leads, this one must stop");
                shared.stand(Standing::Superseded { by });
                return;
            }
            Err(error) => {
                shared.missed.fetch_add(1, Ordering::Relaxed);
                if renewed {
                    tracing::warn!(%error, fence = shared.fence, "the learner's lease is not renewed, training goes on");
                }
                renewed = false;
            }
        }
    }
}

/// The work's result; says `Unconfirmed` when the lease ends before.
async fn until_ended<T>(shared: &Shared, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = sleep_until(shared.ends()) => shared.stand(Standing::Unconfirmed),
    }
    work.await
}
