//! A factorisation machine (Rendle 2010).
//!
//! In: user, item, the ids of the three windows and the item's embedding as features; out: the logit of a click, orders
//! weighing 5. The score is the odds exp(y) = (P(click) + 4 P(order)) / P(skip): expected reward, for rare clicks.
//!
//! | module | what it holds |
//! |---|---|
//! | `model` | prediction and gradient |
//! | `features` | the fields |
//! | `fit` | AdaGrad |

mod features;
mod fit;
mod model;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use common::{ItemId, ItemTable};

use super::{
    Budget, Error, Fitted, Method, OnProgress, Ranker, SessionState, TrainingData, file::MethodFile,
    rows::Rows,
};
use features::Fields;
use model::{Feature, Model, Partial};

/// What the tables call it.
pub(super) const NAME: &str = "fm";

/// Largest logit whose exponential is a score.
const LARGEST_LOGIT: f32 = 60.0;

/// Size and budget.
#[derive(Clone, Debug, PartialEq)]
pub struct FmSettings {
    /// Factors of a feature, k.
    pub factors: usize,
    /// Deviation of the initial factors.
    pub deviation: f32,
    /// Passes over the rows.
    pub passes: usize,
    /// AdaGrad's learning rate.
    pub learning_rate: f32,
    /// L2 on the parameters that a row touches.
    pub decay: f32,
    /// Most rows to learn from.
    pub most_rows: usize,
}

impl FmSettings {
    /// The settings of a budget.
    pub fn of(budget: Budget) -> Self {
        let passes = match budget {
            Budget::Quick => 3,
            Budget::Full => 5,
        };
        let most_rows = budget.most_rows();
        Self { factors: 16, deviation: 0.01, passes, learning_rate: 0.03, decay: 1e-2, most_rows }
    }

    /// The same, but that it learns from at least so many rows.
    #[must_use]
    pub fn with_rows(self, rows: usize) -> Self {
        Self { most_rows: self.most_rows.max(rows), ..self }
    }

    fn validate(&self) -> Result<(), Error> {
        let require = |ok: bool, key, value: String, expected| {
            if ok { Ok(()) } else { Err(Error::Setting { method: NAME, key, value, expected }) }
        };
        for (key, value) in
            [("factors", self.factors), ("passes", self.passes), ("most_rows", self.most_rows)]
        {
            require(value >= 1, key, value.to_string(), "at least 1")?;
        }
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate.to_string(), "above 0, at most 1")?;
        for (key, value) in [("deviation", self.deviation), ("decay", self.decay)] {
            require((0.0..=1.0).contains(&value), key, value.to_string(), "0 to 1")?;
        }
        Ok(())
    }
}

/// The factorisation machine.
#[derive(Clone, Debug)]
pub struct Fm {
    settings: FmSettings,
}

impl Fm {
    /// With these settings.
    pub fn new(settings: FmSettings) -> Self {
        Self { settings }
    }
}

impl Method for Fm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        self.settings.validate()?;
        let rows = Rows::new(data.log, self.settings.most_rows, data.seed, NAME)?;
        let fields = Fields::new(rows.users.iter().copied(), Arc::clone(data.items));
        let model = fit::fit(&rows, &fields, &self.settings, data.seed, progress)?;
        Ok(Box::new(FittedFm::new(model, fields)))
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, NAME)?;
        let fields = Fields::new(file.read_list::<u64>("users")?, Arc::clone(items));
        let (n, k) = (fields.n_features(), file.read_text("factors")?);
        let model = Model {
            factors: k,
            bias: file.read("bias", &[1])?[0],
            linear: file.read("linear", &[n])?,
            factorised: file.read("factorised", &[n, k])?,
        };
        Ok(Box::new(FittedFm::new(model, fields)))
    }
}

/// A machine with frozen parameters.
#[derive(Clone, Debug)]
struct FittedFm {
    model: Arc<Model>,
    fields: Fields,
    /// `[V]`.
    of_items: Arc<[Partial]>,
    features: Vec<Feature>,
    of_state: Partial,
}

impl FittedFm {
    fn new(model: Model, fields: Fields) -> Self {
        let of_items = fit::sum_up_items(&model, &fields, fields.items()).into();
        let model = Arc::new(model);
        Self { model, fields, of_items, features: Vec::new(), of_state: Partial::default() }
    }
}

impl Fitted for FittedFm {
    fn ranker(&self) -> Box<dyn Ranker> {
        self.fork()
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let users = self.fields.users();
        let (n, k) = (self.fields.n_features(), self.model.factors);
        MethodFile::new(NAME)
            .text("factors", k)
            .tensor("users", &[users.len()], &users)
            .tensor("bias", &[1], &[self.model.bias])
            .tensor("linear", &[n], &self.model.linear)
            .tensor("factorised", &[n, k], &self.model.factorised)
            .save(path)
    }
}

impl Ranker for FittedFm {
    fn name(&self) -> &str {
        NAME
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        self.features.clear();
        self.fields.of_state(state.user, state.windows, &mut self.features);
        self.model.sum_up(&self.features, &mut self.of_state);
        for (score, item) in scores.iter_mut().zip(candidates) {
            let logit = self.model.join(&self.of_state, &self.of_items[item.row()]);
            *score = logit.min(LARGEST_LOGIT).exp();
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}
