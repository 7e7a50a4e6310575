//! The acceptance report of a learned simulator: what it claims, what happened, and whether it may be used.
//!
//! Rates are shares of impressions. "Clicked" means clicked or ordered. Written as `acceptance.json` beside the simulator.

use std::path::Path;

use common::files;
use serde::{Deserialize, Serialize};

use super::{Error, Options, metrics::Bin, verdict::Criteria};

/// The report's file in the simulator's folder.
pub(crate) const FILE: &str = "acceptance.json";
/// Raised with every change of its fields or of what is judged.
pub(super) const VERSION: u32 = 2;

/// What is held out from those who are learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Users: the groups share none.
    User,
    /// Sessions: a user may be in several groups.
    Session,
}

/// How a member came about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberReport {
    /// Passes over the samples.
    pub passes: usize,
    /// The pass whose parameters were kept.
    pub best_pass: usize,
    /// Held-out log loss of that pass, before calibration, in nats.
    pub held_out_loss: f64,
    /// Temperature of the calibration: above 1 the network was too sure.
    pub temperature: f64,
    /// Biases of the calibration, skip, click, order.
    pub bias: [f64; 3],
}

/// One class against all others, on the judged impressions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassReport {
    /// `skip`, `click` or `order`.
    pub class: String,
    /// Impressions of the class.
    pub n: usize,
    /// Its share of the judged impressions.
    pub logged_rate: f64,
    /// Its mean predicted probability there.
    pub predicted_rate: f64,
    /// Standard error of predicted - logged, over sessions.
    pub rate_error: f64,
    /// Area under the ROC curve, 0.5 is chance; `None` where it cannot be formed.
    pub roc_auc: Option<f64>,
    /// Area under the precision-recall curve; the logged rate is chance.
    pub pr_auc: Option<f64>,
    /// Predicted and observed by tenths of the impressions, lowest prediction first.
    pub deciles: Vec<Bin>,
    /// Mean distance of predicted and observed over the deciles.
    pub calibration_error: f64,
    /// What chance alone would make of it.
    pub calibration_chance: f64,
    /// Standard deviation of that.
    pub calibration_deviation: f64,
}

impl ClassReport {
    /// predicted / logged - 1; `None` where the class never happened.
    pub fn relative_error(&self) -> Option<f64> {
        (self.n > 0).then(|| self.predicted_rate / self.logged_rate - 1.0)
    }
}

/// Clicks and orders of some positions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionRates {
    /// First position, from 0.
    pub from: usize,
    /// Behind the last position; `None` is open.
    pub to: Option<usize>,
    /// Logged impressions there.
    pub impressions: usize,
    /// Clicked share, in the log and in the rollouts.
    pub click: Pair,
    /// Standard error of the difference, over sessions.
    pub click_error: f64,
    /// Ordered share.
    pub order: Pair,
}

impl PositionRates {
    /// In words: `at 0 to 4`, `from 100`.
    pub fn positions(&self) -> String {
        match self.to {
            Some(to) => format!("at {} to {}", self.from, to - 1),
            None => format!("from {}", self.from),
        }
    }
}

/// A rate in the log and in the rollouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// In the log.
    pub logged: f64,
    /// In the simulator.
    pub simulated: f64,
}

/// Free-running rollouts: the simulator's own feedback makes the windows of the next step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutReport {
    /// What was shown.
    pub items: String,
    /// Sessions, and how often each was played.
    pub sessions: usize,
    /// How often each session was played.
    pub repeats: usize,
    /// Clicked share of the impressions.
    pub click: Pair,
    /// Standard error of the difference, over sessions.
    pub click_error: f64,
    /// Ordered share of the impressions.
    pub order: Pair,
    /// Standard error of the difference, over sessions.
    pub order_error: f64,
    /// By position in the session.
    pub by_position: Vec<PositionRates>,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptanceReport {
    /// Of this layout, [`VERSION`].
    pub version: u32,
    /// Whether the simulator may be used: there is no reason why not.
    pub accepted: bool,
    /// Why it may not; empty if accepted.
    pub reasons: Vec<String>,
    /// What the reader should know beside the verdict.
    pub notes: Vec<String>,
    /// `train` or `test`: the days of the log it was fitted to.
    pub split: String,
    /// SHA-256 of the log's item table at the time of the fit, in hex: other embeddings need another fit.
    pub items_sha256: String,
    /// Options of the fit.
    pub options: Options,
    /// What was asked of it.
    pub criteria: Criteria,
    /// What separates the groups of impressions.
    pub held_out_by: Unit,
    /// Impressions that were learned from.
    pub n_fit: usize,
    /// Impressions that stopped the training and set the calibration.
    pub n_calibrate: usize,
    /// Impressions that this report is about; the networks have not seen them.
    pub n_judged: usize,
    /// Sessions of those.
    pub n_judged_sessions: usize,
    /// Mean of -ln p of what happened, ensemble mean, in nats.
    pub log_loss: f64,
    /// The same for single members, averaged: what a session meets.
    pub member_log_loss: f64,
    /// Entropy of the judged impressions' class rates: the log loss of knowing the rates only.
    pub base_rate_entropy: f64,
    /// Share of impressions whose most probable class happened. Nothing without the next line.
    pub accuracy: f64,
    /// Share of the most frequent class: the accuracy of always naming it.
    pub majority_rate: f64,
    /// The classes against all others.
    pub classes: Vec<ClassReport>,
    /// Free-running rollouts.
    pub rollout: RolloutReport,
    /// The members.
    pub members: Vec<MemberReport>,
}

impl AcceptanceReport {
    /// Share of the base-rate entropy that the simulator explains; negative if it is worse than the rates.
    pub fn information_gain(&self) -> f64 {
        if self.base_rate_entropy > 0.0 { 1.0 - self.log_loss / self.base_rate_entropy } else { 0.0 }
    }

    /// Writes `acceptance.json` into the simulator's folder, atomically.
    pub(super) fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::format(&path, error))?;
        write_whole(&path, &json)
    }

    /// Whether `folder` holds a report, and so a simulator that was saved to the end.
    pub fn exists(folder: &Path) -> bool {
        folder.join(FILE).is_file()
    }

    /// Removes the report of an older simulator, if there is one.
    pub(super) fn remove(folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&path, error)),
            _ => Ok(()),
        }
    }

    /// Reads the report of the simulator in `folder`.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|source| Error::file(&path, source))?;
        let Version { version } =
            serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, error))?;
        if version != VERSION {
            let problem = "of another version of this program; fit again with: learner simulator fit";
            return Err(Error::format(&path, problem));
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, error))
    }
}

/// The one field that all versions but the first have.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: u32,
}

/// Writes beside, then renames: a reader never sees half a file.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write_whole(path, bytes).map_err(|source| Error::file(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_the_first_version_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"accepted": true, "reasons": []}"#).unwrap();
        let error = AcceptanceReport::load(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("acceptance.json: of another version") && error.contains("fit again"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1);
    }
}
