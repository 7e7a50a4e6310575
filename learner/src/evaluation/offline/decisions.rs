//! The logged decisions of a log, as a method would have made them.
//!
//! In: a log with propensities and a ranker; out: for every step what the off-policy estimates need. The method's policy is
//! greedy: it shows one of the best-scored items of the catalogue that the session has not shown, each of equals with the
//! same chance. Candidates are the whole catalogue, so a log should hold one: of the Open Bandit data import one campaign.

use common::ItemId;

use crate::baselines::{InteractionLog, Ranker};

/// One logged step under a method's policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Probability that the method shows the logged item.
    pub target: f64,
    /// Probability with which it was shown.
    pub propensity: f64,
    /// What it earned: 0, 1 or 5.
    pub reward: f64,
    /// What the reward model expects of the logged item.
    pub predicted: f64,
    /// What it expects of the method's choice, Σ_a π(a) q(a).
    pub expected: f64,
}

/// A reward model that knows no context: the mean reward of each item, shrunk to the mean of all.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemMeans(Vec<f64>);

/// Impressions that the mean of all counts for.
const SHRINKAGE: f64 = 10.0;

impl ItemMeans {
    /// Of other sessions than those that are estimated on: the doubly robust estimate is unbiased then.
    pub fn fit(log: &InteractionLog, n_items: usize) -> Self {
        let mut sums = vec![(0.0, 0.0); n_items];
        for step in log.steps() {
            let (reward, shown) = &mut sums[step.item.row()];
            *reward += f64::from(step.feedback.reward());
            *shown += 1.0;
        }
        let total: f64 = sums.iter().map(|(reward, _)| reward).sum();
        let mean = total / log.n_steps().max(1) as f64;
        let of = |(reward, shown): (f64, f64)| (reward + SHRINKAGE * mean) / (shown + SHRINKAGE);
        Self(sums.into_iter().map(of).collect())
    }

    fn of(&self, item: ItemId) -> f64 {
        self.0[item.row()]
    }
}

/// The decisions of each session; `None` if a step has no propensity.
pub fn decisions(
    ranker: &mut dyn Ranker,
    log: &InteractionLog,
    model: &ItemMeans,
) -> Option<Vec<Vec<Decision>>> {
    if log.steps().iter().any(|step| step.propensity.is_none()) {
        return None;
    }
    let n_items = model.0.len();
    let mut is_shown = vec![false; n_items];
    let (mut candidates, mut scores): (Vec<ItemId>, Vec<f32>) = (Vec::new(), Vec::new());
    let mut sessions = Vec::with_capacity(log.n_sessions());
    for session in log.sessions() {
        let mut decisions = Vec::with_capacity(session.steps.len());
        session.replay(|state, step| {
            candidates.clear();
            candidates.extend((0..n_items as u32).map(ItemId).filter(|item| !is_shown[item.row()]));
            scores.resize(candidates.len(), 0.0);
            ranker.scores(state, &candidates, &mut scores);
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let best = || candidates.iter().zip(&scores).filter(|&(_, &score)| score == largest);
            let n_best = best().count().max(1) as f64;
            decisions.push(Decision {
                target: if best().any(|(&item, _)| item == step.item) { 1.0 / n_best } else { 0.0 },
                propensity: f64::from(step.propensity.unwrap_or(1.0)),
                reward: f64::from(step.feedback.reward()),
                predicted: model.of(step.item),
                expected: best().map(|(&item, _)| model.of(item)).sum::<f64>() / n_best,
            });
            is_shown[step.item.row()] = true;
        });
        session.steps.iter().for_each(|step| is_shown[step.item.row()] = false);
        sessions.push(decisions);
    }
    Some(sessions)
}

#[cfg(test)]
mod tests {
    use common::Feedback::{Click, Order, Skip};

    use super::*;
    use crate::{
        baselines::{SessionState, Step},
        evaluation::offline::{order::tests::By, ranking::Random},
    };

    /// One session that shows items 2 and 0 of three, each with probability 1/4.
    fn log() -> InteractionLog {
        let mut log = InteractionLog::new(1);
        let step = |item, feedback| Step { item: ItemId(item), feedback, propensity: Some(0.25) };
        log.push(0, &[ItemId::PADDING; 3], [step(2, Order), step(0, Skip)]);
        log
    }

    #[test]
    fn a_method_shows_its_best_item_that_is_left_and_equals_share() {
        let model = ItemMeans(vec![0.1, 0.2, 0.6]);
        let mut largest = By(|_: &SessionState<'_>, item: ItemId| item.0 as f32);
        let found = decisions(&mut largest, &log(), &model).unwrap().remove(0);
        let of = |target, reward, predicted, expected| Decision {
            target,
            propensity: 0.25,
            reward,
            predicted,
            expected,
        };
        // Item 2 first; once it is shown, item 1 is the best that is left.
        assert_eq!(found, [of(1.0, 5.0, 0.6, 0.6), of(0.0, 0.0, 0.1, 0.2)]);
        let found = decisions(&mut Random, &log(), &model).unwrap().remove(0);
        assert_eq!(found.iter().map(|d| d.target).collect::<Vec<_>>(), [1.0 / 3.0, 0.5]);
        assert!((found[0].expected - 0.3).abs() < 1e-12 && (found[1].expected - 0.15).abs() < 1e-12);
    }

    #[test]
    fn a_log_without_propensities_has_no_decisions() {
        let mut without = log();
        let step = Step { item: ItemId(1), feedback: Click, propensity: None };
        without.push(1, &[ItemId::PADDING; 3], [step]);
        assert_eq!(decisions(&mut Random, &without, &ItemMeans(vec![0.0; 3])), None);
    }

    #[test]
    fn rare_items_are_worth_about_the_mean() {
        // Mean reward 2.5; item 1 was never shown.
        let ItemMeans(means) = ItemMeans::fit(&log(), 3);
        assert_eq!(means, [25.0 / 11.0, 2.5, 30.0 / 11.0]);
    }
}
