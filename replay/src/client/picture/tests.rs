//! The picture against true shards: random schedules of writes, samples, requests that come late or whose answers are
//! lost, crashes, departures, returns.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    settings::{Ratio, Settings, TableSettings},
    testing::settings,
};

/// Most steps of a batch.
const BATCH: u64 = 16;
/// Most rows of a sample.
const ROWS: u64 = 24;
const BUDGET: u64 = 2_000;
/// What rounding may add to a balance, in samples.
const ROUNDING: f64 = 1e-2;

/// A shard as it really is.
#[derive(Clone, Debug, Default)]
struct Real {
    stored: u64,
    until: u64,
    order: u64,
    alive: bool,
    member: bool,
    /// Steps of the batch that waits.
    waiting: u64,
}

impl Real {
    fn pace(&mut self, order: u64, until: u64) {
        if order > self.order {
            (self.order, self.until) = (order, until.max(self.stored));
        }
    }

    fn write(&mut self, steps: u64) {
        if self.alive && self.stored + steps <= self.until {
            (self.stored, self.waiting) = (self.stored + steps, 0);
        } else if self.alive {
            self.waiting = steps;
        }
    }

    fn answer(&self) -> v1::PaceResponse {
        let table = |size: u64, inserted| v1::TableInfo {
            size,
            inserted,
            mass: size as f64,
            ..v1::TableInfo::default()
        };
        v1::PaceResponse {
            insert_until: self.until,
            low: Some(table(self.stored.min(500), self.stored)),
            high: Some(table((self.stored / 5).min(100), self.stored / 5)),
            waiting_steps: self.waiting,
            ..v1::PaceResponse::default()
        }
    }
}

/// A run: what the learner believes beside what is.
#[derive(Debug)]
struct Run {
    picture: Picture,
    ratio: Ratio,
    real: BTreeMap<u64, Real>,
    order: u64,
    /// Requests on their way.
    late: Vec<(u64, u64, u64)>,
}

impl Run {
    fn new(n_shards: u64, samples_per_insert: f64, slack: f64) -> Self {
        let ratio = Ratio {
            samples_per_insert,
            error_window: (samples_per_insert * BATCH as f64).max(ROWS as f64) + slack,
            largest_insert: BATCH as usize,
            largest_sample: ROWS as usize,
        };
        let low = TableSettings { capacity: 1_000, min_size: 60 };
        let high = TableSettings { capacity: 100, min_size: 9 };
        let settings = Settings { ratio: Some(ratio), low, high, ..settings() };
        settings.validate(1).unwrap();
        let picture = Picture::new(Limiter::new(&settings), BUDGET, BATCH);
        let mut run = Self { picture, ratio, real: BTreeMap::new(), order: 0, late: Vec::new() };
        for uid in 1..=n_shards {
            run.join(uid);
            run.exchange(uid);
        }
        run.picture.begin();
        run
    }

    fn join(&mut self, uid: u64) {
        let real = self.real.entry(uid).or_insert_with(|| Real { alive: true, ..Real::default() });
        real.member = true;
        self.picture.joined(uid);
    }

    fn request(&mut self, uid: u64) -> (u64, u64, u64) {
        self.order += 1;
        (uid, self.order, self.picture.next(uid))
    }

    fn deliver(&mut self, (uid, order, until): (u64, u64, u64)) {
        self.real
            .get_mut(&uid)
            .filter(|real| real.alive)
            .into_iter()
            .for_each(|real| real.pace(order, until));
    }

    /// A request and its answer.
    fn exchange(&mut self, uid: u64) {
        let request = self.request(uid);
        self.deliver(request);
        match &self.real[&uid] {
            real if real.alive => self.picture.answered(uid, &real.answer()),
            _ => self.picture.silent(uid),
        }
    }

    fn act(&mut self, action: u8, shard: u64, amount: u64) {
        let members: Vec<u64> =
            self.real.iter().filter(|(_, real)| real.member).map(|(uid, _)| *uid).collect();
        let Some(&uid) = members.get(shard as usize % members.len().max(1)) else {
            return self.join(shard % 6 + 1);
        };
        match action {
            0..=7 => self.write(uid, amount % BATCH + 1),
            8..=13 => {
                let rows = amount % ROWS + 1;
                if self.picture.against_sample(Level::Low, rows).is_none() {
                    self.picture.sample(Level::Low, rows);
                    if amount.is_multiple_of(11) {
                        self.picture.undo_sample(Level::Low, rows);
                    }
                }
            }
            14..=20 => self.exchange(uid),
            // The answer is lost.
            21 => {
                let request = self.request(uid);
                self.deliver(request);
                self.picture.silent(uid);
            }
            // The request is late.
            22 => {
                let request = self.request(uid);
                self.late.push(request);
                self.picture.silent(uid);
            }
            // A request overtakes another one.
            23 => {
                let request = self.request(uid);
                self.exchange(uid);
                self.late.push(request);
            }
            24 if !self.late.is_empty() => {
                let request = self.late.swap_remove(amount as usize % self.late.len());
                self.deliver(request);
            }
            25 => {
                let real = self.real.get_mut(&uid).unwrap();
                // An instance that starts knows no request, and gets none that was on its way to the one before: those
                // end with its connections. What waited comes again.
                (real.alive, real.until, real.order) = (!real.alive, real.stored, 0);
                self.late.retain(|request| request.0 != uid);
            }
            26 => {
                self.real.get_mut(&uid).unwrap().member = false;
                self.picture.gone(uid);
            }
            27 => self.join(shard % 6 + 1),
            _ => {}
        }
    }

    fn write(&mut self, uid: u64, steps: u64) {
        self.real.get_mut(&uid).unwrap().write(steps);
    }

    /// Low-level rows there really are; those of shards that are gone as they were granted.
    fn stored(&self) -> u64 {
        let known = |(uid, real): (&u64, &Real)| match self.picture.shards.get(uid) {
            Some(shard) if shard.standing == Standing::Gone => shard.inserted,
            _ => real.stored,
        };
        self.real.iter().map(known).sum()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (uid, real) in &self.real {
            let granted = self.picture.shards.get(uid).map_or(0, |shard| shard.granted);
            prop_assert!(real.stored <= granted, "shard {} stores {} of {}", uid, real.stored, granted);
        }
        prop_assert!(self.stored() <= BUDGET, "{} stored", self.stored());
        let base = self.picture.limiter.base();
        let sampled = self.picture.limiter.totals(Level::Low).sampled as i64;
        let balance = self.ratio.samples_per_insert * (self.stored() as i64 - base.0) as f64
            - (sampled - base.1) as f64;
        prop_assert!(
            balance.abs() <= self.ratio.error_window + ROUNDING,
            "balance {} outside {}",
            balance,
            self.ratio.error_window
        );
        Ok(())
    }

    /// With every shard there and a learner that samples, the run comes to its end.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        self.late.clear();
        for uid in self.real.keys().copied().collect::<Vec<_>>() {
            self.join(uid);
            self.real.get_mut(&uid).unwrap().alive = true;
        }
        for round in 0..20_000_u64 {
            for uid in self.real.keys().copied().collect::<Vec<_>>() {
                let real = &self.real[&uid];
                let steps = if real.waiting > 0 { real.waiting } else { (round * 7 + uid * 5) % BATCH + 1 };
                self.write(uid, steps);
                self.exchange(uid);
            }
            if self.picture.against_sample(Level::Low, ROWS).is_none() {
                self.picture.sample(Level::Low, ROWS);
            }
            self.check()?;
            if self.picture.is_spent() {
                prop_assert!(self.stored() + BATCH > BUDGET, "spent at {}", self.stored());
                return Ok(());
            }
        }
        Err(TestCaseError::fail(format!("stuck at {}: {self:?}", self.stored())))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn the_balance_and_the_budget_hold_under_every_fault_and_nobody_waits_for_ever(
        n_shards in 1_u64..=5,
        ratio in prop::sample::select(vec![0.05, 0.7, 1.0, 7.3, 60.0]),
        slack in prop::sample::select(vec![0.0, 40.0, 2_000.0]),
        schedule in prop::collection::vec((0_u8..28, 0_u64..60, 0_u64..10_000), 1..120),
    ) {
        let mut run = Run::new(n_shards, ratio, slack);
        for (action, shard, amount) in schedule {
            run.act(action, shard, amount);
            run.check()?;
        }
        run.finish()?;
    }
}

/// Exchanges and writes until the tables are open, then some samples.
fn under_way() -> Run {
    let mut run = Run::new(3, 1.0, 100.0);
    for round in 0..60 {
        for uid in 1..=3 {
            run.exchange(uid);
            run.write(uid, 4 + uid);
        }
        if round > 30 && run.picture.against_sample(Level::Low, 8).is_none() {
            run.picture.sample(Level::Low, 8);
        }
    }
    (1..=3).for_each(|uid| run.exchange(uid));
    run
}

#[test]
fn a_later_learner_goes_on_in_the_same_balance() {
    let mut run = under_way();
    run.picture.gone(3);
    run.real.get_mut(&3).unwrap().member = false;
    let before = run.picture.clone();
    assert!(before.limiter.balance() != 0.0);
    let saved = common::codec::encode(&before.save()).unwrap();
    let mut later = Run::new(0, 1.0, 100.0);
    later.picture = Picture { ready: false, ..later.picture };
    later.picture.restore(common::codec::decode(&saved).unwrap());
    later.real = run.real;
    later.order = 1_000;
    for uid in 1..=2 {
        later.picture.joined(uid);
        later.exchange(uid);
    }
    later.picture.begin();
    assert_eq!(later.picture.inserted(), before.inserted());
    assert_eq!(later.picture.limiter.balance(), before.limiter.balance());
    assert_eq!(later.picture.limiter.insert_limit(), before.limiter.insert_limit());
}

#[test]
fn a_shard_that_leaves_counts_as_it_was_granted_and_one_that_comes_back_as_it_is() {
    let mut run = under_way();
    let (granted, stored) = (run.picture.shards[&2].granted, run.real[&2].stored);
    assert!(granted > stored);
    let (inserted, balance) = (run.picture.inserted(), run.picture.limiter.balance());
    run.picture.gone(2);
    assert_eq!(run.picture.inserted(), inserted + granted - stored);
    run.picture.joined(2);
    run.exchange(2);
    assert_eq!(run.picture.inserted(), inserted);
    // The rows that turned out to be missing are asked of nobody.
    assert!((run.picture.limiter.balance() - balance).abs() <= (granted - stored) as f64);
}

#[test]
fn who_waits_is_told_with_the_bound() {
    let mut run = Run::new(2, 1.0, 0.0);
    for _ in 0..200 {
        for uid in 1..=2 {
            run.write(uid, 5);
            run.exchange(uid);
        }
    }
    let bound = run.picture.against_insert().unwrap();
    assert!(bound.contains("10 steps wait") && bound.contains("waits for samples"), "{bound}");
    assert!(!run.picture.is_spent());
}
