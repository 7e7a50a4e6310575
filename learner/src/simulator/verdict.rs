//! What is asked of a simulator, and whether it meets it.
//!
//! In: the numbers of an [`AcceptanceReport`]; out: its verdict, with the reasons. An error of a rate counts where it is
//! larger than allowed and larger than chance explains: few impressions refuse nobody.

use serde::{Deserialize, Serialize};

use super::report::{AcceptanceReport, ClassReport, Pair};

/// What a simulator must meet. Recorded in every report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criteria {
    /// Least ROC-AUC of clicks and of orders; chance is 0.5.
    pub least_auc: f64,
    /// Largest relative error of a class's base rate.
    pub rate_error: f64,
    /// Largest expected calibration error of clicks over the tenths of the impressions, as a share of the click rate.
    pub calibration_error: f64,
    /// Largest relative error of the click and the order rate of free-running rollouts, and of the click rate at every
    /// position.
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
            calibration_error: 0.2,
            rollout_error: 0.2,
            standard_errors: 3.0,
            least_clicks: 20,
            least_orders: 30,
        }
    }
}

impl AcceptanceReport {
    /// Fills `reasons` and `accepted` from the numbers, and adds to the notes what could not be judged.
    pub(super) fn judge(&mut self) {
        let mut reasons = self.knows_nothing();
        for class in &self.classes {
            reasons.extend(self.is_ranked_badly(class));
            reasons.extend(self.base_rate_is_off(class));
            reasons.extend(self.is_unreliable(class));
            if class.n == 0 {
                self.notes.push(format!("the judged impressions hold no {}", class.class));
            } else if self.has_few_orders(class) {
                self.notes.push(format!("{} orders are too few to judge how they are ranked", class.n));
            }
        }
        reasons.extend(self.drifts());
        self.accepted = reasons.is_empty();
        self.reasons = reasons;
    }

    fn knows_nothing(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let clicks = self.classes[1].n + self.classes[2].n;
        if clicks < self.criteria.least_clicks {
            reasons.push(format!(
                "only {clicks} clicks among the {} judged impressions, {} are needed to say anything",
                self.n_judged, self.criteria.least_clicks
            ));
        }
        if self.log_loss.is_nan() || self.log_loss >= self.base_rate_entropy {
            reasons.push(format!(
                "log loss {:.4} is not under the base-rate entropy {:.4}: it knows no more than the rates",
                self.log_loss, self.base_rate_entropy
            ));
        }
        reasons
    }

    fn has_few_orders(&self, class: &ClassReport) -> bool {
        class.class == "order" && class.n < self.criteria.least_orders
    }

    /// Skips are what is left: they are not judged by themselves.
    fn is_ranked_badly(&self, class: &ClassReport) -> Option<String> {
        let least = self.criteria.least_auc;
        if class.class == "skip"
            || self.has_few_orders(class)
            || class.roc_auc.is_some_and(|auc| !auc.is_nan() && auc > least)
        {
            return None;
        }
        let auc = class.roc_auc.map_or("undefined".to_owned(), |auc| format!("{auc:.3}"));
        Some(format!("ROC-AUC of {} is {auc}, not above {least} (chance is 0.5)", class.class))
    }

    fn base_rate_is_off(&self, class: &ClassReport) -> Option<String> {
        let (error, allowed) = (class.relative_error()?, self.criteria.rate_error);
        let chance = self.criteria.standard_errors * class.rate_error;
        is_off(class.predicted_rate - class.logged_rate, allowed * class.logged_rate, chance).then(|| {
            format!(
                "base rate of {} is {:.4}, logged {:.4}: off by {:+.1} %, allowed {:.0} %",
                class.class,
                class.predicted_rate,
                class.logged_rate,
                100.0 * error,
                100.0 * allowed
            )
        })
    }

    /// Clicks only: tenths hold too few orders to say more than chance.
    fn is_unreliable(&self, class: &ClassReport) -> Option<String> {
        let allowed = self.criteria.calibration_error;
        let chance = class.calibration_chance + self.criteria.standard_errors * class.calibration_deviation;
        let off = is_off(class.calibration_error, allowed * class.logged_rate, chance);
        (class.class == "click" && off).then(|| {
            format!(
                "probabilities of click are {:.4} off what happened, over the tenths of the impressions: allowed {:.4} \
                 ({:.0} % of the click rate)",
                class.calibration_error,
                allowed * class.logged_rate,
                100.0 * allowed
            )
        })
    }

    fn drifts(&self) -> Vec<String> {
        let (rollout, criteria) = (&self.rollout, &self.criteria);
        let drifts = |rates: Pair, error: f64| {
            let allowed = criteria.rollout_error * rates.logged;
            is_off(rates.simulated - rates.logged, allowed, criteria.standard_errors * error)
        };
        let mut reasons = Vec::new();
        for (what, rates, error) in
            [("click", rollout.click, rollout.click_error), ("order", rollout.order, rollout.order_error)]
        {
            if drifts(rates, error) {
                reasons.push(format!(
                    "free-running {what} rate is {:.4}, logged {:.4}: it drifts when it meets its own feedback",
                    rates.simulated, rates.logged
                ));
            }
        }
        let positions = rollout.by_position.iter().filter(|bin| drifts(bin.click, bin.click_error));
        let positions: Vec<String> = positions
            .map(|bin| {
                format!("{:.4} {}, logged {:.4}", bin.click.simulated, bin.positions(), bin.click.logged)
            })
            .collect();
        if !positions.is_empty() {
            reasons.push(format!("free-running click rate by position: {}", positions.join("; ")));
        }
        reasons
    }
}

/// Larger than allowed, and larger than chance explains; what is no number is off.
fn is_off(difference: f64, allowed: f64, chance: f64) -> bool {
    difference.is_nan() || (difference.abs() > allowed && difference.abs() > chance)
}
