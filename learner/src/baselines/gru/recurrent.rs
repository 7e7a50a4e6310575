//! The trained recurrent network: two GRUs and a head, on tch.
//!
//! In: rows of a log, those of a session one after the other; out: logits `[B, 3]` and their gradients. Neighbouring rows
//! share their windows unless something was clicked between them: each distinct window is encoded once.

use common::{
    ItemId,
    history::{Kind, window},
};
use tch::Tensor;

use crate::{
    algorithm::{
        gru::{Gru, Tape},
        window::{PackedWindow, Packing},
    },
    baselines::{
        network::{Network, Spec},
        rows::Rows,
    },
};

/// Classes: skip, click, order.
pub(super) const N_CLASSES: usize = 3;
/// Parameters of a GRU.
pub(super) const PER_GRU: usize = 4;
/// The windows that are encoded, a GRU each.
pub(super) const WINDOWS: [Kind; 2] = [Kind::Clicked, Kind::Ordered];
/// Index of the head's first parameter: state weight `[2w, H]`, candidate weight `[n, H]`, bias `[H]`, output weight
/// `[H, 3]`, output bias `[3]`.
pub(super) const HEAD: usize = PER_GRU * WINDOWS.len();

/// Parameters of embeddings of size n, GRUs of width w, a hidden layer of H.
pub(super) fn specs(n: usize, w: usize, hidden: usize) -> Vec<Spec> {
    let names = [
        ["clicks.weight_ih", "clicks.weight_hh", "clicks.bias_ih", "clicks.bias_hh"],
        ["orders.weight_ih", "orders.weight_hh", "orders.bias_ih", "orders.bias_hh"],
    ];
    let mut specs = Vec::new();
    for [weight_ih, weight_hh, bias_ih, bias_hh] in names {
        specs.push(Spec::of_layer(weight_ih, &[3 * w, n], w));
        specs.push(Spec::of_layer(weight_hh, &[3 * w, w], w));
        specs.push(Spec::of_layer(bias_ih, &[3 * w], w));
        specs.push(Spec::of_layer(bias_hh, &[3 * w], w));
    }
    let inputs = WINDOWS.len() * w + n;
    specs.push(Spec::of_layer("head.state", &[WINDOWS.len() * w, hidden], inputs));
    specs.push(Spec::of_layer("head.candidate", &[n, hidden], inputs));
    specs.push(Spec::of_layer("head.bias", &[hidden], inputs));
    specs.push(Spec::of_layer("head.output", &[hidden, N_CLASSES], hidden));
    specs.push(Spec::of_layer("head.output_bias", &[N_CLASSES], hidden));
    specs
}

/// A GRU's share of the parameters.
fn gru(parameters: &[Tensor]) -> Gru<'_> {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = parameters else {
        unreachable!("a GRU has {PER_GRU} parameters")
    };
    Gru { weight_ih, weight_hh, bias_ih, bias_hh }
}

/// One kind of window of a batch, encoded.
struct Encoded {
    window: PackedWindow,
    tape: Tape,
    /// `[D, w]` of the D distinct windows; a leaf, to take its gradient.
    last: Tensor,
    /// `[B]` which of them a row has.
    of_row: Tensor,
}

/// Encodes the windows of `kind` of some rows.
fn encode(parameters: &[Tensor], rows: &Rows, batch: &[usize], kind: Kind, table: &Tensor) -> Encoded {
    let mut distinct: Vec<&[ItemId]> = Vec::new();
    let of_row: Vec<i64> = batch
        .iter()
        .map(|&row| {
            let ids = window(rows.windows(row), kind);
            if distinct.last() != Some(&ids) {
                distinct.push(ids);
            }
            distinct.len() as i64 - 1
        })
        .collect();
    let n = distinct.first().map_or(1, |ids| ids.len());
    let window = Packing::new(n, distinct.iter().copied()).gather(table);
    let tape = tch::no_grad(|| gru(parameters).forward(&window));
    let last = tape.last(&window).index_select(0, &window.rank).set_requires_grad(true);
    Encoded { window, tape, last, of_row: Tensor::from_slice(&of_row) }
}

/// Mean cross-entropy of some rows, and its gradients in the order of the parameters.
pub(super) fn loss_and_gradients(
    network: &Network,
    rows: &Rows,
    batch: &[usize],
    table: &Tensor,
) -> (f64, Vec<Tensor>) {
    let parameters = &network.tensors;
    let encoded: Vec<Encoded> = WINDOWS
        .iter()
        .zip(parameters.chunks_exact(PER_GRU))
        .map(|(&kind, parameters)| encode(parameters, rows, batch, kind, table))
        .collect();
    let states: Vec<Tensor> = encoded.iter().map(|e| e.last.index_select(0, &e.of_row)).collect();
    let ids: Vec<i64> = batch.iter().map(|&row| i64::from(rows.items[row].0)).collect();
    let candidates = table.index_select(0, &Tensor::from_slice(&ids));
    let logits = head(&parameters[HEAD..], &Tensor::cat(&states, 1), &candidates);
    let labels: Vec<i64> = batch.iter().map(|&row| rows.feedback[row] as i64).collect();
    let loss = logits.cross_entropy_for_logits(&Tensor::from_slice(&labels));

    let leaves: Vec<&Tensor> = encoded.iter().map(|e| &e.last).chain(&parameters[HEAD..]).collect();
    let mut of_leaves = Tensor::run_backward(&[&loss], &leaves, false, false);
    let of_head = of_leaves.split_off(WINDOWS.len());
    let mut gradients = Vec::with_capacity(parameters.len());
    tch::no_grad(|| {
        for ((encoded, d_last), parameters) in
            encoded.iter().zip(&of_leaves).zip(parameters.chunks_exact(PER_GRU))
        {
            let sorted = d_last.index_select(0, &encoded.window.order);
            gradients.extend(gru(parameters).backward(&encoded.window, &encoded.tape, &sorted));
        }
    });
    gradients.extend(of_head);
    (loss.double_value(&[]), gradients)
}

/// Logits `[B, 3]` of states `[B, 2w]` and candidates `[B, n]`.
pub(super) fn head(parameters: &[Tensor], states: &Tensor, candidates: &Tensor) -> Tensor {
    let [of_state, of_candidate, bias, output, output_bias] = parameters else {
        unreachable!("a head has five parameters")
    };
    let hidden = (states.mm(of_state) + candidates.mm(of_candidate) + bias).relu();
    output_bias.addmm(&hidden, output)
}
