//! What the tests of methods that act while they learn share: a small world, and what a policy earns there.

use common::{Feedback, ItemId, transition::Ending};
use sim::{Environment, Outcome, ShopWorld, ShopWorldSettings, Variant};

use crate::evaluation::EvaluatedPolicy;

/// Steps of a session.
const LENGTH: usize = 15;
/// Test sessions behind a mean.
const SESSIONS: usize = 256;

/// The world with many clicks, few candidates, short sessions.
pub(super) fn world(n_slots: usize, candidates: usize) -> ShopWorld {
    ShopWorld::of_variant(ShopWorldSettings {
        variant: Variant::Dense,
        n_slots,
        session_length: LENGTH,
        candidates,
        warmup_steps: 15,
        ..ShopWorldSettings::default()
    })
    .unwrap()
}

/// Mean reward of 256 test sessions; its standard error is about 2 %.
pub(super) fn reward(world: &mut ShopWorld, policy: &mut dyn EvaluatedPolicy) -> f64 {
    let n_slots = world.n_slots();
    let mut actions = vec![ItemId::PADDING; n_slots];
    let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_slots];
    let mut sum = 0.0;
    for first in (0..SESSIONS).step_by(n_slots) {
        (0..n_slots).for_each(|slot| world.begin(slot, (1 << 41) + (first + slot) as u64));
        for _ in 0..LENGTH {
            policy.choose(world, &mut actions).unwrap();
            world.step(&actions, &mut outcomes).unwrap();
            sum += outcomes.iter().map(|outcome| f64::from(outcome.feedback.reward())).sum::<f64>();
        }
    }
    sum / SESSIONS as f64
}
