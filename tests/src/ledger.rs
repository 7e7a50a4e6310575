//! What synthetic writers tried to store, and what was acknowledged, in files that outlive a kill -9 of the writer.
//!
//! In: lines of a [`Log`], written before the steps are handed over and after they are acknowledged; out: [`Ledger`], by
//! session. Invariant: what a line `ok` follows was acknowledged; what no line names was never tried.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

/// A writer's file.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// A file of its own for a writer.
    pub fn create(folder: &Path, writer: u64) -> Self {
        let path = folder.join(format!("{writer}.ledger"));
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        Self(file.expect("every writer has its own number, and the folder is writable"))
    }

    fn line(&mut self, text: &str) {
        // One write a line: a kill leaves a whole line or a torn last one, which does not count.
        self.0.write_all(format!("{text}\n").as_bytes()).expect("the ledger is writable");
    }

    /// The steps that are handed over next, in order: session and step.
    pub fn tried(&mut self, steps: &[(u64, u64)]) {
        let words: Vec<String> = steps.iter().map(|(session, t)| format!("{session}:{t}")).collect();
        self.line(&format!("try {}", words.join(" ")));
    }

    /// Everything tried so far was acknowledged.
    pub fn acknowledged(&mut self) {
        self.line("ok");
    }

    /// A session was lost with its shard: what was not acknowledged of it never will be.
    pub fn lost(&mut self, session: u64) {
        self.line(&format!("lost {session}"));
    }
}

/// What became of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Who wrote it.
    pub writer: u64,
    /// For each step that was tried, its place among the steps of the writer.
    pub places: Vec<u64>,
    /// Steps that were acknowledged.
    pub acknowledged: u64,
    /// Its writer was told that it is lost.
    pub lost: bool,
}

impl Session {
    /// Steps that were tried.
    pub fn tried(&self) -> u64 {
        self.places.len() as u64
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By number.
    pub sessions: BTreeMap<u64, Session>,
}

impl Ledger {
    /// Reads the files of all writers.
    pub fn read(folder: &Path) -> Self {
        let mut ledger = Self::default();
        for entry in fs::read_dir(folder).expect("the folder of the ledgers is readable").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "ledger") {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let writer = stem.parse().expect("a ledger is named after its writer");
                ledger.take(writer, &fs::read_to_string(&path).expect("a ledger is readable"));
            }
        }
        ledger
    }

    fn take(&mut self, writer: u64, text: &str) {
        let (mut place, mut ours) = (0, Vec::new());
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split_once(' ') {
                Some(("try", steps)) => {
                    for word in steps.split(' ') {
                        let (session, t) = word.split_once(':').expect("session:step");
                        let number = session.parse().expect("a session is a number");
                        let session = self.sessions.entry(number).or_default();
                        session.writer = writer;
                        assert_eq!(t, session.tried().to_string(), "steps are tried in order");
                        session.places.push(place);
                        place += 1;
                        ours.push(number);
                    }
                }
                Some(("lost", session)) => {
                    let number: u64 = session.parse().expect("a session is a number");
                    self.sessions.entry(number).or_default().lost = true;
                }
                _ if line == "ok" => {
                    for number in ours.drain(..) {
                        let session = self.sessions.entry(number).or_default();
                        if !session.lost && session.acknowledged < session.tried() {
                            session.acknowledged = session.tried();
                        }
                    }
                }
                _ => panic!("a ledger has no line `{line}`"),
            }
        }
    }

    /// Steps: acknowledged, tried.
    pub fn steps(&self) -> (u64, u64) {
        self.sessions.values().fold((0, 0), |(acknowledged, tried), session| {
            (acknowledged + session.acknowledged, tried + session.tried())
        })
    }

    /// Sessions whose writers were told that they are lost.
    pub fn lost(&self) -> Vec<u64> {
        self.sessions.iter().filter(|(_, session)| session.lost).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_whole_ok_follows_is_acknowledged() {
        let mut ledger = Ledger::default();
        ledger.take(7, "try 1:0 2:0 1:1\nok\ntry 2:1\nlost 1\ntry 3:0\nok");
        assert_eq!(ledger.steps(), (3, 5));
        assert_eq!(ledger.lost(), [1]);
        assert_eq!(ledger.sessions[&2].places, [1, 3]);
        ledger.take(8, "try 4:0\nok\n");
        assert_eq!(ledger.steps(), (4, 6));
    }
}
