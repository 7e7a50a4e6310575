//! Numbers that no process of a run may use twice, over every death of the learner: its fencing token, versions of the
//! weights, incarnations of actors.
//!
//! In: the file `numbers.json` of the run directory; out: fresh numbers. They are reserved in blocks, on disk before the
//! first of a block is handed out: after a crash the rest of a block is skipped, never used again. The file also tells
//! a learner that was replaced so, where both can see it. Owner: the learner that leads.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use common::files;
use serde::{Deserialize, Serialize};

/// Versions of the weights that are reserved at once.
const VERSIONS: u64 = 100;
/// Incarnations that are reserved at once.
const INCARNATIONS: u64 = 16;

/// Numbers up to these may have been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserved {
    fence: u64,
    version: u64,
    incarnation: u64,
    /// Whether the shards were the run's, or empty, when a learner with this file first met them.
    #[serde(default = "yes")]
    begun: bool,
}

/// Of a file that does not say.
fn yes() -> bool {
    true
}

/// See the module.
#[derive(Debug)]
pub(super) struct Numbers {
    path: PathBuf,
    reserved: Reserved,
    /// Used last.
    version: u64,
    /// Used last.
    incarnation: u64,
}

impl Numbers {
    /// The highest fencing token that the file of a run knows; 0 without one.
    pub(super) fn last_fence(path: &Path) -> Result<u64> {
        Ok(read(path)?.fence)
    }

    /// The numbers of the learner that leads under `fence`, a token that nobody has had before.
    pub(super) fn lead(path: &Path, fence: u64) -> Result<Self> {
        let reserved = read(path)?;
        ensure!(
            fence > reserved.fence,
            "fencing token {fence} is not above {}, which {} names: another learner leads this run",
            reserved.fence,
            path.display()
        );
        let (version, incarnation) = (reserved.version, reserved.incarnation);
        let mut numbers = Self { path: path.to_owned(), reserved, version, incarnation };
        numbers.write(Reserved { fence, ..reserved }, || Ok(()))?;
        Ok(numbers)
    }

    /// Fails once another learner than that of `fence` has taken over the run directory whose numbers are there.
    pub(super) fn check_lead(path: &Path, fence: u64) -> Result<()> {
        let found = read(path)?.fence;
        ensure!(found == fence, "a learner with fencing token {found} has taken over; this one has {fence}");
        Ok(())
    }

    /// A new run begins with shards that hold nothing: what others hold belongs to another run directory.
    pub(super) fn check_held(path: &Path, held: u64) -> Result<()> {
        ensure!(
            held == 0 || read(path)?.begun,
            "the replay shards hold {held} steps of this run, but {} is new: give the run directory that they belong to \
             (--run-dir), or begin another run (cluster.run, and replay.data_dir of its shards)",
            path.parent().unwrap_or(path).display()
        );
        Ok(())
    }

    /// The same, of a run that begins now, which is noted.
    pub(super) fn begin(&mut self, held: u64) -> Result<()> {
        if self.reserved.begun {
            return Ok(());
        }
        Self::check_held(&self.path, held)?;
        self.reserve(Reserved { begun: true, ..self.reserved })
    }

    /// The next version of the weights, above `floor` too.
    pub(super) fn next_version(&mut self, floor: u64) -> Result<u64> {
        let version = self.version.max(floor) + 1;
        if version > self.reserved.version {
            self.reserve(Reserved { version: version + VERSIONS, ..self.reserved })?;
        }
        self.version = version;
        Ok(version)
    }

    /// The next incarnation of an actor.
    pub(super) fn next_incarnation(&mut self) -> Result<u64> {
        let incarnation = self.incarnation + 1;
        if incarnation > self.reserved.incarnation {
            self.reserve(Reserved { incarnation: incarnation + INCARNATIONS, ..self.reserved })?;
        }
        self.incarnation = incarnation;
        Ok(incarnation)
    }

    /// Writes them, if this learner still leads.
    fn reserve(&mut self, reserved: Reserved) -> Result<()> {
        let (path, fence) = (self.path.clone(), self.reserved.fence);
        self.write(reserved, || Self::check_lead(&path, fence).map_err(io::Error::other))
    }

    fn write(&mut self, reserved: Reserved, may: impl FnOnce() -> io::Result<()>) -> Result<()> {
        let text = serde_json::to_string(&reserved).expect("plain numbers are JSON");
        files::write_whole_if(&self.path, text.as_bytes(), may)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.reserved = reserved;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Reserved> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
            format!("{} is damaged: it must name fence, version, incarnation", path.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Reserved::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_twice_over_crashes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.json");
        let (mut versions, mut incarnations) = (Vec::new(), Vec::new());
        for fence in 1..=3 {
            // Dropped without a word each time, as by a kill.
            let mut numbers = Numbers::lead(&path, fence).unwrap();
            versions.extend((0..150).map(|_| numbers.next_version(0).unwrap()));
            incarnations.extend((0..20).map(|_| numbers.next_incarnation().unwrap()));
        }
        for numbers in [versions, incarnations] {
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        }
    }

    #[test]
    fn a_version_is_above_the_checkpoints_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::lead(&folder.path().join("numbers.json"), 1).unwrap();
        assert_eq!(numbers.next_version(500).unwrap(), 501);
        assert_eq!(numbers.next_version(0).unwrap(), 502);
    }

    #[test]
    fn a_learner_that_was_replaced_notices_and_an_old_token_does_not_lead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.json");
        let mut old = Numbers::lead(&path, 4).unwrap();
        Numbers::check_lead(&path, 4).unwrap();
        assert!(Numbers::lead(&path, 4).unwrap_err().to_string().contains("not above 4"));
        let mut new = Numbers::lead(&path, Numbers::last_fence(&path).unwrap() + 1).unwrap();
        let message = Numbers::check_lead(&path, 4).unwrap_err().to_string();
        assert!(
            message.contains("token 5 has taken over") && message.contains("this one has 4"),
            "{message}"
        );
        // It writes no number over those of the other.
        let message = format!("{:#}", old.next_version(0).unwrap_err());
        assert!(message.contains("token 5 has taken over"), "{message}");
        Numbers::check_lead(&path, 5).unwrap();
        new.next_version(0).unwrap();
    }

    #[test]
    fn a_new_run_directory_is_not_that_of_shards_that_hold_something() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.json");
        for fence in [1, 2] {
            let message = Numbers::lead(&path, fence).unwrap().begin(800).unwrap_err().to_string();
            assert!(message.contains("hold 800 steps") && message.contains("--run-dir"), "{message}");
        }
        Numbers::lead(&path, 3).unwrap().begin(0).unwrap();
        Numbers::lead(&path, 4).unwrap().begin(800).unwrap();
        // Of a build that did not ask.
        std::fs::write(&path, r#"{"fence": 4, "version": 1, "incarnation": 1}"#).unwrap();
        Numbers::lead(&path, 5).unwrap().begin(800).unwrap();
    }
}
