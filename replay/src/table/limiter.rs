//! When a table may be inserted into and sampled from.
//!
//! In: [`Settings`] and counts over all shards of the process; out: granted, or the bound that stands against it with
//! its numbers. Pure: who waits for it, and how long, is in `service::gate`.
//!
//! - Sampling a table waits for its least size.
//! - With a [`Ratio`], the low-level table has a balance = samples_per_insert x inserted - sampled, counted from when
//!   both tables had their least sizes ("open"). An insert of k steps is granted while balance + k x ratio <= window, a
//!   sample of b rows while balance - b >= -window. Before, inserts are free, and nobody samples the low-level table:
//!   if its window could close before the high-level table has its least size, a learner that draws from both would
//!   wait for ever.
//! - Never both are refused once open: an insert is refused when balance > window - k x ratio >= 0, as the window is
//!   at least k x ratio; then balance - b > -b >= -window, as the window is at least b.
//!
//! The counts are over all shards and not a shard's own: minibatches are split by sizes, inserts by hashes, so a
//! shard's own balance is a random walk without bound and would end up blocking one shard's writers and another's
//! samplers at once.

use crate::settings::{Ratio, Settings};

/// Part of a sample that rounding may add to a balance: without it, two bounds that meet exactly could both refuse.
const ROUNDING: f64 = 1e-3;

/// Counts of one table over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Rows that can be drawn.
    pub(crate) size: u64,
    /// Rows granted.
    pub(crate) inserted: u64,
    /// Rows granted.
    pub(crate) sampled: u64,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One transition a step.
    Low,
    /// One transition a period.
    High,
}

/// The limits of both tables and where they stand.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    min_sizes: [u64; 2],
    ratio: Option<Ratio>,
    totals: [Totals; 2],
    /// Low-level (inserted, sampled) from which the balance counts. May lie ahead of the counts: a grant from before it
    /// may be taken back after it.
    base: (i64, i64),
}

impl Limiter {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            min_sizes: [settings.low.min_size as u64, settings.high.min_size as u64],
            ratio: settings.ratio,
            totals: [Totals::default(); 2],
            base: (0, 0),
        }
    }

    /// Both tables have their least sizes.
    fn is_open(&self) -> bool {
        (0..2).all(|table| self.totals[table].size >= self.min_sizes[table])
    }

    /// samples_per_insert x inserted - sampled, since the tables are open; 0 without a ratio.
    pub(crate) fn balance(&self) -> f64 {
        let low = &self.totals[0];
        let (inserted, sampled) = (low.inserted as i64 - self.base.0, low.sampled as i64 - self.base.1);
        self.ratio.map_or(0.0, |ratio| ratio.samples_per_insert * inserted as f64 - sampled as f64)
    }

    /// The bound against inserting `rows` low-level transitions now.
    pub(crate) fn against_insert(&self, rows: u64) -> Option<String> {
        let ratio = self.ratio.filter(|_| self.is_open())?;
        let (balance, step) = (self.balance(), ratio.samples_per_insert * rows as f64);
        (balance + step > ratio.error_window + ROUNDING).then(|| {
            format!(
                "inserting {rows} low-level steps waits for samples: balance {balance:.0} + {step:.0} is over the \
                 window of {:.0} samples (ratio {}, {} inserted, {} sampled)",
                ratio.error_window, ratio.samples_per_insert, self.totals[0].inserted, self.totals[0].sampled
            )
        })
    }

    /// The bound against sampling `rows` now.
    pub(crate) fn against_sample(&self, level: Level, rows: u64) -> Option<String> {
        let coupled = self.ratio.filter(|_| level == Level::Low);
        let tables: &[usize] = if coupled.is_some() { &[0, 1] } else { &[level as usize] };
        for &table in tables {
            let (size, name) = (self.totals[table].size, ["low", "high"][table]);
            // An empty table cannot be drawn from, whatever its least size is.
            let least = self.min_sizes[table].max(u64::from(table == level as usize));
            if size < least {
                return Some(format!(
                    "sampling waits for inserts: table {name} holds {size} of at least {least}"
                ));
            }
        }
        let (ratio, balance) = (coupled?, self.balance());
        (balance - (rows as f64) < -ratio.error_window - ROUNDING).then(|| {
            format!(
                "sampling {rows} low-level rows waits for inserts: balance {balance:.0} - {rows} is under the window \
                 of -{:.0} samples (ratio {}, {} inserted, {} sampled)",
                ratio.error_window, ratio.samples_per_insert, self.totals[0].inserted, self.totals[0].sampled
            )
        })
    }

    /// The bound against drawing from an empty table.
    pub(crate) fn against_empty(&self, level: Level) -> Option<String> {
        let name = ["low", "high"][level as usize];
        (self.totals(level).size == 0)
            .then(|| format!("sampling waits for inserts: table {name} holds 0 of at least 1"))
    }

    /// Counts an insert that was granted, before its rows can be drawn.
    pub(crate) fn insert(&mut self, level: Level, rows: u64) {
        self.totals[level as usize].inserted += rows;
        self.rebase();
    }

    /// Counts a sample that was granted.
    pub(crate) fn sample(&mut self, level: Level, rows: u64) {
        self.totals[level as usize].sampled += rows;
        self.rebase();
    }

    /// Takes back an insert that was granted and did not happen.
    pub(crate) fn undo_insert(&mut self, rows: u64) {
        self.totals[Level::Low as usize].inserted -= rows;
    }

    /// Takes back a sample that was granted and did not happen.
    pub(crate) fn undo_sample(&mut self, level: Level, rows: u64) {
        self.totals[level as usize].sampled -= rows;
    }

    /// The number of rows of a table that can be drawn has changed.
    pub(crate) fn resize(&mut self, level: Level, before: u64, after: u64) {
        let size = &mut self.totals[level as usize].size;
        *size = *size + after - before;
    }

    /// A shard's contents were replaced by others.
    pub(crate) fn replace(&mut self, before: [Totals; 2], after: [Totals; 2]) {
        for ((total, before), after) in self.totals.iter_mut().zip(before).zip(after) {
            total.size = total.size + after.size - before.size;
            total.inserted = total.inserted + after.inserted - before.inserted;
            total.sampled = total.sampled + after.sampled - before.sampled;
        }
        // What the balance was is not part of a snapshot: it counts from here.
        self.base = self.now();
    }

    fn now(&self) -> (i64, i64) {
        (self.totals[0].inserted as i64, self.totals[0].sampled as i64)
    }

    fn rebase(&mut self) {
        if !self.is_open() {
            self.base = self.now();
        }
    }

    /// The client's side, where shards store by themselves what they were allowed to: (size, inserted) of the low and
    /// the high level as far as is known, and how many low-level rows there may be by now.
    pub(crate) fn observe(&mut self, low: (u64, u64), high: (u64, u64), exposed: u64) {
        for (total, (size, inserted)) in self.totals.iter_mut().zip([low, high]) {
            (total.size, total.inserted) = (size, inserted);
        }
        if !self.is_open() {
            // What may be stored already is within the window of the base, however much of it is known.
            let ahead = self.ratio.map_or(0.0, |ratio| ratio.error_window / ratio.samples_per_insert) as i64;
            let (inserted, sampled) = self.now();
            self.base = (inserted.max(exposed as i64 - ahead), sampled);
        }
    }

    /// Most low-level rows there may be, so that the balance stays in its window.
    pub(crate) fn insert_limit(&self) -> u64 {
        self.ratio.map_or(u64::MAX, |ratio| {
            let samples = ratio.error_window + (self.totals[0].sampled as i64 - self.base.1) as f64;
            let rows = (samples / ratio.samples_per_insert).floor() as i64;
            self.base.0.saturating_add(rows).max(0) as u64
        })
    }

    /// Rows were found, or are missing, for which nobody is to be held back: the balance stays as it is.
    pub(crate) fn shift_base(&mut self, rows: i64) {
        self.base.0 += rows;
    }

    /// (inserted, sampled) from which the balance counts.
    pub(crate) fn base(&self) -> (i64, i64) {
        self.base
    }

    /// Goes on from a state that was kept: rows sampled by level, and the base.
    pub(crate) fn resume(&mut self, sampled: [u64; 2], base: (i64, i64)) {
        for (total, sampled) in self.totals.iter_mut().zip(sampled) {
            total.sampled = sampled;
        }
        self.base = base;
    }

    pub(crate) fn min_size(&self, level: Level) -> u64 {
        self.min_sizes[level as usize]
    }

    pub(crate) fn ratio(&self) -> Option<Ratio> {
        self.ratio
    }

    pub(crate) fn totals(&self, level: Level) -> Totals {
        self.totals[level as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{settings::TableSettings, testing::settings};

    /// A schedule: who tries next (writer or sampler, which of several), and how many rows.
    fn schedule() -> impl Strategy<Value = Vec<(bool, u64)>> {
        prop::collection::vec((prop::bool::ANY, 1_u64..=64), 1..400)
    }

    fn limiter(ratio: f64, slack: f64) -> (Limiter, Ratio) {
        let ratio = Ratio {
            samples_per_insert: ratio,
            error_window: (ratio * 64.0).max(64.0) + slack,
            largest_insert: 64,
            largest_sample: 64,
        };
        let low = TableSettings { capacity: 1_000, min_size: 100 };
        let high = TableSettings { capacity: 100, min_size: 15 };
        let settings = Settings { ratio: Some(ratio), low, high, ..settings() };
        settings.validate(1).unwrap();
        (Limiter::new(&settings), ratio)
    }

    /// Inserts k steps, a tenth as many periods.
    fn insert(limiter: &mut Limiter, k: u64) {
        limiter.insert(Level::Low, k);
        let low = limiter.totals(Level::Low);
        limiter.resize(Level::Low, low.size, (low.size + k).min(1_000));
        let high = limiter.totals(Level::High);
        let periods = low.inserted / 10 - high.inserted;
        limiter.insert(Level::High, periods);
        limiter.resize(Level::High, high.size, (high.size + periods).min(100));
    }

    proptest! {
        #[test]
        fn somebody_can_always_go_on_and_the_balance_stays_in_its_window(
            ratio in prop::sample::select(vec![0.001, 0.1, 1.0, 7.3, 512.0]),
            slack in 0.0..100.0,
            tries in schedule(),
        ) {
            let (mut limiter, ratio) = limiter(ratio, slack);
            for (inserts, rows) in tries {
                let blocked = (limiter.against_insert(64).is_some(), limiter.against_sample(Level::Low, 64).is_some());
                prop_assert_ne!(blocked, (true, true));
                if inserts && limiter.against_insert(rows).is_none() {
                    insert(&mut limiter, rows);
                } else if !inserts && limiter.against_sample(Level::Low, rows).is_none() {
                    limiter.sample(Level::Low, rows);
                }
                prop_assert!(limiter.balance().abs() <= ratio.error_window + 2.0 * ROUNDING);
            }
        }
    }

    #[test]
    fn nobody_samples_and_inserts_are_free_until_both_tables_have_their_least_sizes() {
        let (mut limiter, _) = limiter(512.0, 0.0);
        for _ in 0..14 {
            insert(&mut limiter, 10);
            assert!(limiter.against_insert(64).is_none());
            assert!(limiter.against_sample(Level::Low, 1).is_some());
        }
        assert!(
            limiter.against_sample(Level::Low, 1).unwrap().contains("table high holds 14 of at least 15")
        );
        insert(&mut limiter, 10);
        assert_eq!(limiter.against_sample(Level::Low, 64), None);
        assert_eq!(limiter.balance(), 0.0);
    }

    #[test]
    fn a_bound_says_its_numbers() {
        let (mut limiter, ratio) = limiter(1.0, 0.0);
        insert(&mut limiter, 150);
        insert(&mut limiter, 64);
        let reason = limiter.against_insert(1).unwrap();
        for part in ["waits for samples", "balance 64 + 1", "window of 64", "214 inserted", "0 sampled"] {
            assert!(reason.contains(part), "`{reason}` lacks `{part}`");
        }
        assert_eq!(ratio.error_window, 64.0);
    }
}
