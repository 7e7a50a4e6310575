//! How near an action is to each item of a session's windows (D30): features of a state and an action for a critic's hidden
//! layer.
//!
//! ```text
//! c_kj = cos(P a, P i_kj)                    item j of window k, 0 the newest
//! f_kt = sum_j e^(p_kj) form_t(c_kj)         forms c, max(0, c), e^(3 (c - 1)), e^(8 (c - 1))
//! v    = ReLU(W1 s + W2 a + W3 f + b)
//! ```
//! In: windows `[3, N]` of a session, actions `[n]`; out: f `[4 windows]`. A window that is not full has fewer terms.

use common::{
    ItemId, ItemTable,
    config::ModelConfig,
    history::{self, Kind},
};
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, reduce::dot, transpose};

use crate::{
    layout::{AFFINITY_FORMS, AFFINITY_SHARPNESS, Network},
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

/// The items of a session's windows, as [`Affinity::meet`] left them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    /// `[I, K]` directions, window after window.
    directions: Vec<f32>,
    /// `[I]` window and e^p.
    places: Vec<(usize, f32)>,
    /// `[I, n]` where items' directions are not at hand.
    embeddings: Vec<f32>,
    /// `[K]` direction of an action.
    action: Vec<f32>,
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
        places.clear();
        embeddings.clear();
        for (number, (&kind, place)) in
            self.windows.iter().zip(self.place.chunks_exact(self.length)).enumerate()
        {
            let newest_first = history::window(windows, kind).iter().rev();
            for (item, &weight) in newest_first.take_while(|item| !item.is_padding()).zip(place) {
                places.push((number, weight));
                if known {
                    directions.extend_from_slice(&self.of_items[item.row() * k..][..k]);
                } else {
                    embeddings.extend_from_slice(items.embedding(*item));
                }
            }
        }
        if !known {
            self.directions(level, embeddings, sized(directions, places.len() * k));
        }
    }

    /// Appends f of an action `[n]` in the session that was met last.
    pub(crate) fn of_action(&self, level: Level, action: &[f32], met: &mut Met, features: &mut Vec<f32>) {
        let mut direction = std::mem::take(&mut met.action);
        self.directions(level, action, sized(&mut direction, self.size));
        self.of_direction(&direction[..self.size], met, features);
        met.action = direction;
    }

    /// Appends f of an item.
    pub(crate) fn of_item(
        &self,
        level: Level,
        (items, item): (&ItemTable, ItemId),
        met: &mut Met,
        features: &mut Vec<f32>,
    ) {
        if self.of_items.is_empty() {
            return self.of_action(level, items.embedding(item), met, features);
        }
        self.of_direction(&self.of_items[item.row() * self.size..][..self.size], met, features);
    }

    fn of_direction(&self, direction: &[f32], met: &Met, features: &mut Vec<f32>) {
        let start = features.len();
        features.resize(start + self.n_features(), 0.0);
        for (of_item, &(window, weight)) in met.directions.chunks_exact(self.size).zip(&met.places) {
            let c = dot(direction, of_item);
            let [wide, narrow] = AFFINITY_SHARPNESS.map(|sharpness| (sharpness * (c - 1.0)).exp());
            let forms: [f32; AFFINITY_FORMS] = [c, c.max(0.0), wide, narrow];
            let of_window = &mut features[start + window * AFFINITY_FORMS..][..AFFINITY_FORMS];
            of_window.iter_mut().zip(forms).for_each(|(sum, form)| *sum += weight * form);
        }
    }

    /// Adds `W3 f` of features `[R, 4 windows]` to hidden layers `[R, k]`.
    pub(crate) fn add_to(&self, level: Level, features: &[f32], hidden: &mut [f32]) {
        let f = self.n_features();
        let k = self.weight.len() / f;
        let b = RowMajor { data: &self.weight, stride: k };
        let c = RowMajorMut { data: hidden, stride: k };
        gemm(level, (features.len() / f, k, f), Strided::rows(features, f), b, c, Init::Accumulate);
    }
}
