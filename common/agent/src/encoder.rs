//! The state encoder (Eqs 3, 6): s = W [h_first; h_second] + b over two windows of item ids, or over one or three.
//!
//! In: windows `[E, 3, N]`, the rows to encode; out: s `[R, w]`.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use common::{
    ItemId, ItemTable,
    config::ModelConfig,
    history::{Kind, N_WINDOWS},
};
use kernels::{
    Gru, GruParameters, Init, Inputs, Level, RowMajor, RowMajorMut, Sequences, Strided, gemm, transpose,
};

use crate::{
    layout::{GRUS, Network},
    scratch::{EncoderScratch, sized},
    weights::NetworkWeights,
};

/// Largest projected item table that is kept for a GRU, in bytes.
const MAX_PROJECTED_BYTES: usize = 64 << 20;

// Windows are handed to the kernel as they are.
const _: () = assert!(ItemId::PADDING.0 == kernels::gru::PADDING);

/// Encoders made by this process.
static ENCODERS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Encoder {
    /// No other encoder has it.
    number: u64,
    network: Network,
    windows: &'static [Kind],
    /// One a window.
    layers: Vec<Layer>,
    width: usize,
    /// `[k w, w]`, k windows
    merge_weight: Vec<f32>,
    merge_bias: Vec<f32>,
}

impl Encoder {
    pub(crate) fn new(network: Network, weights: NetworkWeights<'_>, model: &ModelConfig) -> Self {
        let (windows, width) = (network.windows(model), model.encoder_width);
        let layer = |name: &str| {
            let get = |part| weights.get(&format!("encoder.{name}.cell.{part}"));
            let parameters = GruParameters {
                weight_ih: get("weight_ih"),
                weight_hh: get("weight_hh"),
                bias_ih: get("bias_ih"),
                bias_hh: get("bias_hh"),
            };
            Layer::new(Gru::new(model.n_dims, width, parameters))
        };
        Self {
            number: ENCODERS.fetch_add(1, Ordering::Relaxed),
            network,
            windows,
            layers: GRUS[..windows.len()].iter().map(|name| layer(name)).collect(),
            width,
            merge_weight: transpose(weights.get("encoder.merge.weight"), windows.len() * width),
            merge_bias: weights.get("encoder.merge.bias").to_vec(),
        }
    }

    /// s of the windows of each of `rows` into the first w columns of `out`.
    pub(crate) fn encode(
        &self,
        (level, items): (Level, &ItemTable),
        (windows, length): (&[ItemId], usize),
        rows: &[usize],
        out: RowMajorMut<'_>,
        scratch: &mut EncoderScratch,
    ) {
        let (w, k) = (self.width, self.windows.len());
        let EncoderScratch { gru, changed, starts, new, joined, memories } = scratch;
        let memory = &mut memories[self.network as usize];
        memory.keep((self.number, level), windows.len() / (N_WINDOWS * length) * k, length, w);
        let joined = sized(joined, rows.len() * k * w);
        // How many windows change differs from step to step: room for all of them, so that a later step allocates nothing.
        changed.clear();
        changed.reserve(rows.len());
        starts.clear();
        starts.reserve(rows.len());
        sized(new, rows.len() * w);
        gru.reserve(rows.len());
        for (i, (layer, &kind)) in self.layers.iter().zip(self.windows).enumerate() {
            let start = |row: usize| (row * N_WINDOWS + kind as usize) * length;
            changed.clear();
            changed.extend(
                rows.iter().filter(|&&row| memory.note(row * k + i, &windows[start(row)..][..length])),
            );
            starts.clear();
            starts.extend(changed.iter().map(|&row| start(row)));
            let sequences = Sequences { ids: bytemuck::cast_slice(windows), starts, length };
            let inputs = layer.inputs(level, items, changed.len() * length);
            let new = sized(new, changed.len() * w);
            layer.gru.forward(level, inputs, sequences, RowMajorMut { data: new, stride: w }, gru);
            for (&row, state) in changed.iter().zip(new.chunks_exact(w)) {
                memory.states[(row * k + i) * w..][..w].copy_from_slice(state);
            }
        }
        for (&row, joined) in rows.iter().zip(joined.chunks_exact_mut(k * w)) {
            joined.copy_from_slice(&memory.states[row * k * w..][..k * w]);
        }
        // Eqs 3, 6
        let a = Strided::rows(joined, k * w);
        let b = RowMajor { data: &self.merge_weight, stride: w };
        gemm(level, (rows.len(), w, k * w), a, b, out, Init::Bias(&self.merge_bias));
    }
}

/// A GRU and, once it has paid, the projection of the whole catalogue.
struct Layer {
    gru: Gru,
    /// `[n_items, 3w]`
    projected: OnceLock<Vec<f32>>,
    /// Item steps so far.
    steps: AtomicUsize,
}

impl Layer {
    fn new(gru: Gru) -> Self {
        Self { gru, projected: OnceLock::new(), steps: AtomicUsize::new(0) }
    }

    /// What to run `n_steps` more steps on. A step on a projected table saves the product W_i x (measured at the paper's
    /// sizes, AVX-512: 1.9 ms against 2.5 ms for 256 sessions, 12 us against 25 us for one); projecting the table costs `n_items` such products. It is done when as many have been
    /// spent, so a version of the weights that serves a few steps only never pays for it. Both ways give the same
    /// bits, so the moment of the change, which depends on threads, cannot be seen in a result.
    fn inputs<'a>(&'a self, level: Level, items: &'a ItemTable, n_steps: usize) -> Inputs<'a> {
        let gates = 3 * self.gru.width();
        if let Some(projected) = self.projected.get() {
            return Inputs::Projected(projected);
        }
        let affordable = items.n_items() * gates * size_of::<f32>() <= MAX_PROJECTED_BYTES;
        let spent = self.steps.fetch_add(n_steps, Ordering::Relaxed);
        if !affordable || spent < items.n_items() {
            return Inputs::Rows(items.embeddings());
        }
        Inputs::Projected(self.projected.get_or_init(|| {
            let mut projected = vec![0.0; items.n_items() * gates];
            self.gru.project(level, items.embeddings(), &mut projected);
            projected
        }))
    }
}
