//! Vectors whose products approximate a symmetric sparse matrix.
//!
//! In: M `[n, n]`; out: U √Σ `[n, n_dims]` of the truncated SVD M ≈ U Σ Vᵀ, by randomised subspace iteration (Halko,
//! Martinsson and Tropp 2011) with a Rayleigh-Ritz step at the end: for a symmetric M singular vectors are eigenvectors and
//! singular values their magnitudes. The sign of each column is such that its largest component is positive.

use common::seed::Streams;

use super::{
    Progress,
    cooccurrence::Sparse,
    tall::{Tall, eigen},
};

/// Directions beyond those wanted: the wanted ones converge with the ratio to the first left out.
const OVERSAMPLING: usize = 14;

/// Products with M.
const ROUNDS: usize = 12;

/// The vectors `[n, n_dims]`, by falling singular value. Columns beyond the rank are zero.
pub(super) fn factorise(
    matrix: &Sparse,
    n_dims: usize,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> Tall {
    let n = matrix.n();
    let width = (n_dims + OVERSAMPLING).min(n);
    let mut rng = Streams::new(seed, "logs/embed").sequential();
    let mut basis = Tall::random(n, width, &mut rng).orthonormal();
    for round in 0..ROUNDS {
        progress(Progress { rounds: round, of: ROUNDS + 1 });
        basis = basis.times_left(matrix).orthonormal();
    }
    progress(Progress { rounds: ROUNDS, of: ROUNDS + 1 });
    let (values, rotation) = eigen(&basis.inner(&basis.times_left(matrix)));
    let vectors = basis.times_right(&rotation);
    let signs = signs(&vectors);
    let weights: Vec<f64> = values.iter().zip(signs).map(|(value, sign)| sign * value.abs().sqrt()).collect();
    let mut weighted = vec![0.0; n * n_dims];
    for (out, row) in weighted.chunks_exact_mut(n_dims).zip(vectors.rows()) {
        for ((out, value), weight) in out.iter_mut().zip(row).zip(&weights) {
            *out = value * weight;
        }
    }
    progress(Progress { rounds: ROUNDS + 1, of: ROUNDS + 1 });
    Tall { width: n_dims, values: weighted }
}

/// `[l]` the sign of the largest component of each column; of the first one among equals.
fn signs(vectors: &Tall) -> Vec<f64> {
    let mut largest = vec![0.0_f64; vectors.width];
    for row in vectors.rows() {
        for (largest, &value) in largest.iter_mut().zip(row) {
            // Margin: components equal but for rounding must not swap.
            if value.abs() > largest.abs() * (1.0 + 1e-9) {
                *largest = value;
            }
        }
    }
    largest.into_iter().map(f64::signum).collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    /// Two blocks of items that are met within the block only, all pairs.
    fn blocks(sizes: [usize; 2], values: [f32; 2]) -> Sparse {
        let mut matrix = Sparse { starts: vec![0], columns: Vec::new(), values: Vec::new() };
        for (block, size) in sizes.into_iter().enumerate() {
            let first = if block == 0 { 0 } else { sizes[0] };
            for row in 0..size {
                for column in (0..size).filter(|&column| column != row) {
                    matrix.columns.push((first + column) as u32);
                    matrix.values.push(values[block]);
                }
                matrix.starts.push(matrix.columns.len());
            }
        }
        matrix
    }

    #[test]
    fn the_leading_columns_of_two_blocks_are_their_known_eigenvectors() {
        // All ones but the diagonal: eigenvalue (size - 1) x value, eigenvector constant on the block.
        let vectors = factorise(&blocks([30, 20], [1.0, 0.5]), 2, 3, &mut |_| ());
        for (item, row) in vectors.rows().enumerate() {
            let expected =
                if item < 30 { [(29.0_f64 / 30.0).sqrt(), 0.0] } else { [0.0, (9.5_f64 / 20.0).sqrt()] };
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-8, "{item}: {row:?}");
            }
        }
    }

    #[test]
    fn products_of_full_rank_vectors_with_the_signs_of_the_eigenvalues_give_the_matrix_back() {
        // Dense and random, smaller than the oversampled width: nothing is truncated, U |Λ| Uᵀ = √(M²).
        let n = 12;
        let mut rng = Streams::new(5, "test").sequential();
        let mut dense = vec![0.0_f64; n * n];
        for (i, j) in (0..n * n).map(|k| (k / n, k % n)).filter(|(i, j)| i < j) {
            let value = f64::from(rng.random::<f32>());
            (dense[i * n + j], dense[j * n + i]) = (value, value);
        }
        let matrix = Sparse {
            starts: (0..=n).map(|row| row * n).collect(),
            columns: (0..n * n).map(|k| (k % n) as u32).collect(),
            values: dense.iter().map(|&value| value as f32).collect(),
        };
        let vectors = factorise(&matrix, n, 0, &mut |_| ());
        let product = |a: &[f64], b: &[f64], n: usize, i: usize, j: usize| -> f64 {
            (0..n).map(|k| a[i * n + k] * b[k * n + j]).sum()
        };
        let dot = |i: usize, j: usize| -> f64 {
            (0..n).map(|k| vectors.values[i * n + k] * vectors.values[j * n + k]).sum()
        };
        let root: Vec<f64> = (0..n * n).map(|k| dot(k / n, k % n)).collect();
        for (i, j) in (0..n * n).map(|k| (k / n, k % n)) {
            let (found, expected) = (product(&root, &root, n, i, j), product(&dense, &dense, n, i, j));
            assert!((found - expected).abs() < 1e-8, "{i} {j}: {found} {expected}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
        let matrix = blocks([1500, 700], [0.3, 1.0]);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| factorise(&matrix, 4, 9, &mut |_| ()))
        };
        assert_eq!(on(1), on(3));
    }
}
