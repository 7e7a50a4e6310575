//! What must hold of the shards' contents, whatever happened on the way.
//!
//! In: what writers handed over, session by session, and what of it was acknowledged; the contents of all shards at the
//! end. A row's name says its session, period and step; its windows follow from all steps before it. So a row that is
//! equal to the one handed over is not torn, and holds no state of another session.

use std::collections::{BTreeMap, BTreeSet};

use super::Low;

/// A row's name: period's policy version and position.
pub type Name = (u64, u8);

/// What was handed over.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By session, in the order of the steps.
    sessions: BTreeMap<u64, Vec<Low>>,
    /// How many rows of each session were acknowledged.
    acknowledged: BTreeMap<u64, usize>,
    /// Sessions that the sink gave up.
    pub lost: BTreeSet<u64>,
}

impl Ledger {
    /// A session's rows so far.
    pub fn handed_over(&mut self, session: u64, rows: &[Low]) {
        self.sessions.insert(session, rows.to_vec());
    }

    /// All rows of these sessions that were handed over are acknowledged.
    pub fn acknowledge(&mut self, sessions: impl IntoIterator<Item = u64>) {
        for session in sessions {
            let n_rows = self.sessions.get(&session).map_or(0, Vec::len);
            self.acknowledged.insert(session, n_rows);
        }
    }

    /// Rows handed over, and those acknowledged.
    pub fn counts(&self) -> (usize, usize) {
        (self.sessions.values().map(Vec::len).sum(), self.acknowledged.values().sum())
    }

    /// What is wrong with the contents: all distinct rows that can be drawn, and the number of rows that the shards say
    /// they hold. With `may_lose` acknowledged rows may be missing: a shard is gone.
    pub fn check(&self, contents: &[Low], held: u64, may_lose: bool) -> Result<(), String> {
        let by_name: BTreeMap<Name, &Low> = contents.iter().map(|row| (row.name, row)).collect();
        if by_name.len() != contents.len() {
            return Err(format!("{} rows have {} names", contents.len(), by_name.len()));
        }
        if by_name.len() as u64 != held {
            return Err(format!("{held} rows are held, {} of them differ: some are doubled", by_name.len()));
        }
        let mut known = 0;
        for (session, rows) in &self.sessions {
            let stored = rows.iter().take_while(|row| by_name.contains_key(&row.name)).count();
            known += stored;
            if let Some(row) = rows[..stored].iter().find(|row| by_name[&row.name] != *row) {
                return Err(format!("session {session}: {row:?} is stored as {:?}", by_name[&row.name]));
            }
            if let Some(row) = rows[stored..].iter().find(|row| by_name.contains_key(&row.name)) {
                return Err(format!("session {session}: {:?} is stored without all before it", row.name));
            }
            let acknowledged = self.acknowledged.get(session).copied().unwrap_or(0);
            if stored < acknowledged && !may_lose {
                return Err(format!("session {session}: {acknowledged} rows acknowledged, {stored} stored"));
            }
        }
        match known == by_name.len() {
            true => Ok(()),
            false => Err(format!("{} rows were never handed over", by_name.len() - known)),
        }
    }
}
