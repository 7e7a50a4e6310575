//! Rows that a table was dealt, not inserted by a writer: they were counted where they were stored first.
//!
//! Not part of a snapshot, as it follows from one: every row that a table has had is held or evicted, and those that
//! were not inserted were dealt.

use super::{Counts, Row, Selector, Table};

/// A row to be dealt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dealt {
    pub(crate) row: Row,
    /// Its priority, and the one that a new row had beside it; `None` without priorities.
    pub(crate) priorities: Option<(f64, f64)>,
}

impl Table {
    /// The rows that are held, in the order in which they give way.
    pub(crate) fn to_deal(&self) -> impl Iterator<Item = Dealt> {
        let dealt = |key| Dealt { row: self.rows[key as usize], priorities: self.sampler.priorities(key) };
        self.remover.keys().into_iter().map(dealt)
    }

    /// Gives the newest row the priority that it had where it came from. A new row will have the highest that any had there.
    pub(crate) fn prioritise_newest(&mut self, (own, highest): (f64, f64)) {
        if let Some(key) = self.remover.newest() {
            self.sampler.set_priority(key, highest);
            self.sampler.set_priority(key, own);
        }
    }

    /// What was inserted so far was dealt: rows count as inserted from now on.
    pub(crate) fn count_from_here(&mut self) {
        self.dealt += std::mem::take(&mut self.counts.inserted);
    }

    /// Rows that the table was dealt.
    pub(crate) fn dealt(&self) -> u64 {
        self.dealt
    }
}

/// Rows that a table with so many was dealt; says what is wrong with counts that cannot be.
pub(super) fn dealt(held: usize, counts: &Counts) -> Result<u64, String> {
    let had = counts.evicted.checked_add(held as u64);
    let dealt = had.and_then(|had| had.checked_sub(counts.inserted));
    dealt.ok_or_else(|| format!("it holds {held} rows after {counts:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sampling;

    #[test]
    fn what_was_dealt_is_not_inserted_also_not_after_a_restart() {
        let mut table = Table::new(5, Sampling::Uniform);
        let insert = |table: &mut Table, n| {
            for slot in 0..n {
                let _evicted = table.insert(Row { slot, position: 0 });
            }
        };
        insert(&mut table, 7);
        table.count_from_here();
        insert(&mut table, 4);
        let restored = Table::restore(table.save(), 5).unwrap();
        for table in [table, restored] {
            assert_eq!((table.dealt(), table.len()), (7, 5));
            assert_eq!(table.counts(), Counts { inserted: 4, sampled: 0, evicted: 6 });
        }
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        let counts = |inserted, evicted| Counts { inserted, sampled: 0, evicted };
        assert_eq!(dealt(5, &counts(7, 2)), Ok(0));
        assert!(dealt(5, &counts(8, 2)).is_err() && dealt(5, &counts(0, u64::MAX)).is_err());
    }
}
