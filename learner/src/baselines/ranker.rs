//! Scores of candidates in a state of a session.
//!
//! In: a [`SessionState`] and candidate ids; out: one score a candidate, larger is better. The score of a supervised
//! method is the expected reward, P(click) + 4 P(order), or grows with it.

use common::ItemId;

use super::Step;

/// What is known of a session before a step. The same for all methods.
#[derive(Clone, Copy, Debug)]
pub struct SessionState<'a> {
    /// The user of the log, whose other sessions a method may know; `None` for a stranger, as all users of worlds are.
    pub user: Option<u64>,
    /// `[3, N]` skipped, clicked and ordered window, see [`common::history`].
    pub windows: &'a [ItemId],
    /// What the session has shown, oldest first. The windows may reach further back.
    pub shown: &'a [Step],
}

impl SessionState<'_> {
    /// Steps of the session so far.
    pub fn step(&self) -> usize {
        self.shown.len()
    }
}

/// A fitted method as a scorer. Scores depend on the state and the candidate only: neither on earlier calls nor on the
/// other candidates. Holds no tensor of torch, so that it may run on any thread.
pub trait Ranker: Send {
    /// What the tables call it.
    fn name(&self) -> &str;

    /// Fills `scores` `[C]` for `candidates` `[C]`, all finite.
    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]);

    /// The same for another thread.
    fn fork(&self) -> Box<dyn Ranker>;
}

/// P(click) + 4 P(order) of logits of skip, click and order, where an order is a click too.
#[cfg(any(test, feature = "torch"))]
pub(super) fn expected_reward(logits: &[f32]) -> f32 {
    use common::Feedback;

    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f32 = weights.iter().sum();
    weights.iter().zip(Feedback::ALL).map(|(weight, feedback)| weight * feedback.reward()).sum::<f32>()
        / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_counts_five() {
        let logits = [0.5_f32, 0.3, 0.2].map(|p| p.ln() + 3.0);
        assert!((expected_reward(&logits) - 1.3).abs() < 1e-6);
    }
}
