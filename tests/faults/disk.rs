//! Disks that are full, damaged, someone else's: a clear error, the healthy part served, nothing acknowledged lost.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use system_tests::{
    client::info,
    cluster::{Cluster, START},
    ledger::Ledger,
    process::{Process, program, wait_until},
};

use crate::{
    cluster::goes_on,
    load::{self, Load, RESUME},
};

/// Longest time for a shard to end.
const END: Duration = Duration::from_secs(20);
/// Largest file, in blocks of 512 bytes: the journal is full after a few hundred steps.
const SMALL: u64 = 300;

/// Files of a shard, by how their names begin, oldest first.
fn files(cluster: &Cluster, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(cluster.data_of(0)).unwrap().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    let mut files: Vec<PathBuf> = entries.filter(is_one).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "log" || e == "bin"));
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

/// Waits until the shard that was started last has read back what it had.
fn serves(cluster: &Cluster) {
    wait_until("the shard serves", START, cluster.folder(), || {
        cluster.shards[0].log_since_start().contains("serving address").then_some(())
    });
}

fn terminate(cluster: &mut Cluster) {
    cluster.shards[0].signal(Signal::TERM);
    let status = cluster.shards[0].wait_for_end(END);
    assert!(status.success(), "{status}\n{}", cluster.tails());
}

/// A loaded shard; the load has stopped.
fn filled() -> (Cluster, Load, Ledger) {
    let mut cluster = load::cluster(1, false, |_| {});
    let mut load = Load::start(&mut cluster);
    load.stop();
    let ledger = Ledger::read(&load.ledgers);
    (cluster, load, ledger)
}

/// The shard does not start, and says this.
fn refuses(cluster: &mut Cluster, said: &[&str]) {
    let status = cluster.shards[0].wait_for_end(END);
    let log = cluster.shards[0].log_since_start();
    assert!(!status.success(), "it started: {log}");
    for word in said {
        assert!(log.contains("error: ") && log.contains(word), "`{word}` is missing in: {log}");
    }
}

#[test]
fn a_full_disk_acknowledges_nothing_more_serves_what_is_there_and_loses_nothing() {
    let mut cluster = load::cluster(1, false, |_| {});
    cluster.shards[0].limit_files(Some(SMALL));
    let mut load = Load::start(&mut cluster);
    let (run, address) = (cluster.config.cluster.run.clone(), cluster.addresses[0].clone());
    wait_until("the shard says that it cannot write", RESUME, cluster.folder(), || {
        let failure = info(&load.client.runtime, &run, &address)?.journal?.failure;
        (!failure.is_empty()).then_some(failure)
    });
    // Nothing more is acknowledged, minibatches still come.
    let (acknowledged, sampled) = (load.acknowledged(), load.learner.pacer.totals().sampled[1]);
    wait_until("minibatches of what is there", RESUME, cluster.folder(), || {
        (load.learner.pacer.totals().sampled[1] > sampled + 64).then_some(())
    });
    assert!(load.acknowledged() < acknowledged + 500, "it acknowledges what it cannot write");
    // There is room again.
    cluster.shards[0].kill();
    cluster.shards[0].limit_files(None);
    cluster.shards[0].start();
    load.wait_for_progress(&cluster, "writers go on once there is room");
    load.check(&cluster);
}

#[test]
fn a_torn_tail_is_cut_with_a_warning_and_the_rest_is_served() {
    let (mut cluster, load, mut ledger) = filled();
    let before = load.check_rows(&cluster, &ledger);
    cluster.shards[0].kill();
    let journal = files(&cluster, "journal-").pop().unwrap();
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 7]).unwrap();
    cluster.shards[0].start();
    serves(&cluster);
    // What was cut off had been acknowledged: gone with the disk. Everything else is whole.
    ledger.sessions.values_mut().for_each(|session| session.acknowledged = 0);
    let after = load.check_rows(&cluster, &ledger);
    assert!(
        after.inserted < before.inserted && after.inserted + 200 > before.inserted,
        "{before:?} {after:?}"
    );
    let log = cluster.shards[0].log_since_start();
    assert!(log.contains("WARN"), "no warning in {log}");
}

#[test]
fn a_damaged_snapshot_costs_nothing_while_the_one_before_is_whole() {
    let (mut cluster, load, ledger) = filled();
    for _ in 0..2 {
        terminate(&mut cluster);
        cluster.shards[0].start();
        serves(&cluster);
    }
    cluster.shards[0].kill();
    let newest = files(&cluster, "snapshot-").pop().unwrap();
    let middle = fs::metadata(&newest).unwrap().len() as usize / 2;
    flip(&newest, middle);
    cluster.shards[0].start();
    serves(&cluster);
    load.check_rows(&cluster, &ledger);
    let log = cluster.shards[0].log_since_start();
    assert!(log.contains("snapshot-") && log.contains("is damaged"), "nothing is said in {log}");
}

#[test]
fn a_journal_that_is_damaged_in_its_middle_is_served_up_to_there_and_told() {
    let (mut cluster, load, mut ledger) = filled();
    cluster.shards[0].kill();
    let journal = files(&cluster, "journal-").pop().unwrap();
    let middle = fs::metadata(&journal).unwrap().len() as usize / 2;
    flip(&journal, middle);
    cluster.shards[0].start();
    serves(&cluster);
    let log = cluster.shards[0].log_since_start();
    assert!(log.contains("ERROR") && log.contains("journal-") && log.contains("LOST"), "{log}");
    // What stands before the damage is served, nothing of what stands behind it.
    ledger.sessions.values_mut().for_each(|session| session.acknowledged = 0);
    load.check_rows(&cluster, &ledger);
    assert!(fs::metadata(journal.with_extension("log.1.damaged")).is_ok(), "nothing was kept for people");
}

#[test]
fn a_data_directory_of_another_run_is_refused_by_name() {
    let (mut cluster, _load, _) = filled();
    terminate(&mut cluster);
    cluster.shards[0].push_argument("--set", "cluster.run=another");
    cluster.shards[0].start();
    refuses(&mut cluster, &["`faults`", "`another`"]);
}

#[test]
fn a_data_directory_that_is_a_file_is_named() {
    let mut cluster = load::cluster(1, false, |_| {});
    fs::write(&cluster.config.replay.data_dir, "not a folder").unwrap();
    cluster.shards[0].start();
    let path = cluster.config.replay.data_dir.clone();
    refuses(&mut cluster, &[&path]);
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let (cluster, _load, _) = filled();
    let config = cluster.config_path().display().to_string();
    let arguments = ["--config", &config, "--set", "cluster.replay_listen=127.0.0.1:0"];
    let mut second = Process::new("second", program("replay"), arguments, cluster.folder());
    second.start();
    let status = second.wait_for_end(END);
    assert!(!status.success() && second.log().contains("in use"), "{}", second.log());
}

/// A folder that cannot be written for as long as this lives: mounted over itself, read-only.
struct ReadOnly(PathBuf);

impl ReadOnly {
    /// `None`, loudly, where nothing may be mounted.
    fn mount(folder: &Path) -> Option<Self> {
        let mount = |arguments: &[&str]| {
            let status = std::process::Command::new("mount").args(arguments).arg(folder).status();
            status.is_ok_and(|status| status.success())
        };
        let source = folder.to_str().unwrap();
        if !mount(&["--bind", source]) {
            eprintln!("SKIPPED: read-only disk: this process may not mount anything");
            return None;
        }
        let mounted = Self(folder.to_owned());
        assert!(mount(&["-o", "remount,bind,ro"]), "a bind mount becomes read-only");
        Some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _status = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_read_only_disk_is_named_and_nothing_on_it_is_lost() {
    let (mut cluster, load, ledger) = filled();
    cluster.shards[0].kill();
    let Some(mounted) = ReadOnly::mount(&cluster.data_of(0)) else { return };
    cluster.shards[0].start();
    refuses(&mut cluster, &["shard-0", "Read-only file system"]);
    // Writable again: everything is there.
    drop(mounted);
    cluster.shards[0].start();
    serves(&cluster);
    load.check_rows(&cluster, &ledger);
}

#[test]
fn a_learner_whose_disk_is_full_waits_for_room_and_goes_on_as_the_same_process() {
    let mut cluster = Cluster::new(1, false, |_| {});
    cluster.add_actor(&[]);
    cluster.add_learner();
    // A checkpoint of these networks has more, its other files have less.
    cluster.learners[0].limit_files(Some(SMALL / 4));
    cluster.shards.iter_mut().for_each(Process::start);
    cluster.learners[0].start();
    cluster.actors[0].start();
    let updates = |cluster: &Cluster| cluster.metric("learner-0", "mahrl_learner_step").unwrap_or(0.0);
    wait_until("the learner waits for room", START, cluster.folder(), || {
        let failed = cluster.metric("learner-0", "mahrl_checkpoint_failures_total")? > 1.0;
        failed.then_some(())
    });
    let log = cluster.learners[0].log();
    assert!(log.contains("the run waits for room on the disk") && log.contains("checkpoints/step-"), "{log}");
    let before = updates(&cluster);
    cluster.learners[0].make_room();
    let first = goes_on(&cluster, 0, None, "there is room");
    assert!(first.updates > before && !cluster.learners[0].log().contains("error: "));
    // Full again, it ends all the same when it is told to, and says what is not saved.
    cluster.learners[0].kill();
    cluster.learners[0].start();
    wait_until("the learner waits for room again", START, cluster.folder(), || {
        cluster.metric("learner-0", "mahrl_checkpoint_failures_total").filter(|failed| *failed > 0.0)
    });
    cluster.learners[0].signal(Signal::TERM);
    let status = cluster.learners[0].wait_for_end(END);
    let log = cluster.learners[0].log_since_start();
    assert!(!status.success() && log.contains("cannot write") && log.contains("checkpoints/step-"), "{log}");
}
