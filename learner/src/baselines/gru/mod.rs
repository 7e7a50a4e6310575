//! A recurrent network, pointwise: GRU(clicks), GRU(orders) and the candidate to a softmax of skip, click, order.
//!
//! In: the clicked and the ordered window and a candidate; out: its expected reward. The encoders are those of the agents'
//! high level (Eq 3), here with a supervised head.
//!
//! | module | what it holds |
//! |---|---|
//! | `recurrent` | the network under training (tch) |
//! | `frozen` | the same with frozen parameters, in plain Rust |

pub(super) mod frozen;
mod recurrent;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use common::{ItemId, ItemTable, seed::Streams};
use tch::Tensor;

use super::{
    Budget, Error, Fitted, Method, OnProgress, Progress, Ranker, SessionState, TrainingData,
    file::MethodFile,
    method::report,
    network::{self, Adams, Network, Values},
    ranker::expected_reward,
    rows::Rows,
};
use frozen::{Frozen, Scratch};
use recurrent::{N_CLASSES, specs};

/// What the tables call it.
const NAME: &str = "gru";

/// Size and budget.
#[derive(Clone, Debug, PartialEq)]
pub struct GruSettings {
    /// Width of each GRU.
    pub width: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Passes over the rows.
    pub passes: usize,
    /// Rows of a minibatch, whole sessions but for the last.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Most rows to learn from.
    pub most_rows: usize,
}

impl GruSettings {
    /// The settings of a budget.
    pub fn of(budget: Budget) -> Self {
        let passes = match budget {
            Budget::Quick => 6,
            Budget::Full => 10,
        };
        let most_rows = budget.most_rows();
        Self { width: 32, hidden: 128, passes, batch: 1024, learning_rate: 2e-3, most_rows }
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
        for (key, value) in [
            ("width", self.width),
            ("hidden", self.hidden),
            ("passes", self.passes),
            ("batch", self.batch),
            ("most_rows", self.most_rows),
        ] {
            require(value >= 1, key, value.to_string(), "at least 1")?;
        }
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate.to_string(), "above 0, at most 1")
    }
}

/// The recurrent network, pointwise.
#[derive(Clone, Debug)]
pub struct PointwiseGru {
    settings: GruSettings,
}

impl PointwiseGru {
    /// With these settings.
    pub fn new(settings: GruSettings) -> Self {
        Self { settings }
    }
}

impl Method for PointwiseGru {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        let settings = &self.settings;
        settings.validate()?;
        let rows = Rows::new(data.log, settings.most_rows, data.seed, NAME)?;
        let n = data.items.n_dims();
        let specs = specs(n, settings.width, settings.hidden);
        let initial = network::initial(&specs, &Streams::new(data.seed, "gru/initial"));
        let network = Network::new(&specs, &initial);
        let mut adam = Adams::new(&network, settings.learning_rate);
        let table = Tensor::from_slice(data.items.embeddings()).view([-1, n as i64]);
        let shuffles = Streams::new(data.seed, "gru/shuffle");
        for pass in 0..settings.passes {
            let mut loss_sum = 0.0;
            for batch in rows.by_shuffled_session(&shuffles, pass).chunks(settings.batch) {
                let (loss, gradients) = recurrent::loss_and_gradients(&network, &rows, batch, &table);
                adam.step(&network, &gradients);
                loss_sum += loss * batch.len() as f64;
            }
            let loss = loss_sum / rows.len() as f64;
            report(NAME, progress, Progress { done: pass + 1, total: settings.passes, loss })?;
        }
        Ok(Box::new(FittedGru::new(settings.width, settings.hidden, network.values(), data.items)))
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, NAME)?;
        let (width, hidden) = (file.read_text("width")?, file.read_text("hidden")?);
        let values = network::restore(&file, &specs(items.n_dims(), width, hidden))?;
        Ok(Box::new(FittedGru::new(width, hidden, values, items)))
    }
}

/// The network with frozen parameters.
#[derive(Clone, Debug)]
struct FittedGru {
    width: usize,
    hidden: usize,
    items: Arc<ItemTable>,
    /// As they are saved.
    values: Arc<Values>,
    frozen: Arc<Frozen>,
    scratch: Scratch,
}

impl FittedGru {
    fn new(width: usize, hidden: usize, values: Values, items: &Arc<ItemTable>) -> Self {
        Self {
            width,
            hidden,
            items: Arc::clone(items),
            frozen: Arc::new(Frozen::new(items, width, &values)),
            values: Arc::new(values),
            scratch: Scratch::default(),
        }
    }
}

impl Fitted for FittedGru {
    fn ranker(&self) -> Box<dyn Ranker> {
        self.fork()
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let file = MethodFile::new(NAME).text("width", self.width).text("hidden", self.hidden);
        network::store(file, &specs(self.items.n_dims(), self.width, self.hidden), &self.values).save(path)
    }
}

impl Ranker for FittedGru {
    fn name(&self) -> &str {
        NAME
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        self.frozen.logits(state.windows, candidates, &mut self.scratch);
        for (score, logits) in scores.iter_mut().zip(self.scratch.logits.chunks_exact(N_CLASSES)) {
            *score = expected_reward(logits);
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}
