//! A catalogue in categories, as large as one likes, and directions to look for in it.

use std::sync::Arc;

use common::{ItemId, ItemTable, RecallSet, seed::Rng};
use rand::RngExt;
use rand_distr::StandardNormal;

/// Embedding size.
pub(crate) const N: usize = 50;
const CATEGORIES: usize = 24;

fn gaussian(rng: &mut Rng) -> Vec<f32> {
    (0..N).map(|_| rng.sample(StandardNormal)).collect()
}

/// ShopWorld's items: a category's mean and an own part of equal size, squashed into the box.
pub(crate) fn items(n_items: usize, rng: &mut Rng) -> Arc<ItemTable> {
    let means: Vec<Vec<f32>> = (0..CATEGORIES).map(|_| gaussian(rng)).collect();
    let mut embeddings = Vec::with_capacity(n_items * N);
    for _ in 0..n_items {
        let mean = &means[rng.random_range(0..CATEGORIES)];
        let squash = |mean: f32, own: f32| 1.9 * (0.53 * (mean + own)).tanh();
        embeddings.extend(mean.iter().map(|&mean| squash(mean, rng.sample(StandardNormal))));
    }
    let table = ItemTable::new(N, 1.94, embeddings, vec![0; n_items], vec![0.0; n_items]);
    Arc::new(table.expect("squashed embeddings lie in the box"))
}

/// Directions `[count, n]`: those with even numbers towards an item, 50 degrees off (what a trained actor asks for), the
/// others anywhere.
pub(crate) fn directions(items: &ItemTable, count: usize, rng: &mut Rng) -> Vec<f32> {
    let mut directions = Vec::with_capacity(count * N);
    for k in 0..count {
        let mut direction = gaussian(rng);
        if k % 2 == 0 {
            let item = ItemId(rng.random_range(0..items.n_items() as u32));
            direction.iter_mut().zip(items.unit_embedding(item)).for_each(|(x, e)| *x = 0.17 * *x + e);
        }
        directions.extend(direction);
    }
    directions
}

/// The whole catalogue as a recall set.
pub(crate) fn whole(items: &ItemTable) -> RecallSet {
    RecallSet::shared((0..items.n_items() as u32).map(ItemId).collect())
}
