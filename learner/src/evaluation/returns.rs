//! Monte-Carlo returns of a policy, to hold beside the critics' average Q.
//!
//! In: evaluated sessions; out: per level the discounted sum of the rewards that the critics are trained on, from the
//! first step and as the mean over all steps. A truncated session has no rewards behind its last step while the critics
//! bootstrap there, so that the returns lie below Q by what the rest would have brought: compare curves at a discount
//! whose horizon 1/(1-gamma) is short beside the sessions.
//!
//! Low: Σ_k gamma^k (r_ex + alpha r_in) (Eqs 10, 17), with and without r_in. High, head i: Σ_k gamma_h^k r^h_i of the
//! period k (Eqs 12-14).

use common::{
    PeriodLayout,
    config::{Assignment, Config, HighDiscount, PartialPeriods},
};
use serde::{Deserialize, Serialize};

use super::{Estimate, SessionRecord, statistics::mean};

/// Mean returns of one level or head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelReturn {
    /// From the first step (or period) of a session, mean over sessions.
    pub from_start: Estimate,
    /// From every step (or period) on; the mean over those of a session, then over sessions.
    pub from_every_step: Estimate,
}

/// Returns of both levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonteCarloReturns {
    /// Low level, r_ex alone.
    pub low_external: LevelReturn,
    /// Low level, the reward that its critic learns: r_ex + alpha r_in, without r_in where goals are in the state only.
    pub low: LevelReturn,
    /// `[M]` high level, one a head; none without a high-level agent.
    pub high: Vec<LevelReturn>,
}

impl MonteCarloReturns {
    /// The returns of the rewards that `config` trains on. `seed` is the bootstrap's.
    pub fn new(records: &[SessionRecord], config: &Config, seed: u64) -> Self {
        let algorithm = &config.algorithm;
        let layout = config.period_layout();
        let in_reward = config.model.goal_conditioning.in_reward();
        let alpha = if in_reward { f64::from(algorithm.internal_weight) } else { 0.0 };
        let discount = algorithm.discount;
        let high_discount = match algorithm.high_discount {
            HighDiscount::Gamma => discount,
            HighDiscount::GammaPowC => discount.powi(layout.n_steps as i32),
        };
        let low = |alpha: f64| {
            let rewards = |record: &SessionRecord| -> Vec<f64> {
                let reward = |r_ex: f32, r_in: f32| f64::from(r_ex) + alpha * f64::from(r_in);
                record.steps.iter().map(|step| reward(step.feedback.reward(), step.internal)).collect()
            };
            level_return(records.iter().map(rewards), discount, seed)
        };
        let periods: Vec<Vec<Vec<f64>>> = records
            .iter()
            .map(|record| {
                let rewards: Vec<f32> = record.steps.iter().map(|step| step.feedback.reward()).collect();
                let kept = |steps: &&[f32]| {
                    steps.len() == layout.n_steps || algorithm.partial_periods == PartialPeriods::Keep
                };
                let chunks = rewards.chunks(layout.n_steps).filter(kept);
                chunks
                    .map(|steps| high_rewards(&layout, algorithm.assignment, algorithm.beta, steps))
                    .collect()
            })
            .collect();
        let head = |i: usize| {
            let rewards = periods.iter().map(|session| session.iter().map(|heads| heads[i]).collect());
            level_return(rewards, high_discount, seed)
        };
        Self { low_external: low(0.0), low: low(alpha), high: (0..layout.n_goals).map(head).collect() }
    }
}

/// r^h_i `[M]` of a period (Eqs 12, 13) from the external rewards of its steps, at most c.
fn high_rewards(layout: &PeriodLayout, assignment: Assignment, beta: f32, rewards: &[f32]) -> Vec<f64> {
    let mut phi = vec![0.0; layout.n_goals];
    for (position, &reward) in rewards.iter().enumerate() {
        if let Some(i) = layout.sub_period(position) {
            phi[i] += f64::from(reward);
        }
    }
    let beta = f64::from(beta);
    match assignment {
        Assignment::Naive => {}
        // Eq 13: phi'_i = phi_i + beta phi'_{i-1}.
        Assignment::Paper => (1..phi.len()).for_each(|i| phi[i] += beta * phi[i - 1]),
        Assignment::Causal => {
            (0..phi.len().saturating_sub(1)).rev().for_each(|i| phi[i] += beta * phi[i + 1])
        }
    }
    phi
}

/// Means over sessions of their discounted returns. A session without a reward (all its periods dropped) counts as 0.
fn level_return(sessions: impl Iterator<Item = Vec<f64>>, discount: f64, seed: u64) -> LevelReturn {
    let (from_start, from_every_step): (Vec<f64>, Vec<f64>) = sessions
        .map(|rewards| {
            let mut to_go = 0.0;
            let mut sum = 0.0;
            for reward in rewards.iter().rev() {
                to_go = reward + discount * to_go;
                sum += to_go;
            }
            (to_go, sum / rewards.len().max(1) as f64)
        })
        .unzip();
    LevelReturn { from_start: mean(&from_start, seed), from_every_step: mean(&from_every_step, seed) }
}

#[cfg(test)]
mod tests {
    use common::{Feedback, ItemId, Remainder, transition::Ending};

    use super::*;
    use crate::evaluation::record::StepRecord;

    fn layout(n_goals: usize, remainder: Remainder) -> PeriodLayout {
        PeriodLayout { n_goals, n_steps: 10, remainder }
    }

    #[test]
    fn golden_high_rewards() {
        let rewards: Vec<f32> = (1..=10).map(|r| r as f32).collect();
        let paper = |m, remainder| high_rewards(&layout(m, remainder), Assignment::Paper, 0.5, &rewards);
        assert_eq!(paper(2, Remainder::Last), [15.0, 47.5]);
        assert_eq!(paper(3, Remainder::Last), [6.0, 18.0, 43.0]);
        assert_eq!(paper(3, Remainder::Drop), [6.0, 18.0, 33.0]);
        let naive = high_rewards(&layout(2, Remainder::Last), Assignment::Naive, 0.5, &rewards);
        assert_eq!(naive, [15.0, 40.0]);
        let causal = high_rewards(&layout(2, Remainder::Last), Assignment::Causal, 0.5, &rewards);
        assert_eq!(causal, [35.0, 40.0]);
        let nobody = high_rewards(&layout(0, Remainder::Last), Assignment::Causal, 0.5, &rewards);
        assert!(nobody.is_empty());
    }

    #[test]
    fn returns_are_discounted_sums_per_level() {
        let step = |feedback, internal| StepRecord { item: ItemId(0), feedback, truth: None, internal };
        let steps = vec![step(Feedback::Click, 0.5), step(Feedback::Skip, -1.0), step(Feedback::Order, 0.25)];
        let record = |session| SessionRecord { session, steps: steps.clone(), ending: Ending::Truncated };
        let mut config = Config::default();
        config.model.n_goals = 1;
        config.model.period_steps = 2;
        config.algorithm.discount = 0.5;
        config.algorithm.internal_weight = 2.0;
        config.algorithm.high_discount = HighDiscount::GammaPowC;
        let returns = MonteCarloReturns::new(&[record(0), record(1)], &config, 0);
        // 1 + 0/2 + 5/4; from the second step on 2.5; from the last 5.
        assert_eq!(returns.low_external.from_start.value, 2.25);
        assert_eq!(returns.low_external.from_every_step.value, (2.25 + 2.5 + 5.0) / 3.0);
        // r_in adds 2 (0.5 - 1/2 + 0.25/4).
        assert_eq!(returns.low.from_start.value, 2.25 + 0.125);
        // Periods of rewards 1 and 5, the second one partial; gamma^2 = 1/4.
        assert_eq!(returns.high.len(), 1);
        assert_eq!(returns.high[0].from_start.value, 2.25);
        config.algorithm.partial_periods = PartialPeriods::Drop;
        let returns = MonteCarloReturns::new(&[record(0), record(1)], &config, 0);
        assert_eq!(returns.high[0].from_start.value, 1.0);
    }
}
