//! A log's learned simulators, opened from its folder.
//!
//! In: the folder of a log that `learner simulator fit` was run on; out: environments over one catalogue. Training and
//! validation users live in the simulator of the training days, test users in that of the test days, so that a policy
//! is never judged by the networks it was trained on.

use std::path::{Path, PathBuf};

use common::config::Config;
use sim::{OpenWorld, simulator_path};

use super::Error;
use crate::simulator::{self, AcceptanceReport};

/// Both simulators of a log.
pub(super) struct Learned {
    pub(super) train: OpenWorld,
    pub(super) test: OpenWorld,
    /// What a reader of results must know of them.
    pub(super) caveats: Vec<String>,
}

impl Learned {
    /// Opens the simulators of the log that `environment.name` is the folder of, and checks that the configuration's
    /// sessions are possible in them. A simulator that was not accepted opens with a warning.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let name = &config.environment.name;
        let log = Path::new(name);
        // Both first: nothing large is read in vain.
        let [train, test] = ["train", "test"].map(|which| folder(log, which));
        let (train, test) = (train?, test?);
        let caveats = caveats(&train, &test);
        let failed = |source| Error::World { name: name.clone(), source };
        let train = OpenWorld::learned(&train.path).map_err(failed)?;
        let test = OpenWorld::learned_over(&test.path, &train).map_err(failed)?;
        let learned = Self { train, test, caveats };
        learned.check(config)?;
        Ok(learned)
    }

    fn check(&self, config: &Config) -> Result<(), Error> {
        let environment = &config.environment;
        let name = || environment.name.clone();
        if environment.leave {
            return Err(Error::Leave { name: name() });
        }
        for simulator in [&self.train, &self.test] {
            let OpenWorld::Learned { log, .. } = simulator else { continue };
            let (found, expected) = (log.window(), config.model.window);
            if found != expected {
                return Err(Error::Window { name: name(), found, expected });
            }
        }
        let (n_items, needed) =
            (self.train.items().n_items(), environment.session_length + environment.warmup_steps);
        if n_items < needed {
            return Err(Error::Candidates { name: name(), n_items, needed });
        }
        Ok(())
    }
}

/// A complete simulator on disk.
struct Folder {
    which: &'static str,
    path: PathBuf,
    /// Why it was not accepted, if so.
    refusal: Option<String>,
    /// Of its report.
    notes: Vec<String>,
}

/// The folder of a complete simulator, fitted to the embeddings that the log has; warns where it was not accepted.
fn folder(log: &Path, which: &'static str) -> Result<Folder, Error> {
    let path = simulator_path(log, which);
    if !AcceptanceReport::exists(&path) {
        return Err(Error::NotFitted { log: log.display().to_string(), which });
    }
    let report = AcceptanceReport::load(&path)?;
    if let Some(items) = simulator::other_items(log, &path, &report)? {
        let (log, items) = (log.display().to_string(), items.display().to_string());
        return Err(Error::Embeddings { log, which, items });
    }
    let refusal = (!report.accepted).then(|| {
        format!(
            "the {which} simulator of {} is NOT accepted, and what is learned in it may say little about the log's \
             users: {}",
            log.display(),
            report.reasons.join("; ")
        )
    });
    if let Some(refusal) = &refusal {
        tracing::warn!("{refusal}");
    }
    Ok(Folder { which, path, refusal, notes: report.notes })
}

/// What a reader of results must know of two simulators: refusals first, then notes, those of both once.
fn caveats(train: &Folder, test: &Folder) -> Vec<String> {
    let mut caveats: Vec<String> = [train, test].into_iter().filter_map(|one| one.refusal.clone()).collect();
    caveats.extend(train.notes.iter().filter(|note| test.notes.contains(note)).cloned());
    for (one, other) in [(train, test), (test, train)] {
        let own = one.notes.iter().filter(|note| !other.notes.contains(note));
        caveats.extend(own.map(|note| format!("report of the {} simulator: {note}", one.which)));
    }
    caveats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_first_and_notes_of_both_stand_once() {
        let folder = |which, refusal: Option<&str>, notes: [&str; 2]| Folder {
            which,
            path: PathBuf::new(),
            refusal: refusal.map(str::to_owned),
            notes: notes.map(str::to_owned).into(),
        };
        let train = folder("train", None, ["sampled", "flatters"]);
        let test = folder("test", Some("refused"), ["sampled", "few"]);
        let expected = [
            "refused",
            "sampled",
            "report of the train simulator: flatters",
            "report of the test simulator: few",
        ];
        assert_eq!(caveats(&train, &test), expected);
    }
}
