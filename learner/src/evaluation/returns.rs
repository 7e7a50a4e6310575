//! Monte-Carlo returns of a policy, to hold beside the critics' average Q.
//!
//! In: evaluated sessions; out: per level the discounted sum of the rewards that the critics are trained on, from the
//! first step and as the mean over all steps. A truncated session has no rewards behind its last step while the critics
//! bootstrap there (D13), so that these returns lie below an exact critic's Q by what the rest would have brought: at a
//! horizon 1/(1-gamma) as long as the sessions, by half of it. What a Q is to be held against is therefore the return
//! extrapolated: as if the session had gone on for ever and brought what it brought so far.
//!
//! Low: Σ_k gamma^k (r_ex + alpha r_in) (Eqs 10, 17), with and without r_in. High, head i: Σ_k gamma_h^k r^h_i of the
//! period k (Eqs 12-14).

use common::{
    PeriodLayout,
    config::{Assignment, Config, HighDiscount, PartialPeriods},
    transition::Ending,
};
use serde::{Deserialize, Serialize};

use super::{Estimate, SessionRecord, record::StepRecord, statistics::mean};

/// Mean returns of one level or head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelReturn {
    /// From the first step (or period) of a session, mean over sessions.
    pub from_start: Estimate,
    /// From every step (or period) on; the mean over those of a session, then over sessions.
    pub from_every_step: Estimate,
    /// The same, of a truncated session over the share of it that falls into the session where every step brings 1.
    pub extrapolated: Estimate,
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
            let rewards = |record: &SessionRecord| {
                let reward = |r_ex: f32, r_in: f32| f64::from(r_ex) + alpha * f64::from(r_in);
                let of_step = |step: &StepRecord| reward(step.feedback.reward(), step.internal);
                Rewards {
                    own: record.steps.iter().map(of_step).collect(),
                    of_ones: vec![1.0; record.steps.len()],
                    of_one_on: 1.0,
                    goes_on: record.ending == Ending::Truncated,
                }
            };
            level_return(records.iter().map(rewards), discount, seed)
        };
        let of_period = |steps: &[f32]| high_rewards(&layout, algorithm.assignment, algorithm.beta, steps);
        let kept = |steps: &&[f32]| {
            steps.len() == layout.n_steps || algorithm.partial_periods == PartialPeriods::Keep
        };
        let periods = |rewards: &[f32]| -> Vec<Vec<f64>> {
            rewards.chunks(layout.n_steps).filter(kept).map(of_period).collect()
        };
        let sessions: Vec<[Vec<Vec<f64>>; 2]> = records
            .iter()
            .map(|record| {
                let own: Vec<f32> = record.steps.iter().map(|step| step.feedback.reward()).collect();
                [periods(&own), periods(&vec![1.0; own.len()])]
            })
            .collect();
        let of_one_on = of_period(&vec![1.0; layout.n_steps]);
        let head = |i: usize| {
            let rewards = records.iter().zip(&sessions).map(|(record, periods)| {
                let [own, of_ones] =
                    periods.each_ref().map(|periods| periods.iter().map(|heads| heads[i]).collect());
                Rewards { own, of_ones, of_one_on: of_one_on[i], goes_on: record.ending == Ending::Truncated }
            });
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

/// What a session brings a level, one a step (or period).
struct Rewards {
    own: Vec<f64>,
    /// What it would bring if r_ex were 1 at every step.
    of_ones: Vec<f64>,
    /// The same of every step (or period) behind the last.
    of_one_on: f64,
    /// Whether it was truncated: the user was still there.
    goes_on: bool,
}

impl Rewards {
    /// The mean of the returns from every step on, see [`LevelReturn::extrapolated`]. Without a discount nothing that goes on
    /// for ever has a return: as it is.
    fn extrapolated(&self, discount: f64) -> f64 {
        let (_, own) = to_go(&self.own, discount);
        let (_, within) = to_go(&self.of_ones, discount);
        if self.goes_on && discount < 1.0 && within > 0.0 {
            own / within * self.of_one_on / (1.0 - discount)
        } else {
            own / self.own.len().max(1) as f64
        }
    }
}

/// The discounted return from the first step on, and the sum of those from every step on.
fn to_go(rewards: &[f64], discount: f64) -> (f64, f64) {
    rewards.iter().rev().fold((0.0, 0.0), |(to_go, sum), reward| {
        let to_go = reward + discount * to_go;
        (to_go, sum + to_go)
    })
}

/// Means over sessions of their discounted returns. A session without a reward (all its periods dropped) counts as 0.
fn level_return(sessions: impl Iterator<Item = Rewards>, discount: f64, seed: u64) -> LevelReturn {
    let (mut from_start, mut from_every_step, mut extrapolated) = (Vec::new(), Vec::new(), Vec::new());
    for rewards in sessions {
        let (first, sum) = to_go(&rewards.own, discount);
        from_start.push(first);
        from_every_step.push(sum / rewards.own.len().max(1) as f64);
        extrapolated.push(rewards.extrapolated(discount));
    }
    LevelReturn {
        from_start: mean(&from_start, seed),
        from_every_step: mean(&from_every_step, seed),
        extrapolated: mean(&extrapolated, seed),
    }
}

#[cfg(test)]
mod tests {
    use common::{Feedback, ItemId, Remainder};

    use super::*;

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

    /// Sessions whose every step is a click, r_ex = 1: the Q of an exact critic is known.
    fn clicks(n_steps: usize, ending: Ending, change: impl FnOnce(&mut Config)) -> MonteCarloReturns {
        let step = StepRecord { item: ItemId(0), feedback: Feedback::Click, truth: None, internal: 0.5 };
        let record = |session| SessionRecord { session, steps: vec![step; n_steps], ending };
        let mut config = Config::default();
        config.algorithm = Config::preset(common::config::Preset::Paper).algorithm;
        (config.algorithm.discount, config.algorithm.high_discount) = (0.8, HighDiscount::Gamma);
        change(&mut config);
        MonteCarloReturns::new(&[record(0), record(1)], &config, 0)
    }

    #[test]
    fn extrapolated_returns_of_a_constant_reward_are_the_q_of_an_exact_critic() {
        for (goals, steps) in [(1, 10), (2, 10), (4, 10), (3, 12)] {
            let returns = clicks(50, Ending::Truncated, |config| {
                (config.model.n_goals, config.model.period_steps) = (goals, steps);
                config.algorithm.remainder = Remainder::Last;
            });
            assert!((returns.low_external.extrapolated.value - 5.0).abs() < 1e-9);
            assert!(
                (returns.low.extrapolated.value / returns.low_external.extrapolated.value
                    - returns.low.from_every_step.value / returns.low_external.from_every_step.value)
                    .abs()
                    < 1e-9
            );
            // Eq 13 with beta = 1: head i counts the sub-periods up to its own.
            for (i, head) in returns.high.iter().enumerate() {
                let steps = PeriodLayout { n_goals: goals, n_steps: steps, remainder: Remainder::Last };
                let counted = (0..steps.n_steps).filter(|&k| steps.sub_period(k).is_some_and(|j| j <= i));
                let q = counted.count() as f64 / (1.0 - 0.8);
                assert!((head.extrapolated.value - q).abs() < 1e-9, "{goals} {i}: {head:?} for {q}");
                assert!(head.from_every_step.value < 0.7 * q);
            }
        }
    }

    #[test]
    fn nothing_comes_behind_a_user_who_left_and_nothing_is_made_of_no_discount() {
        let left = clicks(30, Ending::Terminated, |_| ());
        assert_eq!(left.low.extrapolated, left.low.from_every_step);
        assert_eq!(left.high[0].extrapolated, left.high[0].from_every_step);
        let undiscounted = clicks(30, Ending::Truncated, |config| config.algorithm.discount = 1.0);
        assert_eq!(undiscounted.low.extrapolated, undiscounted.low.from_every_step);
        let dropped = clicks(3, Ending::Truncated, |config| {
            config.algorithm.partial_periods = PartialPeriods::Drop;
        });
        assert_eq!(dropped.high[0].extrapolated.value, 0.0);
    }
}
