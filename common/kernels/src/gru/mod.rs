//! A GRU layer. In: sequences of table rows, ragged; out: the last hidden state of each, `[R, w]`.
//!
//! PyTorch's form and gate order (reset, update, new):
//! r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r (W_hn h + b_hn)),
//! h' = (1 - z) n + z h, h_0 = 0.
//!
//! Padding is neutral, h_t = m_t GRU(x_t, h_(t-1)) + (1 - m_t) h_(t-1), and costs nothing: a step on padding is not
//! done at all. Rows are sorted by their number of real items, longest first, so that step s works on the prefix of
//! rows that have an s-th item. Blocks of [`BLOCK`] rows keep the state in the L1 cache.

mod gates;
pub mod training;

use crate::{
    dispatch::dispatch,
    gemm::{Init, RowMajor, RowMajorMut, Strided, assert_fits, gemm},
    level::Level,
    reduce::transpose,
    simd::prefetch,
};
use gates::{FromHidden, FromInput, Gates};

/// Stands in a sequence where there is no item.
pub const PADDING: u32 = u32::MAX;

/// Rows whose states are advanced together; a multiple of the tile height of [`gemm`].
const BLOCK: usize = 48;

/// The parameters of a layer in PyTorch's layout, n inputs, width w.
#[derive(Clone, Copy, Debug)]
pub struct GruParameters<'a> {
    /// `[3w, n]`
    pub weight_ih: &'a [f32],
    /// `[3w, w]`
    pub weight_hh: &'a [f32],
    /// `[3w]`
    pub bias_ih: &'a [f32],
    /// `[3w]`
    pub bias_hh: &'a [f32],
}

/// A layer ready to run: weights transposed, so that a product reads rows.
#[derive(Clone, Debug)]
pub struct Gru {
    n_inputs: usize,
    width: usize,
    /// `[n, 3w]`
    weight_ih: Vec<f32>,
    /// `[w, 3w]`
    weight_hh: Vec<f32>,
    bias_ih: Vec<f32>,
    bias_hh: Vec<f32>,
}

/// The table that sequences point into, V rows.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// `[V, n]`: projected on the way.
    Rows(&'a [f32]),
    /// `[V, 3w]`, made by [`Gru::project`]: the same result, bit for bit, for less work.
    Projected(&'a [f32]),
}

/// R sequences of N table rows, oldest first, [`PADDING`] where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// Table rows of all sequences.
    pub ids: &'a [u32],
    /// `[R]`: where in `ids` a sequence begins.
    pub starts: &'a [usize],
    /// N.
    pub length: usize,
}

/// Working memory of [`Gru::forward`]; grows to what it needs and stays. One a thread.
#[derive(Clone, Debug, Default)]
pub struct GruScratch {
    /// `[R]` rows, longest first.
    order: Vec<u32>,
    /// `[R]` number of real items.
    lengths: Vec<u32>,
    /// `[N + 1]` rows that have more than so many items, then positions of the counting sort.
    counts: Vec<usize>,
    /// `[N, BLOCK]` the items of a block by step.
    items: Vec<u32>,
    /// `[BLOCK, n]` embeddings of a step.
    inputs: Vec<f32>,
    /// `[BLOCK, 3w]` W_i x + b_i of a step.
    from_input: Vec<f32>,
    /// `[BLOCK, 3w]` W_h h + b_h of a step.
    from_hidden: Vec<f32>,
    /// `[BLOCK, w]`
    hidden: Vec<f32>,
}

impl Gru {
    /// A layer of `width` over `n_inputs` inputs.
    ///
    /// # Panics
    /// If a parameter has another size than its layout says.
    pub fn new(n_inputs: usize, width: usize, parameters: GruParameters<'_>) -> Self {
        let gates = 3 * width;
        assert_eq!(parameters.weight_ih.len(), gates * n_inputs, "weight_ih is [3w, n]");
        assert_eq!(parameters.weight_hh.len(), gates * width, "weight_hh is [3w, w]");
        assert_eq!(parameters.bias_ih.len(), gates, "bias_ih is [3w]");
        assert_eq!(parameters.bias_hh.len(), gates, "bias_hh is [3w]");
        Self {
            n_inputs,
            width,
            weight_ih: transpose(parameters.weight_ih, n_inputs),
            weight_hh: transpose(parameters.weight_hh, width),
            bias_ih: parameters.bias_ih.to_vec(),
            bias_hh: parameters.bias_hh.to_vec(),
        }
    }

    /// Width w of the hidden state.
    pub fn width(&self) -> usize {
        self.width
    }

    /// W_i x + b_i for rows `[R, n]` into `out` `[R, 3w]`.
    pub fn project(&self, level: Level, rows: &[f32], out: &mut [f32]) {
        let gates = 3 * self.width;
        let n_rows = rows.len() / self.n_inputs;
        assert_eq!(out.len(), n_rows * gates, "out is [R, 3w]");
        let c = RowMajorMut { data: out, stride: gates };
        let (a, b) = (Strided::rows(rows, self.n_inputs), RowMajor { data: &self.weight_ih, stride: gates });
        gemm(level, (n_rows, gates, self.n_inputs), a, b, c, Init::Bias(&self.bias_ih));
    }

    /// The last hidden state of each sequence into row r of `out`, `[R, w]`. A sequence of padding only gives zeros.
    ///
    /// # Panics
    /// If a sequence lies outside `ids`, an id outside the table, or `out` is too short.
    pub fn forward(
        &self,
        level: Level,
        inputs: Inputs<'_>,
        sequences: Sequences<'_>,
        out: RowMajorMut<'_>,
        scratch: &mut GruScratch,
    ) {
        let n_rows = sequences.starts.len();
        if n_rows == 0 {
            return;
        }
        assert_fits("out: ", (n_rows, self.width), (out.data.len(), out.stride));
        let (table, columns) = match inputs {
            Inputs::Rows(table) => (table, self.n_inputs),
            Inputs::Projected(table) => (table, 3 * self.width),
        };
        let table_rows = table.len() / columns;
        scratch.resize(self, sequences.length);
        scratch.sort(sequences);
        for block in 0..n_rows.div_ceil(BLOCK) {
            let rows = block * BLOCK..n_rows.min((block + 1) * BLOCK);
            scratch.gather(sequences, rows.clone(), table_rows);
            scratch.hidden.fill(0.0);
            let longest = scratch.lengths[scratch.order[rows.start] as usize] as usize;
            let mut active = scratch.active(rows.clone(), 0);
            scratch.prefetch(table, columns, 0, active);
            for step in 0..longest {
                let next = scratch.active(rows.start..rows.start + active, step + 1);
                // The table is larger than the caches: what the next step reads is on its way while this one computes.
                scratch.prefetch(table, columns, step + 1, next);
                self.step(level, inputs, step, active, scratch);
                active = next;
            }
            for (i, &row) in scratch.order[rows].iter().enumerate() {
                out.data[row as usize * out.stride..][..self.width]
                    .copy_from_slice(&scratch.hidden[i * self.width..][..self.width]);
            }
        }
    }

    /// One step of the first `active` rows of a block.
    fn step(&self, level: Level, inputs: Inputs<'_>, step: usize, active: usize, s: &mut GruScratch) {
        let (n, w, gates) = (self.n_inputs, self.width, 3 * self.width);
        let items = &s.items[step * BLOCK..][..active];
        let from_input = match inputs {
            Inputs::Projected(table) => FromInput::Table { table, items },
            Inputs::Rows(table) => {
                for (row, &item) in items.iter().enumerate() {
                    s.inputs[row * n..][..n].copy_from_slice(&table[item as usize * n..][..n]);
                }
                self.project(level, &s.inputs[..active * n], &mut s.from_input[..active * gates]);
                FromInput::Rows(&s.from_input)
            }
        };
        // At the first step h = 0, so W_h h + b_h is the bias, for every row.
        let from_hidden = if step == 0 {
            FromHidden { data: &self.bias_hh, stride: 0 }
        } else {
            let a = Strided::rows(&s.hidden, w);
            let b = RowMajor { data: &self.weight_hh, stride: gates };
            let c = RowMajorMut { data: &mut s.from_hidden, stride: gates };
            gemm(level, (active, gates, w), a, b, c, Init::Bias(&self.bias_hh));
            FromHidden { data: &s.from_hidden, stride: gates }
        };
        let hidden = &mut s.hidden[..active * w];
        // SAFETY: `gather` has checked the items against the table; the other buffers hold `active` rows of their
        // width, see `resize`.
        unsafe { dispatch(level, Gates { width: w, active, from_input, from_hidden, hidden }) }
    }
}

impl GruScratch {
    /// Makes room for so many sequences.
    pub fn reserve(&mut self, n_sequences: usize) {
        self.lengths.clear();
        self.lengths.reserve(n_sequences);
        self.order.clear();
        self.order.reserve(n_sequences);
    }

    fn resize(&mut self, gru: &Gru, length: usize) {
        self.items.resize(BLOCK * length, 0);
        self.inputs.resize(BLOCK * gru.n_inputs, 0.0);
        self.from_input.resize(BLOCK * 3 * gru.width, 0.0);
        self.from_hidden.resize(BLOCK * 3 * gru.width, 0.0);
        self.hidden.resize(BLOCK * gru.width, 0.0);
    }

    /// Fills `lengths` and `order`: a counting sort by length, longest first.
    fn sort(&mut self, sequences: Sequences<'_>) {
        let n = sequences.length;
        self.counts.clear();
        self.counts.resize(n + 1, 0);
        self.lengths.clear();
        for &start in sequences.starts {
            let length = real(&sequences.ids[start..][..n]).count();
            self.lengths.push(length as u32);
            self.counts[length] += 1;
        }
        // From counts to where each length begins.
        let mut before = 0;
        for count in self.counts.iter_mut().rev() {
            before += *count;
            *count = before - *count;
        }
        self.order.clear();
        self.order.resize(sequences.starts.len(), 0);
        for (row, &length) in self.lengths.iter().enumerate() {
            let position = &mut self.counts[length as usize];
            self.order[*position] = row as u32;
            *position += 1;
        }
    }

    /// Rows of a block, or of its first ones, that have an item at a step: sorted, those that have ended are at the end.
    fn active(&self, rows: std::ops::Range<usize>, step: usize) -> usize {
        let has_item = |&row: &u32| self.lengths[row as usize] as usize > step;
        self.order[rows].iter().rposition(has_item).map_or(0, |last| last + 1)
    }

    /// Asks for the table's rows of a step of the first `active` rows of a block.
    fn prefetch(&self, table: &[f32], columns: usize, step: usize, active: usize) {
        for &item in self.items.iter().skip(step * BLOCK).take(active) {
            prefetch(&table[item as usize * columns..][..columns]);
        }
    }

    /// Fills `items` for the sorted rows of a block.
    fn gather(&mut self, sequences: Sequences<'_>, rows: std::ops::Range<usize>, table_rows: usize) {
        for (i, &row) in self.order[rows].iter().enumerate() {
            let sequence = &sequences.ids[sequences.starts[row as usize]..][..sequences.length];
            for (step, item) in real(sequence).enumerate() {
                assert!((item as usize) < table_rows, "item {item} of a table of {table_rows} rows");
                self.items[step * BLOCK + i] = item;
            }
        }
    }
}

/// The items of a sequence that are no padding.
fn real(sequence: &[u32]) -> impl Iterator<Item = u32> {
    sequence.iter().copied().filter(|&item| item != PADDING)
}
