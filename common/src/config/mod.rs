//! Every setting of a run: its default, its range, its meaning.
//!
//! Settings come from, later ones winning: the preset, a TOML file, the environment (`MAHRL__SECTION__KEY`), flags.
//! Unknown keys are errors, in the environment too. [`Config::validate`] runs before anything starts. Defaults are the preset `best`.

mod cluster;
mod dotted;
mod environment;
mod error;
mod model;
mod preset;
mod replay;
mod sections;

use std::path::Path;

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Map},
};
use serde::{Deserialize, Serialize};

pub use cluster::{ClusterConfig, TlsConfig, names_loopback};
pub use dotted::{Difference, difference, dotted};
pub use environment::{is_known_variable, unread_variables};
pub use error::Error;
pub use model::{CriticAction, CriticOutput, GoalConditioning, History, ItemSearch, ModelConfig};
pub use preset::Preset;
pub use replay::{Batch, ReplayConfig, Sampling, Sync, TableConfig};
pub use sections::{
    ActorConfig, AlgorithmConfig, Assignment, CriticLoss, EncoderUpdate, EngineKind, EnvironmentConfig,
    ExplorationConfig, HighDiscount, LevelRates, MOST_LEARNER_THREADS, Mode, PartialPeriods, Precision,
    TargetAction, TrainConfig, WeightsForm,
};

use crate::{PeriodLayout, transition::Shape};

/// All settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the other settings start from.
    pub preset: Preset,
    /// Seed of every random stream.
    pub seed: u64,
    /// The world.
    pub environment: EnvironmentConfig,
    /// Sizes and forms of the networks.
    pub model: ModelConfig,
    /// Rewards, targets, losses, optimisers.
    pub algorithm: AlgorithmConfig,
    /// Noise of the rollouts.
    pub exploration: ExplorationConfig,
    /// Tables and shards.
    pub replay: ReplayConfig,
    /// Rollout threads.
    pub actor: ActorConfig,
    /// The run.
    pub train: TrainConfig,
    /// The processes of a cluster.
    pub cluster: ClusterConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self::preset(Preset::default())
    }
}

impl Config {
    /// The settings of `flags.preset`, or else of the file's, under the file, the environment and the flags.
    ///
    /// `flags` holds dotted keys and TOML values, e.g. `("train.steps", 1000.into())`.
    pub fn load(file: Option<&Path>, flags: &[(&str, toml::Value)]) -> Result<Self, Error> {
        environment::check(environment::names())?;
        environment::check_instructions()?;
        let mut sources = Figment::new();
        if let Some(path) = file {
            readable(path)?;
            sources = sources.merge(Toml::file_exact(path));
        }
        Self::of(over(sources, Env::prefixed(environment::PREFIX).split("__")), flags)
    }

    /// The settings a run was begun with, under the flags: its file as [`Self::to_toml`] wrote it. The environment does
    /// not count, which may be another by now.
    pub fn load_run(file: &Path, flags: &[(&str, toml::Value)]) -> Result<Self, Error> {
        environment::check_instructions()?;
        readable(file)?;
        Self::of(Figment::from(Toml::file_exact(file)), flags)
    }

    fn of(mut sources: Figment, flags: &[(&str, toml::Value)]) -> Result<Self, Error> {
        for (key, value) in flags {
            sources = over(sources, Flag(key, value));
        }
        let preset: Preset = match sources.find_value("preset") {
            Ok(_) => sources.extract_inner("preset").map_err(|e| Error::Parse(Box::new(e)))?,
            Err(_) => Preset::default(),
        };
        let config: Self = over(Figment::from(Serialized::defaults(Self::preset(preset))), sources)
            .extract()
            .map_err(|e| Error::Parse(Box::new(e)))?;
        config.validate()?;
        Ok(config)
    }

    /// The file form, with every setting written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is tables of plain values")
    }

    /// Sizes shared by records and batches.
    pub fn shape(&self) -> Shape {
        Shape {
            window: self.model.window,
            n_steps: self.model.period_steps,
            n_goals: self.model.n_goals,
            n_dims: self.model.n_dims,
        }
    }

    /// Periods and sub-periods.
    pub fn period_layout(&self) -> PeriodLayout {
        PeriodLayout {
            n_goals: self.model.n_goals,
            n_steps: self.model.period_steps,
            remainder: self.algorithm.remainder,
        }
    }

    /// What tables call a policy of these settings (Sec 4.1.2): MaHRL, or the variant of it that they make.
    pub fn method(&self) -> &'static str {
        let ModelConfig { n_goals, high_history, low_history, goal_conditioning, .. } = self.model;
        match (n_goals, low_history) {
            (0, History::SkipsClicksOrders) => "DDPG-O",
            (0, _) => "DDPG+",
            (_, History::Clicks) if high_history == History::Clicks => "HRL-I",
            _ if goal_conditioning == GoalConditioning::State => "HRL-S",
            (1, _) => "HRL-G",
            _ => "MaHRL",
        }
    }

    /// Checks every range; the error names the key, its value and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        self.environment.validate()?;
        self.model.validate()?;
        self.algorithm.validate()?;
        self.exploration.validate()?;
        self.replay.validate()?;
        self.actor.validate()?;
        self.train.validate()?;
        self.cluster.validate()?;
        let output = self.model.critic_output;
        require(
            self.algorithm.critic_loss == CriticLoss::Squared
                || matches!(output, CriticOutput::Softplus | CriticOutput::Exponential),
            "algorithm.critic_loss",
            "poisson",
            "squared unless model.critic_output is softplus or exponential, as it takes the logarithm of values",
        )?;
        let (length, period) = (self.environment.session_length, self.model.period_steps);
        require(
            length >= period
                || self.algorithm.partial_periods == PartialPeriods::Keep
                || !self.model.has_high_level(),
            "environment.session_length",
            length,
            format!(
                "at least model.period_steps = {period} with algorithm.partial_periods = \"drop\": no period would \
                 ever be stored"
            ),
        )
    }
}

/// Says which file cannot be read, and why.
fn readable(path: &Path) -> Result<(), Error> {
    std::fs::File::open(path).map(drop).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// A flag as a source, named as such in errors.
struct Flag<'a>(&'a str, &'a toml::Value);

impl Provider for Flag<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("the flags")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::default(self.0, self.1).data()
    }
}

/// The settings of `source` over those of `base`. A minibatch has one of two keys: the one of `source` takes the place of both.
fn over(base: Figment, source: impl Provider) -> Figment {
    let source = Figment::from(source);
    let batches = ["replay.low.batch", "replay.high.batch"].into_iter().filter(|key| source.contains(key));
    // Tables are merged, but take the place of what is none.
    batches.fold(base, |base, key| base.merge(Serialized::default(key, ""))).merge(source)
}

/// A number in `[low, high]`; NaN is not.
fn within(key: &'static str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    require((low..=high).contains(&value), key, value, format!("{low} to {high}"))
}

/// Fails with [`Error::Range`] unless `ok`.
fn require(
    ok: bool,
    key: &'static str,
    value: impl ToString,
    expected: impl Into<String>,
) -> Result<(), Error> {
    if ok { Ok(()) } else { Err(Error::Range { key, value: value.to_string(), expected: expected.into() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), &[])
    }

    #[test]
    fn presets_are_valid_and_round_trip() {
        for preset in Preset::ALL {
            let config = Config::preset(preset);
            config.validate().unwrap();
            assert_eq!(load(&config.to_toml()).unwrap(), config);
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_preset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "preset = \"paper\"\nseed = 3\n[train]\nsteps = 77\n").unwrap();
        let config = Config::load(Some(&path), &[("train.steps", 5.into())]).unwrap();
        assert_eq!((config.preset, config.seed, config.train.steps), (Preset::Paper, 3, 5));
        assert_eq!(config.algorithm, Config::preset(Preset::Paper).algorithm);
    }

    #[test]
    fn a_minibatch_has_the_key_of_the_last_source_that_sets_it() {
        let file = "preset = \"paper\"\n[replay.low.batch]\nrows = 7\n";
        assert_eq!(load(file).unwrap().replay.low.batch, Batch::Rows(7));
        assert_eq!(load(file).unwrap().replay.high.batch, Batch::Share(0.1));
        let flags = [("replay.low.batch.share", 0.5.into()), ("replay.high.batch.rows", 9.into())];
        let config = Config::load(None, &flags).unwrap();
        assert_eq!((config.replay.low.batch, config.replay.high.batch), (Batch::Share(0.5), Batch::Rows(9)));
        for both in ["rows = 7\nshare = 0.5", "share = 0.5\nrows = 7", ""] {
            let message = load(&format!("[replay.low.batch]\n{both}\n")).unwrap_err().to_string();
            assert!(
                message.contains("`replay.low.batch`") && message.contains("either `rows` or `share`"),
                "{message}"
            );
        }
    }

    #[test]
    fn bad_settings_are_named() {
        for (text, parts) in [
            ("sed = 1", vec!["`sed` in", "names no setting; did you mean `seed`?"]),
            (
                "[train]\nbanana = 1",
                vec!["`train.banana`", "config.toml names no setting: expected one of `mode`"],
            ),
            ("[model]\nn_goals = 11", vec!["model.n_goals", "11", "at most"]),
            ("[model]\nwindow = -1", vec!["window"]),
            ("[environment]\ntemperature = 0.0", vec!["environment.temperature", "0", "above 0"]),
            ("[environment]\nflip_share = 1.5", vec!["environment.flip_share", "1.5", "0 to 1"]),
            ("[algorithm]\ndiscount = 1.5", vec!["algorithm.discount", "1.5"]),
            ("[model]\ncritic_output = \"cubic\"", vec!["model.critic_output", "cubic", "softplus"]),
            (
                "preset = \"tuned\"\n[algorithm]\ncritic_loss = \"poisson\"",
                vec!["algorithm.critic_loss", "model.critic_output is softplus or exponential"],
            ),
            (
                "preset = \"magic\"",
                vec!["setting `preset` in", "is `magic`, expected one of `paper`, `tuned`, `ddpg+`"],
            ),
            ("[model]\nn_goals = 0\ngoal_conditioning = \"state\"", vec!["model.n_goals", "at least 1 with"]),
            ("seed = = 3", vec!["line 1, column 8", "invalid string", "config.toml"]),
        ] {
            let message = load(text).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "`{text}` gave: {message}");
            }
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn a_bad_flag_is_said_to_be_one() {
        let message = Config::load(None, &[("train.mode", "asinc".into())]).unwrap_err().to_string();
        let expected = "setting `train.mode` in the flags is `asinc`, expected `lockstep` or `async`; did you mean `async`?";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Some(Path::new("/nowhere/config.toml")), &[]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.toml"), "{error}");
    }

    #[test]
    fn fuzz_a_file_of_settings() {
        let examples = [Preset::Paper, Preset::Best].map(|preset| Config::preset(preset).to_toml());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let mut taken = 0;
        crate::fuzz::fuzz("settings", &examples.map(String::into_bytes), |bytes| {
            std::fs::write(&path, bytes).unwrap();
            if let Ok(config) = Config::load_run(&path, &[]) {
                assert_eq!(load(&config.to_toml()).unwrap(), config);
                taken += 1;
            }
        });
        assert!(taken > 0, "no case was right");
    }
}
