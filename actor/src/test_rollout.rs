//! Rollouts in the tiny world, for the tests of this crate.

use std::{sync::Arc, time::Duration};

use agent::{Explorer, Policy, Weights};
use common::{
    PeriodLayout, Remainder,
    config::{Config, ExplorationConfig, GoalConditioning, ModelConfig, Preset},
};
use sim::Environment;

use crate::{
    Rollout, Share, VersionedPolicy,
    test_world::{N_DIMS, TestWorld, WINDOW},
};

pub(crate) const C: usize = 5;
pub(crate) const M: usize = 2;

/// Small networks.
pub(crate) fn model(goal_conditioning: GoalConditioning) -> ModelConfig {
    ModelConfig {
        n_dims: N_DIMS,
        window: WINDOW,
        encoder_width: 6,
        head_width: 6,
        n_goals: M,
        period_steps: C,
        goal_conditioning,
        ..Config::preset(Preset::Paper).model
    }
}

fn layout() -> PeriodLayout {
    PeriodLayout { n_goals: M, n_steps: C, remainder: Remainder::Drop }
}

fn explorer(goal_noise: f32, random_steps: u64) -> Explorer {
    let config = ExplorationConfig { goal_noise, action_noise: 0.3, random_items: 0.2, random_steps };
    Explorer::new(&config, 1.94, 7)
}

/// What a rollout is built from.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) slots: usize,
    pub(crate) length: usize,
    pub(crate) hazard: f32,
    pub(crate) conditioning: GoalConditioning,
    pub(crate) goal_noise: f32,
    pub(crate) share: Share,
    /// How long the world takes to answer.
    pub(crate) answers_after: Duration,
}

pub(crate) const CASE: Case = Case {
    slots: 3,
    length: 12,
    hazard: 0.0,
    conditioning: GoalConditioning::Reward,
    goal_noise: 0.1,
    share: Share { actor: 0, n_actors: 1 },
    answers_after: Duration::ZERO,
};

/// A rollout of a case, with the weights of version 4.
pub(crate) fn rollout(case: Case) -> Rollout {
    let mut world = TestWorld::new(case.slots, case.length, case.hazard);
    world.answers_after = case.answers_after;
    let model = model(case.conditioning);
    let weights = Weights::random(&model, 3);
    let policy = Policy::new(&weights, &model, Arc::clone(world.items())).unwrap();
    let policy = Arc::new(VersionedPolicy { version: 4, learner_step: 40, policy });
    Rollout::new(Box::new(world), policy, explorer(case.goal_noise, 0), layout(), case.share).unwrap()
}
