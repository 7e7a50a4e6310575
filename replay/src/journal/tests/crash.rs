//! Killed between any two operations on the disk, those that rotate, rename and remove among them: what was acknowledged is
//! read back, once.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::support::*;
use crate::journal::{
    disk::{Append, Disk, Files},
    operation::Operation,
};

/// What is left of a process that is killed.
#[derive(Default)]
struct Life {
    /// Operations on the disk that it still has; nothing changes any more after them.
    left: usize,
    /// The power goes with it: what was not synced is gone, too.
    loses_power: bool,
    /// Files that were made, and how much of them is synced.
    synced: Vec<(PathBuf, u64)>,
}

/// Real files of a process that is killed at one of its operations on them.
#[derive(Clone)]
struct MortalDisk(Arc<Mutex<Life>>);

struct MortalFile {
    disk: MortalDisk,
    path: PathBuf,
    file: Box<dyn Append>,
}

impl MortalDisk {
    fn new(left: usize, loses_power: bool) -> Self {
        Self(Arc::new(Mutex::new(Life { left, loses_power, ..Life::default() })))
    }

    fn is_dead(&self) -> bool {
        self.0.lock().unwrap().left == 0
    }

    /// Takes one of the operations that are left.
    fn live(&self) -> io::Result<MutexGuard<'_, Life>> {
        let mut life = self.0.lock().unwrap();
        if life.left == 0 {
            return Err(io::Error::other("the process was killed"));
        }
        life.left -= 1;
        if life.left == 0 {
            if life.loses_power {
                life.synced.iter().for_each(|(path, length)| lose_behind(path, *length));
            }
            return Err(io::Error::other("the process is killed"));
        }
        Ok(life)
    }
}

fn lose_behind(path: &Path, length: u64) {
    // Renamed or removed in the meantime: it was synced before.
    if let Ok(file) = fs::OpenOptions::new().write(true).open(path) {
        file.set_len(length).unwrap();
    }
}

impl Disk for MortalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let mut life = self.live()?;
        life.synced.retain(|(known, _)| known != path);
        life.synced.push((path.to_owned(), 0));
        let file = Files.create(path)?;
        Ok(Box::new(MortalFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _life = self.live()?;
        Files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let _life = self.live()?;
        Files.remove(path)
    }
}

impl Append for MortalFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let was_dead = self.disk.is_dead();
        let loses_power = match self.disk.live() {
            Ok(_) => return self.file.append(bytes),
            Err(error) if was_dead => return Err(error),
            Err(_) => self.disk.0.lock().unwrap().loses_power,
        };
        // Killed in the middle of it.
        if !loses_power {
            self.file.append(&bytes[..bytes.len() / 2])?;
        }
        Err(io::Error::other("the process is killed"))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut life = self.disk.live()?;
        let length = fs::metadata(&self.path)?.len();
        life.synced.iter_mut().filter(|(path, _)| *path == self.path).for_each(|file| file.1 = length);
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let _life = self.disk.live()?;
        self.file.cut(length)
    }
}

/// Three times some operations and a snapshot, as far as the disk goes along: the journal's position and the state after each
/// operation, and up to where they were acknowledged.
async fn live(data_dir: &Path, disk: &MortalDisk) -> (Vec<(u64, Vec<u8>)>, u64) {
    let (mut states, mut acknowledged) = (vec![(0, state(&empty(&small())))], 0);
    let Ok((home, mut shard, _)) = open(data_dir, Arc::new(disk.clone()), &small()) else {
        return (states, acknowledged);
    };
    let mut history = History::new(50);
    for _ in 0..3 {
        for _ in 0..5 {
            let (position, after) = go_on(&mut history, &home, &mut shard, 1).remove(0);
            states.push((position, after));
            if home.durable(position).await.is_ok() {
                acknowledged = position;
            }
        }
        // What fails is told by the journal, which is on the same disk.
        let _failed = home.snapshot(|| Some((home.begin_snapshot(), shard.image())));
    }
    (states, acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_operation_on_the_disk_a_shard_has_all_that_it_acknowledged_once() {
    for loses_power in [false, true] {
        let mut deaths = 0;
        for left in 1.. {
            let home_dir = tempfile::tempdir().unwrap();
            let disk = MortalDisk::new(left, loses_power);
            let (states, acknowledged) = live(home_dir.path(), &disk).await;
            let (home, mut shard, recovered) = open(home_dir.path(), files(), &small()).unwrap();
            assert_eq!(recovered.damage, Vec::<String>::new(), "operation {left}");
            let position = recovered.position;
            assert!(
                position >= acknowledged,
                "operation {left}: {acknowledged} were acknowledged, {position} are there"
            );
            let (_, expected) = states.iter().find(|(at, _)| *at == position).unwrap();
            assert!(state(&shard) == *expected, "operation {left}: other contents at {position}");
            // It lives on, over its next snapshot and its next end.
            for fence in [1_000, 1_001] {
                home.append(&Operation::Fence { fence });
                shard.apply(Operation::Fence { fence }).unwrap();
                home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
            }
            drop(home);
            let (found, recovered) = read_back(&folder(home_dir.path()), &small());
            assert!(found == state(&shard) && recovered.damage.is_empty(), "operation {left}");
            if !disk.is_dead() {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 50, "only {deaths} operations: this has tested little");
    }
}
