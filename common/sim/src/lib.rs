//! Simulator shards: worlds that answer shown items with feedback.
//!
//! | module | what it holds |
//! |---|---|
//! | [`environment`] | the one trait of all worlds |
//! | [`shopworld`] | the built-in world: users whose truth is known |
//! | [`learned`] | the simulator fitted to a log: the network and its files |
//! | [`mod@reference`] | scripted policies to compare with, the privileged oracles among them |
//! | [`mod@open`] | worlds by their names in the settings |
//! | `slots` | what every world keeps of its sessions |
//! | `draw` | candidates, weighted draws |
//! | `kept` | what a scripted policy keeps of a session |
//! | `numbers` | exp, sigmoid, tanh |

mod draw;
pub mod environment;
mod kept;
pub mod learned;
mod numbers;
pub mod open;
pub mod reference;
pub mod shopworld;
mod slots;

pub use environment::{Environment, Error, Outcome, Truth};
pub use learned::{LearnedModel, LearnedSettings, LearnedWorld};
pub use open::{OpenWorld, WorldFingerprint, simulator_path};
pub use reference::{Reference, ReferencePolicy};
pub use shopworld::{Catalogue, ShopWorld, ShopWorldSettings, Variant};
