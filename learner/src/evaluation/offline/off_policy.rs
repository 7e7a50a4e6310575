//! What a method would have earned, from sessions that another policy chose.
//!
//! In: [`Decision`]s of sessions; out: mean reward a session, estimated in three ways, with 95% intervals over sessions. With
//! w_t = Π_{k <= t} π(a_k)/μ(a_k), the weight of a session after step t:
//!
//! - IPS, per decision: mean of Σ_t w_t r_t. Unbiased, and useless once weights are few and large.
//! - SNIPS: Σ_t (Σ_i w_it r_it) / (Σ_i w_it). A session that has ended keeps its weight and earns nothing.
//! - Doubly robust: mean of Σ_t (w_{t-1} q(π) + w_t (r_t - q(a_t))). Unbiased, and the less noisy the better the model q.
//!
//! (Precup et al. 2000; Swaminathan and Joachims 2015; Dudik et al. 2011, Jiang and Li 2016 with a model of immediate
//! rewards.) The effective sample size (Σ w)² / Σ w² says how many sessions an estimate stands on; the mean weight is 1 but
//! for chance, or propensities and candidates do not belong together.

use serde::{Deserialize, Serialize};

use super::Decision;
use crate::evaluation::{Estimate, statistics::bootstrap};

/// Mean rewards a session of a method, estimated off-policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffPolicyEstimate {
    /// What the logging policy earned.
    pub logged: Estimate,
    /// Inverse propensity scores, per decision.
    pub ips: Estimate,
    /// Self-normalised.
    pub snips: Estimate,
    /// Doubly robust.
    pub doubly_robust: Estimate,
    /// Sessions that the weights amount to, of `sessions`.
    pub effective_sessions: f64,
    /// Mean weight of a whole session.
    pub mean_weight: f64,
    /// Sessions of the log.
    pub sessions: usize,
}

/// What a session adds to the sums.
struct Terms {
    logged: f64,
    ips: f64,
    doubly_robust: f64,
    /// `[T]` weight after each step, and that times the step's reward.
    steps: Vec<(f64, f64)>,
}

impl Terms {
    fn of(session: &[Decision]) -> Self {
        let mut terms = Self { logged: 0.0, ips: 0.0, doubly_robust: 0.0, steps: Vec::new() };
        let mut weight = 1.0;
        for decision in session {
            terms.doubly_robust += weight * decision.expected;
            weight *= decision.target / decision.propensity;
            terms.doubly_robust += weight * (decision.reward - decision.predicted);
            terms.ips += weight * decision.reward;
            terms.logged += decision.reward;
            terms.steps.push((weight, weight * decision.reward));
        }
        terms
    }

    fn last_weight(&self) -> f64 {
        self.steps.last().map_or(1.0, |&(weight, _)| weight)
    }
}

impl OffPolicyEstimate {
    /// From the decisions of sessions.
    ///
    /// # Panics
    /// Without a session.
    pub fn new(sessions: &[Vec<Decision>], seed: u64) -> Self {
        let terms: Vec<Terms> = sessions.iter().map(|session| Terms::of(session)).collect();
        let longest = sessions.iter().map(Vec::len).max().unwrap_or(0);
        // (Σ w_t, Σ w_t r_t) of each step.
        let mut sums = vec![(0.0, 0.0); longest];
        let [logged, ips, snips, doubly_robust] = bootstrap(terms.len(), seed, |drawn| {
            sums.fill((0.0, 0.0));
            let [mut logged, mut ips, mut doubly_robust] = [0.0; 3];
            for terms in drawn.iter().map(|&i| &terms[i]) {
                logged += terms.logged;
                ips += terms.ips;
                doubly_robust += terms.doubly_robust;
                let after_the_end = std::iter::repeat((terms.last_weight(), 0.0));
                for (sum, step) in sums.iter_mut().zip(terms.steps.iter().copied().chain(after_the_end)) {
                    *sum = (sum.0 + step.0, sum.1 + step.1);
                }
            }
            // No weight at all says nothing of the method: as if it earned nothing.
            let normalised =
                |&(weight, reward): &(f64, f64)| if weight > 0.0 { reward / weight } else { 0.0 };
            let n = drawn.len() as f64;
            [logged / n, ips / n, sums.iter().map(normalised).sum(), doubly_robust / n]
        });
        let weights = || terms.iter().map(Terms::last_weight);
        let (sum, squares) = (weights().sum::<f64>(), weights().map(|w| w * w).sum::<f64>());
        Self {
            logged,
            ips,
            snips,
            doubly_robust,
            effective_sessions: if squares > 0.0 { sum * sum / squares } else { 0.0 },
            mean_weight: sum / terms.len() as f64,
            sessions: terms.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(target: f64, propensity: f64, reward: f64) -> Decision {
        Decision { target, propensity, reward, predicted: 0.0, expected: 0.0 }
    }

    #[test]
    fn the_logging_policy_earns_what_was_logged() {
        let sessions = vec![
            vec![decision(0.5, 0.5, 1.0), decision(0.2, 0.2, 5.0)],
            vec![decision(0.3, 0.3, 0.0)],
            vec![decision(0.1, 0.1, 1.0), decision(0.1, 0.1, 1.0)],
        ];
        let found = OffPolicyEstimate::new(&sessions, 0);
        for estimate in [found.ips, found.snips, found.doubly_robust] {
            assert!((estimate.value - 8.0 / 3.0).abs() < 1e-12, "{found:?}");
        }
        assert_eq!((found.effective_sessions, found.mean_weight), (3.0, 1.0));
    }

    #[test]
    fn a_right_model_leaves_the_doubly_robust_estimate_without_noise() {
        // Arms earn 1 and 5 for certain; the method shows the second, the log either with 1/2.
        let arm = |item: usize| Decision {
            target: [0.0, 1.0][item],
            propensity: 0.5,
            reward: [1.0, 5.0][item],
            predicted: [1.0, 5.0][item],
            expected: 5.0,
        };
        let sessions: Vec<Vec<Decision>> = [0, 1, 1, 0, 0].map(|item| vec![arm(item)]).into();
        let found = OffPolicyEstimate::new(&sessions, 0);
        assert_eq!(found.doubly_robust, Estimate { value: 5.0, low: 5.0, high: 5.0 });
        assert_eq!(found.ips.value, 4.0, "two of five, each counted twice");
        assert_eq!((found.effective_sessions, found.mean_weight), (2.0, 0.8));
    }

    #[test]
    fn a_method_that_never_agrees_is_worth_what_the_model_says() {
        let never = Decision { target: 0.0, propensity: 0.5, reward: 1.0, predicted: 0.3, expected: 0.4 };
        let found = OffPolicyEstimate::new(&[vec![never], vec![never]], 0);
        assert_eq!((found.ips.value, found.snips.value, found.effective_sessions), (0.0, 0.0, 0.0));
        assert_eq!(found.doubly_robust.value, 0.4);
    }
}
