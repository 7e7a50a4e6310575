//! The acceptance report of a learned simulator: what it claims, what happened, and whether it may be used.
//!
//! Rates are shares of impressions. "Clicked" means clicked or ordered. Written as `acceptance.json` beside the simulator.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Options, groups::Unit, metrics::Bin};

/// The report's file in the simulator's folder.
const FILE: &str = "acceptance.json";

/// What a simulator must meet. Recorded in every report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criteria {
    /// Least ROC-AUC of clicks and of orders; chance is 0.5.
    pub least_auc: f64,
    /// Largest relative error of a class's base rate.
    pub rate_error: f64,
    /// Largest relative error of the click and the order rate of free-running rollouts.
    pub rollout_error: f64,
    /// An error counts only beyond so many standard errors (over sessions), where it could be chance.
    pub standard_errors: f64,
    /// Fewest clicks among the judged impressions; with fewer nothing can be said.
    pub least_clicks: usize,
    /// Orders are judged by themselves from so many on.
    pub least_orders: usize,
}

impl Default for Criteria {
    fn default() -> Self {
        Self {
            least_auc: 0.6,
            rate_error: 0.02,
            rollout_error: 0.2,
            standard_errors: 3.0,
            least_clicks: 20,
            least_orders: 30,
        }
    }
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
    /// Area under the ROC curve, 0.5 is chance; `None` where it cannot be formed.
    pub roc_auc: Option<f64>,
    /// Area under the precision-recall curve; the logged rate is chance.
    pub pr_auc: Option<f64>,
    /// Predicted and observed by tenths of the impressions, lowest prediction first.
    pub deciles: Vec<Bin>,
    /// Mean distance of predicted and observed over the deciles.
    pub calibration_error: f64,
}

/// A rate in the log and in the simulator, over all impressions of the split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseRate {
    /// `skip`, `click` or `order`.
    pub class: String,
    /// In the log.
    pub logged: f64,
    /// Mean predicted probability, each session by the member it draws.
    pub predicted: f64,
    /// predicted / logged - 1; `None` if the class is not in the log.
    pub relative_error: Option<f64>,
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
    /// Ordered share.
    pub order: Pair,
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
    /// Whether the simulator may be used: there is no reason why not.
    pub accepted: bool,
    /// Why it may not; empty if accepted.
    pub reasons: Vec<String>,
    /// What the reader should know beside the verdict.
    pub notes: Vec<String>,
    /// `train` or `test`: the days of the log it was fitted to.
    pub split: String,
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
    /// Impressions that this report is about; nothing else has seen them.
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
    /// Rates over all impressions of the split.
    pub base_rates: Vec<BaseRate>,
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
        serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, error))
    }

    /// Fills `reasons` and `accepted` from the numbers.
    pub(super) fn judge(&mut self) {
        let criteria = self.criteria;
        let mut reasons = Vec::new();
        let mut notes = Vec::new();
        let clicks = self.classes[1].n + self.classes[2].n;
        if clicks < criteria.least_clicks {
            reasons.push(format!(
                "only {clicks} clicks among the {} judged impressions, {} are needed to say anything",
                self.n_judged, criteria.least_clicks
            ));
        }
        if self.log_loss.is_nan() || self.log_loss >= self.base_rate_entropy {
            reasons.push(format!(
                "log loss {:.4} is not under the base-rate entropy {:.4}: it knows no more than the rates",
                self.log_loss, self.base_rate_entropy
            ));
        }
        for class in &self.classes[1..] {
            let few = class.class == "order" && class.n < criteria.least_orders;
            if few {
                notes.push(format!("{} orders are too few to judge how they are ranked", class.n));
            } else if class.roc_auc.is_none_or(|auc| auc.is_nan() || auc <= criteria.least_auc) {
                let auc = class.roc_auc.map_or("undefined".to_owned(), |auc| format!("{auc:.3}"));
                reasons.push(format!(
                    "ROC-AUC of {} is {auc}, not above {} (chance is 0.5)",
                    class.class, criteria.least_auc
                ));
            }
        }
        for rate in &self.base_rates {
            match rate.relative_error {
                None => notes.push(format!("the log's split holds no {}", rate.class)),
                Some(error) if error.is_nan() || error.abs() > criteria.rate_error => reasons.push(format!(
                    "base rate of {} is {:.4}, logged {:.4}: off by {:+.1} %, allowed {:.0} %",
                    rate.class,
                    rate.predicted,
                    rate.logged,
                    100.0 * error,
                    100.0 * criteria.rate_error
                )),
                Some(_) => {}
            }
        }
        let rollout = &self.rollout;
        for (what, rates, error) in
            [("click", rollout.click, rollout.click_error), ("order", rollout.order, rollout.order_error)]
        {
            let difference = rates.simulated - rates.logged;
            let is_off = difference.abs() > criteria.rollout_error * rates.logged
                && difference.abs() > criteria.standard_errors * error;
            if is_off || difference.is_nan() {
                reasons.push(format!(
                    "free-running {what} rate is {:.4}, logged {:.4}: it drifts when it meets its own feedback",
                    rates.simulated, rates.logged
                ));
            }
        }
        self.accepted = reasons.is_empty();
        self.reasons = reasons;
        self.notes.extend(notes);
    }
}

/// Writes beside, then renames: a reader never sees half a file.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).map_err(|source| Error::file(&partial, source))?;
    std::fs::rename(&partial, path).map_err(|source| Error::file(path, source))
}
