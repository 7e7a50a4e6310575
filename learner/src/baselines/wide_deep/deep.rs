//! The deep side with frozen parameters, in plain Rust: any thread.
//!
//! In: window means h_k `[3, n]` (skipped, clicked, ordered) and candidates' embeddings e; out: logits `[C, 3]`.
//!
//! ```text
//! x = [h_k; e; h_k - e; h_k * e]      [10 n], k = 1..3, * by component
//! x -> 256 -> 128 -> 64 (ReLU) -> 3
//! ```
//!
//! The first layer is linear in x, so that for one state it is one product: W x + b = base + M e, with what depends on the
//! state alone summed up once in base `[H]` and M `[n, H]`.

use common::{ItemId, ItemTable, history::N_WINDOWS};
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm};

use crate::baselines::network::{Spec, Values};

/// Classes: skip, click, order.
pub(super) const N_CLASSES: usize = 3;
/// Blocks of n inputs: pooled windows, candidate, differences, products.
pub(super) const N_BLOCKS: usize = 3 * N_WINDOWS + 1;

/// Parameters in the order weight `[inputs, outputs]`, bias of every layer.
pub(super) fn specs(n_dims: usize, widths: &[usize]) -> Vec<Spec> {
    const NAMES: [&str; 8] = [
        "deep.1.weight",
        "deep.1.bias",
        "deep.2.weight",
        "deep.2.bias",
        "deep.3.weight",
        "deep.3.bias",
        "deep.4.weight",
        "deep.4.bias",
    ];
    assert_eq!(widths.len(), 3, "three hidden layers");
    let sizes = [N_BLOCKS * n_dims, widths[0], widths[1], widths[2], N_CLASSES];
    let layers = sizes.windows(2).zip(NAMES.chunks_exact(2));
    layers
        .flat_map(|(size, name)| {
            [Spec::of_layer(name[0], size, size[0]), Spec::of_layer(name[1], &size[1..], size[0])]
        })
        .collect()
}

/// The network for scoring.
#[derive(Clone, Debug)]
pub(super) struct Deep {
    n_dims: usize,
    /// `[3 n, H]` of the pooled windows: theirs and those of the differences.
    pooled: Vec<f32>,
    /// `[n, H]` of the candidate: its own minus those of the differences.
    candidate: Vec<f32>,
    /// `[3 n, H]` of the products.
    products: Vec<f32>,
    /// `[H]`.
    bias: Vec<f32>,
    /// The layers after the first: weight, bias.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Deep {
    /// From parameters in the order of [`specs`].
    pub(super) fn new(n_dims: usize, values: &Values) -> Self {
        let (weight, bias) = (&values[0], values[1].clone());
        let block = n_dims * bias.len();
        let blocks: Vec<&[f32]> = weight.chunks_exact(block).collect();
        let (own, rest) = blocks.split_at(N_WINDOWS);
        let (differences, products) = rest[1..].split_at(N_WINDOWS);
        let mut candidate = rest[0].to_vec();
        for difference in differences {
            candidate.iter_mut().zip(*difference).for_each(|(c, d)| *c -= d);
        }
        Self {
            n_dims,
            pooled: own
                .iter()
                .zip(differences)
                .flat_map(|(h, d)| h.iter().zip(*d).map(|(h, d)| h + d))
                .collect(),
            candidate,
            products: products.concat(),
            bias,
            layers: values[2..].chunks_exact(2).map(|layer| (layer[0].clone(), layer[1].clone())).collect(),
        }
    }

    /// Logits `[C, 3]` of candidates, from the means `[3, n]` of a state.
    pub(super) fn logits(&self, items: &ItemTable, means: &[f32], candidates: &[ItemId]) -> Vec<f32> {
        let (n, width) = (self.n_dims, self.bias.len());
        assert_eq!(means.len(), N_WINDOWS * n, "means are [3, {n}]");
        let base = product(means, &self.pooled, &self.bias);
        let mut of_item = self.candidate.clone();
        for (row, (weights, &mean)) in self.products.chunks_exact(width).zip(means).enumerate() {
            let target = &mut of_item[row % n * width..][..width];
            target.iter_mut().zip(weights).for_each(|(t, w)| *t += mean * w);
        }
        let embeddings: Vec<f32> =
            candidates.iter().flat_map(|&item| items.embedding(item).iter().copied()).collect();
        let mut x = product(&embeddings, &of_item, &base);
        for (weight, bias) in &self.layers {
            x.iter_mut().for_each(|x| *x = x.max(0.0));
            x = product(&x, weight, bias);
        }
        x
    }
}

/// `x [B, I] weight [I, O] + bias [O]`.
fn product(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let n_outputs = bias.len();
    let n_inputs = weight.len() / n_outputs;
    let rows = x.len() / n_inputs;
    let mut out = vec![0.0; rows * n_outputs];
    let weight = RowMajor { data: weight, stride: n_outputs };
    let c = RowMajorMut { data: &mut out, stride: n_outputs };
    gemm(Level::best(), (rows, n_outputs, n_inputs), Strided::rows(x, n_inputs), weight, c, Init::Bias(bias));
    out
}
