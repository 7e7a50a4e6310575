//! The two agents without libtorch. In: weights (safetensors), item table, history windows; out: goals, virtual
//! actions, items to show, Q values.
//!
//! | module | what it holds |
//! |---|---|
//! | [`layout`] | names, shapes and initialisation of every parameter |
//! | [`weights`] | a set of named tensors: read, written, drawn at random, checked against the layout |
//! | [`policy`] | actors and critics of both levels over batches of sessions (Eqs 3-8) |
//! | `affinity` | what the low-level critic adds for items near those of the windows (D30) |
//! | [`sessions`] | the rows of a batch: windows, selection, goals |
//! | [`mapping`] | from a direction to an item that is left to show (Eq 9) |
//! | [`item_search`] | the index of a large catalogue, built once a process |
//! | [`chooser`] | from virtual actions to items: the mapping, or the critic's choice among the nearest |
//! | [`exploration`] | noise of the rollouts |
//!
//! One [`Policy`] serves any number of threads; each thread owns its [`Scratch`]. A session's results have the same bits
//! whatever the batch around it. The crate asserts the lengths of slices (a wrong one is a bug of the caller) and
//! returns errors for what comes from outside: weights and sizes.

pub mod chooser;
pub mod exploration;
pub mod item_search;
pub mod layout;
pub mod mapping;
pub mod policy;
pub mod sessions;
pub mod weights;

mod actor_network;
mod affinity;
mod critic_network;
mod encoder;
mod per_table;
mod scratch;

pub use chooser::Chooser;
pub use exploration::{Address, Explorer, NoiseCounts};
pub use layout::Network;
pub use mapping::{Mapping, MappingScratch};
pub use policy::Policy;
pub use scratch::Scratch;
pub use sessions::{Guidance, NO_GOAL, Sessions};
pub use weights::Weights;

/// Why weights or a request were refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no safetensors file.
    #[error("not a weights file: {0}")]
    File(String),
    /// A tensor of the layout is missing.
    #[error("tensor `{name}` is missing, expected shape {expected:?}")]
    Missing {
        /// Full name.
        name: String,
        /// The layout's shape.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the layout's.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Full name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The layout's shape.
        expected: Vec<usize>,
    },
    /// A tensor is not of type F32.
    #[error("tensor `{name}` holds {found}, expected F32")]
    Dtype {
        /// Full name.
        name: String,
        /// Its type.
        found: String,
    },
    /// A weight that is NaN or infinite.
    #[error("tensor `{name}`, element {index}: {value} is not a finite number")]
    NotFinite {
        /// Full name.
        name: String,
        /// Row-major index.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// A tensor of one of the four networks that the layout does not know: weights of other settings.
    #[error("tensor `{name}` does not belong to a model of these settings")]
    Unexpected {
        /// Full name.
        name: String,
    },
    /// Items and model disagree.
    #[error("the items' embeddings have size {found}, the model's setting `n_dims` is {expected}")]
    Embeddings {
        /// Size in the item table.
        found: usize,
        /// Size in the settings.
        expected: usize,
    },
    /// Q values were asked of weights that carry actors only.
    #[error("the weights hold no {0}")]
    NoCritic(Network),
    /// Every candidate of a session was shown.
    #[error("no candidate is left to show in row {row}")]
    NoCandidate {
        /// Row of the batch.
        row: usize,
    },
}
