//! The targets of Eqs 14 and 17 and the first critic losses of the oracle's cases (tests/fixtures/oracle), computed
//! by an independent program in f64: both levels' actors and critics end to end, at every instruction level.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use agent::{Guidance, Policy, Scratch, Sessions, Weights};
use common::{
    ItemId, ItemTable,
    config::{Config, CriticAction, CriticOutput, GoalConditioning, ModelConfig, Preset},
};
use kernels::Level;
use safetensors::SafeTensors;

/// Largest error over largest value, of f32 against f64.
const TOLERANCE: f64 = 1e-4;

struct Case<'a> {
    tensors: SafeTensors<'a>,
    settings: HashMap<String, String>,
}

impl Case<'_> {
    fn setting<T: std::str::FromStr>(&self, name: &str) -> T {
        self.settings[name].parse().unwrap_or_else(|_| panic!("setting {name} = {}", self.settings[name]))
    }

    fn floats(&self, name: &str) -> Vec<f64> {
        let data = self.tensors.tensor(name).unwrap().data().chunks_exact(8);
        data.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn singles(&self, name: &str) -> Vec<f32> {
        self.floats(name).into_iter().map(|x| x as f32).collect()
    }

    fn ids(&self, name: &str) -> Vec<ItemId> {
        let data = self.tensors.tensor(name).unwrap().data().chunks_exact(8);
        let id = |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap());
        data.map(|b| u32::try_from(id(b)).map_or(ItemId::PADDING, ItemId)).collect()
    }

    fn model(&self) -> ModelConfig {
        ModelConfig {
            n_dims: self.setting("n"),
            window: self.setting("N"),
            encoder_width: self.setting("width"),
            head_width: self.setting("head_width"),
            n_goals: self.setting("M"),
            period_steps: self.setting("c"),
            bound: self.setting("bound"),
            goal_conditioning: GoalConditioning::Reward,
            critic_output: match self.settings["critic_output"].as_str() {
                "relu" => CriticOutput::Relu,
                "softplus" => CriticOutput::Softplus,
                "linear" => CriticOutput::Linear,
                other => panic!("critic_output = {other}"),
            },
            critic_action: CriticAction::Raw,
            ..Config::preset(Preset::Paper).model
        }
    }

    fn items(&self, model: &ModelConfig) -> Arc<ItemTable> {
        let embeddings = self.singles("items");
        let n = embeddings.len() / model.n_dims;
        Arc::new(ItemTable::new(model.n_dims, model.bound, embeddings, vec![0; n], vec![0.0; n]).unwrap())
    }

    /// The initial networks, those whose name starts with `role` ("" or "target_").
    fn policy(&self, role: &str, level: Level) -> Policy {
        let mut weights = Weights::default();
        for (name, tensor) in self.tensors.iter() {
            let Some((agent, rest)) = name.strip_prefix("init/").and_then(|name| name.split_once('/')) else {
                continue;
            };
            let Some(rest) = rest.strip_prefix(role).filter(|rest| !rest.starts_with("target_")) else {
                continue;
            };
            weights.insert(format!("{agent}/{rest}"), tensor.shape().to_vec(), self.singles(name));
        }
        let model = self.model();
        Policy::new(&weights, &model, self.items(&model)).unwrap().with_level(level)
    }

    /// `[B, 3, N]` windows of a level's batch; `next` is "" or "next_".
    fn windows(&self, agent: &str, next: &str) -> Vec<ItemId> {
        let n: usize = self.setting("N");
        let part = |which: &str| self.ids(&format!("batch/0/{agent}/{next}{which}"));
        let (first, second) = (part("first"), part("second"));
        let none = vec![ItemId::PADDING; n];
        let rows = first.chunks_exact(n).zip(second.chunks_exact(n));
        let order = |(first, second)| match agent {
            "high" => [&none[..], first, second].concat(),
            _ => [first, second, &none[..]].concat(),
        };
        rows.flat_map(order).collect()
    }

    /// Values `[B, heads]` of `policy`'s critic for the actions given.
    fn q(&self, agent: &str, policy: &Policy, windows: &[ItemId], actions: &[f32]) -> Vec<f64> {
        let (mut scratch, sessions) = (Scratch::default(), Sessions::all(windows));
        let mut q = vec![0.0; actions.len() / policy.model().n_dims];
        match agent {
            "high" => policy.high_q(sessions, actions, &mut scratch, &mut q),
            _ => policy.low_q(sessions, Guidance::NONE, actions, &mut scratch, &mut q),
        }
        .unwrap();
        q.into_iter().map(f64::from).collect()
    }

    /// `[B, heads]` y = r + gamma (1 - terminated) Q(s'; pi(s')), all by the target networks.
    fn targets(&self, agent: &str, level: Level) -> Vec<f64> {
        let policy = self.policy("target_", level);
        let windows = self.windows(agent, "next_");
        let heads = if agent == "high" { policy.model().n_goals } else { 1 };
        let terminated = self.floats(&format!("batch/0/{agent}/terminated"));
        let mut actions = vec![0.0; terminated.len() * heads * policy.model().n_dims];
        let (mut scratch, sessions) = (Scratch::default(), Sessions::all(&windows));
        match agent {
            "high" => policy.goals(sessions, &mut scratch, &mut actions),
            _ => policy.virtual_actions(sessions, Guidance::NONE, &mut scratch, &mut actions),
        }
        let gamma: f64 = self.setting("gamma");
        let per_period = agent == "high" && self.settings["high_discount"] == "gamma_pow_c";
        let discount = if per_period { gamma.powi(self.setting("c")) } else { gamma };
        let q = self.q(agent, &policy, &windows, &actions);
        let reward = self.floats(&format!("expect/0/{agent}/reward"));
        (0..q.len()).map(|i| reward[i] + discount * (1.0 - terminated[i / heads]) * q[i]).collect()
    }

    /// Critic loss of each head before the first step: the mean over the batch of (y - Q)^2.
    fn critic_losses(&self, agent: &str, level: Level) -> Vec<f64> {
        let policy = self.policy("", level);
        let actions = match agent {
            "high" => self.singles("batch/0/high/goals"),
            _ => {
                let chosen = self.ids("batch/0/low/action_id");
                chosen.iter().flat_map(|&item| policy.items().embedding(item)).copied().collect()
            }
        };
        let q = self.q(agent, &policy, &self.windows(agent, ""), &actions);
        let y = self.floats(&format!("expect/0/{agent}/y"));
        let heads = if agent == "high" { policy.model().n_goals } else { 1 };
        let n_rows = (y.len() / heads) as f64;
        let squares = |head| (head..y.len()).step_by(heads).map(|i| (y[i] - q[i]).powi(2));
        (0..heads).map(|head| squares(head).sum::<f64>() / n_rows).collect()
    }
}

fn relative_error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let error = largest(&mut found.iter().zip(expected).map(|(a, b)| (a - b).abs()));
    error / largest(&mut expected.iter().map(|x| x.abs())).max(1e-12)
}

#[test]
fn targets_and_first_losses_equal_the_oracles() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/oracle");
    let folder = std::env::var_os("MAHRL_ORACLE_DIR").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let mut n_cases = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        n_cases += 1;
        let bytes = std::fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let settings = metadata.metadata().clone().unwrap();
        let case = Case { tensors: SafeTensors::deserialize(&bytes).unwrap(), settings };
        for level in Level::available() {
            for agent in ["high", "low"] {
                let error =
                    relative_error(&case.targets(agent, level), &case.floats(&format!("expect/0/{agent}/y")));
                assert!(error < TOLERANCE, "{path:?}, {agent}, {level}: targets off by {error}");
                // `sequential` evaluates the later heads after the first step.
                let sequential = case.settings["encoder_update"] == "sequential";
                let compared = if sequential { 1 } else { usize::MAX };
                let expected = case.floats(&format!("expect/0/{agent}/critic_loss"));
                let found = case.critic_losses(agent, level);
                let heads = expected.len().min(compared);
                let error = relative_error(&found[..heads], &expected[..heads]);
                assert!(error < TOLERANCE, "{path:?}, {agent}, {level}: losses off by {error}");
            }
        }
    }
    assert!(n_cases > 0, "no case in {folder:?}");
}
