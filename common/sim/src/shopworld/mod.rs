//! ShopWorld: the built-in world whose truth is known.
//!
//! In: item ids; out: skips, clicks and orders of users with long-term needs, drifting interests, boredom, readiness to
//! buy and trust. Attractive items earn clicks, items of quality earn trust and orders, and the two are at odds, so
//! that a policy that looks ahead can beat one that does not. The world is never tuned to make a method win.
//!
//! | module | what it holds |
//! |---|---|
//! | [`catalogue`] | the items: 10,000, a function of the world's seed |
//! | [`dynamics`] | the user model's equations and constants |
//! | `user` | one user: state, probabilities, response |
//! | [`world`] | E users as an environment |
//! | [`belief`] | what can be known of a user from what was shown |
//! | [`settings`] | what is chosen when a world is built |
//! | [`variant`] | presets and their calibrated constants |
//! | [`calibration`] | how those constants are found |
//! | `state` | saving and restoring |
//! | `factors` | vectors of the interest and need spaces |

pub mod belief;
pub mod calibration;
pub mod catalogue;
pub mod dynamics;
mod factors;
pub mod settings;
mod state;
mod user;
pub mod variant;
pub mod world;

pub use belief::Belief;
pub use calibration::{calibrate, measure};
pub use catalogue::Catalogue;
pub use dynamics::{Calibration, Dynamics};
pub use settings::ShopWorldSettings;
pub use variant::{Rates, Variant};
pub use world::ShopWorld;
