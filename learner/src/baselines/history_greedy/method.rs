//! History-greedy behind the seam of all methods. It learns by acting: the log is not used.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use common::{ItemId, ItemTable, history::N_WINDOWS};

use super::{Error, HistoryGreedy, NAME, Settings, features::window_means, train};
use crate::{
    baselines::{self, Budget, Fitted, Method, OnProgress, Progress, Ranker, SessionState, TrainingData},
    evaluation::{EvaluatedPolicy, Users},
};

/// History-greedy with a budget.
#[derive(Clone, Debug)]
pub struct HistoryGreedyMethod {
    settings: Settings,
}

impl HistoryGreedyMethod {
    /// With the settings of a budget.
    pub fn new(budget: Budget) -> Self {
        let settings = match budget {
            Budget::Quick => Settings::quick(),
            Budget::Full => Settings::default(),
        };
        Self { settings }
    }

    /// With settings of one's own; seed and first session are those of the data.
    pub fn with(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Method for HistoryGreedyMethod {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(
        &self,
        data: &TrainingData<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<Box<dyn Fitted>, baselines::Error> {
        let mut world = data.training_users(NAME)?;
        let settings = Settings {
            seed: data.seed,
            first_session: Users::Training.first_session(),
            ..self.settings.clone()
        };
        let mut tell = |now: super::Progress| -> ControlFlow<()> {
            progress(Progress { done: now.fits, total: now.n_fits, loss: now.loss })
        };
        match train(&mut *world, &settings, &mut tell) {
            Ok(policy) => Ok(Box::new(policy)),
            Err(Error::Interrupted) => Err(baselines::Error::Interrupted { method: NAME }),
            Err(error) => Err(error.into()),
        }
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, baselines::Error> {
        Ok(Box::new(HistoryGreedy::load(path, Arc::clone(items), self.settings.item_search)?))
    }
}

impl Fitted for HistoryGreedy {
    fn ranker(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }

    fn policy(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }

    fn save(&self, path: &Path) -> Result<(), baselines::Error> {
        Ok(Self::save(self, path)?)
    }
}

impl Ranker for HistoryGreedy {
    fn name(&self) -> &str {
        NAME
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        let n = self.items().n_dims();
        let (mut means, mut direction) = (vec![0.0; N_WINDOWS * n], vec![0.0; n]);
        window_means(self.items(), std::iter::once(state.windows), &mut means);
        self.tower().directions(&means, &mut direction);
        for (score, &item) in scores.iter_mut().zip(candidates) {
            let unit = self.items().unit_embedding(item);
            let dot: f32 = direction.iter().zip(unit).map(|(u, e)| u * e).sum();
            *score = self.tower().expected_reward(dot);
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}
