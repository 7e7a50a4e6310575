//! MaHRL's agents as a compared method: goals every c steps, a virtual action every step, Eq 9; no noise. Without a
//! high-level agent (M = 0) there are no goals.

use std::sync::Arc;

use agent::{Chooser, Guidance, NO_GOAL, Policy, Scratch, Sessions};
use common::{ItemId, PeriodLayout, SessionId};
use sim::Environment;

use super::{Error, EvaluatedPolicy, Hierarchy};

/// Frozen agents.
pub struct AgentPolicy {
    name: String,
    policy: Arc<Policy>,
    chooser: Chooser,
    layout: PeriodLayout,
    /// `[E, M, n]` goals of the period each slot is in.
    goals: Vec<f32>,
    /// `[E]` number of the active goal.
    active: Vec<u8>,
    /// Slots whose period begins.
    starting: Vec<usize>,
    /// `[E, n]`.
    virtual_actions: Vec<f32>,
    scratch: Scratch,
}

impl AgentPolicy {
    /// The agents under a name; `layout` is the run's.
    pub fn new(name: &str, policy: Arc<Policy>, layout: PeriodLayout) -> Self {
        Self {
            name: name.to_owned(),
            chooser: Chooser::new(Arc::clone(policy.items()), policy.model().item_search),
            policy,
            layout,
            goals: Vec::new(),
            active: Vec::new(),
            starting: Vec::new(),
            virtual_actions: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::Policy { policy: self.name.clone(), problem }
    }
}

impl EvaluatedPolicy for AgentPolicy {
    fn name(&self) -> &str {
        &self.name
    }

    /// Nothing to forget: at step 0 of a session its goals are set anew.
    fn begin(&mut self, _slot: usize, _session: SessionId) {}

    fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error> {
        let (n_slots, model) = (environment.n_slots(), self.policy.model());
        let n_dims = environment.items().n_dims();
        for (what, of_policy, of_world) in [
            ("embedding size n", model.n_dims, n_dims),
            ("history window N", model.window, environment.window()),
        ] {
            if of_policy != of_world {
                return Err(self.error(format!("its {what} is {of_policy}, the world's is {of_world}")));
            }
        }
        self.goals.resize(n_slots * self.layout.n_goals * n_dims, 0.0);
        self.virtual_actions.resize(n_slots * n_dims, 0.0);
        self.starting.clear();
        self.active.clear();
        for slot in 0..n_slots {
            let position = (environment.step_number(slot) % self.layout.n_steps as u64) as usize;
            if position == 0 {
                self.starting.push(slot);
            }
            self.active.push(self.layout.sub_period(position).map_or(NO_GOAL, |i| i as u8));
        }
        // Eq 4, every c steps
        let windows = environment.windows();
        let starting = Sessions { windows, selected: Some(&self.starting) };
        self.policy.goals(starting, &mut self.scratch, &mut self.goals);
        // Eq 7
        let guidance = Guidance { goals: &self.goals, active: &self.active };
        let (scratch, virtual_actions) = (&mut self.scratch, &mut self.virtual_actions);
        self.policy.virtual_actions(Sessions::all(windows), guidance, scratch, virtual_actions);
        // Eq 9
        self.chooser.begin(&self.policy, Sessions::all(windows), guidance);
        let directions = self.virtual_actions.chunks_exact(n_dims).zip(environment.recall());
        for (row, (action, recall)) in directions.enumerate() {
            let item = self.chooser.choose(&self.policy, row, action, recall);
            let none = || agent::Error::NoCandidate { row };
            actions[row] = item.ok_or_else(none).map_err(|e| self.error(e.to_string()))?;
        }
        Ok(())
    }

    fn hierarchy(&self) -> Option<Hierarchy<'_>> {
        (self.layout.n_goals > 0).then_some(Hierarchy { layout: self.layout, goals: &self.goals })
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(Self::new(&self.name, Arc::clone(&self.policy), self.layout))
    }
}

#[cfg(test)]
mod tests {
    use common::{
        Remainder,
        config::{Config, GoalConditioning, ModelConfig, Preset},
    };

    use super::*;
    use crate::evaluation::{
        EvaluationSettings, roll_out,
        test_world::{N_DIMS, TestWorld, WINDOW, settings, worlds},
    };

    fn model(goal_conditioning: GoalConditioning) -> ModelConfig {
        ModelConfig {
            n_dims: N_DIMS,
            window: WINDOW,
            encoder_width: 6,
            head_width: 6,
            n_goals: 2,
            period_steps: 5,
            goal_conditioning,
            ..Config::preset(Preset::Paper).model
        }
    }

    fn agents(goal_conditioning: GoalConditioning) -> AgentPolicy {
        let items = Arc::clone(TestWorld::new(1, 1, 0.0).items());
        let policy = Policy::random(&model(goal_conditioning), items, 3).unwrap();
        let layout = PeriodLayout { n_goals: 2, n_steps: 5, remainder: Remainder::Drop };
        AgentPolicy::new("MaHRL", Arc::new(policy), layout)
    }

    #[test]
    fn neither_slots_nor_threads_show_in_the_courses() {
        for conditioning in [GoalConditioning::Reward, GoalConditioning::State] {
            let play = |slots, threads| {
                let settings = EvaluationSettings { slots, threads, ..settings(20) };
                roll_out(&mut agents(conditioning), &worlds(0.1), &settings).unwrap()
            };
            assert_eq!(play(1, 1), play(7, 2));
        }
    }

    #[test]
    fn the_internal_reward_is_a_cosine_and_zero_where_no_goal_is_active() {
        let rollouts = roll_out(&mut agents(GoalConditioning::Reward), &worlds(0.0), &settings(20)).unwrap();
        for record in &rollouts.records {
            for (t, step) in record.steps.iter().enumerate() {
                // c = 5, M = 2, `drop`: position 4 has no goal.
                assert_eq!(step.internal == 0.0, t % 5 == 4, "step {t}: {}", step.internal);
                assert!(step.internal.abs() <= 1.0);
            }
        }
    }

    #[test]
    fn a_world_of_another_window_is_refused_by_name() {
        let items = Arc::clone(TestWorld::new(1, 1, 0.0).items());
        let model = ModelConfig { window: 4, ..model(GoalConditioning::Reward) };
        let policy = Policy::random(&model, items, 3).unwrap();
        let layout = PeriodLayout { n_goals: 2, n_steps: 5, remainder: Remainder::Drop };
        let mut agents = AgentPolicy::new("MaHRL", Arc::new(policy), layout);
        let error = roll_out(&mut agents, &worlds(0.0), &settings(4)).unwrap_err().to_string();
        assert!(error.contains("MaHRL") && error.contains("history window N is 4"), "{error}");
    }
}
