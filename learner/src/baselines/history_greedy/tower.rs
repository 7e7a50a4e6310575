//! Parameters and forward pass of the user tower, in plain Rust: plain data, any thread.
//!
//! In: window means `[3, B, n]`; out: user vectors `[B, n]`.
//!
//! ```text
//! h_k  = ReLU(mean_k W_k + b_k)                 k = skipped, clicked, ordered; [H]
//! m    = ReLU(sum_k h_k V_k + b_mix)            [H]
//! user = m W_user + b_user                      [n]
//! E[reward of item i] = exp(gain * user . unit_i + offset)
//! ```

use common::{history::N_WINDOWS, seed::Streams};
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm};
use rand::RngExt;

/// Number of parameter tensors.
pub(super) const N_TENSORS: usize = 14;

/// Tensors of a window: weight W_k `[n, H]`, bias b_k `[H]`, mix V_k `[H, H]`.
pub(super) const PER_WINDOW: usize = 3;
/// Index of the bias of the mix.
pub(super) const MIX_BIAS: usize = PER_WINDOW * N_WINDOWS;
/// Index of the weight `[H, n]` of the user layer; its bias `[n]` follows.
pub(super) const USER: usize = MIX_BIAS + 1;
/// Index of the gain `[1]`; the offset `[1]` follows.
pub(super) const GAIN: usize = USER + 2;

/// Names of the tensors in a file, in order.
pub(super) const NAMES: [&str; N_TENSORS] = [
    "skipped.weight",
    "skipped.bias",
    "skipped.mix",
    "clicked.weight",
    "clicked.bias",
    "clicked.mix",
    "ordered.weight",
    "ordered.bias",
    "ordered.mix",
    "mix.bias",
    "user.weight",
    "user.bias",
    "gain",
    "offset",
];

/// Shapes of the tensors, in the order of [`NAMES`], for embeddings of size n and hidden layers of width H.
pub(super) fn shapes(n: usize, width: usize) -> [Vec<usize>; N_TENSORS] {
    std::array::from_fn(|index| match index {
        GAIN.. => vec![1],
        USER => vec![width, n],
        MIX_BIAS => vec![width],
        _ if index > MIX_BIAS => vec![n],
        _ if index % PER_WINDOW == 0 => vec![n, width],
        _ if index % PER_WINDOW == 1 => vec![width],
        _ => vec![width, width],
    })
}

/// The parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Tower {
    pub(super) n_dims: usize,
    pub(super) width: usize,
    /// In the order of [`NAMES`], row-major.
    pub(super) tensors: [Vec<f32>; N_TENSORS],
}

impl Tower {
    /// Fresh parameters of the `fit`-th fit: uniform in ±1/√inputs as torch's linear layers, gain 3, offset -2 (a reward
    /// of e^-2 = 0.14 for an item at right angles).
    pub(super) fn new(n_dims: usize, width: usize, streams: &Streams, fit: u64) -> Self {
        let mut rng = streams.at(fit, 0);
        let mut tensors = shapes(n_dims, width).map(|shape| {
            let size: usize = shape.iter().product();
            vec![0.0_f32; size]
        });
        for (index, tensor) in tensors.iter_mut().enumerate() {
            let inputs = match index {
                MIX_BIAS => N_WINDOWS * width,
                _ if index > MIX_BIAS => width,
                _ if index % PER_WINDOW == 2 => N_WINDOWS * width,
                _ => n_dims,
            };
            let bound = 1.0 / (inputs as f32).sqrt();
            tensor.iter_mut().for_each(|x| *x = rng.random_range(-bound..bound));
        }
        tensors[GAIN] = vec![3.0];
        tensors[GAIN + 1] = vec![-2.0];
        Self { n_dims, width, tensors }
    }

    /// Embedding size, n.
    pub fn n_dims(&self) -> usize {
        self.n_dims
    }

    /// `E[reward]` of an item, from `gain * user . unit_item`.
    pub(super) fn expected_reward(&self, dot: f32) -> f32 {
        (dot + self.tensors[GAIN + 1][0]).exp()
    }

    /// Directions that Eq 9 compares items with: `gain * user`, `[B, n]`, from window means `[3, B, n]`.
    pub(super) fn directions(&self, means: &[f32], out: &mut [f32]) {
        let (n, width) = (self.n_dims, self.width);
        let rows = out.len() / n;
        assert_eq!(out.len(), rows * n, "directions are [B, {n}]");
        assert_eq!(means.len(), N_WINDOWS * rows * n, "means are [3, {rows}, {n}]");
        let mut hidden = vec![0.0; rows * width];
        let mut mixed = self.tensors[MIX_BIAS].repeat(rows);
        for (kind, mean) in means.chunks_exact(rows * n).enumerate() {
            let [weight, bias, mix] = [0, 1, 2].map(|k| &self.tensors[PER_WINDOW * kind + k]);
            product(mean, weight, Init::Bias(bias), width, &mut hidden);
            relu(&mut hidden);
            product(&hidden, mix, Init::Accumulate, width, &mut mixed);
        }
        relu(&mut mixed);
        product(&mixed, &self.tensors[USER], Init::Bias(&self.tensors[USER + 1]), n, out);
        let gain = self.tensors[GAIN][0];
        out.iter_mut().for_each(|x| *x *= gain);
    }
}

pub(super) fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = x.max(0.0));
}

/// `out [B, O] = init + x [B, I] weight [I, O]`.
pub(super) fn product(x: &[f32], weight: &[f32], init: Init<'_>, n_outputs: usize, out: &mut [f32]) {
    let n_inputs = weight.len() / n_outputs;
    let size = (out.len() / n_outputs, n_outputs, n_inputs);
    let weight = RowMajor { data: weight, stride: n_outputs };
    let out = RowMajorMut { data: out, stride: n_outputs };
    gemm(Level::best(), size, Strided::rows(x, n_inputs), weight, out, init);
}
