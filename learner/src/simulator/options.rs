//! Size, budget and seeds of a fit.

use serde::{Deserialize, Serialize};

use super::Error;

/// Settings of [`super::fit()`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Seed of groups, initial parameters, shuffles and rollouts.
    pub seed: u64,
    /// Length of a history window, N.
    pub window: usize,
    /// Members of the ensemble.
    pub ensemble: usize,
    /// Width of the encoders.
    pub width: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Size of a category's embedding; 0 leaves categories out.
    pub category_dims: usize,
    /// Whether item features of the log (the logarithm of the price) enter, where it has them.
    pub features: bool,
    /// Most passes over the samples.
    pub epochs: usize,
    /// Passes without a better held-out log loss that end the training.
    pub patience: usize,
    /// Rows of a minibatch.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Most rows a member learns from in a pass; more are drawn anew, by runs of neighbours, for every pass.
    pub max_samples: usize,
    /// Share of the users held out to stop and to calibrate, and once more to judge.
    pub held_out: f32,
    /// Whether sessions without a click are dropped, as in the paper (Sec 4.1.1).
    pub drop_clickless: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            window: 10,
            ensemble: 5,
            width: 32,
            hidden: 64,
            category_dims: 8,
            features: true,
            epochs: 10,
            patience: 2,
            batch: 1024,
            learning_rate: 2e-3,
            max_samples: 100_000,
            held_out: 0.1,
            drop_clickless: true,
        }
    }
}

impl Options {
    /// A fit to try things with, in about half a minute on a core: two members, passes over 50,000 impressions.
    /// Steps are larger and more than by default, because so few passes over so little must do.
    pub fn quick() -> Self {
        Self { ensemble: 2, batch: 256, learning_rate: 5e-3, max_samples: 50_000, ..Self::default() }
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), Error> {
        let sizes = [
            ("window", self.window, 255),
            ("ensemble", self.ensemble, 100),
            ("width", self.width, 4096),
            ("hidden", self.hidden, 4096),
            ("epochs", self.epochs, 10_000),
            ("patience", self.patience, 10_000),
            ("batch", self.batch, 1 << 20),
            ("max_samples", self.max_samples, usize::MAX),
        ];
        for (key, value, most) in sizes {
            require((1..=most).contains(&value), key, value, format!("1 to {most}"))?;
        }
        require(self.category_dims <= 1024, "category_dims", self.category_dims, "0 to 1024")?;
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate, "above 0, at most 1")?;
        require((0.01..=0.4).contains(&self.held_out), "held_out", self.held_out, "0.01 to 0.4")
    }
}

fn require(
    ok: bool,
    key: &'static str,
    value: impl ToString,
    expected: impl Into<String>,
) -> Result<(), Error> {
    if ok { Ok(()) } else { Err(Error::Option { key, value: value.to_string(), expected: expected.into() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_outside_its_range_is_named() {
        Options::default().validate().unwrap();
        let error = Options { ensemble: 0, ..Options::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "simulator option `ensemble` is 0, expected 1 to 100");
        assert!(Options { held_out: f32::NAN, ..Options::default() }.validate().is_err());
    }
}
