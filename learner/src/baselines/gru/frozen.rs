//! The network with frozen parameters, in plain Rust: any thread.
//!
//! In: windows and candidates; out: logits `[C, 3]`. What the hidden layer takes from a candidate does not depend on the
//! state: it is computed once for all items.

use common::{ItemId, ItemTable, history::window};
use kernels::{
    Gru, GruParameters, GruScratch, Init, Inputs, Level, RowMajor, RowMajorMut, Sequences, Strided, gemm,
};

use super::recurrent::{HEAD, N_CLASSES, PER_GRU, WINDOWS};
use crate::baselines::network::Values;

/// A GRU over the item table.
#[derive(Clone, Debug)]
pub(in crate::baselines) struct ItemGru {
    gru: Gru,
    /// `[V, 3w]` the items' share of the gates.
    projected: Vec<f32>,
}

impl ItemGru {
    /// From the four parameters of a GRU of width w.
    pub(in crate::baselines) fn new(items: &ItemTable, width: usize, parameters: &[Vec<f32>]) -> Self {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = parameters else {
            unreachable!("a GRU has {PER_GRU} parameters")
        };
        let gru = Gru::new(items.n_dims(), width, GruParameters { weight_ih, weight_hh, bias_ih, bias_hh });
        let mut projected = vec![0.0; items.n_items() * 3 * width];
        gru.project(Level::best(), items.embeddings(), &mut projected);
        Self { gru, projected }
    }

    /// The last hidden state `[w]` after these items, oldest first; padding is left out.
    pub(in crate::baselines) fn last(&self, ids: &[ItemId], scratch: &mut GruScratch, out: &mut [f32]) {
        let sequences = Sequences { ids: bytemuck::cast_slice(ids), starts: &[0], length: ids.len() };
        let stride = out.len();
        let inputs = Inputs::Projected(&self.projected);
        self.gru.forward(Level::best(), inputs, sequences, RowMajorMut { data: out, stride }, scratch);
    }
}

/// Both GRUs and the head.
#[derive(Clone, Debug)]
pub(super) struct Frozen {
    width: usize,
    grus: Vec<ItemGru>,
    /// `[2w, H]`.
    of_state: Vec<f32>,
    /// `[V, H]` each candidate's share of the hidden layer.
    of_items: Vec<f32>,
    /// `[H]`.
    bias: Vec<f32>,
    /// `[H, 3]`.
    output: Vec<f32>,
    /// `[3]`.
    output_bias: Vec<f32>,
}

/// Working memory; one a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    gru: GruScratch,
    /// `[2w]`.
    state: Vec<f32>,
    /// `[H]` the state's share of the hidden layer.
    base: Vec<f32>,
    /// `[C, H]`.
    hidden: Vec<f32>,
    /// `[C, 3]`.
    pub(super) logits: Vec<f32>,
}

impl Frozen {
    /// From parameters in the order of the specs.
    pub(super) fn new(items: &ItemTable, width: usize, values: &Values) -> Self {
        let grus = values[..HEAD].chunks_exact(PER_GRU).map(|gru| ItemGru::new(items, width, gru)).collect();
        let [of_state, of_candidate, bias, output, output_bias] = &values[HEAD..] else {
            unreachable!("a head has five parameters")
        };
        let hidden = bias.len();
        let mut of_items = vec![0.0; items.n_items() * hidden];
        product(items.embeddings(), of_candidate, &vec![0.0; hidden], &mut of_items);
        Self {
            width,
            grus,
            of_state: of_state.clone(),
            of_items,
            bias: bias.clone(),
            output: output.clone(),
            output_bias: output_bias.clone(),
        }
    }

    /// Fills `scratch.logits` `[C, 3]` for candidates after windows `[3, N]`.
    pub(super) fn logits(&self, windows: &[ItemId], candidates: &[ItemId], scratch: &mut Scratch) {
        let hidden = self.bias.len();
        scratch.state.resize(WINDOWS.len() * self.width, 0.0);
        for ((gru, kind), out) in
            self.grus.iter().zip(WINDOWS).zip(scratch.state.chunks_exact_mut(self.width))
        {
            gru.last(window(windows, kind), &mut scratch.gru, out);
        }
        scratch.base.resize(hidden, 0.0);
        product(&scratch.state, &self.of_state, &self.bias, &mut scratch.base);
        scratch.hidden.clear();
        for item in candidates {
            let of_item = &self.of_items[item.row() * hidden..][..hidden];
            scratch.hidden.extend(scratch.base.iter().zip(of_item).map(|(s, i)| (s + i).max(0.0)));
        }
        scratch.logits.resize(candidates.len() * N_CLASSES, 0.0);
        product(&scratch.hidden, &self.output, &self.output_bias, &mut scratch.logits);
    }
}

/// `out [B, O] = x [B, I] weight [I, O] + bias [O]`.
fn product(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    let n_outputs = bias.len();
    let n_inputs = weight.len() / n_outputs;
    let size = (out.len() / n_outputs, n_outputs, n_inputs);
    let weight = RowMajor { data: weight, stride: n_outputs };
    let c = RowMajorMut { data: out, stride: n_outputs };
    gemm(Level::best(), size, Strided::rows(x, n_inputs), weight, c, Init::Bias(bias));
}
