//! Vectors to embeddings: a place for every item, inside the box (-B, B)^n.
//!
//! In: vectors of the items that are met often enough; out: `[n_items, n]`, no row zero.
//! Only directions matter to the action mapping (Eq 9), so directions are kept exactly: the space is turned by a random
//! rotation, which spreads the few leading singular directions over all axes (the box would cut them off first), scaled so
//! that half the embeddings are shorter than [`TYPICAL_LENGTH`], and a row that still leaves the box is shortened.

use std::collections::BTreeMap;

use common::seed::{Rng, Streams};
use faer::Mat;
use rand::RngExt;

use super::{Options, tall::Tall};

/// Median length before rows that leave the box are shortened: ShopWorld's embeddings have 7.4.
const TYPICAL_LENGTH: f64 = 7.0;

/// Largest component as a share of B: inside, even after rounding.
const SHARE_OF_BOUND: f64 = 0.999;

/// Length below which a vector is rounding: its item's sessions touch no direction that was kept.
const LEAST_LENGTH: f64 = TYPICAL_LENGTH * 1e-3;

/// Length of the direction that tells apart items placed at one mean.
const TINY: f64 = 0.05;

/// Where every item is.
pub(super) struct Placed {
    /// `[n_items, n]`
    pub(super) embeddings: Vec<f32>,
    pub(super) n_embedded: u64,
    pub(super) n_category_centroid: u64,
    pub(super) n_global_mean: u64,
    /// Factor applied to all.
    pub(super) scale: f32,
}

/// What is known of the items beside their vectors.
pub(super) struct Known<'a> {
    /// Items of the vectors' rows, ascending.
    pub(super) rows: &'a [usize],
    /// `[n_items]`
    pub(super) categories: &'a [Option<u32>],
}

/// Places every item: by its own vector; else at the centroid of its category; else near the mean of all. Not near the items
/// it was met with: that would tell whoever predicts a session what else was clicked there.
pub(super) fn place(vectors: &Tall, known: &Known<'_>, options: &Options) -> Placed {
    let n = options.n_dims;
    let limit = f64::from(options.bound) * SHARE_OF_BOUND;
    let mut turned = vectors.times_right(&rotation(n, options.seed));
    let scale = scale(&turned);
    let mut own: Vec<Option<usize>> = vec![None; known.categories.len()];
    for (row, vector) in turned.values.chunks_exact_mut(n).enumerate() {
        vector.iter_mut().for_each(|value| *value *= scale);
        if length(vector) >= LEAST_LENGTH {
            own[known.rows[row]] = Some(row);
        }
        shorten(vector, limit);
    }
    let vector = |row: usize| &turned.values[row * n..][..n];
    let placed: Vec<(usize, &[f64])> =
        own.iter().enumerate().filter_map(|(item, row)| row.map(|row| (item, vector(row)))).collect();
    let means = Means::new(n, &placed, known.categories);
    let streams = Streams::new(options.seed, "logs/embed/rare");
    let mut result = Placed {
        embeddings: Vec::with_capacity(own.len() * n),
        n_embedded: 0,
        n_category_centroid: 0,
        n_global_mean: 0,
        scale: scale as f32,
    };
    for (item, category) in known.categories.iter().enumerate() {
        let embedding = if let Some(row) = own[item] {
            result.n_embedded += 1;
            vector(row).to_vec()
        } else if let Some(centroid) = category.and_then(|category| means.categories.get(&category)) {
            result.n_category_centroid += 1;
            centroid.clone()
        } else {
            result.n_global_mean += 1;
            near(&means.global, limit, &mut streams.at(item as u64, 0))
        };
        result.embeddings.extend(embedding.iter().map(|&value| value as f32));
    }
    result
}

/// A point beside a mean, so that items placed there can be told apart; never zero.
fn near(mean: &[f64], limit: f64, rng: &mut Rng) -> Vec<f64> {
    let direction = Tall::random(1, mean.len(), rng).values;
    let norm = length(&direction).max(f64::MIN_POSITIVE);
    let mut point: Vec<f64> = mean.iter().zip(&direction).map(|(mean, d)| mean + TINY * d / norm).collect();
    shorten(&mut point, limit);
    point
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

/// Mean of vectors `[n]`; zero of none.
fn mean<'a>(n: usize, vectors: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
    let mut sum = vec![0.0; n];
    let mut count = 0.0_f64;
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    sum.iter().map(|sum| sum / count.max(1.0)).collect()
}

/// Mean embeddings of the items that have one of their own.
struct Means {
    /// Centroids long enough to have a direction.
    categories: BTreeMap<u32, Vec<f64>>,
    global: Vec<f64>,
}

impl Means {
    fn new(n: usize, placed: &[(usize, &[f64])], categories: &[Option<u32>]) -> Self {
        let mut members: BTreeMap<u32, Vec<&[f64]>> = BTreeMap::new();
        for &(item, vector) in placed {
            if let Some(category) = categories[item] {
                members.entry(category).or_default().push(vector);
            }
        }
        let categories = members
            .into_iter()
            .map(|(category, vectors)| (category, mean(n, vectors.into_iter())))
            .filter(|(_, centroid)| length(centroid) >= LEAST_LENGTH)
            .collect();
        Self { categories, global: mean(n, placed.iter().map(|(_, vector)| *vector)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { n_dims: 8, ..Options::default() }
    }

    fn known<'a>(rows: &'a [usize], categories: &'a [Option<u32>]) -> Known<'a> {
        Known { rows, categories }
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
        let placed = place(&vectors, &known(&rows, &[None; 50]), &options());
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
        // Item 7's vector is rounding.
        let vectors = Tall { width: 8, values: [[1.0; 8], [-1.0; 8], [1e-14; 8]].concat() };
        let categories = [Some(4), Some(4), Some(9), None, None, Some(5), Some(5), Some(5)];
        let known = known(&[0, 5, 7], &categories);
        let placed = place(&vectors, &known, &options());
        let row = |item: usize| &placed.embeddings[item * 8..][..8];
        assert_eq!(row(1), row(0), "the centroid of one");
        assert_eq!((row(6), row(7)), (row(5), row(5)));
        let Placed { n_embedded, n_category_centroid, n_global_mean, .. } = placed;
        assert_eq!((n_embedded, n_category_centroid, n_global_mean), (2, 3, 3));
        assert_ne!(row(3), row(4), "told apart");
        let lengths = (0..8).map(|item| row(item).iter().map(|x| x * x).sum::<f32>());
        assert!(lengths.into_iter().all(|length| length > 0.0));
    }
}
