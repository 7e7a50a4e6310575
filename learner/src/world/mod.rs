//! The world a run names: the built-in one, or a log's learned simulators.
//!
//! In: `environment` settings; out: as many [`Environment`]s as asked for, for training, validation or test users. In
//! ShopWorld the three differ by their session ids ([`Users::first_session`]); training users depend on the run's seed,
//! those of an evaluation never do, so that all runs are evaluated on the same sessions. A log has two simulators: one
//! fitted to its training days, for training and validation, and one fitted to its test days, for test users.

mod learned;

use std::{path::Path, sync::Arc};

use common::{
    ItemTable,
    config::{Config, EnvironmentConfig},
};
use sim::{Environment, OpenWorld, Reference, WorldFingerprint, learned::Noise};

use crate::{
    evaluation::{EvaluationSettings, Users},
    simulator,
};
use learned::Learned;

/// Seed of the users of every evaluation.
const EVALUATION_SEED: u64 = 20_200_725;

/// Why a world cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a built-in world nor a folder.
    #[error(
        "environment `{0}` is neither `shopworld[:VARIANT]` nor the folder of an imported log, seen from here: a run keeps the \
         path of its log as it was typed; --env LOG says where it is now"
    )]
    Unknown(String),
    /// A log without a fitted simulator.
    #[error("{log} has no fitted {which} simulator; fit it with: learner simulator fit {log}")]
    NotFitted {
        /// The log.
        log: String,
        /// `train` or `test`.
        which: &'static str,
    },
    /// A simulator's acceptance report cannot be read: fit it again.
    #[error(transparent)]
    Report(#[from] simulator::Error),
    /// The world itself refuses.
    #[error("cannot open the world `{name}`")]
    World {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: sim::Error,
    },
    /// The item table does not fit the model.
    #[error("items of `{name}` have {found} dimensions, but `model.n_dims` is {expected}: set it to {found}")]
    Dimensions {
        /// The world.
        name: String,
        /// Of its items.
        found: usize,
        /// Of the model.
        expected: usize,
    },
    /// The items lie in another box than goals and virtual actions.
    #[error(
        "items of `{name}` lie in (-{found}, {found}), but `model.bound` is {expected}: set it to {found}"
    )]
    Bound {
        /// The world.
        name: String,
        /// Of its items.
        found: f32,
        /// Of the model.
        expected: f32,
    },
    /// The log was embedded anew after its simulators were fitted: what they know of an item is no longer true of it.
    #[error(
        "the {which} simulator of {log} was fitted to other embeddings than {items} holds now; fit it again with: \
         learner simulator fit {log}"
    )]
    Embeddings {
        /// The log.
        log: String,
        /// `train` or `test`.
        which: &'static str,
        /// The log's item table.
        items: String,
    },
    /// Noise of learned simulators, in another world.
    #[error(
        "`{key}` is {value}, but it is for learned simulators only, and `{name}` is none: leave it at {default}"
    )]
    Noise {
        /// Dotted key.
        key: &'static str,
        /// What it is set to.
        value: f32,
        /// The world.
        name: String,
        /// What means no noise.
        default: f32,
    },
    /// The simulators see other windows than the model.
    #[error(
        "the simulators of `{name}` were fitted with windows of {found}, but `model.window` is {expected}; fit them \
         again with: learner simulator fit {name} --window {expected}"
    )]
    Window {
        /// The log.
        name: String,
        /// Of the simulators.
        found: usize,
        /// Of the model.
        expected: usize,
    },
    /// Too few items for the sessions.
    #[error(
        "`{name}` has {n_items} items, but a session shows {needed} different ones (environment.session_length + \
         environment.warmup_steps)"
    )]
    Candidates {
        /// The log.
        name: String,
        /// Of its catalogue.
        n_items: usize,
        /// Steps of a session and of its warm-up.
        needed: usize,
    },
    /// Users of a learned simulator that should leave.
    #[error("`environment.leave` is true, but nobody leaves in the learned simulators of `{name}`")]
    Leave {
        /// The log.
        name: String,
    },
}

/// A world that is open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    environment: EnvironmentConfig,
    window: usize,
    seed: u64,
    /// Training and validation users.
    train: OpenWorld,
    /// Test users.
    test: OpenWorld,
    caveats: Arc<[String]>,
}

impl World {
    /// What actors' worlds are held against.
    pub fn fingerprint(&self) -> Result<WorldFingerprint, Error> {
        let name = &self.environment.name;
        let failed = |source| Error::World { name: name.clone(), source };
        self.train.fingerprint(name).map_err(failed)
    }

    /// Opens the world of a configuration. A simulator that was not accepted is opened with a warning in the log.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let name = &config.environment.name;
        let failed = |source| Error::World { name: name.clone(), source };
        let (train, test, caveats) = match OpenWorld::shopworld(name).map_err(failed)? {
            Some(world) => {
                refuse_noise(&config.environment)?;
                (world.clone(), world, Vec::new())
            }
            None if Path::new(name).is_dir() => {
                let Learned { train, test, caveats } = Learned::open(config)?;
                (train, test, caveats)
            }
            None => return Err(Error::Unknown(name.clone())),
        };
        let world = Self {
            environment: config.environment.clone(),
            window: config.model.window,
            seed: config.seed,
            train,
            test,
            caveats: caveats.into(),
        };
        let found = world.items().n_dims();
        if found != config.model.n_dims {
            return Err(Error::Dimensions { name: name.clone(), found, expected: config.model.n_dims });
        }
        let found = world.items().bound();
        if found != config.model.bound {
            return Err(Error::Bound { name: name.clone(), found, expected: config.model.bound });
        }
        Ok(world)
    }

    /// Its name in the settings.
    pub fn name(&self) -> &str {
        &self.environment.name
    }

    /// What a reader of results must know of it: simulators that were not accepted, impressions that were sampled. None
    /// of ShopWorld.
    pub fn caveats(&self) -> &[String] {
        &self.caveats
    }

    /// The catalogue.
    pub fn items(&self) -> &Arc<ItemTable> {
        self.train.items()
    }

    /// `n_slots` sessions side by side that are truncated after `length` steps.
    pub fn build(
        &self,
        users: Users,
        n_slots: usize,
        length: usize,
    ) -> Result<Box<dyn Environment>, sim::Error> {
        let seed = if users == Users::Training { self.seed } else { EVALUATION_SEED };
        let world = if users == Users::Test { &self.test } else { &self.train };
        world.build(&self.environment, self.window, seed, n_slots, length)
    }

    /// The worlds of an evaluation.
    pub fn for_evaluation(
        &self,
    ) -> impl Fn(&EvaluationSettings) -> Result<Box<dyn Environment>, sim::Error> + Sync + use<'_> {
        |settings| self.build(settings.users, settings.slots, settings.length)
    }

    /// The scripted policies that this world knows, in the order of the tables.
    pub fn references(&self) -> Result<Vec<Reference>, sim::Error> {
        let world = self.build(Users::Validation, 1, 1)?;
        Ok(Reference::ALL.into_iter().filter(|reference| reference.is_known_to(&*world)).collect())
    }
}

/// Fails if the noise of learned simulators is asked of a world that is none.
fn refuse_noise(environment: &EnvironmentConfig) -> Result<(), Error> {
    let none = Noise::default();
    let settings = [
        ("environment.temperature", environment.temperature, none.temperature),
        ("environment.flip_share", environment.flip_share, none.flip_share),
    ];
    match settings.into_iter().find(|(_, value, default)| value != default) {
        Some((key, value, default)) => {
            Err(Error::Noise { key, value, name: environment.name.clone(), default })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        World::open(&config).unwrap_err().to_string()
    }

    #[test]
    fn the_models_bound_is_that_of_the_items() {
        World::open(&Config::default()).unwrap();
        let error = refused(|config| config.model.bound = 1.0);
        assert_eq!(
            error,
            "items of `shopworld` lie in (-1.94, 1.94), but `model.bound` is 1: set it to 1.94"
        );
    }

    #[test]
    fn noise_of_learned_simulators_is_refused_in_shopworld() {
        let error = refused(|config| config.environment.temperature = 2.0);
        assert_eq!(
            error,
            "`environment.temperature` is 2, but it is for learned simulators only, and `shopworld` is none: leave it \
             at 1"
        );
        let error = refused(|config| config.environment.flip_share = 0.1);
        assert!(error.starts_with("`environment.flip_share` is 0.1, but it is for learned"), "{error}");
    }
}
