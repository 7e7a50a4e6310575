//! Worlds by their names in the settings.
//!
//! In: `environment` settings; out: an [`OpenWorld`], which builds as many environments over one catalogue as asked for.
//! What a run must know beside (whether a simulator was accepted, which users are whose) is the learner's.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{ItemTable, config::EnvironmentConfig};

use crate::{
    Catalogue, Environment, Error, LearnedModel, LearnedSettings, LearnedWorld, ShopWorld, ShopWorldSettings,
    Variant,
    learned::{self, LogStatistics, Noise},
};

/// Seed of ShopWorld's catalogue: one world for all runs.
const CATALOGUE_SEED: u64 = 0;

/// Where the simulator of a log's `train` or `test` days lies.
pub fn simulator_path(log: &Path, which: &str) -> PathBuf {
    log.join("simulator").join(which)
}

/// What tells worlds of equal names and settings apart, SHA-256 in hex each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorldFingerprint {
    /// See [`ItemTable::fingerprint`].
    pub items: String,
    /// Of the simulator of the training days, which actors play in; empty in a built-in world.
    pub simulator: String,
}

/// A world that is open. Cheap to clone.
#[derive(Clone, Debug)]
pub enum OpenWorld {
    /// The built-in world.
    ShopWorld {
        /// Which form of it.
        variant: Variant,
        /// Its items.
        catalogue: Arc<Catalogue>,
    },
    /// A simulator that was fitted to a log.
    Learned {
        /// The networks.
        model: Arc<LearnedModel>,
        /// What was kept of the log.
        log: Arc<LogStatistics>,
    },
}

impl OpenWorld {
    /// The world in which a run is trained: ShopWorld by its name, or the simulator of a log's training days.
    pub fn for_training(name: &str) -> Result<Self, Error> {
        match Self::shopworld(name)? {
            Some(world) => Ok(world),
            None => Self::learned(&simulator_path(Path::new(name), "train")),
        }
    }

    /// Whether a name is one of ShopWorld's, of a variant that there is or not.
    pub fn is_built_in(name: &str) -> bool {
        !matches!(Variant::of_world(name), Ok(None))
    }

    /// ShopWorld, if this is one of its names.
    pub fn shopworld(name: &str) -> Result<Option<Self>, Error> {
        let Some(variant) = Variant::of_world(name)? else { return Ok(None) };
        let catalogue = Arc::new(Catalogue::new(CATALOGUE_SEED, variant.dynamics().rho)?);
        Ok(Some(Self::ShopWorld { variant, catalogue }))
    }

    /// The simulator of a folder.
    pub fn learned(folder: &Path) -> Result<Self, Error> {
        let (model, log) = learned::load(folder)?;
        Ok(Self::Learned { model, log })
    }

    /// The simulator of a folder over the catalogue of another one, the training days': what is popular is known from those.
    pub fn learned_over(folder: &Path, train: &Self) -> Result<Self, Error> {
        let (model, log) = learned::load_over(folder, train.items())?;
        let log = match train {
            Self::ShopWorld { .. } => log,
            Self::Learned { log: of_train, .. } => {
                Arc::new(LogStatistics::clone(&log).with_clicks_of(of_train))
            }
        };
        Ok(Self::Learned { model, log })
    }

    /// The catalogue.
    pub fn items(&self) -> &Arc<ItemTable> {
        match self {
            Self::ShopWorld { catalogue, .. } => catalogue.items(),
            Self::Learned { model, .. } => model.items(),
        }
    }

    /// What others know the world by that was opened under this name.
    pub fn fingerprint(&self, name: &str) -> Result<WorldFingerprint, Error> {
        let simulator = match self {
            Self::ShopWorld { .. } => String::new(),
            Self::Learned { .. } => learned::fingerprint(&simulator_path(Path::new(name), "train"))?,
        };
        Ok(WorldFingerprint { items: self.items().fingerprint(), simulator })
    }

    /// `n_slots` sessions side by side over windows of `window` items, truncated after `length` steps. A longer session
    /// than the settings' gets more candidates: the same for all methods compared.
    pub fn build(
        &self,
        environment: &EnvironmentConfig,
        window: usize,
        seed: u64,
        n_slots: usize,
        length: usize,
    ) -> Result<Box<dyn Environment>, Error> {
        let candidates = environment.candidates.max(length + environment.warmup_steps);
        match self {
            Self::ShopWorld { variant, catalogue } => {
                let settings = ShopWorldSettings {
                    variant: *variant,
                    n_slots,
                    window,
                    session_length: length,
                    leave: environment.leave,
                    candidates,
                    warmup_steps: environment.warmup_steps,
                    seed,
                };
                Ok(Box::new(ShopWorld::new(Arc::clone(catalogue), settings)?))
            }
            Self::Learned { model, log } => {
                let settings = LearnedSettings {
                    n_slots,
                    session_length: length,
                    candidates,
                    noise: Noise { temperature: environment.temperature, flip_share: environment.flip_share },
                    seed,
                };
                Ok(Box::new(LearnedWorld::new(Arc::clone(model), Arc::clone(log), settings)?))
            }
        }
    }
}
