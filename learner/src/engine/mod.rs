//! One update of both levels, behind one seam. In: minibatches of ids; out: new parameters, and metrics.
//!
//! [`Engine`] is all that the training loop, the checkpoints and the evaluation know. Owner: one thread; an engine is
//! `Send`, not shared. Engines start from the same parameters, refuse the same batches, and a state of one goes on under
//! another.
//!
//! | module | what it holds |
//! |---|---|
//! | [`native`] | our own kernels: every setting, CPU |
//! | `torch` | libtorch, the reference: every setting, CPU or CUDA, f32 or f64 (a cargo feature, on by default) |
//! | [`choice`] | which of them a run uses |
//! | [`checks`] | what a batch may hold |
//! | [`stored`] | states by name |
//! | [`metrics`] | what an update measures |

pub mod ahead;
pub mod checks;
pub mod choice;
pub mod metrics;
pub mod native;
pub mod stored;
#[cfg(feature = "torch")]
pub mod torch;

use common::{
    ItemId,
    transition::{HighBatch, LowBatch},
};

use crate::checkpoint::Tensors;
pub use metrics::{ActorMetrics, LevelMetrics, UpdateMetrics};

/// Why an engine refused or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A column of a batch has the wrong length. A fault of the caller.
    #[error("batch column `{column}` holds {found} values, expected {expected}")]
    Length {
        /// E.g. `low.windows`.
        column: String,
        /// Values in it.
        found: usize,
        /// Values it should hold.
        expected: usize,
    },
    /// A value of a batch that cannot be. A fault of the caller.
    #[error("batch column `{column}`, row {row}: {problem}")]
    Value {
        /// E.g. `low.items`.
        column: String,
        /// Row of the batch.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A loss is NaN or infinite: the parameters are lost. Go back to a checkpoint.
    #[error("update {update} diverged: the {what} is {value}")]
    Diverged {
        /// Number of the update, from 1.
        update: u64,
        /// E.g. `low critic loss`.
        what: String,
        /// What it has become.
        value: f64,
    },
    /// A state lacks a tensor. Another version wrote it, or another network.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Which one.
        name: String,
    },
    /// A state holds a tensor that this engine does not have.
    #[error("tensor `{name}` is unknown: other goals, other settings or another version wrote it")]
    UnknownTensor {
        /// Which one.
        name: String,
    },
    /// A tensor of another shape: the model's sizes have changed.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which one.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of this engine.
        expected: Vec<usize>,
    },
    /// A tensor of whole numbers where real ones belong, or the other way round.
    #[error("tensor `{name}` holds {found}, expected {expected}")]
    Kind {
        /// Which one.
        name: String,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The item table does not fit the model.
    #[error("items have {found} dimensions, but `model.n_dims` is {expected}")]
    Items {
        /// Of the table.
        found: usize,
        /// Of the model.
        expected: usize,
    },
    /// `train.engine = "torch"` in a build without it.
    #[cfg(not(feature = "torch"))]
    #[error("`train.engine` is `torch`, but {}", choice::NEEDS_TORCH)]
    NoTorch,
    /// `train.precision = "bf16"` where `train.engine = "auto"` takes libtorch.
    #[error(
        "`train.precision` is `bf16`, which the native engine alone multiplies, but `train.engine = auto` takes torch on this \
         machine's GPU: set `train.engine = native`, or leave the precision at `f32`"
    )]
    Precision,
    /// The device cannot be used.
    #[error("device `{name}`: {problem}")]
    Device {
        /// The setting.
        name: String,
        /// Why not.
        problem: String,
    },
}

/// Where low-level decisions are taken: B states.
#[derive(Clone, Copy, Debug)]
pub struct LowStates<'a> {
    /// `[B, 3, N]` windows.
    pub windows: &'a [ItemId],
    /// `[B, M, n]` goals of the period.
    pub goals: &'a [f32],
    /// `[B]` positions in the period, `0..c`.
    pub positions: &'a [u8],
}

/// Whatever can update MaHRL's parameters.
pub trait Engine: Send {
    /// One update of both levels, in the order of Algorithm 1, lines 17-30. A batch without rows leaves its level as it
    /// is; without goals (M = 0) there is no high level, and its batch must be empty. After [`Error::Diverged`] the parameters are worthless; after any other error they are as before.
    fn update(&mut self, high: &HighBatch, low: &LowBatch) -> Result<UpdateMetrics, Error>;

    /// How much of the run is done, in [0, 1]: the next updates use the learning rates of that moment.
    fn set_progress(&mut self, done: f64);

    /// Updates done.
    fn updates(&self) -> u64;

    /// The online actors, `{high,low}/actor/...`, with `critics` the online critics too, as safetensors of f32: what
    /// is broadcast. Equal parameters give equal bytes.
    fn weights(&self, critics: bool) -> Vec<u8>;

    /// All networks (`{high,low}/{actor,critic,target_actor,target_critic}/...`, of twins also `critic_2` and
    /// `target_critic_2`), the optimisers (`adam/{high,low}/{actor,critic}/{mean,square}/...`, `.../steps`) and `updates`:
    /// all that [`Engine::load_state`] needs to go on as if nothing had happened.
    fn state(&self) -> Tensors;

    /// Takes over a state, or leaves everything as it is and says which tensor does not fit.
    fn load_state(&mut self, state: &Tensors) -> Result<(), Error>;

    /// Goals `[B, M, n]` of the online high-level actor (Eq 4), for windows `[B, 3, N]`.
    fn goals(&self, windows: &[ItemId]) -> Result<Vec<f32>, Error>;

    /// Virtual actions `[B, n]` of the online low-level actor (Eq 7).
    fn actions(&self, states: LowStates<'_>) -> Result<Vec<f32>, Error>;

    /// Values `[B, M]` of goals `[B, M, n]` under the online high-level critic (Eq 5), for windows `[B, 3, N]`.
    fn high_values(&self, windows: &[ItemId], goals: &[f32]) -> Result<Vec<f32>, Error>;

    /// Values `[B, K]` of items `[B, K]` under the online low-level critic (Eq 8).
    fn low_values(&self, states: LowStates<'_>, items: &[ItemId]) -> Result<Vec<f32>, Error>;
}
