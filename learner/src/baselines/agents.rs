//! Trained agents of any preset behind the seam of all methods: MaHRL, DDPG+, HRL-S, ...
//!
//! In: a policy with its critics, the settings of its run; out: the policy as in every evaluation, and a ranker by the
//! low-level critic ([`AgentRanker`]). They are trained by `learner train`, not by a [`super::Method`]: a training has a
//! run directory of its own.

use std::{path::Path, sync::Arc};

use agent::{Network, Policy, Weights};
use common::{ItemTable, PeriodLayout, config::Config};

use super::{Error, Fitted, Ranker};
use crate::{
    evaluation::{AgentPolicy, EvaluatedPolicy, offline::AgentRanker},
    run_dir,
};

/// Frozen agents with their critics.
#[derive(Clone, Debug)]
pub struct TrainedAgents {
    name: &'static str,
    layout: PeriodLayout,
    /// For [`Fitted::save`].
    weights: Arc<Weights<'static>>,
    policy: Arc<Policy>,
}

impl TrainedAgents {
    /// The agents of a file that a run left, `policy.safetensors`; `config` is that run's.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds agents of other settings or none with critics.
    pub fn load(path: &Path, config: &Config, items: &Arc<ItemTable>) -> Result<Self, Error> {
        let (name, method) = (path.display().to_string(), config.method());
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: name.clone(), source })?;
        let refuse =
            |error: agent::Error| Error::Format { path: name.clone(), method, problem: error.to_string() };
        let weights = Weights::from_safetensors(&bytes).map_err(refuse)?;
        if !weights.contains(Network::LowCritic) {
            return Err(refuse(agent::Error::NoCritic(Network::LowCritic)));
        }
        let policy = Policy::new(&weights, &config.model, Arc::clone(items)).map_err(refuse)?;
        Ok(Self {
            name: method,
            layout: config.period_layout(),
            weights: Arc::new(weights.into_owned()),
            policy: Arc::new(policy),
        })
    }
}

impl Fitted for TrainedAgents {
    fn ranker(&self) -> Box<dyn Ranker> {
        let ranker = AgentRanker::new(self.name, Arc::clone(&self.policy), self.layout);
        Box::new(ranker.expect("agents without a critic were refused when they were loaded"))
    }

    fn policy(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(AgentPolicy::new(self.name, Arc::clone(&self.policy), self.layout))
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        run_dir::write_whole(path, &self.weights.to_safetensors()).map_err(|error| Error::File {
            path: path.display().to_string(),
            source: std::io::Error::other(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use common::ItemId;
    use common::config::{GoalConditioning, Preset};

    use super::*;
    use crate::baselines::SessionState;

    fn items() -> Arc<ItemTable> {
        let embeddings = (0..12).map(|k| ((k * 7) % 11) as f32 / 6.0 - 0.8).collect();
        Arc::new(ItemTable::new(3, 1.94, embeddings, vec![0; 4], vec![0.0; 4]).unwrap())
    }

    fn config(preset: Preset) -> Config {
        let mut config = Config::preset(preset);
        let model = &mut config.model;
        (model.n_dims, model.window, model.encoder_width, model.head_width) = (3, 2, 4, 5);
        config
    }

    fn scores(ranker: &mut dyn Ranker, candidates: &[u32]) -> Vec<f32> {
        let windows = [0, 1, 2, 3, 1, 1].map(ItemId);
        let state = SessionState { user: None, windows: &windows, shown: &[] };
        let mut scores = vec![0.0; candidates.len()];
        let candidates: Vec<ItemId> = candidates.iter().map(|id| ItemId(*id)).collect();
        ranker.scores(&state, &candidates, &mut scores);
        scores
    }

    #[test]
    fn agents_of_every_preset_rank_as_saved_and_one_candidate_as_among_others() {
        let folder = tempfile::tempdir().unwrap();
        for preset in Preset::ALL {
            let (config, path) = (config(preset), folder.path().join("policy.safetensors"));
            std::fs::write(&path, Weights::random(&config.model, 5).to_safetensors()).unwrap();
            let agents = TrainedAgents::load(&path, &config, &items()).unwrap();
            agents.save(&path).unwrap();
            let again = TrainedAgents::load(&path, &config, &items()).unwrap();
            let found = scores(&mut *agents.ranker(), &[3, 0, 2]);
            assert_eq!(found, scores(&mut *again.ranker().fork(), &[3, 0, 2]));
            assert_eq!(found[2..], scores(&mut *agents.ranker(), &[2]));
            assert!(scores(&mut *agents.ranker(), &[]).is_empty());
            assert_eq!(agents.policy().name(), config.method());
        }
    }

    #[test]
    fn other_settings_and_agents_without_critics_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        let mut weights = Weights::random(&config(Preset::Tuned).model, 5);
        std::fs::write(&path, weights.to_safetensors()).unwrap();
        let mut other = config(Preset::Tuned);
        other.model.goal_conditioning = GoalConditioning::State;
        let refused = TrainedAgents::load(&path, &other, &items()).err().unwrap().to_string();
        assert!(refused.contains("policy.safetensors holds no HRL-S that fits"), "{refused}");
        weights.remove(Network::LowCritic);
        std::fs::write(&path, weights.to_safetensors()).unwrap();
        let refused = TrainedAgents::load(&path, &config(Preset::Tuned), &items()).err().unwrap();
        assert!(refused.to_string().ends_with("the weights hold no low-level critic"), "{refused}");
    }
}
