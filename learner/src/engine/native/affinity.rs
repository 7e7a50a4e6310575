//! How near actions are to the items of the windows (D30), forward and backward. In: actions in the form that critics see,
//! packed windows; out: features for a critic's hidden layer, and gradients.
//!
//! ```text
//! c_kj = cos(P a, P i_kj)    f_kt = sum_j e^(p_kj) form_t(c_kj)    item j of window k, 0 the newest
//! ```
//! The forms are c, max(0, c) and e^(s (c - 1)) for two s. A network of one head has it, so an action is `[n]`. Items'
//! embeddings are constants.

use agent::layout::{AFFINITY_FORMS as FORMS, AFFINITY_SHARPNESS as SHARPNESS};
use kernels::{Init, RowMajor, RowMajorMut, Strided, gemm, math::decays, reduce::dot};

use super::{
    network::{AffinityPlaces, Back, Network, Trained},
    plan::Plan,
    window::{CHUNK, Window},
};

/// A direction shorter than this has none: its cosines are 0.
const SHORTEST: f32 = 1e-12;

/// Directions `[R, K]` and the inverse of the lengths that they were divided by `[R]`.
#[derive(Clone, Debug, Default)]
struct Directions {
    unit: Vec<f32>,
    inverse: Vec<f32>,
}

impl Directions {
    fn new(rows: usize, size: usize) -> Self {
        Self { unit: vec![0.0; rows * size], inverse: vec![0.0; rows] }
    }

    /// Those of vectors `[R, n]`.
    fn set(&mut self, plan: &Plan, projection: &[f32], n_rows: usize, vectors: &[f32]) {
        let (n, k) = (plan.n, plan.affinity);
        let b = RowMajor { data: projection, stride: k };
        let c = RowMajorMut { data: &mut self.unit, stride: k };
        gemm(plan.level, (n_rows, k, n), Strided::rows(vectors, n), b, c, Init::Zero);
        for (unit, inverse) in self.unit.chunks_exact_mut(k).zip(&mut self.inverse).take(n_rows) {
            *inverse = 1.0 / dot(unit, unit).sqrt().max(SHORTEST);
            unit.iter_mut().for_each(|x| *x *= *inverse);
        }
    }
}

/// The items of a window beside the actions of their rows.
#[derive(Clone, Debug, Default)]
struct Pairs {
    items: Directions,
    /// `[P]` cosines c.
    c: Vec<f32>,
    /// `[P]` e^(s (c - 1)) for each s.
    near: [Vec<f32>; 2],
}

/// Working memory: what the way forward leaves for the way back.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[B, 4 windows]` f.
    pub features: Vec<f32>,
    /// `[B, 4 windows]` its gradient, which the way back begins with.
    pub d_features: Vec<f32>,
    actions: Directions,
    /// One a window.
    pairs: Vec<Pairs>,
    /// `[N, windows]` e^p.
    places: Vec<f32>,
    /// `[P, K]` gradient of the projected items of a window.
    d_items: Vec<f32>,
    /// `[B, K]` gradient of the actions' directions, then of the projected actions.
    d_actions: Vec<f32>,
    /// `[B]` length of each row's window, in sorted order.
    lengths: Vec<usize>,
}

impl Scratch {
    /// Memory for chunks of a level's critics.
    pub fn new(plan: &Plan) -> Self {
        let (k, pairs) = (plan.affinity, plan.window * CHUNK);
        if k == 0 {
            return Self::default();
        }
        let features = vec![0.0; CHUNK * n_features(plan)];
        Self {
            d_features: features.clone(),
            features,
            actions: Directions::new(CHUNK, k),
            pairs: vec![
                Pairs {
                    items: Directions::new(pairs, k),
                    c: vec![0.0; pairs],
                    near: [(); 2].map(|()| vec![0.0; pairs]),
                };
                plan.n_windows
            ],
            places: vec![0.0; plan.window * plan.n_windows],
            d_items: vec![0.0; pairs * k],
            d_actions: vec![0.0; CHUNK * k],
            lengths: vec![0; CHUNK],
        }
    }
}

/// Numbers of f.
pub fn n_features(plan: &Plan) -> usize {
    FORMS * plan.n_windows
}

impl Pairs {
    /// The forms of the cosine of a pair and their slopes.
    fn forms(&self, pair: usize) -> ([f32; FORMS], [f32; FORMS]) {
        let (c, [wide, narrow]) = (self.c[pair], [0, 1].map(|near| self.near[near][pair]));
        let step = if c > 0.0 { 1.0 } else { 0.0 };
        ([c, c.max(0.0), wide, narrow], [1.0, step, SHARPNESS[0] * wide, SHARPNESS[1] * narrow])
    }
}

/// Calls `each` with (pair, row, age) of all items of a window; the newest has age 0.
fn for_pairs(window: &Window, lengths: &mut [usize], mut each: impl FnMut(usize, usize, usize)) {
    lengths.fill(0);
    for &rows in &window.counts {
        lengths[..rows].iter_mut().for_each(|length| *length += 1);
    }
    let mut start = 0;
    for (step, &rows) in window.counts.iter().enumerate() {
        for (sorted, &row) in window.order[..rows].iter().enumerate() {
            each(start + sorted, row, lengths[sorted] - 1 - step);
        }
        start += rows;
    }
}

/// Fills the features of actions `[B, n]`.
pub fn forward(
    plan: &Plan,
    critic: &Network,
    places: &AffinityPlaces,
    (n_rows, action, windows): (usize, &[f32], &[Window]),
    scratch: &mut Scratch,
) {
    let (k, width) = (plan.affinity, n_features(plan));
    let (projection, place) = (critic.part(&places.projection), critic.part(&places.place));
    let Scratch { features, actions, pairs, places: weights, lengths, .. } = scratch;
    features.fill(0.0);
    weights.iter_mut().zip(place).for_each(|(weight, p)| *weight = p.exp());
    actions.set(plan, projection, n_rows, action);
    for (number, (window, of_window)) in windows.iter().zip(pairs).enumerate() {
        let n_pairs = window.counts.iter().sum();
        let Pairs { items, c, near } = &mut *of_window;
        items.set(plan, projection, n_pairs, &window.x);
        for_pairs(window, lengths, |pair, row, _| {
            c[pair] = dot(&actions.unit[row * k..][..k], &items.unit[pair * k..][..k]);
        });
        decays(plan.level, &c[..n_pairs], near.each_mut().map(|near| &mut near[..n_pairs]));
        for_pairs(window, lengths, |pair, row, age| {
            let weight = weights[age * plan.n_windows + number];
            let sums = &mut features[row * width + number * FORMS..][..FORMS];
            sums.iter_mut().zip(of_window.forms(pair).0).for_each(|(sum, form)| *sum += weight * form);
        });
    }
}

/// The way back right after [`forward`], from `d_features` of `n_rows` rows: adds to the critic's gradient.
pub fn backward(
    plan: &Plan,
    critic: Back<'_>,
    places: &AffinityPlaces,
    (n_rows, action, windows): (usize, &[f32], &[Window]),
    scratch: &mut Scratch,
) {
    let (k, n) = (plan.affinity, plan.n);
    let gradient = critic.gradient;
    through(plan, windows, scratch, Some((places, &mut *gradient)));
    let d = RowMajor { data: &scratch.d_actions, stride: k };
    let c = RowMajorMut { data: &mut gradient[places.projection.clone()], stride: k };
    gemm(plan.level, (n, k, n_rows), Strided::transposed(action, n), d, c, Init::Accumulate);
}

/// The way back through a frozen critic right after [`forward`]: adds to the gradient of the actions, `d_action` `[B, n]`.
pub fn action_backward(
    plan: &Plan,
    critic: &Trained,
    places: &AffinityPlaces,
    (n_rows, windows): (usize, &[Window]),
    scratch: &mut Scratch,
    d_action: &mut [f32],
) {
    let (k, n) = (plan.affinity, plan.n);
    through(plan, windows, scratch, None);
    let b = RowMajor { data: critic.turned(&places.projection), stride: n };
    let c = RowMajorMut { data: d_action, stride: n };
    gemm(plan.level, (n_rows, n, k), Strided::rows(&scratch.d_actions, k), b, c, Init::Accumulate);
}

/// Fills `d_actions` with the gradient of the projected actions; adds those of the places, and of the projection by the
/// items, to the critic's gradient.
fn through(
    plan: &Plan,
    windows: &[Window],
    scratch: &mut Scratch,
    mut trained: Option<(&AffinityPlaces, &mut [f32])>,
) {
    let (k, width) = (plan.affinity, n_features(plan));
    let Scratch { d_features, actions, pairs, places: weights, d_items, d_actions, lengths, .. } = scratch;
    d_actions.fill(0.0);
    for (number, (window, of_window)) in windows.iter().zip(&*pairs).enumerate() {
        let items = &of_window.items;
        for_pairs(window, lengths, |pair, row, age| {
            let (a, i) = (&actions.unit[row * k..][..k], &items.unit[pair * k..][..k]);
            let at = age * plan.n_windows + number;
            let weight = weights[at];
            let (forms, slopes) = of_window.forms(pair);
            let d = &d_features[row * width + number * FORMS..][..FORMS];
            let by = |values: [f32; FORMS]| weight * d.iter().zip(values).map(|(d, x)| d * x).sum::<f32>();
            let d_c = by(slopes);
            for (d, i) in d_actions[row * k..][..k].iter_mut().zip(i) {
                *d += d_c * i;
            }
            if let Some((places, gradient)) = &mut trained {
                gradient[places.place.start + at] += by(forms);
                // What points along a direction changes its length only.
                let (c, d_c) = (of_window.c[pair], d_c * items.inverse[pair]);
                for ((d, a), i) in d_items[pair * k..][..k].iter_mut().zip(a).zip(i) {
                    *d = d_c * (a - c * i);
                }
            }
        });
        if let Some((places, gradient)) = &mut trained {
            let size = (plan.n, k, window.counts.iter().sum());
            let d = RowMajor { data: d_items, stride: k };
            let c = RowMajorMut { data: &mut gradient[places.projection.clone()], stride: k };
            gemm(plan.level, size, Strided::transposed(&window.x, plan.n), d, c, Init::Accumulate);
        }
    }
    let directions = actions.unit.chunks_exact(k).zip(&actions.inverse);
    for (d, (a, inverse)) in d_actions.chunks_exact_mut(k).zip(directions) {
        let along = dot(d, a);
        d.iter_mut().zip(a).for_each(|(d, a)| *d = inverse * (*d - along * a));
    }
}
