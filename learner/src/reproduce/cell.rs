//! One method with one seed: trained under the budget, judged on the test users, written down.
//!
//! In: a [`Cell`]; out: its [`CellResult`], and for a training run the run directory beside it. Everything is on one
//! thread and in lockstep, so that an equal cell has an equal result.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use common::config::{Config, Mode, ModelConfig, Preset};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sim::ReferencePolicy;

use super::{
    Budget, content, logged,
    methods::{How, Method},
};
use crate::{
    baselines::{self, Fitted, Ranker, TrainingData, agents::TrainedAgents, history_greedy},
    evaluation::{
        EvaluatedPolicy, EvaluationResult, EvaluationSettings, MonteCarloReturns, Users, evaluate,
        offline::{Mode as Order, Quality, Ranking},
    },
    run_dir::{RunDir, metrics::Record, read_lines, write_whole},
    train::{self, Interrupt},
    world::World,
};

/// What is trained and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Id of the method.
    pub method: String,
    /// Settings over the method's own, by dotted key.
    pub settings: Vec<(String, toml::Value)>,
    /// The world.
    pub env: String,
    /// Seed of everything that is trained.
    pub seed: u64,
    /// What it may spend; `seeds` is 0, a cell has one.
    pub budget: Budget,
}

/// An evaluation on the way, and what the critics said since the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Environment steps.
    pub env_steps: u64,
    /// Updates.
    pub updates: u64,
    /// Mean reward of a validation session.
    pub total: f64,
    /// `[M]` mean Q of the high level's minibatches; empty before its first update.
    pub high_q: Vec<f64>,
    /// Mean Q of the low level's minibatches.
    pub low_q: Option<f64>,
    /// Monte-Carlo returns of the policy of this moment.
    pub returns: MonteCarloReturns,
}

/// The measures of a logged session that a method has ordered.
pub type Ranks = Quality;

/// The logged test sessions in the order of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    /// `static` or `sequential`.
    pub mode: String,
    /// One a session with a click, the same for all methods.
    pub sessions: Vec<Ranks>,
}

/// How a cell came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// What was asked for.
    pub cell: Cell,
    /// Seconds of training; 0 for a reference. The only number here that another run of the same cell changes.
    pub seconds: f64,
    /// Environment steps that it learned from.
    pub env_steps: u64,
    /// Updates of both levels, of a training run.
    pub updates: u64,
    /// One a length of the budget, on the same test users for all methods.
    pub online: Vec<EvaluationResult>,
    /// Of a training run.
    pub curve: Vec<CurvePoint>,
    /// Static, then sequential; empty for an oracle, whose knowledge no log has.
    pub ranked: Vec<Ranked>,
}

impl Cell {
    /// Its folder's name: method, seed, and a digest of all the rest: what a preset stands for, which may differ from build to
    /// build, what the environment's variables say, and what an imported log and its simulators hold. Of what is no run, its
    /// world.
    pub fn name(&self) -> String {
        let mut said = serde_json::to_vec(self).expect("a cell is plain data");
        if let (Ok(mut config), Ok(method)) = (self.config(), self.method()) {
            if !matches!(method.how, How::Run(_)) {
                let paper = Config::preset(Preset::Paper);
                let model = ModelConfig { window: config.model.window, ..paper.model };
                config = Config { environment: config.environment, model, ..paper };
            }
            said.extend(config.to_toml().bytes());
        }
        said.extend(content::of(&self.env));
        let digest: String = Sha256::digest(said).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{digest}-seed-{}", self.method, self.seed)
    }

    fn method(&self) -> Result<Method> {
        Method::find(&self.method).with_context(|| format!("there is no method `{}`", self.method))
    }

    /// The settings of its world, and of its training if it is a run.
    pub fn config(&self) -> Result<Config> {
        let mut further = self.settings.clone();
        further.push(("environment.name".to_owned(), self.env.clone().into()));
        further.push(("seed".to_owned(), i64::try_from(self.seed)?.into()));
        let mut config = match self.method()?.config(&further)? {
            Some(config) => config,
            None => {
                let flags: Vec<_> =
                    further.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
                Config::load(None, &flags)?
            }
        };
        self.budget.apply(&mut config);
        config.train.mode = Mode::Lockstep;
        config.train.device = "cpu".to_owned();
        // Cells share the cores.
        config.train.learner_threads = 1;
        config.validate()?;
        Ok(config)
    }

    /// Trains and judges it; a run leaves its files in `folder/run`.
    ///
    /// # Errors
    /// Whatever stops a training or an evaluation.
    pub fn run(&self, folder: &Path) -> Result<CellResult> {
        let (config, method) = (self.config()?, self.method()?);
        let world = train::prepare(&config)?;
        let begun = Instant::now();
        let mut result = CellResult {
            cell: self.clone(),
            seconds: 0.0,
            env_steps: 0,
            updates: 0,
            online: Vec::new(),
            curve: Vec::new(),
            ranked: Vec::new(),
        };
        let mut ranker: Option<Box<dyn Ranker>> = None;
        let mut policy: Box<dyn EvaluatedPolicy> = match method.how {
            How::Oracle(reference) => Box::new(ReferencePolicy::new(reference, 0)),
            How::Baseline => {
                let log = logged::training(&world, &config, &self.budget, self.seed)?;
                let data =
                    TrainingData { log: &log, items: world.items(), world: Some(&world), seed: self.seed };
                let fitted = self.baseline()?.fit(&data, &mut |_| ControlFlow::Continue(()))?;
                fitted.save(&folder.join("method.safetensors"))?;
                result.env_steps = self.learned_from(&method, log.n_steps() as u64);
                ranker = Some(fitted.ranker());
                fitted.policy()
            }
            How::Run(_) => {
                let run_dir = train_run(&config, &world, &folder.join("run"))?;
                (result.curve, result.env_steps, result.updates) = curve(&run_dir)?;
                if config.train.warm_start_sessions > 0 {
                    result.env_steps += train::warm_start::log(&config, &world)?.n_steps() as u64;
                }
                let trained = TrainedAgents::load(&run_dir.policy_path(), &config, world.items())?;
                ranker = Some(trained.ranker());
                trained.policy()
            }
        };
        if method.is_trained() {
            result.seconds = begun.elapsed().as_secs_f64();
        }
        for &length in &self.budget.lengths {
            let settings = EvaluationSettings {
                users: Users::Test,
                sessions: self.budget.sessions,
                length,
                seed: 0,
                slots: 64,
                threads: 1,
            };
            result.online.push(evaluate(&mut *policy, &world.for_evaluation(), &settings)?);
        }
        if let Some(ranker) = ranker {
            let test = logged::test(&world, &config, &self.budget)?;
            result.ranked = [Order::Static, Order::Sequential]
                .map(|mode| Ranked {
                    mode: mode.name().to_owned(),
                    sessions: Ranking::by_ranker(&*ranker, &test, mode, 0, 1)
                        .sessions
                        .into_iter()
                        .flatten()
                        .collect(),
                })
                .into();
        }
        Ok(result)
    }

    /// Environment steps that a baseline learns from where a log of so many is there.
    fn learned_from(&self, method: &Method, logged: u64) -> u64 {
        match method.id {
            _ if !method.is_trained() => 0,
            // They do not read the log: they act.
            history_greedy::NAME | "deers" | "deers-squared" => self.budget.steps,
            "fm" | "gru" | "wide-deep" => {
                logged.min(self.budget.steps.max(self.budget.of_fits().most_rows() as u64))
            }
            _ => logged,
        }
    }

    fn baseline(&self) -> Result<Box<dyn baselines::Method>> {
        // Those that act while they learn do so within the steps of a run.
        if self.method == history_greedy::NAME {
            let settings = history_greedy::Settings {
                item_search: self.config()?.model.item_search,
                ..history_greedy::Settings::default().of_interactions(self.budget.steps as usize)
            };
            return Ok(Box::new(history_greedy::HistoryGreedyMethod::with(settings)));
        }
        #[cfg(feature = "torch")]
        {
            use baselines::deers::{DeersMethod, NAME, SQUARED, Settings};
            let settings = Settings::default().of_steps(self.budget.steps);
            match self.method.as_str() {
                NAME => return Ok(Box::new(DeersMethod::of(settings))),
                SQUARED => return Ok(Box::new(DeersMethod::of(settings.squared()))),
                _ => {}
            }
        }
        baselines::methods::by_name_of(&self.method, self.budget.of_fits(), self.budget.steps as usize)
            .with_context(|| format!("there is no baseline `{}`", self.method))
    }
}

impl CellResult {
    /// Where it is kept.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("result.json")
    }

    /// What is kept of a cell in `folder`; `None` where it has no result, or one of another cell.
    pub fn read(folder: &Path, cell: &Cell) -> Option<Self> {
        let text = fs::read_to_string(Self::path(folder)).ok()?;
        let result: Self = serde_json::from_str(&text).ok()?;
        (result.cell == *cell).then_some(result)
    }

    /// Keeps it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_vec(self).context("a result is no JSON")?;
        Ok(write_whole(&Self::path(folder), &json)?)
    }
}

fn train_run(config: &Config, world: &World, path: &Path) -> Result<RunDir> {
    let run_dir = RunDir::create(path, config)?;
    train::run(config, world, &run_dir, false, &Interrupt::default())?;
    Ok(run_dir)
}

/// The evaluations of a run, its environment steps and its updates.
fn curve(run_dir: &RunDir) -> Result<(Vec<CurvePoint>, u64, u64)> {
    let (mut points, mut done) = (Vec::new(), (0, 0));
    let (mut high, mut low): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
    for record in read_lines::<Record>(&run_dir.metrics_path())? {
        match record {
            Record::Train(record) => {
                done = (record.env_steps, record.updates);
                high.extend(record.high.map(|level| level.mean_q));
                low.extend(record.low.and_then(|level| level.mean_q.first().copied()));
            }
            Record::Evaluation(record) => {
                points.push(CurvePoint {
                    env_steps: record.env_steps,
                    updates: record.updates,
                    total: record.total.value,
                    high_q: mean_of_rows(&high),
                    low_q: (!low.is_empty()).then(|| low.iter().sum::<f64>() / low.len() as f64),
                    returns: record.returns,
                });
                (high, low) = (Vec::new(), Vec::new());
            }
        }
    }
    Ok((points, done.0, done.1))
}

fn mean_of_rows(rows: &[Vec<f64>]) -> Vec<f64> {
    let heads = rows.first().map_or(0, Vec::len);
    (0..heads).map(|k| rows.iter().map(|row| row[k]).sum::<f64>() / rows.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::{Scale, experiment};

    fn cell(method: &str, seed: u64) -> Cell {
        let budget = Budget { steps: 6_000, sessions: 20, lengths: vec![10], ..Budget::of(Scale::Quick) };
        let small = [("train.evaluation_sessions", 4), ("model.encoder_width", 8), ("model.head_width", 8)];
        let settings = small.map(|(key, value)| (key.to_owned(), toml::Value::from(value))).into();
        Cell { method: method.to_owned(), settings, env: "shopworld".to_owned(), seed, budget }
    }

    #[test]
    fn a_cell_is_kept_and_found_again_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let result = cell("random", 0).run(folder.path()).unwrap();
        result.write(folder.path()).unwrap();
        assert_eq!(CellResult::read(folder.path(), &cell("random", 0)), Some(result));
        assert_eq!(CellResult::read(folder.path(), &cell("random", 1)), None);
        assert_ne!(cell("random", 0).name(), cell("random", 1).name());
    }

    #[test]
    fn equal_cells_have_equal_results_and_other_seeds_others() {
        let run = |seed| {
            let folder = tempfile::tempdir().unwrap();
            CellResult { seconds: 0.0, ..cell("tuned", seed).run(folder.path()).unwrap() }
        };
        let (first, again, other) = (run(3), run(3), run(4));
        assert!(first.updates > 0 && first.env_steps >= 6_000 && !first.curve.is_empty());
        assert_eq!(first, again);
        assert_ne!(first.curve, other.curve);
    }

    #[test]
    fn settings_of_a_variant_reach_the_run() {
        let variant = &experiment::variants(experiment::Experiment::Fig8, Scale::Quick, &[])[2];
        let cell = variant.cells("shopworld", &Budget::of(Scale::Quick)).remove(0);
        let config = cell.config().unwrap();
        assert_eq!(config.algorithm.internal_weight, 0.9);
        assert_eq!(config.train.learner_threads, 1, "cells share the cores");
    }
}
