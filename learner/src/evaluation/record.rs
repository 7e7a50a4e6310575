//! What is kept of an evaluated session: one small row a step.

use common::{Feedback, ItemId, SessionId, transition::Ending};

/// One step of an evaluated session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// The item shown.
    pub item: ItemId,
    /// What the user did with it.
    pub feedback: Feedback,
    /// True p_click and p_order|click of the item when it was shown; `None` where the world does not know them.
    pub truth: Option<(f32, f32)>,
    /// r_in = cos(a, g^i) of the active goal (Eq 11); 0 where no goal is active.
    pub internal: f32,
}

/// One evaluated session, to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// Its steps in order.
    pub steps: Vec<StepRecord>,
    /// Left by the user (terminated) or cut at its length (truncated).
    pub ending: Ending,
}

impl SessionRecord {
    /// Steps with this feedback.
    pub fn count(&self, feedback: Feedback) -> u32 {
        self.steps.iter().filter(|step| step.feedback == feedback).count() as u32
    }

    /// Reward in expectation over the user's draws given what was shown, Σ p_click (1 + 4 p_order); `None` where the
    /// world does not know its truth.
    pub fn expected_reward(&self) -> Option<f64> {
        self.expectation(|p_click, p_order| p_click * (1.0 + 4.0 * p_order))
    }

    /// The part of it from orders, Σ 5 p_click p_order.
    pub fn expected_order_reward(&self) -> Option<f64> {
        self.expectation(|p_click, p_order| f64::from(Feedback::Order.reward()) * p_click * p_order)
    }

    fn expectation(&self, of: impl Fn(f64, f64) -> f64) -> Option<f64> {
        self.steps.iter().try_fold(0.0, |sum, step| {
            let (p_click, p_order) = step.truth?;
            Some(sum + of(f64::from(p_click), f64::from(p_order)))
        })
    }
}
