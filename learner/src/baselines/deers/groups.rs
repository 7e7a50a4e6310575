//! Which items compete. In: the catalogue; out: a group an item.
//!
//! The catalogue's categories, where it has more than one; else clusters of the embeddings' directions, by k-means on the
//! sphere.

use common::{ItemTable, seed::Streams};
use rand::seq::index;

/// Clusters of a catalogue without categories.
const CLUSTERS: usize = 32;
/// Rounds of k-means; groups need not be exact.
const ROUNDS: usize = 10;

/// `[V]` group of every item.
pub(super) fn groups(items: &ItemTable, seed: u64) -> Vec<u32> {
    let categories = items.categories();
    if categories.iter().any(|category| *category != categories[0]) {
        return categories.to_vec();
    }
    clusters(items, CLUSTERS.min(items.n_items()), seed)
}

/// `[V]` the nearest of k centres; these are the mean directions of their items, at first items drawn from the seed.
fn clusters(items: &ItemTable, k: usize, seed: u64) -> Vec<u32> {
    let n = items.n_dims();
    let mut rng = Streams::new(seed, "deers/clusters").sequential();
    let drawn = index::sample(&mut rng, items.n_items(), k);
    let rows = || items.unit_embeddings().chunks_exact(n);
    let mut centres: Vec<f32> =
        drawn.iter().flat_map(|item| &items.unit_embeddings()[item * n..][..n]).copied().collect();
    let mut nearest = Vec::new();
    for _ in 0..ROUNDS {
        let cosine = |row: &[f32], centre: &[f32]| row.iter().zip(centre).map(|(a, b)| a * b).sum::<f32>();
        nearest.clear();
        nearest.extend(rows().map(|row| {
            let cosines = centres.chunks_exact(n).map(|centre| cosine(row, centre)).enumerate();
            cosines.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(centre, _)| centre as u32)
        }));
        centres.fill(0.0);
        for (row, &centre) in rows().zip(&nearest) {
            centres[centre as usize * n..][..n].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for centre in centres.chunks_exact_mut(n) {
            let norm = centre.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            centre.iter_mut().for_each(|x| *x /= norm);
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(categories: Vec<u32>) -> ItemTable {
        // Two bundles of directions, around (1, 0) and around (0, 1).
        let row = |k: usize| {
            let small = 0.01 * k as f32;
            if k.is_multiple_of(2) { [1.0, small] } else { [small, 1.0] }
        };
        let embeddings = (0..10).flat_map(row).collect();
        ItemTable::new(2, 1.94, embeddings, categories, vec![0.0; 10]).unwrap()
    }

    #[test]
    fn categories_are_groups_where_there_are_any() {
        let categories: Vec<u32> = (0..10).collect();
        assert_eq!(groups(&items(categories.clone()), 0), categories);
    }

    #[test]
    fn items_of_one_direction_are_a_cluster() {
        for seed in 0..5 {
            let found = clusters(&items(vec![7; 10]), 2, seed);
            assert!((0..10).all(|k| found[k] == found[k % 2]), "{found:?}");
            assert_ne!(found[0], found[1]);
        }
    }
}
