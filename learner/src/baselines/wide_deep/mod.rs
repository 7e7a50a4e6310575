//! Wide & Deep (Cheng et al. 2016).
//!
//! In: the three windows and a candidate; out: P(skip), P(click), P(order) as the softmax of a linear model on hashed crosses
//! (wide) and of a network on embeddings (deep), trained together. The score is the expected reward.
//!
//! | module | what it holds |
//! |---|---|
//! | `crosses` | the wide side's features |
//! | `ftrl` | FTRL-Proximal with L1 |
//! | `deep` | the deep side, frozen, in plain Rust |
//! | `fit` | joint training (tch) |

mod crosses;
mod deep;
mod fit;
mod ftrl;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use common::{ItemId, ItemTable, history::N_WINDOWS};

use super::{
    Budget, Error, Fitted, Method, OnProgress, Ranker, SessionState, TrainingData,
    file::MethodFile,
    history_greedy::features::window_means,
    network::{self, Values},
    ranker::expected_reward,
    rows::Rows,
};
use crosses::Past;
use deep::{Deep, N_CLASSES};
pub use ftrl::FtrlSettings;

/// What the tables call it.
const NAME: &str = "wide-deep";

/// Largest number of bits of a bucket.
const MOST_BITS: u32 = 28;

/// Size and budget.
#[derive(Clone, Debug, PartialEq)]
pub struct WideDeepSettings {
    /// Widths of the deep side's hidden layers.
    pub widths: [usize; 3],
    /// The wide side has 2^bits buckets.
    pub bits: u32,
    /// Of the wide side.
    pub ftrl: FtrlSettings,
    /// AdaGrad's learning rate, of the deep side.
    pub learning_rate: f64,
    /// Passes over the rows.
    pub passes: usize,
    /// Rows of a minibatch.
    pub batch: usize,
    /// Most rows to learn from.
    pub most_rows: usize,
}

impl WideDeepSettings {
    /// The settings of a budget.
    pub fn of(budget: Budget) -> Self {
        let passes = match budget {
            Budget::Quick => 2,
            Budget::Full => 4,
        };
        Self {
            widths: [256, 128, 64],
            bits: 20,
            ftrl: FtrlSettings { alpha: 0.02, beta: 1.0, l1: 1.0, l2: 0.0 },
            learning_rate: 0.02,
            passes,
            batch: 128,
            most_rows: budget.most_rows(),
        }
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
        let [first, second, third] = self.widths;
        for (key, value) in [
            ("widths", first.min(second).min(third)),
            ("passes", self.passes),
            ("batch", self.batch),
            ("most_rows", self.most_rows),
        ] {
            require(value >= 1, key, value.to_string(), "at least 1")?;
        }
        require((1..=MOST_BITS).contains(&self.bits), "bits", self.bits.to_string(), "1 to 28")?;
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate.to_string(), "above 0, at most 1")?;
        let FtrlSettings { alpha, beta, l1, l2 } = self.ftrl;
        require(alpha > 0.0 && alpha <= 10.0, "ftrl.alpha", alpha.to_string(), "above 0, at most 10")?;
        for (key, value) in [("ftrl.beta", beta), ("ftrl.l1", l1), ("ftrl.l2", l2)] {
            require((0.0..=1e3).contains(&value), key, value.to_string(), "0 to 1000")?;
        }
        Ok(())
    }
}

/// Wide & Deep.
#[derive(Clone, Debug)]
pub struct WideDeep {
    settings: WideDeepSettings,
}

impl WideDeep {
    /// With these settings.
    pub fn new(settings: WideDeepSettings) -> Self {
        Self { settings }
    }
}

impl Method for WideDeep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        let settings = &self.settings;
        settings.validate()?;
        let rows = Rows::new(data.log, settings.most_rows, data.seed, NAME)?;
        let (wide, deep) = fit::fit(&rows, data.items, settings, data.seed, progress)?;
        Ok(Box::new(FittedWideDeep::new(settings.bits, settings.widths, wide, deep, data.items)))
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, NAME)?;
        let bits = file.read_text("bits")?;
        let widths = [file.read_text("width.1")?, file.read_text("width.2")?, file.read_text("width.3")?];
        if !(1..=MOST_BITS).contains(&bits) {
            return Err(file.refuse(format!("metadata `bits` is {bits}, expected 1 to {MOST_BITS}")));
        }
        let buckets: Vec<u32> = file.read_list("wide.buckets")?;
        let weights: Vec<f32> = file.read("wide.weights", &[buckets.len(), N_CLASSES])?;
        let mut wide = vec![0.0; N_CLASSES << bits];
        for (&bucket, weights) in buckets.iter().zip(weights.chunks_exact(N_CLASSES)) {
            if bucket >> bits > 0 {
                return Err(file.refuse(format!("bucket {bucket} lies outside 2^{bits}")));
            }
            wide[bucket as usize * N_CLASSES..][..N_CLASSES].copy_from_slice(weights);
        }
        let deep = network::restore(&file, &deep::specs(items.n_dims(), &widths))?;
        Ok(Box::new(FittedWideDeep::new(bits, widths, wide, deep, items)))
    }
}

/// Both sides, frozen.
#[derive(Clone, Debug)]
struct FittedWideDeep {
    bits: u32,
    widths: [usize; 3],
    items: Arc<ItemTable>,
    /// `[2^bits, 3]`.
    wide: Arc<[f32]>,
    /// As they are saved.
    values: Arc<Values>,
    deep: Arc<Deep>,
    past: Past,
    means: Vec<f32>,
}

impl FittedWideDeep {
    fn new(bits: u32, widths: [usize; 3], wide: Vec<f32>, values: Values, items: &Arc<ItemTable>) -> Self {
        Self {
            bits,
            widths,
            items: Arc::clone(items),
            wide: wide.into(),
            deep: Arc::new(Deep::new(items.n_dims(), &values)),
            values: Arc::new(values),
            past: Past::default(),
            means: vec![0.0; N_WINDOWS * items.n_dims()],
        }
    }
}

impl Fitted for FittedWideDeep {
    fn ranker(&self) -> Box<dyn Ranker> {
        self.fork()
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        // L1 leaves most buckets empty.
        let (mut buckets, mut kept) = (Vec::new(), Vec::new());
        for (bucket, weights) in (0_u32..).zip(self.wide.chunks_exact(N_CLASSES)) {
            if weights.iter().any(|&weight| weight != 0.0) {
                buckets.push(bucket);
                kept.extend_from_slice(weights);
            }
        }
        let file = MethodFile::new(NAME)
            .text("bits", self.bits)
            .text("width.1", self.widths[0])
            .text("width.2", self.widths[1])
            .text("width.3", self.widths[2])
            .tensor("wide.buckets", &[buckets.len()], &buckets)
            .tensor("wide.weights", &[buckets.len(), N_CLASSES], &kept);
        network::store(file, &deep::specs(self.items.n_dims(), &self.widths), &self.values).save(path)
    }
}

impl Ranker for FittedWideDeep {
    fn name(&self) -> &str {
        NAME
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        window_means(&self.items, std::iter::once(state.windows), &mut self.means);
        let mut logits = self.deep.logits(&self.items, &self.means, candidates);
        self.past.read(&self.items, state.windows);
        for ((logits, &item), score) in logits.chunks_exact_mut(N_CLASSES).zip(candidates).zip(scores) {
            for bucket in self.past.cross(&self.items, item, self.bits) {
                let weights = &self.wide[bucket as usize * N_CLASSES..][..N_CLASSES];
                logits.iter_mut().zip(weights).for_each(|(logit, weight)| *logit += weight);
            }
            *score = expected_reward(logits);
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}
