//! The state s of a chunk of rows (Eqs 3, 6), forward and backward. In: packed windows; out: `[B, w]` in rows of D numbers,
//! and the gradients of the encoder's parameters.
//!
//! The embeddings are constants, so nothing goes back to them. Gates of a row stand as r, z, (W_hn h + b_hn), n, each of
//! w numbers ([`kernels::gru::training`]).

use kernels::{Init, Pairs, RowMajor, RowMajorMut, Strided, gemm, gru::training, reduce, row_stride};

use super::{
    network::{Back, GruPlaces, Network},
    plan::Plan,
    product::{left, left_transposed, product, product_of_two, right},
    window::{CHUNK, Window},
};

/// Parts of a row of gates.
const PARTS: usize = 4;

/// (row, step) pairs whose gradients of the weights are added up at once: they fit the L1 cache with their inputs.
const PAIRS: usize = 96;

/// What a GRU keeps of its way forward.
#[derive(Clone, Debug, Default)]
struct Tape {
    /// `[P, 4w]`, or of one step where nothing goes back.
    gates: Vec<f32>,
    /// `[P, w]` the state before each step.
    before: Vec<f32>,
    /// `[B, w]` the state after the last step, in sorted order; on the way back its gradient.
    hidden: Vec<f32>,
    /// `[4w]` biases of the gates, then sums of their gradients.
    bias: Vec<f32>,
    /// Nothing in f32.
    rounded: Rounded,
}

/// Sides of products where they are rounded, each in the form that its last product read.
#[derive(Clone, Debug, Default)]
struct Rounded {
    /// x of a step, or of the (row, step) pairs of a sum of gradients.
    inputs: Pairs,
    /// h likewise.
    states: Pairs,
    /// Gradients of the gates likewise.
    gates: Pairs,
    /// `[n, 3w]`
    weight_ih: Pairs,
    /// `[w, 3w]`, on the way back `[3w, w]`.
    weight_hh: Pairs,
}

/// Working memory of an encoder; one a part.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    tapes: Vec<Tape>,
    /// `[B, k w]` the last states of the k GRUs, in the chunk's order.
    joined: Vec<f32>,
    /// `[B, k w]` their gradients.
    d_joined: Vec<f32>,
}

impl Scratch {
    /// Memory for chunks of a level's encoders.
    pub fn new(plan: &Plan) -> Self {
        let Plan { w, n_windows, window, .. } = *plan;
        let tape = Tape {
            gates: vec![0.0; window * CHUNK * row_stride(PARTS * w)],
            before: vec![0.0; window * CHUNK * w],
            hidden: vec![0.0; CHUNK * w],
            bias: vec![0.0; PARTS * w],
            rounded: Rounded::default(),
        };
        Self {
            tapes: vec![tape; n_windows],
            joined: vec![0.0; CHUNK * n_windows * w],
            d_joined: vec![0.0; CHUNK * n_windows * w],
        }
    }
}

/// `s = W [h_first; h_second] + b` into the first w numbers of each row of `state` `[B, D]`. With `keep` the way back may
/// follow.
pub fn forward(
    plan: &Plan,
    network: &Network,
    windows: &[Window],
    keep: bool,
    scratch: &mut Scratch,
    state: &mut [f32],
) {
    let Plan { level, w, d, n_windows, .. } = *plan;
    let Scratch { tapes, joined, .. } = scratch;
    let places = network.places();
    let joined_stride = n_windows * w;
    for (k, ((window, gru), tape)) in windows.iter().zip(&places.grus).zip(tapes).enumerate() {
        gru_forward(plan, network, gru, window, keep, tape);
        for (hidden, &row) in tape.hidden.chunks_exact(w).zip(&window.order) {
            joined[row * joined_stride + k * w..][..w].copy_from_slice(hidden);
        }
    }
    let a = Strided::rows(joined, joined_stride);
    let b = RowMajor { data: network.part(&places.merge), stride: w };
    let c = RowMajorMut { data: state, stride: d };
    // Eqs 3, 6
    let bias = Init::Bias(network.part(&places.merge_bias));
    gemm(level, (windows[0].order.len(), w, joined_stride), a, b, c, bias);
}

fn gru_forward(
    plan: &Plan,
    network: &Network,
    gru: &GruPlaces,
    window: &Window,
    keep: bool,
    tape: &mut Tape,
) {
    let Plan { level, n, w, .. } = *plan;
    let stride = row_stride(PARTS * w);
    let Tape { gates, before, hidden, bias, rounded } = tape;
    let weight_ih = rows_of(network.part(&gru.weight_ih), 3 * w);
    let weight_ih = right(plan, (n, 3 * w), weight_ih, &mut rounded.weight_ih);
    let weight_hh = rows_of(network.part(&gru.weight_hh), 3 * w);
    let weight_hh = right(plan, (w, 3 * w), weight_hh, &mut rounded.weight_hh);
    let (bias_ih, bias_hh) = (network.part(&gru.bias_ih), network.part(&gru.bias_hh));
    // b_hr and b_hz only add to b_ir and b_iz.
    let bias = &mut bias[..2 * w];
    for ((sum, a), b) in bias.iter_mut().zip(bias_ih).zip(bias_hh) {
        *sum = a + b;
    }
    hidden[..window.order.len() * w].fill(0.0);
    let mut start = 0;
    for (step, &rows) in window.counts.iter().enumerate() {
        let at = if keep { start } else { 0 };
        let gates = &mut gates[at * stride..];
        let x = left(plan, (rows, n), rows_of(&window.x[start * n..], n), &mut rounded.inputs);
        let reset_and_update = Init::Bias(bias);
        let (c, new) = (to(&mut gates[3 * w..], stride), Init::Bias(&bias_ih[2 * w..]));
        product(level, (rows, w, n), x, weight_ih.at(0, 2 * w), c, new);
        if step == 0 {
            product(level, (rows, 2 * w, n), x, weight_ih, to(gates, stride), reset_and_update);
            // h = 0, so W_hn h + b_hn is the bias.
            for row in gates.chunks_mut(stride).take(rows) {
                row[2 * w..3 * w].copy_from_slice(&bias_hh[2 * w..]);
            }
        } else {
            let h = left(plan, (rows, w), rows_of(hidden, w), &mut rounded.states);
            let (size, both) = ((rows, 2 * w, [n, w]), [(x, weight_ih), (h, weight_hh)]);
            product_of_two(level, size, both, to(gates, stride), reset_and_update);
            let (c, recurrent) = (to(&mut gates[2 * w..], stride), Init::Bias(&bias_hh[2 * w..]));
            product(level, (rows, w, w), h, weight_hh.at(0, 2 * w), c, recurrent);
        }
        let before = keep.then(|| &mut before[start * w..]);
        training::step_forward(level, (rows, w), to(gates, stride), hidden, before);
        start += rows;
    }
}

fn to(data: &mut [f32], stride: usize) -> RowMajorMut<'_> {
    RowMajorMut { data, stride }
}

fn rows_of(data: &[f32], stride: usize) -> RowMajor<'_> {
    RowMajor { data, stride }
}

/// The way back from the gradient of s, `[B, w]`, after a way forward with `keep`.
pub fn backward(plan: &Plan, network: Back<'_>, windows: &[Window], scratch: &mut Scratch, d_s: &[f32]) {
    let Plan { level, w, n_windows, .. } = *plan;
    let Scratch { tapes, joined, d_joined } = scratch;
    let Back { network, turned, gradient } = network;
    let places = network.places();
    let (n_rows, columns) = (windows[0].order.len(), n_windows * w);
    let d = rows_of(d_s, w);
    let joined = Strided::transposed(joined, columns);
    let c = to(&mut gradient[places.merge.clone()], w);
    gemm(level, (columns, w, n_rows), joined, d, c, Init::Accumulate);
    reduce::add_column_sums(level, (n_rows, w), d, &mut gradient[places.merge_bias.clone()]);
    let merge = RowMajor { data: &turned[places.merge.clone()], stride: columns };
    gemm(level, (n_rows, columns, w), Strided::rows(d_s, w), merge, to(d_joined, columns), Init::Zero);
    for (k, ((window, gru), tape)) in windows.iter().zip(&places.grus).zip(tapes).enumerate() {
        for (d_hidden, &row) in tape.hidden.chunks_exact_mut(w).zip(&window.order) {
            d_hidden.copy_from_slice(&d_joined[row * columns + k * w..][..w]);
        }
        through_time(plan, &turned[gru.weight_hh.clone()], window, tape);
        add_gradients(plan, gru, window, tape, gradient);
    }
}

/// From the gradient of the last states to those of all gates, in place. `weight_hh` is `[3w, w]`.
fn through_time(plan: &Plan, weight_hh: &[f32], window: &Window, tape: &mut Tape) {
    let Plan { level, w, .. } = *plan;
    let stride = row_stride(PARTS * w);
    let Tape { gates, before, hidden: d_hidden, rounded, .. } = tape;
    let weight_hh = right(plan, (3 * w, w), rows_of(weight_hh, w), &mut rounded.weight_hh);
    let mut end: usize = window.counts.iter().sum();
    for (step, &rows) in window.counts.iter().enumerate().rev() {
        let start = end - rows;
        let gates = &mut gates[start * stride..];
        // A row whose last step this is still has the gradient of its last state here.
        training::step_backward(level, (rows, w), to(gates, stride), &before[start * w..], d_hidden);
        if step > 0 {
            let d = left(plan, (rows, 3 * w), rows_of(gates, stride), &mut rounded.gates);
            product(level, (rows, w, 3 * w), d, weight_hh, to(d_hidden, w), Init::Accumulate);
        }
        end = start;
    }
}

/// Adds the gradients of a GRU's parameters, given those of its gates.
fn add_gradients(plan: &Plan, gru: &GruPlaces, window: &Window, tape: &mut Tape, gradient: &mut [f32]) {
    let Plan { level, n, w, .. } = *plan;
    let stride = row_stride(PARTS * w);
    let n_pairs: usize = window.counts.iter().sum();
    // At the first step h = 0.
    let first = window.counts.first().copied().unwrap_or(0);
    let Tape { gates, before, bias: sums, rounded, .. } = tape;
    sums.fill(0.0);
    for start in (0..n_pairs).step_by(PAIRS) {
        let pairs = PAIRS.min(n_pairs - start);
        let d = rows_of(&gates[start * stride..], stride);
        reduce::add_column_sums(level, (pairs, PARTS * w), d, sums);
        let d = right(plan, (pairs, PARTS * w), d, &mut rounded.gates);
        let x = left_transposed(plan, (pairs, n), rows_of(&window.x[start * n..], n), &mut rounded.inputs);
        let weight = &mut gradient[gru.weight_ih.clone()];
        product(level, (n, 2 * w, pairs), x, d, to(weight, 3 * w), Init::Accumulate);
        let c = to(&mut weight[2 * w..], 3 * w);
        product(level, (n, w, pairs), x, d.at(0, 3 * w), c, Init::Accumulate);
        // Whole pairs of rows, as they may be rounded two by two.
        let skipped = first.saturating_sub(start).min(pairs) & !1;
        let (pairs, before) = (pairs - skipped, &before[(start + skipped) * w..]);
        let h = left_transposed(plan, (pairs, w), rows_of(before, w), &mut rounded.states);
        let c = to(&mut gradient[gru.weight_hh.clone()], 3 * w);
        product(level, (w, 3 * w, pairs), h, d.at(skipped, 0), c, Init::Accumulate);
    }
    let (gates, new) = sums.split_at(3 * w);
    add(&mut gradient[gru.bias_hh.clone()], gates);
    let bias_ih = &mut gradient[gru.bias_ih.clone()];
    add(&mut bias_ih[..2 * w], &gates[..2 * w]);
    add(&mut bias_ih[2 * w..], new);
}

fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
