//! How near actions are to the items of the windows (D30): features for the hidden layer of a critic of one head.
//!
//! ```text
//! c_kj = cos(P a, P i_kj)    f_kt = sum_j e^(p_kj) form_t(c_kj)    item j of window k, 0 the newest
//! ```
//! The forms are c, max(0, c) and e^(s (c - 1)) for two s. In: actions `[B, 1, n]`, packed windows; out: f `[B, 1, 4 windows]`.
//! Written for autograd.

use agent::layout::AFFINITY_SHARPNESS;
use tch::Tensor;

use super::window::{PackedWindow, Windows};

/// f `[B, 1, 4 windows]` by P `[1, K, n]` and p `[1, windows, N]`.
pub fn features(projection: &Tensor, place: &Tensor, windows: &Windows, action: &Tensor) -> Tensor {
    let (projection, places) = (projection.squeeze_dim(0), place.squeeze_dim(0).exp());
    let of_actions = directions(&action.squeeze_dim(1), &projection);
    let of_window = |(number, window): (i64, &PackedWindow)| {
        let none = Tensor::zeros([action.size()[0], 1], (action.kind(), action.device()));
        if window.counts.is_empty() {
            return none.repeat([1, 2 + AFFINITY_SHARPNESS.len() as i64]);
        }
        let (rows, ages) = window.pairs();
        let of_items = directions(&window.x, &projection);
        let products = of_actions.index_select(0, rows) * of_items;
        let weight = places.get(number).index_select(0, ages).unsqueeze(1);
        let of_pairs = forms(&products.sum_dim_intlist([1_i64].as_slice(), true, None)) * weight;
        none.repeat([1, of_pairs.size()[1]]).index_add(0, rows, &of_pairs)
    };
    Tensor::cat(&(0..).zip(&windows.0).map(of_window).collect::<Vec<_>>(), 1).unsqueeze(1)
}

/// The forms of cosines `[..., 1]`, `[..., 4]`.
pub fn forms(cosine: &Tensor) -> Tensor {
    let near = AFFINITY_SHARPNESS.map(|sharpness| ((cosine - 1.0) * f64::from(sharpness)).exp());
    let [wide, narrow] = near;
    Tensor::cat(&[cosine.shallow_clone(), cosine.relu(), wide, narrow], -1)
}

/// P v / |P v| of vectors `[..., n]`, `[..., K]`.
pub fn directions(vectors: &Tensor, projection: &Tensor) -> Tensor {
    let projected = vectors.linear(projection, None::<&Tensor>);
    let length = projected.norm_scalaropt_dim(2, [-1_i64].as_slice(), true).clamp_min(1e-12);
    projected / length
}
