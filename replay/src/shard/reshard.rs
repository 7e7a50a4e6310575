//! The contents of some shards, dealt out to another number of them.
//!
//! In: snapshots of all shards of a service; out: snapshots for as many shards as asked for, with the same rows, each
//! session on the shard its hash names, the oldest rows still the first to give way (shards interleaved by the ages of
//! their rows). Writers and their open periods stay behind: whoever writes next begins with sessions of its own. Rows do
//! not count as inserted again: whoever adds up what all shards of the run have stored counted them where they were.

use std::collections::BTreeMap;

use super::{Shard, insert};
use crate::{
    Error,
    client::shard_at,
    settings::Settings,
    storage::Slot,
    table::{Dealt, Row, limiter::Level},
};

/// See the module. `settings` are those of the service that was saved, its number of shards apart.
///
/// # Errors
/// [`Error::Snapshot`] if the snapshots are damaged or another service's.
pub fn reshard(settings: &Settings, snapshots: &[Vec<u8>], n_shards: usize) -> Result<Vec<Vec<u8>>, Error> {
    settings.validate(n_shards)?;
    let restore = |(k, bytes): (usize, &Vec<u8>)| {
        let mut shard = Shard::new(settings, k, snapshots.len());
        shard.restore(bytes).map(|()| shard)
    };
    let old = snapshots.iter().enumerate().map(restore).collect::<Result<Vec<_>, _>>()?;
    deal_out(settings, &old, n_shards).iter().map(Shard::save).collect()
}

/// See the module.
pub(crate) fn deal_out(settings: &Settings, old: &[Shard], n_shards: usize) -> Vec<Shard> {
    // A service that does not know its catalogue has learnt of it from writers.
    let n_items = old.iter().map(Shard::n_items).max().unwrap_or(0);
    let known = Settings { n_items, ..settings.clone() };
    let mut new: Vec<Shard> = (0..n_shards).map(|k| Shard::new(&known, k, n_shards)).collect();
    // Where each period that a row refers to has gone, held once more until all rows are there.
    let mut places: BTreeMap<(usize, Slot), (usize, Slot)> = BTreeMap::new();
    for level in [Level::Low, Level::High] {
        for (k, Dealt { row, priorities }) in by_age(old, level) {
            let (to, slot) = *places.entry((k, row.slot)).or_insert_with(|| {
                let to = shard_at(old[k].periods.session(row.slot), n_shards);
                (to, new[to].periods.copy(&old[k].periods, row.slot))
            });
            let Shard { periods, low, high, .. } = &mut new[to];
            let table = if level == Level::Low { low } else { high };
            insert(periods, table, Row { slot, ..row });
            if let Some(priorities) = priorities {
                table.prioritise_newest(priorities);
            }
        }
    }
    for (to, slot) in places.into_values() {
        new[to].periods.release(slot);
    }
    // Whoever was refused before is refused after.
    let fence = old.iter().map(Shard::fence).max().unwrap_or(0);
    for shard in &mut new {
        shard.raise_fence(fence);
        shard.low.count_from_here();
        shard.high.count_from_here();
    }
    new
}

/// The rows of one level with the numbers of their shards, oldest first; those of different shards by their rank in
/// the shard.
fn by_age(shards: &[Shard], level: Level) -> Vec<(usize, Dealt)> {
    let mut rows = Vec::new();
    for (k, shard) in shards.iter().enumerate() {
        let table = shard.table(level);
        let n = table.len().max(1) as f64;
        rows.extend(table.to_deal().enumerate().map(|(rank, row)| (rank as f64 / n, k, row)));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    rows.into_iter().map(|(_, k, row)| (k, row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Sampling,
        shard::Opened,
        testing::{SHAPE, nth_step, period_start, settings},
        wire::{Batch, StepRecord, put_period, put_step},
    };

    /// Shards with 30 sessions of 8 steps each (5 and 3 a period), by hash; the last session of each is in progress.
    fn saved(settings: &Settings, n_shards: usize) -> Vec<Vec<u8>> {
        let mut shards: Vec<_> = (0..n_shards).map(|k| Shard::new(settings, k, n_shards)).collect();
        for (k, shard) in shards.iter_mut().enumerate() {
            let Opened { generation, .. } = shard.open(1).unwrap();
            let mine: Vec<u64> = (0..30).filter(|session| shard_at(*session, n_shards) == k).collect();
            for (i, session) in mine.iter().enumerate() {
                let n_steps = if i + 1 == mine.len() { 7 } else { 8 };
                let mut bytes = Vec::new();
                for t in 0..n_steps {
                    if t % 5 == 0 {
                        put_period(&mut bytes, 0, &period_start(*session, t / 5));
                    }
                    let step = nth_step(*session, t.into(), 8);
                    put_step(&mut bytes, StepRecord { lane: 0, position: (t % 5) as u8, step });
                }
                let batch = Batch::check(bytes.into(), &SHAPE, 100, 1_000).unwrap();
                assert!(shard.store(1, generation, i as u64 + 1, &batch));
            }
        }
        shards.iter().map(|shard| shard.save().unwrap()).collect()
    }

    fn restored(settings: &Settings, snapshots: &[Vec<u8>]) -> Vec<Shard> {
        let restore = |(k, bytes): (usize, &Vec<u8>)| {
            let mut shard = Shard::new(settings, k, snapshots.len());
            shard.restore(bytes).unwrap();
            shard
        };
        snapshots.iter().enumerate().map(restore).collect()
    }

    /// (session, period, position, item) of all rows, sorted.
    fn rows(shards: &[Shard], level: Level) -> Vec<(u64, u32, u8, u32)> {
        let of = |shard: &Shard, row: Row| {
            let periods = &shard.periods;
            let item = periods.step(row.slot, row.position.into()).item.0;
            (periods.session(row.slot), periods.period(row.slot), row.position, item)
        };
        let mut rows: Vec<_> =
            shards.iter().flat_map(|s| s.table(level).held().map(move |row| of(s, row))).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn the_same_rows_are_on_the_shards_that_the_hash_names() {
        let settings = settings();
        for (before, after) in [(1, 3), (3, 2), (2, 2)] {
            let old = saved(&settings, before);
            let new = restored(&settings, &reshard(&settings, &old, after).unwrap());
            let old = restored(&settings, &old);
            for level in [Level::Low, Level::High] {
                assert_eq!(rows(&new, level), rows(&old, level), "{before} to {after}");
                assert!(!rows(&new, level).is_empty());
            }
            for (k, shard) in new.iter().enumerate() {
                assert!(
                    rows(std::slice::from_ref(shard), Level::Low)
                        .iter()
                        .all(|row| shard_at(row.0, after) == k)
                );
                assert_eq!(shard.n_writers(), 0);
            }
        }
    }

    #[test]
    fn the_newest_rows_stay_where_a_shard_is_too_small() {
        // Few enough rows a shard that the hash overfills one of them.
        let mut settings = settings();
        settings.low.capacity = 236;
        let old = saved(&settings, 1);
        let new = restored(&settings, &reshard(&settings, &old, 2).unwrap());
        assert!(new.iter().all(|shard| shard.table(Level::Low).len() <= 118));
        let newest = rows(&restored(&settings, &old), Level::Low).into_iter().filter(|row| row.0 >= 28);
        let kept = rows(&new, Level::Low);
        assert!(newest.into_iter().all(|row| kept.contains(&row)));
    }

    #[test]
    fn a_row_counts_as_inserted_once_however_often_it_is_dealt_out() {
        let settings = settings();
        let mut shards = saved(&settings, 1);
        let [low, high] = restored(&settings, &shards)[0].totals().map(|totals| totals.inserted);
        for n_shards in [4, 2] {
            shards = reshard(&settings, &shards, n_shards).unwrap();
            let mut new = restored(&settings, &shards);
            for shard in &new {
                assert!(shard.totals().iter().all(|totals| totals.inserted == 0 && totals.sampled == 0));
            }
            let dealt = |level| new.iter().map(|shard| shard.table(level).dealt()).sum::<u64>();
            assert_eq!((dealt(Level::Low), dealt(Level::High)), (low, high));
            // What comes from now on counts.
            let mut bytes = Vec::new();
            put_period(&mut bytes, 0, &period_start(99, 0));
            put_step(&mut bytes, StepRecord { lane: 0, position: 0, step: nth_step(99, 0, 1) });
            let Opened { generation, .. } = new[0].open(9).unwrap();
            let batch = Batch::check(bytes.into(), &SHAPE, 100, 1_000).unwrap();
            assert!(new[0].store(9, generation, 1, &batch));
            assert_eq!(new[0].totals().map(|totals| totals.inserted), [1, 1]);
        }
    }

    #[test]
    fn rows_keep_their_priorities() {
        let mut settings = settings();
        settings.sampling = Sampling::Prioritised { exponent: 1.0 };
        let mut old = restored(&settings, &saved(&settings, 2));
        let mut rng = common::seed::Streams::new(3, "test").sequential();
        for (k, shard) in old.iter_mut().enumerate() {
            // Rows drawn early had a larger one, then lost it: 9 is what a new row gets.
            for priority in [9.0, 2.0] {
                for drawn in shard.low.sample(40, &mut rng).unwrap() {
                    shard.low.set_priority(drawn.name, priority + k as f64);
                }
            }
        }
        let priorities = |shards: &[Shard]| {
            let of = |shard: &Shard, dealt: Dealt| {
                let item = shard.periods.step(dealt.row.slot, dealt.row.position.into()).item.0;
                (shard.periods.session(dealt.row.slot), item, format!("{}", dealt.priorities.unwrap().0))
            };
            let mut all: Vec<_> =
                shards.iter().flat_map(|s| s.low.to_deal().map(move |dealt| of(s, dealt))).collect();
            all.sort_unstable();
            all
        };
        let snapshots: Vec<Vec<u8>> = old.iter().map(|shard| shard.save().unwrap()).collect();
        for n_shards in [1, 2, 3] {
            let new = restored(&settings, &reshard(&settings, &snapshots, n_shards).unwrap());
            assert_eq!(priorities(&new), priorities(&old));
            let mass = |shards: &[Shard]| shards.iter().map(|shard| shard.low.mass()).sum::<f64>();
            assert!((mass(&new) - mass(&old)).abs() < 1e-9 && mass(&old) != old[0].low.len() as f64);
            for dealt in new.iter().filter_map(|shard| shard.low.to_deal().last()) {
                assert!(dealt.priorities.unwrap().1 >= 9.0);
            }
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let mut old = saved(&settings(), 2);
        old[1][40] ^= 1;
        assert!(matches!(reshard(&settings(), &old, 1), Err(Error::Snapshot(_))));
    }
}
