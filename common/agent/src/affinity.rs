//! How near an action is to each item of a session's windows (D30): features of a state and an action for a critic's hidden
//! layer.
//!
//! ```text
//! c_kj = cos(P a, P i_kj)                    item j of window k, 0 the newest
//! f_kt = sum_j e^(p_kj) form_t(c_kj)         forms c, max(0, c), e^(3 (c - 1)), e^(8 (c - 1))
//! v    = ReLU(W1 s + W2 a + W3 f + b)
//! ```
//! In: windows `[3, N]` of a session, C actions or items; out: f `[4 windows, C]`, a column each. A window that is not full
//! has fewer terms.

use common::{
    ItemId, ItemTable,
    config::ModelConfig,
    history::{self, Kind},
};
use kernels::{
    Init, Level, RowMajor, RowMajorMut, Strided, gemm,
    math::decays,
    reduce::{dot, transpose_into},
    transpose,
};

use crate::{
    layout::{AFFINITY_FORMS, Network},
    scratch::sized,
    weights::NetworkWeights,
};

/// A direction shorter than this has none: its cosines are 0.
const SHORTEST: f32 = 1e-12;

pub(crate) struct Affinity {
    n_dims: usize,
    /// K.
    size: usize,
    windows: &'static [Kind],
    length: usize,
    /// `[n, K]`
    projection: Vec<f32>,
    /// `[windows, N]` e^p, the newest item first.
    place: Vec<f32>,
    /// `[4 windows, k]`
    weight: Vec<f32>,
    /// `[items, K]` directions of all items; empty until [`Affinity::project`].
    of_items: Vec<f32>,
}

/// The I items of a session's windows, as [`Affinity::meet`] left them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    /// `[I, K]` directions, window after window.
    directions: Vec<f32>,
    /// `[windows, I]` e^p in the row of an item's window, else 0.
    places: Vec<f32>,
    /// `[I, n]`, then `[C, n]`, where items' directions are not at hand.
    embeddings: Vec<f32>,
    /// `[C, K]` directions of actions, and `[K, C]`.
    actions: Vec<f32>,
    columns: Vec<f32>,
    /// `[4, I, C]`
    forms: Vec<f32>,
}

impl Affinity {
    /// That of a critic's head; `None` where it has none.
    pub(crate) fn new(network: Network, weights: NetworkWeights<'_>, model: &ModelConfig) -> Option<Self> {
        let (size, windows) = (network.affinity(model), network.windows(model));
        let get = |part: &str| weights.get(&format!("heads.0.affinity.{part}"));
        (size > 0).then(|| Self {
            n_dims: model.n_dims,
            size,
            windows,
            length: model.window,
            projection: transpose(get("projection"), model.n_dims),
            place: get("place").iter().map(|p| p.exp()).collect(),
            weight: transpose(get("weight"), AFFINITY_FORMS * windows.len()),
            of_items: Vec::new(),
        })
    }

    /// Numbers of f.
    pub(crate) fn n_features(&self) -> usize {
        AFFINITY_FORMS * self.windows.len()
    }

    /// Computes the directions of all items once, for those that come again and again.
    pub(crate) fn project(&mut self, level: Level, items: &ItemTable) {
        let mut directions = vec![0.0; items.n_items() * self.size];
        self.directions(level, items.embeddings(), &mut directions);
        self.of_items = directions;
    }

    /// Directions `[R, K]` of vectors `[R, n]`.
    fn directions(&self, level: Level, vectors: &[f32], out: &mut [f32]) {
        let (n, k) = (self.n_dims, self.size);
        let b = RowMajor { data: &self.projection, stride: k };
        let c = RowMajorMut { data: &mut *out, stride: k };
        gemm(level, (vectors.len() / n, k, n), Strided::rows(vectors, n), b, c, Init::Zero);
        for direction in out.chunks_exact_mut(k) {
            let length = dot(direction, direction).sqrt().max(SHORTEST);
            direction.iter_mut().for_each(|x| *x /= length);
        }
    }

    /// Takes in the windows `[3, N]` of a session.
    pub(crate) fn meet(&self, level: Level, items: &ItemTable, windows: &[ItemId], met: &mut Met) {
        let (k, known) = (self.size, !self.of_items.is_empty());
        let Met { directions, places, embeddings, .. } = met;
        directions.clear();
        embeddings.clear();
        let seen = |kind| history::window(windows, kind).iter().rev().take_while(|item| !item.is_padding());
        let n_items: usize = self.windows.iter().map(|&kind| seen(kind).count()).sum();
        places.clear();
        places.resize(self.windows.len() * n_items, 0.0);
        let mut number = 0;
        for (window, (&kind, of_window)) in
            self.windows.iter().zip(self.place.chunks_exact(self.length)).enumerate()
        {
            for (item, &place) in seen(kind).zip(of_window) {
                places[window * n_items + number] = place;
                number += 1;
                if known {
                    directions.extend_from_slice(&self.of_items[item.row() * k..][..k]);
                } else {
                    embeddings.extend_from_slice(items.embedding(*item));
                }
            }
        }
        if !known {
            directions.resize(n_items * k, 0.0);
            self.directions(level, embeddings, directions);
        }
    }

    /// Appends f of actions `[C, n]` in the session that was met last.
    pub(crate) fn of_actions(&self, level: Level, actions: &[f32], met: &mut Met, features: &mut Vec<f32>) {
        met.actions.resize(actions.len() / self.n_dims * self.size, 0.0);
        self.directions(level, actions, &mut met.actions);
        self.of_directions(level, met, features);
    }

    /// Appends f of items.
    pub(crate) fn of_items(
        &self,
        level: Level,
        (items, candidates): (&ItemTable, &[ItemId]),
        met: &mut Met,
        features: &mut Vec<f32>,
    ) {
        if self.of_items.is_empty() {
            let mut embeddings = std::mem::take(&mut met.embeddings);
            embeddings.clear();
            candidates.iter().for_each(|item| embeddings.extend_from_slice(items.embedding(*item)));
            self.of_actions(level, &embeddings, met, features);
            met.embeddings = embeddings;
            return;
        }
        met.actions.clear();
        for item in candidates {
            met.actions.extend_from_slice(&self.of_items[item.row() * self.size..][..self.size]);
        }
        self.of_directions(level, met, features);
    }

    /// Appends f of the directions `met.actions`.
    fn of_directions(&self, level: Level, met: &mut Met, features: &mut Vec<f32>) {
        let Met { directions, places, actions, columns, forms, .. } = met;
        let k = self.size;
        let (n_items, n_actions) = (directions.len() / k, actions.len() / k);
        let columns = sized(columns, actions.len());
        transpose_into(level, (n_actions, k), actions, columns);
        let pairs = n_items * n_actions;
        let (cosines, others) = sized(forms, AFFINITY_FORMS * pairs).split_at_mut(pairs);
        let b = RowMajor { data: columns, stride: n_actions };
        let c = RowMajorMut { data: cosines, stride: n_actions };
        gemm(level, (n_items, n_actions, k), Strided::rows(directions, k), b, c, Init::Zero);
        let (positive, near) = others.split_at_mut(pairs);
        positive.iter_mut().zip(&*cosines).for_each(|(positive, c)| *positive = c.max(0.0));
        decays(level, cosines, near.split_at_mut(pairs).into());
        let start = features.len();
        features.resize(start + self.n_features() * n_actions, 0.0);
        for form in 0..AFFINITY_FORMS {
            let b = RowMajor { data: &forms[form * pairs..][..pairs], stride: n_actions };
            let data = &mut features[start + form * n_actions..];
            let c = RowMajorMut { data, stride: AFFINITY_FORMS * n_actions };
            let size = (self.windows.len(), n_actions, n_items);
            gemm(level, size, Strided::rows(places, n_items), b, c, Init::Zero);
        }
    }

    /// Hidden layers `[R, k]`: what `init` says, and `W3 f` of features `[R, 4 windows]`.
    pub(crate) fn hidden(&self, level: Level, features: Strided<'_>, init: Init<'_>, hidden: &mut [f32]) {
        let f = self.n_features();
        let k = self.weight.len() / f;
        let b = RowMajor { data: &self.weight, stride: k };
        let (n_rows, c) = (hidden.len() / k, RowMajorMut { data: hidden, stride: k });
        gemm(level, (n_rows, k, f), features, b, c, init);
    }
}
