//! DEERS (Zhao et al. 2018, "Recommendations with Negative Feedback via Pairwise Deep Reinforcement Learning"): a deep Q-network
//! that sees positive and negative feedback apart, and is told which of two competing items the user preferred.
//!
//! In: a world; out: a policy that shows the item of the recall set with the largest Q(s, a), and ranks by it. The state is
//! what was clicked or ordered (s+) and what was skipped (s-), a GRU each, each joined with the candidate item in a hidden
//! layer of its own:
//!
//! ```text
//! y = r + discount max_a' Q(s', a'; target)                                     Eqs 5, 6
//! L = mean (y - Q(s, a))^2 - weight mean min((Q(s, a) - Q(s, a^E))^2, clip)      Eqs 7, 8; the clip is ours
//! ```
//!
//! a^E is the competing item of the session: same group, other feedback, the nearest in time. Trained on the learner's
//! thread with torch, run in plain Rust. Reproducible from the seed and the number of slots.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | budget, hyperparameters, the form of the pairwise term |
//! | [`parameters`] | names, shapes, initial values |
//! | [`network`] | the Q-network in plain Rust |
//! | [`groups`] | which items compete: categories, or clusters of embeddings |
//! | [`memory`] | sessions that were played, competing items, draws |
//! | [`collect`] | rollouts with random items among the greedy ones |
//! | [`loss`] | targets, squared error, the pairwise term (tch) |
//! | [`update`] | one update of the network and of its target (tch) |
//! | [`mod@train`] | rollouts and updates in turn |
//! | [`policy`] | the trained policy |
//! | [`method`] | the seam of all methods: fit, save, load, rank |

mod collect;
mod groups;
mod loss;
mod memory;
mod method;
mod network;
mod parameters;
mod policy;
mod settings;
mod train;
mod update;

pub use method::DeersMethod;
pub use parameters::{Parameters, Sizes};
pub use policy::{Deers, NAME, SQUARED};
pub use settings::{Pairwise, Settings};
pub use train::{Progress, train};
