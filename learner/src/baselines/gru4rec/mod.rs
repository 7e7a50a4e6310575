//! GRU4Rec (Hidasi et al. 2016; Hidasi and Karatzoglou 2018): which item is clicked next.
//!
//! In: the clicked window; out: scores r_j of items as the next click, larger for larger rewards because orders weigh 5 in
//! training. Negatives are other items of the minibatch and popular ones, never what was skipped.
//!
//! | module | what it holds |
//! |---|---|
//! | `sequences` | click sequences, many side by side |
//! | `loss` | BPR-max |
//! | `fit` | training (tch) |

mod fit;
mod loss;
mod sequences;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use common::{
    ItemId, ItemTable,
    history::{Kind, window},
};
use kernels::GruScratch;

use super::{
    Budget, Error, Fitted, Method, OnProgress, Ranker, SessionState, TrainingData,
    file::MethodFile,
    gru::frozen::ItemGru,
    network::{self, Values},
};

/// What the tables call it.
const NAME: &str = "gru4rec";

/// Size and budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Gru4RecSettings {
    /// Width of the GRU.
    pub width: usize,
    /// Passes over the sequences.
    pub passes: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// Drawn negatives a minibatch, beside its other targets.
    pub negatives: usize,
    /// They are drawn by (clicks + 1) to this power.
    pub sample_exponent: f64,
    /// Lambda of BPR-max.
    pub regularisation: f64,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Most clicks to learn from.
    pub most_clicks: usize,
}

impl Gru4RecSettings {
    /// The settings of a budget.
    pub fn of(budget: Budget) -> Self {
        let (passes, most_clicks) = match budget {
            Budget::Quick => (15, 50_000),
            Budget::Full => (10, 1_000_000),
        };
        Self {
            width: 64,
            passes,
            batch: 64,
            negatives: 256,
            sample_exponent: 0.5,
            regularisation: 0.1,
            learning_rate: 5e-3,
            most_clicks,
        }
    }

    /// The same, but that it learns from at least so many rows, which have so many clicks at most.
    #[must_use]
    pub fn with_rows(self, rows: usize) -> Self {
        Self { most_clicks: self.most_clicks.max(rows), ..self }
    }

    fn validate(&self) -> Result<(), Error> {
        let require = |ok: bool, key, value: String, expected| {
            if ok { Ok(()) } else { Err(Error::Setting { method: NAME, key, value, expected }) }
        };
        for (key, value) in [
            ("width", self.width),
            ("passes", self.passes),
            ("batch", self.batch),
            ("negatives", self.negatives),
            ("most_clicks", self.most_clicks),
        ] {
            require(value >= 1, key, value.to_string(), "at least 1")?;
        }
        for (key, value) in
            [("sample_exponent", self.sample_exponent), ("regularisation", self.regularisation)]
        {
            require((0.0..=10.0).contains(&value), key, value.to_string(), "0 to 10")?;
        }
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate.to_string(), "above 0, at most 1")
    }
}

/// GRU4Rec.
#[derive(Clone, Debug)]
pub struct Gru4Rec {
    settings: Gru4RecSettings,
}

impl Gru4Rec {
    /// With these settings.
    pub fn new(settings: Gru4RecSettings) -> Self {
        Self { settings }
    }
}

impl Method for Gru4Rec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        self.settings.validate()?;
        let sequences = sequences::of_log(data.log, self.settings.most_clicks, data.seed);
        if sequences.is_empty() {
            let problem = "no session holds a click after another one".into();
            return Err(Error::Data { method: NAME, problem });
        }
        let values = fit::fit(&sequences, data.items, &self.settings, data.seed, progress)?;
        Ok(Box::new(FittedGru4Rec::new(self.settings.width, values, data.items)))
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, NAME)?;
        let width = file.read_text("width")?;
        let values = network::restore(&file, &fit::specs(items, width))?;
        Ok(Box::new(FittedGru4Rec::new(width, values, items)))
    }
}

/// The network with frozen parameters, in plain Rust.
#[derive(Clone, Debug)]
struct FittedGru4Rec {
    width: usize,
    items: Arc<ItemTable>,
    /// In the order of the specs.
    values: Arc<Values>,
    gru: Arc<ItemGru>,
    scratch: GruScratch,
    /// `[w]`.
    hidden: Vec<f32>,
    /// `[n]`.
    wanted: Vec<f32>,
}

impl FittedGru4Rec {
    fn new(width: usize, values: Values, items: &Arc<ItemTable>) -> Self {
        Self {
            width,
            items: Arc::clone(items),
            gru: Arc::new(ItemGru::new(items, width, &values[..4])),
            values: Arc::new(values),
            scratch: GruScratch::default(),
            hidden: vec![0.0; width],
            wanted: vec![0.0; items.n_dims()],
        }
    }
}

impl Fitted for FittedGru4Rec {
    fn ranker(&self) -> Box<dyn Ranker> {
        self.fork()
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let file = MethodFile::new(NAME).text("width", self.width);
        network::store(file, &fit::specs(&self.items, self.width), &self.values).save(path)
    }
}

impl Ranker for FittedGru4Rec {
    fn name(&self) -> &str {
        NAME
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        self.gru.last(window(state.windows, Kind::Clicked), &mut self.scratch, &mut self.hidden);
        let [.., weight, bias, item_bias] = &self.values[..] else {
            unreachable!("the parameters end with the output's")
        };
        self.wanted.copy_from_slice(bias);
        for (h, weights) in self.hidden.iter().zip(weight.chunks_exact(bias.len())) {
            self.wanted.iter_mut().zip(weights).for_each(|(wanted, weight)| *wanted += h * weight);
        }
        for (score, &item) in scores.iter_mut().zip(candidates) {
            let embedding = self.items.embedding(item);
            let dot: f32 = self.wanted.iter().zip(embedding).map(|(wanted, e)| wanted * e).sum();
            *score = dot + item_bias[item.row()];
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}
