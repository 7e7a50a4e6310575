//! Rewards, rates and curves of one method over its sessions.
//!
//! An order is worth 5 and counts as order reward; a click without order is worth 1 and counts as click reward; total =
//! click + order. CTR = clicks / impressions (an order is a click too), CVR = orders / clicks, both over all sessions
//! together. Intervals: 95%, percentile bootstrap over sessions.

use common::{Feedback, SessionId, transition::Ending};
use serde::{Deserialize, Serialize};

use super::{
    Estimate, EvaluationSettings, SessionRecord,
    rollout::Rollouts,
    statistics::{bootstrap, mean, mean_at, paired::by_user},
};

/// What a session brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRewards {
    /// The session.
    pub session: SessionId,
    /// Items shown.
    pub impressions: u32,
    /// Clicks without an order.
    pub clicks_only: u32,
    /// Orders.
    pub orders: u32,
    /// Reward in expectation over the user's draws, where the world knows its truth.
    pub expected: Option<f64>,
    /// The part of it from orders.
    #[serde(default)]
    pub expected_order: Option<f64>,
    /// Whether the user left before the session was cut.
    pub left: bool,
}

impl SessionRewards {
    fn new(record: &SessionRecord) -> Self {
        Self {
            session: record.session,
            impressions: record.steps.len() as u32,
            clicks_only: record.count(Feedback::Click),
            orders: record.count(Feedback::Order),
            expected: record.expected_reward(),
            expected_order: record.expected_order_reward(),
            left: record.ending == Ending::Terminated,
        }
    }

    /// Reward of the clicks without an order.
    pub fn click_reward(&self) -> f64 {
        f64::from(self.clicks_only) * f64::from(Feedback::Click.reward())
    }

    /// Reward of the orders.
    pub fn order_reward(&self) -> f64 {
        f64::from(self.orders) * f64::from(Feedback::Order.reward())
    }

    /// Click and order reward.
    pub fn total(&self) -> f64 {
        self.click_reward() + self.order_reward()
    }
}

/// The result of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationResult {
    /// The method.
    pub name: String,
    /// Mean reward a session.
    pub total: Estimate,
    /// Mean reward a session of clicks without an order.
    pub click: Estimate,
    /// Mean reward a session of orders.
    pub order: Estimate,
    /// Mean reward a session in expectation over the users' draws; less noisy than `total`, same mean. `None` where the
    /// world does not know its truth.
    pub expected: Option<Estimate>,
    /// The part of it from orders.
    #[serde(default)]
    pub expected_order: Option<Estimate>,
    /// Clicks / impressions.
    pub ctr: Estimate,
    /// Orders / clicks; 0 without a click.
    pub cvr: Estimate,
    /// Mean steps of a session.
    pub length: f64,
    /// Share of the sessions that the user left.
    pub left: f64,
    /// Share of the catalogue that was shown in any session.
    pub coverage: f64,
    /// `[length]` mean order reward up to and with each step. A session that was left keeps its last value.
    pub cumulative_order: Vec<f64>,
    /// `[length]` mean reward up to and with each step.
    pub cumulative_total: Vec<f64>,
    /// `[sessions]`, in the order of the session ids. May be left out of JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionRewards>,
}

impl EvaluationResult {
    /// Sums up the sessions of a method.
    pub fn new(name: &str, rollouts: &Rollouts, settings: &EvaluationSettings) -> Self {
        let sessions: Vec<_> = rollouts.records.iter().map(SessionRewards::new).collect();
        let [total, click, order, ctr, cvr] = bootstrap(sessions.len(), settings.seed, |indices| {
            // Counts of sessions are far below 2^53: the sums are exact, in any order.
            let (mut impressions, mut clicks_only, mut orders) = (0, 0, 0);
            for &i in indices {
                impressions += u64::from(sessions[i].impressions);
                clicks_only += u64::from(sessions[i].clicks_only);
                orders += u64::from(sessions[i].orders);
            }
            let clicks = clicks_only + orders;
            let n = indices.len() as f64;
            let click = clicks_only as f64 * f64::from(Feedback::Click.reward()) / n;
            let order = orders as f64 * f64::from(Feedback::Order.reward()) / n;
            [click + order, click, order, ratio(clicks, impressions), ratio(orders, clicks)]
        });
        let expectation = |of: fn(&SessionRewards) -> Option<f64>| -> Option<Estimate> {
            let values: Option<Vec<f64>> = sessions.iter().map(of).collect();
            values.map(|values| mean(&values, settings.seed))
        };
        let n = sessions.len() as f64;
        Self {
            name: name.to_owned(),
            total,
            click,
            order,
            expected: expectation(|session| session.expected),
            expected_order: expectation(|session| session.expected_order),
            ctr,
            cvr,
            length: sessions.iter().map(|s| f64::from(s.impressions)).sum::<f64>() / n,
            left: sessions.iter().filter(|s| s.left).count() as f64 / n,
            coverage: coverage(rollouts),
            cumulative_order: cumulative(&rollouts.records, settings.length, |feedback| {
                if feedback.ordered() { feedback.reward() } else { 0.0 }
            }),
            cumulative_total: cumulative(&rollouts.records, settings.length, Feedback::reward),
            sessions,
        }
    }

    /// Total reward of each session, in the order of the session ids.
    pub fn totals(&self) -> Vec<f64> {
        self.sessions.iter().map(SessionRewards::total).collect()
    }

    /// Whether two results are over the same sessions, so that their differences are paired.
    pub fn is_paired_with(&self, other: &Self) -> bool {
        self.sessions.len() == other.sessions.len()
            && self.sessions.iter().zip(&other.sessions).all(|(a, b)| a.session == b.session)
    }
}

/// Mean of `self - other` a session with its interval, resampled jointly.
pub(super) fn difference(of: &EvaluationResult, from: &EvaluationResult, seed: u64) -> Estimate {
    let differences: Vec<f64> = of.totals().iter().zip(from.totals()).map(|(a, b)| a - b).collect();
    mean(&differences, seed)
}

/// Two-sided p-value of that difference. A session is a user of his own.
pub(super) fn p_value(of: &EvaluationResult, from: &EvaluationResult, seed: u64) -> f64 {
    let differences: Vec<f64> = of.totals().iter().zip(from.totals()).map(|(a, b)| a - b).collect();
    let users: Vec<u64> = of.sessions.iter().map(|session| session.session).collect();
    by_user(&differences, &users, seed).p_value
}

/// (R - R_low) / (R_high - R_low) with its interval, the three resampled jointly.
pub(super) fn normalised(
    result: &EvaluationResult,
    low: &EvaluationResult,
    high: &EvaluationResult,
    seed: u64,
) -> Estimate {
    let (result, low, high) = (result.totals(), low.totals(), high.totals());
    bootstrap(result.len(), seed, |indices| {
        let [r, l, h] = [&result, &low, &high].map(|values| mean_at(values, indices));
        [if h == l { 0.0 } else { (r - l) / (h - l) }]
    })[0]
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn coverage(rollouts: &Rollouts) -> f64 {
    let mut shown = vec![false; rollouts.n_items];
    for step in rollouts.records.iter().flat_map(|record| &record.steps) {
        shown[step.item.row()] = true;
    }
    ratio(shown.iter().filter(|&&seen| seen).count() as u64, rollouts.n_items as u64)
}

/// `[length]` mean over sessions of the reward up to and with each step.
fn cumulative(records: &[SessionRecord], length: usize, reward: impl Fn(Feedback) -> f32) -> Vec<f64> {
    let mut at_step = vec![0.0; length];
    for record in records {
        for (sum, step) in at_step.iter_mut().zip(&record.steps) {
            *sum += f64::from(reward(step.feedback));
        }
    }
    let mut so_far = 0.0;
    for value in &mut at_step {
        so_far += *value / records.len() as f64;
        *value = so_far;
    }
    at_step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{
        evaluate,
        test_world::{EndPolicy, settings, worlds},
    };

    fn play(hazard: f32, sessions: usize) -> EvaluationResult {
        evaluate(&mut EndPolicy::named("last"), &worlds(hazard), &settings(sessions)).unwrap()
    }

    #[test]
    fn a_result_is_deterministic_and_its_parts_add_up() {
        let result = play(0.0, 60);
        assert_eq!(result, play(0.0, 60));
        assert!((result.total.value - result.click.value - result.order.value).abs() < 1e-12);
        assert_eq!(result.cumulative_order.len(), 12);
        assert!((result.cumulative_order[11] - result.order.value).abs() < 1e-12);
        assert!((result.cumulative_total[11] - result.total.value).abs() < 1e-12);
        assert!(result.coverage > 0.3 && result.coverage <= 1.0);
        assert_eq!((result.length, result.left), (12.0, 0.0));
    }

    #[test]
    fn the_interval_covers_the_expected_reward_and_the_rates_are_the_worlds() {
        let result = play(0.0, 400);
        let expected = result.expected.unwrap();
        assert!(result.total.low < expected.value && expected.value < result.total.high, "{result:?}");
        assert!(expected.margin() < result.total.margin());
        let order = result.expected_order.unwrap();
        assert!(result.order.low < order.value && order.value < result.order.high, "{result:?}");
        // One order in 0.3 of the clicks.
        assert!(result.cvr.low < 0.3 && 0.3 < result.cvr.high);
        let [clicks, impressions] = [
            result.sessions.iter().map(|s| f64::from(s.clicks_only + s.orders)).sum::<f64>(),
            result.sessions.iter().map(|s| f64::from(s.impressions)).sum::<f64>(),
        ];
        assert_eq!(result.ctr.value, clicks / impressions);
    }

    #[test]
    fn sessions_that_users_left_count_with_what_they_brought() {
        let result = play(0.1, 100);
        assert!(result.length < 11.0 && result.left > 0.4);
        assert!((result.cumulative_total[11] - result.total.value).abs() < 1e-12);
    }
}
