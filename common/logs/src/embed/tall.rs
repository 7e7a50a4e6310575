//! Tall matrices: `[n, l]` with n up to millions and l around a hundred, f64, row-major.
//!
//! Everything is done in blocks of [`BLOCK`] rows whose results are added in order, so that the number of threads does not
//! change a bit of the result.

use faer::{Mat, Side};
use rand::RngExt;
use rayon::prelude::*;

use super::cooccurrence::Sparse;

/// Rows of a block.
const BLOCK: usize = 1024;

/// A tall matrix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tall {
    /// Number of columns, l.
    pub(super) width: usize,
    /// `[n, l]`
    pub(super) values: Vec<f64>,
}

impl Tall {
    /// Uniform in [-1, 1).
    pub(super) fn random(n: usize, width: usize, rng: &mut common::seed::Rng) -> Self {
        Self { width, values: (0..n * width).map(|_| rng.random_range(-1.0..1.0)).collect() }
    }

    /// The rows.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// `M X`, `[n, l]`.
    pub(super) fn times_left(&self, matrix: &Sparse) -> Self {
        let width = self.width;
        let mut values = vec![0.0; self.values.len()];
        values.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, rows)| {
            for (k, out) in rows.chunks_exact_mut(width).enumerate() {
                for (column, value) in matrix.row(block * BLOCK + k) {
                    let row = &self.values[column * width..][..width];
                    out.iter_mut().zip(row).for_each(|(out, x)| *out += value * x);
                }
            }
        });
        Self { width, values }
    }

    /// `X S`, `[n, columns of S]`.
    pub(super) fn times_right(&self, small: &Mat<f64>) -> Self {
        let width = small.ncols();
        let mut values = vec![0.0; self.rows().len() * width];
        let blocks = self.values.par_chunks(BLOCK * self.width);
        values.par_chunks_mut(BLOCK * width).zip(blocks).for_each(|(outs, rows)| {
            for (out, row) in outs.chunks_exact_mut(width).zip(rows.chunks_exact(self.width)) {
                for (j, out) in out.iter_mut().enumerate() {
                    // Columns of a faer matrix lie together in memory.
                    *out = row.iter().enumerate().map(|(k, x)| x * small[(k, j)]).sum();
                }
            }
        });
        Self { width, values }
    }

    /// `Xᵀ Y`, `[l, l]`, made symmetric: for Y = X, or Y = M X with a symmetric M.
    pub(super) fn inner(&self, other: &Self) -> Mat<f64> {
        let l = self.width;
        let blocks: Vec<Vec<f64>> = self
            .values
            .par_chunks(BLOCK * l)
            .zip(other.values.par_chunks(BLOCK * l))
            .map(|(xs, ys)| {
                let mut sums = vec![0.0; l * l];
                for (x, y) in xs.chunks_exact(l).zip(ys.chunks_exact(l)) {
                    for (sums, x) in sums.chunks_exact_mut(l).zip(x) {
                        sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
                    }
                }
                sums
            })
            .collect();
        let mut sums = vec![0.0; l * l];
        for block in blocks {
            sums.iter_mut().zip(block).for_each(|(sum, part)| *sum += part);
        }
        Mat::from_fn(l, l, |i, j| (sums[i * l + j] + sums[j * l + i]) / 2.0)
    }

    /// Columns of length 1, orthogonal to one another, that span what these span; columns beyond the rank are zero.
    ///
    /// Through the eigenvectors of XᵀX, twice: the first pass leaves errors of the size of its condition number.
    pub(super) fn orthonormal(&self) -> Self {
        self.whitened().whitened()
    }

    fn whitened(&self) -> Self {
        let (values, vectors) = eigen(&self.inner(self));
        // Below, a direction is rounding: a thousand ulps of the largest, as XᵀX has squared lengths.
        let least = values.iter().copied().fold(0.0, f64::max) * 1e3 * f64::EPSILON;
        let scales: Vec<f64> =
            values.iter().map(|&value| if value > least { value.sqrt().recip() } else { 0.0 }).collect();
        let l = self.width;
        self.times_right(&Mat::from_fn(l, l, |i, j| vectors[(i, j)] * scales[j]))
    }
}

/// Eigenvalues, largest magnitude first, and eigenvectors (columns) of a symmetric matrix.
pub(super) fn eigen(small: &Mat<f64>) -> (Vec<f64>, Mat<f64>) {
    let l = small.nrows();
    let decomposition =
        small.self_adjoint_eigen(Side::Lower).expect("a finite symmetric matrix has eigenvectors");
    let values: Vec<f64> = decomposition.S().column_vector().iter().copied().collect();
    let vectors = decomposition.U();
    let mut order: Vec<usize> = (0..l).collect();
    order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()).then(b.cmp(&a)));
    let sorted = order.iter().map(|&k| values[k]).collect();
    (sorted, Mat::from_fn(l, l, |i, j| vectors[(i, order[j])]))
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    #[test]
    fn orthonormal_columns_are_so_and_a_column_beyond_the_rank_is_zero() {
        let mut x = Tall::random(3000, 6, &mut Streams::new(1, "test").sequential());
        for row in x.values.chunks_exact_mut(6) {
            row[5] = row[0] - 1e3 * row[1];
        }
        let q = x.orthonormal();
        let gram = q.inner(&q);
        let trace: f64 = (0..6).map(|k| gram[(k, k)]).sum();
        assert!((trace - 5.0).abs() < 1e-12, "five directions: {trace}");
        for (i, j) in (0..36).map(|k| (k / 6, k % 6)) {
            let expected = if i == j { gram[(i, i)].round() } else { 0.0 };
            assert!((gram[(i, j)] - expected).abs() < 1e-12, "{i} {j}: {}", gram[(i, j)]);
        }
    }
}
