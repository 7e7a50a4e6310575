//! The engine on libtorch. In: batches of ids; out: new parameters. CPU or CUDA, f32 or f64, every setting.
//!
//! | module | what it holds |
//! |---|---|
//! | [`core`] | both levels and one update of them, from tensors |
//! | [`level`] | one DDPG pair with its targets: the three steps of an update |
//! | [`network`] | one network: parameters, encoder, heads, optimiser |
//! | [`measures`] | what an update measures, read from the device at its end |
//! | [`batch`] | checked ids to tensors |
//! | [`state`] | networks and optimisers by name, to and from plain memory |
//! | [`device`] | `auto`, `cpu`, `cuda:N` |

pub mod batch;
pub mod core;
pub mod device;
pub mod level;
pub mod measures;
pub mod network;
pub mod state;

use common::{
    ItemId, ItemTable,
    config::Config,
    seed::Streams,
    transition::{HighBatch, LowBatch},
};
use tch::{Kind, Tensor};

pub use self::{
    batch::{HighTensors, LowTensors},
    core::Core,
};
use super::{Engine, Error, LowStates, UpdateMetrics};
use crate::{
    algorithm::{
        settings::{LevelKind, Settings},
        upload::upload,
    },
    checkpoint::{self, Tensors},
};

/// The reference engine.
#[derive(Debug)]
pub struct TorchEngine {
    core: Core,
}

impl TorchEngine {
    /// An engine with initial parameters drawn from the run's seed, in f32 on `train.device`.
    ///
    /// Sets torch's threads to one: spinning OpenMP threads on shared cores cost 15 times.
    pub fn new(config: &Config, items: &ItemTable) -> Result<Self, Error> {
        Self::with_kind(config, items, Kind::Float)
    }

    /// The same in a kind of choice, `Float` or `Double`.
    pub fn with_kind(config: &Config, items: &ItemTable, kind: Kind) -> Result<Self, Error> {
        tch::set_num_threads(1);
        let device = device::parse(&config.train.device)?;
        let settings = Settings::new(config);
        if items.n_dims() != settings.model.n_dims {
            return Err(Error::Items { found: items.n_dims(), expected: settings.model.n_dims });
        }
        let table = Tensor::from_slice(items.embeddings())
            .view([items.n_items() as i64, items.n_dims() as i64])
            .to_device(device)
            .to_kind(kind);
        let initial = Streams::new(config.seed, "learner/initial-parameters");
        let smoothing = Streams::new(config.seed, "learner/target-noise");
        Ok(Self { core: Core::new(settings, table, &initial, smoothing) })
    }

    /// The networks and the update on tensors.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// See [`Core::set_side_by_side`].
    pub fn set_side_by_side(&mut self, side_by_side: bool) {
        self.core.set_side_by_side(side_by_side);
    }

    /// Maps targets (`target_action = mapped`) into these items instead of the whole catalogue.
    pub fn map_targets_to(&mut self, items: &[ItemId]) -> Result<(), Error> {
        self.core.checks().targets(items)?;
        self.core.map_targets_to(&batch::rows(items, &self.core));
        Ok(())
    }
}

impl TorchEngine {
    /// A step of the low-level actor towards the `items` `[B]` chosen in these states, by `weights` `[B]` (D25). Critics,
    /// targets and the number of updates stay. The loss before the step.
    pub fn imitate(
        &mut self,
        states: LowStates<'_>,
        items: &[ItemId],
        weights: &[f32],
    ) -> Result<f64, Error> {
        let checks = self.core.checks();
        checks.low_states(states)?;
        checks.items("items", items, 1)?;
        let (windows, features) = batch::low_states(states, &self.core);
        let (kind, device) = self.core.options();
        let index: Vec<i64> = items.iter().map(|item| i64::from(item.0)).collect();
        let index = upload(&index, device);
        let weights = upload(weights, device).to_kind(kind);
        Ok(self.core.imitate(&windows, features.as_ref(), &index, &weights))
    }
}

impl Engine for TorchEngine {
    fn update(&mut self, high: &HighBatch, low: &LowBatch) -> Result<UpdateMetrics, Error> {
        let checks = self.core.checks();
        let (has_high, has_low) = (!high.is_empty(), !low.is_empty());
        if has_high {
            checks.high(high)?;
        }
        let ahead = if has_low { checks.low(low)? } else { None };
        let high = has_high.then(|| HighTensors::decode(high, &self.core));
        let low = has_low.then(|| LowTensors::decode(low, ahead, &self.core));
        let metrics = self.core.update(high.as_ref(), low.as_ref());
        metrics.check_finite()?;
        Ok(metrics)
    }

    fn set_progress(&mut self, done: f64) {
        self.core.set_progress(done);
    }

    fn updates(&self) -> u64 {
        self.core.updates()
    }

    fn weights(&self, critics: bool) -> Vec<u8> {
        checkpoint::tensors::to_bytes(&state::online(&self.core, critics))
    }

    fn state(&self) -> Tensors {
        state::save(&self.core)
    }

    fn load_state(&mut self, state: &Tensors) -> Result<(), Error> {
        state::load(&mut self.core, state)
    }

    fn goals(&self, windows: &[ItemId]) -> Result<Vec<f32>, Error> {
        if !self.core.settings().model.has_high_level() {
            return Ok(Vec::new());
        }
        self.core.checks().rows_of("windows", windows)?;
        let windows = batch::pack(windows, LevelKind::High, &self.core);
        Ok(to_vec(&self.core.level(LevelKind::High).actor().act(&windows, None)))
    }

    fn actions(&self, states: LowStates<'_>) -> Result<Vec<f32>, Error> {
        self.core.checks().low_states(states)?;
        let (windows, features) = batch::low_states(states, &self.core);
        Ok(to_vec(&self.core.level(LevelKind::Low).actor().act(&windows, features.as_ref())))
    }

    fn high_values(&self, windows: &[ItemId], goals: &[f32]) -> Result<Vec<f32>, Error> {
        if !self.core.settings().model.has_high_level() {
            return Ok(Vec::new());
        }
        let checks = self.core.checks();
        let n_rows = checks.rows_of("windows", windows)?;
        checks.goals("goals", goals, n_rows)?;
        let packed = batch::pack(windows, LevelKind::High, &self.core);
        let goals = batch::goals(goals, n_rows, &self.core);
        Ok(to_vec(&self.core.level(LevelKind::High).critic().value(&packed, None, &goals)))
    }

    fn low_values(&self, states: LowStates<'_>, items: &[ItemId]) -> Result<Vec<f32>, Error> {
        self.core.checks().low_states(states)?;
        let per_row = self.core.checks().items_a_row(items, states.positions.len())? as i64;
        let (windows, features) = batch::low_states(states, &self.core);
        let critic = self.core.level(LevelKind::Low).critic();
        let state = critic.state(&windows, features.as_ref());
        let actions = batch::rows(items, &self.core).view([state.size()[0], per_row, -1]);
        let of_item = |number| critic.value_in(&windows, &state, &actions.narrow(1, number, 1));
        Ok(to_vec(&Tensor::cat(&(0..per_row).map(of_item).collect::<Vec<_>>(), 1)))
    }
}

/// All numbers of a tensor, row-major, in f32.
fn to_vec(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_kind(Kind::Float).contiguous().view([-1]);
    Vec::try_from(flat).expect("a flat tensor of f32 is a vector")
}
