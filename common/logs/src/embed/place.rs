//! Vectors to embeddings: a place for every item, inside the box (-B, B)^n.
//!
//! In: vectors of the items that are met often enough; out: `[n_items, n]`, no row zero.
//! Only directions matter to the action mapping (Eq 9), so directions are kept exactly: the space is turned by a random
//! rotation, which spreads the few leading singular directions over all axes (the box would cut them off first), scaled so
//! that half the embeddings are shorter than [`TYPICAL_LENGTH`], and a row that still leaves the box is shortened.

use std::collections::BTreeMap;

use common::seed::Streams;
use faer::Mat;
use rand::RngExt;

use super::{Options, tall::Tall};

/// Median length before rows that leave the box are shortened: ShopWorld's embeddings have 7.4.
const TYPICAL_LENGTH: f64 = 7.0;

/// Largest component as a share of B: inside, even after rounding.
const SHARE_OF_BOUND: f64 = 0.999;

/// Length of the direction that tells apart items placed at the mean of all.
const TINY: f64 = 0.05;

/// Where every item is.
pub(super) struct Placed {
    /// `[n_items, n]`
    pub(super) embeddings: Vec<f32>,
    pub(super) n_category_centroid: u64,
    pub(super) n_global_mean: u64,
    /// Factor applied to all.
    pub(super) scale: f32,
}

/// Places every item. `rows` are the items of the vectors, ascending.
pub(super) fn place(vectors: &Tall, rows: &[usize], categories: &[Option<u32>], options: &Options) -> Placed {
    let n = options.n_dims;
    let limit = f64::from(options.bound) * SHARE_OF_BOUND;
    let mut turned = vectors.times_right(&rotation(n, options.seed));
    let scale = scale(&turned);
    for row in turned.values.chunks_exact_mut(n) {
        row.iter_mut().for_each(|value| *value *= scale);
        shorten(row, limit);
    }
    let means = Means::new(&turned, rows, categories);
    let mut placed = Placed {
        embeddings: Vec::with_capacity(categories.len() * n),
        n_category_centroid: 0,
        n_global_mean: 0,
        scale: scale as f32,
    };
    let streams = Streams::new(options.seed, "logs/embed/rare");
    let mut own = turned.rows().zip(rows).peekable();
    for (item, category) in categories.iter().enumerate() {
        if let Some((row, _)) = own.next_if(|(_, row)| **row == item) {
            placed.embeddings.extend(row.iter().map(|&value| value as f32));
        } else if let Some(centroid) = category.and_then(|category| means.categories.get(&category)) {
            placed.n_category_centroid += 1;
            placed.embeddings.extend(centroid.iter().map(|&value| value as f32));
        } else {
            placed.n_global_mean += 1;
            let direction = Tall::random(1, n, &mut streams.at(item as u64, 0));
            let norm = length(&direction.values).max(f64::MIN_POSITIVE);
            let mut near: Vec<f64> =
                means.global.iter().zip(&direction.values).map(|(mean, d)| mean + TINY * d / norm).collect();
            shorten(&mut near, limit);
            placed.embeddings.extend(near.iter().map(|&value| value as f32));
        }
    }
    placed
}

/// A random orthogonal `[n, n]`.
fn rotation(n: usize, seed: u64) -> Mat<f64> {
    let mut rng = Streams::new(seed, "logs/embed/rotation").sequential();
    let random = Tall { width: n, values: (0..n * n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let turned = random.orthonormal();
    Mat::from_fn(n, n, |i, j| turned.values[i * n + j])
}

/// Brings the median length to the typical one.
fn scale(vectors: &Tall) -> f64 {
    let mut lengths: Vec<f64> = vectors.rows().map(length).filter(|&length| length > 0.0).collect();
    lengths.sort_by(f64::total_cmp);
    lengths.get(lengths.len() / 2).map_or(1.0, |median| TYPICAL_LENGTH / median)
}

/// Shortens a vector to the box, keeping its direction.
fn shorten(vector: &mut [f64], limit: f64) {
    let largest = vector.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest > limit {
        vector.iter_mut().for_each(|value| *value *= limit / largest);
    }
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Mean embeddings of those that have one.
struct Means {
    /// Centroids long enough to have a direction.
    categories: BTreeMap<u32, Vec<f64>>,
    global: Vec<f64>,
}

impl Means {
    fn new(embeddings: &Tall, rows: &[usize], categories: &[Option<u32>]) -> Self {
        let n = embeddings.width;
        let mut sums: BTreeMap<u32, (f64, Vec<f64>)> = BTreeMap::new();
        let mut global = (0.0, vec![0.0; n]);
        let add = |sum: &mut (f64, Vec<f64>), embedding: &[f64]| {
            sum.0 += 1.0;
            sum.1.iter_mut().zip(embedding).for_each(|(sum, value)| *sum += value);
        };
        for (embedding, &row) in embeddings.rows().zip(rows) {
            add(&mut global, embedding);
            if let Some(category) = categories[row] {
                add(sums.entry(category).or_insert_with(|| (0.0, vec![0.0; n])), embedding);
            }
        }
        let mean =
            |(count, sum): (f64, Vec<f64>)| -> Vec<f64> { sum.into_iter().map(|sum| sum / count).collect() };
        let categories = sums
            .into_iter()
            .map(|(category, sum)| (category, mean(sum)))
            .filter(|(_, mean)| length(mean) > 1e-6)
            .collect();
        Self { categories, global: mean(global) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { n_dims: 8, ..Options::default() }
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (length(a) * length(b))
    }

    #[test]
    fn the_box_holds_all_and_angles_are_kept() {
        let mut vectors = Tall::random(50, 8, &mut Streams::new(2, "test").sequential());
        for (k, row) in vectors.values.chunks_exact_mut(8).enumerate() {
            row[0] *= 20.0; // a leading direction, as PPMI has
            row.iter_mut().for_each(|value| *value *= 1.0 + k as f64);
        }
        let rows: Vec<usize> = (0..50).collect();
        let placed = place(&vectors, &rows, &[None; 50], &options());
        assert!(placed.embeddings.iter().all(|value| value.abs() < 1.94));
        let embeddings: Vec<Vec<f64>> = placed
            .embeddings
            .chunks_exact(8)
            .map(|row| row.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let before: Vec<&[f64]> = vectors.rows().collect();
        for (i, j) in (0..2500).map(|k| (k / 50, k % 50)) {
            let (old, new) = (cosine(before[i], before[j]), cosine(&embeddings[i], &embeddings[j]));
            assert!((old - new).abs() < 1e-5, "{i} {j}: {old} {new}");
        }
    }

    #[test]
    fn rare_items_stand_at_their_category_or_near_the_mean_and_are_never_zero() {
        let vectors = Tall { width: 8, values: [[1.0; 8], [-1.0; 8]].concat() };
        let categories = [Some(4), Some(4), Some(9), None, None, Some(5), Some(5)];
        let placed = place(&vectors, &[0, 5], &categories, &options());
        let row = |item: usize| &placed.embeddings[item * 8..][..8];
        assert_eq!(row(1), row(0), "the centroid of one");
        assert_eq!(row(6), row(5));
        assert_eq!((placed.n_category_centroid, placed.n_global_mean), (2, 3));
        assert_ne!(row(3), row(4), "told apart");
        let lengths = (0..7).map(|item| row(item).iter().map(|x| x * x).sum::<f32>());
        assert!(lengths.into_iter().all(|length| length > 0.0));
    }
}
