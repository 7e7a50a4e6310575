//! A history of a shard, and a disk that fails when it is told to.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use common::{config::Sync, seed::Streams};
use rand::RngExt;

use crate::{
    Settings,
    journal::{
        Error,
        disk::{Append, Disk, Files},
        home::{Address, Home},
        operation::{Operation, TableName},
        recover::{self, Recovered},
    },
    settings::Sampling,
    shard::Shard,
    table::Level,
    testing::{SHAPE, nth_step, period_start, settings},
    wire::{StepRecord, put_period, put_step},
};

/// Small tables that are drawn from by priority, so that every operation means something.
pub(super) fn small() -> Settings {
    let mut settings = settings();
    settings.low.capacity = 60;
    settings.high.capacity = 12;
    settings.sampling = Sampling::Prioritised { exponent: 0.6 };
    Settings { n_items: 0, ..settings }
}

pub(super) fn empty(settings: &Settings) -> Shard {
    Shard::new(settings, 0, 1)
}

/// Opens the shard in `data_dir`.
pub(super) fn open(
    data_dir: &Path,
    disk: Arc<dyn Disk>,
    settings: &Settings,
) -> Result<(Home, Shard, Recovered), Error> {
    open_with(data_dir, disk, settings, Sync::Disk)
}

pub(super) fn open_with(
    data_dir: &Path,
    disk: Arc<dyn Disk>,
    settings: &Settings,
    sync: Sync,
) -> Result<(Home, Shard, Recovered), Error> {
    let address = Address { data_dir, shard: 0, n_shards: 1 };
    Home::open(address, disk, ("test", 77, sync), empty(settings))
}

pub(super) fn files() -> Arc<dyn Disk> {
    Arc::new(Files)
}

/// The only folder of `data_dir`.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("shard-0")
}

/// The state in a form that can be compared.
pub(super) fn state(shard: &Shard) -> Vec<u8> {
    shard.save().unwrap()
}

/// The shard of a state. It must know its catalogue.
pub(super) fn restored(settings: &Settings, state: &[u8]) -> Shard {
    let mut shard = empty(&Settings { n_items: 100, ..settings.clone() });
    shard.restore(state).unwrap();
    shard
}

/// What is on disk in a folder, read into a shard.
pub(super) fn read_back(folder: &Path, settings: &Settings) -> (Vec<u8>, Recovered) {
    let mut shard = empty(settings);
    let recovered = recover::recover(folder, "test", &mut shard).unwrap();
    (state(&shard), recovered)
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Files of a folder whose names begin so, ascending.
pub(super) fn named(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_meant = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    let mut found: Vec<_> = entries.filter(is_meant).collect();
    found.sort();
    found
}

/// A writer's sessions: one lane, sessions of 8 steps one after the other.
#[derive(Clone, Copy, Default)]
struct Script {
    sequence: u64,
    session: u64,
    t: u64,
}

/// Draws operations that can follow each other.
pub(super) struct History {
    rng: common::seed::Rng,
    writers: [Script; 3],
    fence: u64,
    begun: bool,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let rng = Streams::new(seed, "test/history").sequential();
        Self { rng, writers: Default::default(), fence: 0, begun: false }
    }

    /// The next operation for a shard that had all before.
    pub(super) fn next(&mut self, shard: &mut Shard) -> Operation {
        if !std::mem::replace(&mut self.begun, true) {
            return Operation::Catalogue { n_items: 100 };
        }
        match self.rng.random_range(0..10) {
            0 => {
                self.fence += self.rng.random_range(1..5);
                Operation::Fence { fence: self.fence }
            }
            1 => {
                let k = self.rng.random_range(0..3);
                let script = &mut self.writers[k];
                *script = Script { session: script.session + 1, ..Script::default() };
                Operation::Forget { writer: k as u64 }
            }
            2 if shard.table(Level::Low).len() > 0 => {
                // Sampling counts: not on the shard whose state is compared.
                let sampled = restored(&small(), &state(shard))
                    .sample(Level::Low, 3, self.rng.random(), false)
                    .unwrap();
                let keys =
                    sampled.keys.chunks_exact(8).map(|key| u64::from_le_bytes(key.try_into().unwrap()));
                let keys: Vec<u64> = keys.collect();
                let priorities = keys.iter().map(|_| self.rng.random_range(0.1..5.0)).collect();
                Operation::Priorities { table: TableName::Low, keys, priorities }
            }
            _ => self.batch(),
        }
    }

    pub(super) fn batch(&mut self) -> Operation {
        let k = self.rng.random_range(0..3);
        let steps = self.rng.random_range(1..9);
        let script = &mut self.writers[k];
        let mut records = Vec::new();
        for _ in 0..steps {
            let (session, t) = (1_000 * k as u64 + script.session, script.t);
            if t % SHAPE.n_steps as u64 == 0 {
                put_period(&mut records, 0, &period_start(session, t as u32 / SHAPE.n_steps as u32));
            }
            let (position, step) = ((t % SHAPE.n_steps as u64) as u8, nth_step(session, t, 8));
            put_step(&mut records, StepRecord { lane: 0, position, step });
            script.t += 1;
            if script.t == 8 {
                (script.session, script.t) = (script.session + 1, 0);
            }
        }
        script.sequence += 1;
        Operation::Batch { writer: k as u64, sequence: script.sequence, records: records.into() }
    }
}

/// Applies `n` operations of a history to the shard and its journal; the journal's position and the state after each.
pub(super) fn go_on(history: &mut History, home: &Home, shard: &mut Shard, n: usize) -> Vec<(u64, Vec<u8>)> {
    let one = |_| {
        let operation = history.next(shard);
        let position = home.append(&operation);
        shard.apply(operation).unwrap();
        (position, state(shard))
    };
    (0..n).map(one).collect()
}

/// What a [`FailingDisk`] does.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Bytes that there is still room for; `None`: no end of it.
    pub(crate) room: Option<usize>,
    /// Every write fails, with an error that is not about room.
    pub(crate) write_fails: bool,
    /// The next write panics.
    pub(crate) write_panics: bool,
    /// The file that cannot be removed.
    pub(crate) stays: Option<PathBuf>,
    /// Every fsync fails, for ever.
    pub(crate) sync_fails: bool,
    /// How long an fsync takes.
    pub(crate) sync_takes: Duration,
}

/// Real files on a disk that fails as its fate says.
#[derive(Default)]
pub(crate) struct FailingDisk {
    pub(crate) fate: Arc<Mutex<Fate>>,
    pub(crate) syncs: Arc<AtomicU64>,
}

struct FailingFile {
    file: fs::File,
    fate: Arc<Mutex<Fate>>,
    syncs: Arc<AtomicU64>,
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let file = OpenOptions::new().create(true).truncate(false).append(true).open(path)?;
        file.set_len(0)?;
        Ok(Box::new(FailingFile { file, fate: self.fate.clone(), syncs: self.syncs.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.fate.lock().unwrap().stays.as_deref() == Some(path) {
            return Err(io::Error::other("it stays"));
        }
        Files.remove(path)
    }
}

impl Append for FailingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut fate = self.fate.lock().unwrap();
        if fate.write_fails {
            return Err(io::Error::other("input/output error"));
        }
        if std::mem::take(&mut fate.write_panics) {
            drop(fate);
            panic!("the test's disk panics");
        }
        match &mut fate.room {
            Some(room) if *room < bytes.len() => {
                // A disk that fills up takes a part.
                self.file.write_all(&bytes[..*room])?;
                *room = 0;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Some(room) => {
                *room -= bytes.len();
                self.file.write_all(bytes)
            }
            None => self.file.write_all(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let (fails, takes) = {
            let fate = self.fate.lock().unwrap();
            (fate.sync_fails, fate.sync_takes)
        };
        std::thread::sleep(takes);
        self.syncs.fetch_add(1, Relaxed);
        if fails { Err(io::Error::other("input/output error")) } else { self.file.sync_data() }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}
