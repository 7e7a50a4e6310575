//! The learned simulator (Sec 4.2.1): feedback predicted by networks that were fitted to a log. Inference only.
//!
//! In: item ids `[E]`; out: feedback `[E]`, sampled from a network's softmax over {skip, click, order}. The networks are
//! fitted elsewhere (`learner simulator fit`) and handed over as the folder described here.
//!
//! # The network of one member
//! Sizes: n item embedding, N window, F item features, D category embedding, W encoder width, H hidden width.
//! ```text
//! u   = [e ; f ; v_category]               e the item's embedding [n] as in the item table (not normalised),
//!                                          f its features [F], v its category's embedding [D]      u [n + F + D]
//! h_k = GRU_k(embeddings of window k)      k in (skipped, clicked, ordered), h_0 = 0, oldest first; padding is
//!                                          neutral: h_t = h_{t-1} where the window holds no item    [W] each
//! a   = ReLU(W_state [h_skipped ; h_clicked ; h_ordered] + b_state + W_item u)                      [H]
//! p   = softmax((W_out a + b_out) / temperature)                                                    [3]
//! ```
//! The GRU is PyTorch's: gate order r, z, n in the rows of `weight_ih` and `weight_hh`, and
//! `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, `h' = (1 - z) n + z h`. The encoders see `e` alone, without f and v.
//!
//! A simulator is an ensemble of K members; each session draws one of them and keeps it, so that a policy cannot
//! exploit one network's errors.
//!
//! # The folder
//! | file | holds |
//! |---|---|
//! | `items.safetensors` | the catalogue, as [`common::ItemTable::save`] writes it |
//! | `model.safetensors` | the members, see below |
//! | `log.safetensors` | what is kept of the log, see below |
//!
//! `model.safetensors`, all tensors F32, row-major. Metadata: `format` = `mahrl.simulator.1`. Sizes follow from the
//! shapes. `{k}` is `0..K`, without gaps:
//!
//! | tensor | shape |
//! |---|---|
//! | `member.{k}.encoder.skipped.weight_ih` | `[3 W, n]` |
//! | `member.{k}.encoder.skipped.weight_hh` | `[3 W, W]` |
//! | `member.{k}.encoder.skipped.bias_ih` | `[3 W]` |
//! | `member.{k}.encoder.skipped.bias_hh` | `[3 W]` |
//! | `member.{k}.encoder.clicked.*`, `member.{k}.encoder.ordered.*` | the same four each |
//! | `member.{k}.state.weight` | `[H, 3 W]`, columns in the order skipped, clicked, ordered |
//! | `member.{k}.state.bias` | `[H]` |
//! | `member.{k}.item.weight` | `[H, n + F + D]`, columns in the order of u |
//! | `member.{k}.output.weight` | `[3, H]`, rows in the order skip, click, order |
//! | `member.{k}.output.bias` | `[3]` |
//! | `member.{k}.category.weight` | `[n_categories, D]`; optional: without it D = 0. For all members or none |
//! | `features` | `[n_items, F]`, as fed to the networks (scaled, one-hot, ...); optional: without it F = 0 |
//!
//! `log.safetensors`. Metadata: `format` = `mahrl.simulator.log.1`:
//!
//! | tensor | type, shape |
//! |---|---|
//! | `windows` | U32 `[n_contexts, 3, N]`: windows at the starts of the log's sessions (skipped, clicked, ordered), padding 4294967295 on the left; at least one context |
//! | `impressions` | F32 `[n_items]`: how often the log shows each item; the logging policy shows in proportion to it, plus .5 |
//! | `clicks` | F32 `[n_items]`: how often it is clicked; the popularity policy ranks by it |
//! | `base_rates` | F32 `[3]`: shares of skip, click, order in the log; positive, sum 1 |
//!
//! A fitter fills a [`Tensors`] with these names and calls [`save`], which checks all of them before it writes; to look at
//! a model's predictions, it makes a [`LearnedModel`] of the same tensors and calls [`LearnedModel::predict`].
//!
//! | module | what it holds |
//! |---|---|
//! | [`tensors`] | named tensors and their files |
//! | [`model`] | the ensemble: checked tensors, ready to run |
//! | `forward` | the forward pass |
//! | [`log`] | what is kept of the log |
//! | [`folder`] | reading and writing the folder |
//! | [`noise`] | temperature and flips |
//! | [`world`] | the simulator as an environment |

pub mod folder;
mod forward;
pub mod log;
pub mod model;
pub mod noise;
mod state;
pub mod tensors;
pub mod world;

pub use folder::{fingerprint, items, load, load_over, save};
pub use forward::Scratch;
pub use log::LogStatistics;
pub use model::LearnedModel;
pub use noise::Noise;
pub use tensors::{Tensor, Tensors, Values};
pub use world::{LearnedSettings, LearnedWorld};
