//! The Poisson loss of a tower on a minibatch, and its gradient, by hand.
//!
//! In: the rows of a minibatch, chunk by chunk ([`super::chunk`]); out: the mean loss, and its gradient in the order of
//! [`super::tower::NAMES`]. Two threads share first the chunks, then the parameters. Every sum goes over the rows in their
//! order, whatever the chunks and the threads, which therefore show in no bit.

use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, reduce::add_column_sums};

use super::{
    chunk::{Chunk, Transposed},
    tower::{GAIN, N_TENSORS, Tower},
};
use crate::threads::{Threads, both};

/// Rows of a chunk: so few that what is computed of them stays in the L2 cache.
const CHUNK_ROWS: usize = 128;

/// The gradient of the last minibatch, and what was computed on the way.
#[derive(Debug)]
pub(super) struct Gradient {
    /// In the order and the shapes of the tower's tensors.
    pub(super) tensors: [Vec<f32>; N_TENSORS],
    transposed: Transposed,
    chunk_rows: usize,
    /// As many as the largest minibatch had.
    chunks: Vec<Chunk>,
}

impl Gradient {
    /// Room for the gradient of `tower`.
    pub(super) fn new(tower: &Tower) -> Self {
        Self {
            tensors: tower.tensors.each_ref().map(|tensor| vec![0.0; tensor.len()]),
            transposed: Transposed::new(tower),
            chunk_rows: CHUNK_ROWS,
            chunks: Vec::new(),
        }
    }

    /// Computes the gradient of the mean of `exp(z) - r z` over `rows`, and returns that mean. `gather` fills a chunk with its
    /// share of the rows.
    pub(super) fn compute(
        &mut self,
        tower: &Tower,
        rows: &[usize],
        gather: impl Fn(&mut Chunk, &[usize]) + Sync,
        threads: Option<&Threads>,
    ) -> f64 {
        let Self { transposed, chunk_rows, chunks, .. } = self;
        let n_chunks = rows.len().div_ceil(*chunk_rows);
        if chunks.len() < n_chunks {
            chunks.resize_with(n_chunks, Chunk::default);
        }
        transposed.update(tower);
        let pass = |chunks: &mut [Chunk], of_chunks: &[usize]| {
            for (chunk, of_chunk) in chunks.iter_mut().zip(of_chunks.chunks(*chunk_rows)) {
                gather(chunk, of_chunk);
                chunk.compute(tower, transposed, rows.len());
            }
        };
        let n_first = n_chunks.div_ceil(2);
        let (first, second) = chunks[..n_chunks].split_at_mut(n_first);
        let (rows_first, rows_second) = rows.split_at(rows.len().min(n_first * *chunk_rows));
        both(threads, || pass(first, rows_first), || pass(second, rows_second));
        self.parameters(n_chunks, (tower.n_dims, tower.width), threads);
        self.loss(n_chunks) / rows.len() as f64
    }

    /// Fills the gradients at weights and biases. At n = 50 and H = 64, both threads have as much to do.
    fn parameters(&mut self, n_chunks: usize, (n, width): (usize, usize), threads: Option<&Threads>) {
        let chunks = &self.chunks[..n_chunks];
        let [w_0, b_0, v_0, w_1, b_1, v_1, w_2, b_2, v_2, b_mix, w_user, b_user, _, _] = &mut self.tensors;
        let mixes_and_biases = || {
            for (kind, v) in [v_0, v_1, v_2].into_iter().enumerate() {
                weights(chunks, |chunk| (&chunk.hidden[kind], &chunk.at_mixed), (width, width), v);
            }
            for (kind, b) in [b_0, b_1, b_2].into_iter().enumerate() {
                biases(chunks, |chunk| &chunk.at_hidden[kind], b);
            }
            biases(chunks, |chunk| &chunk.at_mixed, b_mix);
            biases(chunks, |chunk| &chunk.at_user, b_user);
        };
        let inputs_and_outputs = || {
            for (kind, w) in [w_0, w_1, w_2].into_iter().enumerate() {
                weights(chunks, |chunk| (chunk.mean(kind), &chunk.at_hidden[kind]), (n, width), w);
            }
            weights(chunks, |chunk| (&chunk.mixed, &chunk.at_user), (width, n), w_user);
        };
        both(threads, mixes_and_biases, inputs_and_outputs);
    }

    /// Fills the gradients at gain and offset, and returns the sum of the losses.
    fn loss(&mut self, n_chunks: usize) -> f64 {
        let (mut loss, mut at_gain, mut at_offset) = (0.0_f64, 0.0, 0.0);
        for row in self.chunks[..n_chunks].iter().flat_map(|chunk| &chunk.losses) {
            loss += f64::from(row.loss);
            at_gain += row.at_z * row.dot;
            at_offset += row.at_z;
        }
        self.tensors[GAIN][0] = at_gain;
        self.tensors[GAIN + 1][0] = at_offset;
        loss
    }
}

/// The gradient at a weight `[I, O]`: xᵀ g, of inputs x `[C, I]` and the gradient g `[C, O]` at the outputs of every chunk.
fn weights<'a>(
    chunks: &'a [Chunk],
    of: impl Fn(&'a Chunk) -> (&'a [f32], &'a [f32]),
    (n_in, n_out): (usize, usize),
    out: &mut [f32],
) {
    out.fill(0.0);
    for (x, gradient) in chunks.iter().map(of) {
        let size = (n_in, n_out, x.len() / n_in);
        let gradient = RowMajor { data: gradient, stride: n_out };
        let out = RowMajorMut { data: out, stride: n_out };
        gemm(Level::best(), size, Strided::transposed(x, n_in), gradient, out, Init::Accumulate);
    }
}

/// Sums over the rows of every chunk: the gradient at a bias `[O]`.
fn biases<'a>(chunks: &'a [Chunk], of: impl Fn(&'a Chunk) -> &'a [f32], out: &mut [f32]) {
    out.fill(0.0);
    for gradient in chunks.iter().map(of) {
        let stride = out.len();
        let size = (gradient.len() / stride, stride);
        add_column_sums(Level::best(), size, RowMajor { data: gradient, stride }, out);
    }
}

#[cfg(test)]
mod tests {
    use common::{history::N_WINDOWS, seed::Streams};

    use super::{
        super::tower::{MIX_BIAS, PER_WINDOW, USER},
        *,
    };

    const N: usize = 5;
    const ROWS: usize = 4;

    struct Case {
        tower: Tower,
        means: Vec<f32>,
        directions: Vec<f32>,
        rewards: Vec<f32>,
    }

    impl Case {
        fn new() -> Self {
            Self {
                tower: Tower::new(N, 7, &Streams::new(1, "test"), 0),
                means: (0..3 * ROWS * N).map(|i| ((i * 37 % 19) as f32 - 9.0) / 5.0).collect(),
                directions: (0..ROWS * N).map(|i| ((i * 23 % 11) as f32 - 5.0) / 8.0).collect(),
                rewards: vec![0.0, 1.0, 5.0, 0.0],
            }
        }

        /// The loss and its gradient.
        fn gradient(&self, chunk_rows: usize, threads: Option<&Threads>) -> (f64, Gradient) {
            let mut gradient = Gradient { chunk_rows, ..Gradient::new(&self.tower) };
            let gather = |chunk: &mut Chunk, rows: &[usize]| {
                let (first, n_rows) = (rows[0], rows.len());
                let of_kind = |means: &[f32]| means[first * N..][..n_rows * N].to_vec();
                chunk.means = self.means.chunks_exact(ROWS * N).flat_map(of_kind).collect();
                chunk.directions = self.directions[first * N..][..n_rows * N].to_vec();
                chunk.rewards = self.rewards[first..][..n_rows].to_vec();
            };
            let rows: [usize; ROWS] = std::array::from_fn(|row| row);
            let loss = gradient.compute(&self.tower, &rows, gather, threads);
            (loss, gradient)
        }

        /// The loss as [`super::super::tower`] prints it, in f64, with one number of a tensor moved.
        fn loss(&self, (tensor, index): (usize, usize), by: f64) -> f64 {
            let mut tower: Vec<Vec<f64>> =
                self.tower.tensors.iter().map(|t| t.iter().map(|&x| f64::from(x)).collect()).collect();
            tower[tensor][index] += by;
            let dense = |x: &[f64], weight: &[f64], out: &mut [f64]| {
                let width = out.len();
                for (x, row) in x.iter().zip(weight.chunks_exact(width)) {
                    out.iter_mut().zip(row).for_each(|(sum, w)| *sum += x * w);
                }
            };
            let relu = |x: &mut [f64]| x.iter_mut().for_each(|x| *x = x.max(0.0));
            let losses = (0..ROWS).map(|row| {
                let mut mixed = tower[MIX_BIAS].clone();
                for kind in 0..N_WINDOWS {
                    let mean = &self.means[(kind * ROWS + row) * N..][..N];
                    let mean: Vec<f64> = mean.iter().map(|&x| f64::from(x)).collect();
                    let mut hidden = tower[PER_WINDOW * kind + 1].clone();
                    dense(&mean, &tower[PER_WINDOW * kind], &mut hidden);
                    relu(&mut hidden);
                    dense(&hidden, &tower[PER_WINDOW * kind + 2], &mut mixed);
                }
                relu(&mut mixed);
                let mut user = tower[USER + 1].clone();
                dense(&mixed, &tower[USER], &mut user);
                let direction = &self.directions[row * N..][..N];
                let dot: f64 = user.iter().zip(direction).map(|(u, &d)| u * f64::from(d)).sum();
                let z = tower[GAIN][0] * dot + tower[GAIN + 1][0];
                z.min(3.0).exp() - f64::from(self.rewards[row]) * z
            });
            losses.sum::<f64>() / ROWS as f64
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_printed_loss() {
        let case = Case::new();
        let (loss, gradient) = case.gradient(CHUNK_ROWS, None);
        assert!((loss - case.loss((GAIN, 0), 0.0)).abs() < 1e-5);
        let step = 1e-6;
        for (tensor, values) in gradient.tensors.iter().enumerate() {
            assert_eq!(values.len(), case.tower.tensors[tensor].len());
            for (i, &found) in values.iter().enumerate() {
                let expected = (case.loss((tensor, i), step) - case.loss((tensor, i), -step)) / (2.0 * step);
                assert!(
                    (f64::from(found) - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "tensor {tensor}, {i}: {found}, by differences {expected}"
                );
            }
        }
    }

    #[test]
    fn neither_chunks_nor_threads_show_in_a_bit() {
        let case = Case::new();
        let (loss, gradient) = case.gradient(ROWS, None);
        let threads = Threads::beside(2, "test");
        for chunk_rows in 1..=ROWS {
            for threads in [None, threads.as_ref()] {
                let (found_loss, found) = case.gradient(chunk_rows, threads);
                assert_eq!(found_loss.to_bits(), loss.to_bits(), "chunks of {chunk_rows}");
                assert_eq!(found.tensors, gradient.tensors, "chunks of {chunk_rows}");
            }
        }
    }

    #[test]
    fn beyond_the_largest_reward_the_exponential_has_no_slope() {
        let mut case = Case::new();
        case.tower.tensors[GAIN + 1] = vec![50.0];
        let (_, gradient) = case.gradient(CHUNK_ROWS, None);
        let rewards: f32 = case.rewards.iter().sum();
        assert!((gradient.tensors[GAIN + 1][0] + rewards / ROWS as f32).abs() < 1e-6);
    }
}
