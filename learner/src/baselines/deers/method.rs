//! DEERS behind the seam of all methods. It learns by acting: the log is not used.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use common::{ItemId, ItemTable};

use super::{Deers, NAME, Pairwise, Parameters, SQUARED, Settings, Sizes, train};
use crate::{
    baselines::{
        Budget, Error, Fitted, Method, OnProgress, Progress, Ranker, SessionState, TrainingData,
        file::MethodFile,
    },
    evaluation::{EvaluatedPolicy, Users},
};

/// DEERS with a budget.
#[derive(Clone, Debug)]
pub struct DeersMethod {
    settings: Settings,
}

impl DeersMethod {
    /// With the settings of a budget.
    pub fn new(budget: Budget) -> Self {
        let settings = match budget {
            Budget::Quick => Settings::quick(),
            Budget::Full => Settings::default(),
        };
        Self { settings }
    }

    /// The same with the pairwise term of its paper.
    #[must_use]
    pub fn squared(self) -> Self {
        Self { settings: self.settings.squared() }
    }

    /// With these settings; seed and first session are those of the data.
    pub fn of(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Method for DeersMethod {
    fn name(&self) -> &'static str {
        match self.settings.pairwise {
            Pairwise::Hinge { .. } => NAME,
            Pairwise::Squared { .. } => SQUARED,
        }
    }

    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        let mut world = data.training_users(NAME)?;
        let settings = Settings {
            seed: data.seed,
            first_session: Users::Training.first_session(),
            ..self.settings.clone()
        };
        let mut tell = |now: super::Progress| -> ControlFlow<()> {
            let (done, total) = (now.steps as usize, now.total_steps as usize);
            progress(Progress { done, total, loss: now.loss })
        };
        Ok(Box::new(train(&mut *world, &settings, &mut tell)?.named(self.name())))
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, NAME)?;
        let sizes = Sizes {
            n_dims: items.n_dims(),
            encoder: file.read_text("encoder")?,
            branch: file.read_text("branch")?,
            joint: file.read_text("joint")?,
        };
        let mut flat = Vec::new();
        for tensor in sizes.tensors() {
            flat.extend(file.read::<f32>(&tensor.name, &tensor.shape)?);
        }
        Ok(Box::new(Deers::new(Parameters { sizes, flat }, Arc::clone(items)).named(self.name())))
    }
}

impl Fitted for Deers {
    fn ranker(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }

    fn policy(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let parameters = self.parameters();
        let Sizes { encoder, branch, joint, .. } = parameters.sizes;
        let widths = [("encoder", encoder), ("branch", branch), ("joint", joint)];
        let file = MethodFile::new(NAME);
        let file = widths.into_iter().fold(file, |file, (name, width)| file.text(name, width));
        let tensors = parameters.sizes.tensors();
        let whole = tensors.iter().zip(parameters.split());
        whole.fold(file, |file, (tensor, values)| file.tensor(&tensor.name, &tensor.shape, values)).save(path)
    }
}

impl Ranker for Deers {
    fn name(&self) -> &str {
        EvaluatedPolicy::name(self)
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        self.values(state.windows, candidates, scores);
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(n_dims: usize) -> Arc<ItemTable> {
        let embeddings = (0..3 * n_dims).map(|k| ((k * 7) % 5) as f32 / 4.0 - 0.6).collect();
        Arc::new(ItemTable::new(n_dims, 1.94, embeddings, vec![0; 3], vec![0.0; 3]).unwrap())
    }

    #[test]
    fn a_saved_policy_ranks_as_before_and_another_catalogue_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deers.safetensors");
        let sizes = Sizes { n_dims: 4, encoder: 6, branch: 5, joint: 3 };
        let policy = Deers::new(Parameters::initial(sizes, 1), catalogue(4));
        Fitted::save(&policy, &path).unwrap();
        let method = DeersMethod::new(Budget::Quick);
        let loaded = method.load(&path, &catalogue(4)).unwrap();
        let windows = [ItemId(0), ItemId(1), ItemId::PADDING, ItemId(2), ItemId::PADDING, ItemId::PADDING];
        let state = SessionState { user: None, windows: &windows, shown: &[] };
        let items = [ItemId(2), ItemId(0), ItemId(1)];
        let scores = |ranker: &mut dyn Ranker| {
            let mut scores = [0.0; 3];
            ranker.scores(&state, &items, &mut scores);
            scores
        };
        let found = scores(&mut *loaded.ranker());
        assert_eq!(found, scores(&mut *Fitted::ranker(&policy)));
        assert!(found[0] != found[1] && found[1] != found[2]);
        let squared = DeersMethod::new(Budget::Quick).squared().load(&path, &catalogue(4)).unwrap();
        assert_eq!((loaded.ranker().name(), squared.ranker().name()), (NAME, SQUARED));
        let error = method.load(&path, &catalogue(5)).err().unwrap().to_string();
        assert!(error.contains("`positive.gru.weight_ih` is [18, 4], expected [18, 5]"), "{error}");
    }
}
