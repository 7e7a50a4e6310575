//! The paper, one equation family a file. In: tensors `[B, ...]`, asserted first; out: tensors.
//!
//! | module | equations |
//! |---|---|
//! | [`settings`] | the symbols: every size and constant, in f64 |
//! | [`layout`] | names, shapes and places of a network's parameters |
//! | [`initial`] | their initial values |
//! | `parameters` | those parameters in one flat tensor |
//! | `window`, `upload` | history windows, packed or padded for the GRUs; columns to the device |
//! | `gru`, `gru_stack`, `encoder` | 3, 6: the state s, and its hand-written backward pass; on GPUs all GRUs side by side |
//! | `heads` | 4, 5, 7, 8: actors and critics on s |
//! | `affinity` | how near an action is to the items of the windows, for critics (D30) |
//! | `state` | the goal in the low-level state (`goal_conditioning = state`, D1) |
//! | `mapping` | 9, for the targets; the rollouts' is in the crate `agent` |
//! | `rewards`, [`shares`] | 10-13 |
//! | `targets`, [`noise`] | 14, 17 |
//! | `losses` | 15, 16, 18, 19 |
//! | `adam`, [`groups`], `soft_update` | the optimiser and what it moves together; the target networks |
//!
//! [`settings`], [`layout`], [`initial`], [`shares`], [`noise`] and [`groups`] know no tensors: both engines use them. The
//! others are the forms of the torch engine, and part of the cargo feature `torch`; the native engine has its own in
//! `engine/native`.
//!
//! Letters in shapes: B rows of a batch, N window, n item embedding, w encoder width, k head width, M goals, c steps of a
//! period, H heads (M at the high level, 1 at the low one), V items, D = w + features behind the state. Deviations from
//! the paper carry an id (D1, D2, ...) of docs/deviations.md. Gradients: autograd differentiates the heads and losses,
//! the encoders have a backward pass of their own; nothing here sets `requires_grad` on stored parameters.

pub mod groups;
pub mod initial;
pub mod layout;
pub mod noise;
pub mod settings;
pub mod shares;

#[cfg(feature = "torch")]
pub mod adam;
#[cfg(feature = "torch")]
pub mod affinity;
#[cfg(feature = "torch")]
pub mod encoder;
#[cfg(feature = "torch")]
pub mod gru;
#[cfg(feature = "torch")]
pub mod gru_stack;
#[cfg(feature = "torch")]
pub mod heads;
#[cfg(feature = "torch")]
pub mod losses;
#[cfg(feature = "torch")]
pub mod mapping;
#[cfg(feature = "torch")]
pub mod parameters;
#[cfg(feature = "torch")]
pub mod rewards;
#[cfg(feature = "torch")]
pub mod soft_update;
#[cfg(feature = "torch")]
pub mod state;
#[cfg(feature = "torch")]
pub mod targets;
#[cfg(feature = "torch")]
pub mod upload;
#[cfg(feature = "torch")]
pub mod window;

/// Panics with names and sizes unless `tensor` has the given shape; -1 stands for any size.
#[cfg(feature = "torch")]
#[track_caller]
pub(crate) fn assert_shape(name: &str, tensor: &tch::Tensor, shape: &[i64]) {
    let found = tensor.size();
    let fits = found.len() == shape.len() && found.iter().zip(shape).all(|(&f, &s)| s == -1 || f == s);
    assert!(fits, "`{name}` has shape {found:?}, expected {shape:?} (-1 is any)");
}
