//! The action mapping for targets (Eq 9, `target_action = mapped`). In: virtual actions `[B, n]`; out: embeddings of items
//! `[B, n]`, in their place.
//!
//! Products with the directions of a block of items, and the largest of each row as it goes. As in the torch engine a
//! target is mapped into the whole catalogue or into one set given for all (D9). A large catalogue is looked up in the index that
//! rollouts use (D28), one row after the other.

use std::sync::Arc;

use agent::item_search::{self, LOOKED_AT};
use common::{ItemId, ItemTable, config::ItemSearch};
use kernels::{Found, Init, InvertedFile, Level, RowMajor, RowMajorMut, Strided, gemm, search};

use super::window::CHUNK;

/// Items that are compared at once: their products with a chunk of rows stay in the L1 cache.
const BLOCK: usize = 256;

/// The items that targets are mapped to.
#[derive(Clone, Debug)]
pub struct Mapping {
    items: Arc<ItemTable>,
    among: Among,
}

#[derive(Clone, Debug)]
enum Among {
    /// The items `[K]`, and their directions `[K, n]`: of each [`BLOCK`] of them `[n, width]`.
    Chosen(Vec<ItemId>, Vec<f32>),
    /// All, by their index.
    Index(Arc<InvertedFile>),
}

/// Working memory of a mapping; one a part.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[CHUNK, BLOCK]`, or of the items found.
    scores: Vec<f32>,
    /// `[CHUNK]` the largest product of each row so far, and whose it is of those chosen.
    best: Vec<(f32, usize)>,
    found: Found,
    /// Zeros: no item is masked.
    unmasked: Vec<u64>,
}

impl Mapping {
    /// A mapping to all items of the table, looked for in this way.
    pub fn new(items: &Arc<ItemTable>, search: ItemSearch) -> Self {
        if item_search::is_wanted(search, items.n_items()) {
            Self { items: Arc::clone(items), among: Among::Index(item_search::index(items)) }
        } else {
            Self::to_chosen(items, (0..items.n_items() as u32).map(ItemId).collect())
        }
    }

    /// A mapping to these items of the table, all of which are compared.
    pub fn to_chosen(items: &Arc<ItemTable>, chosen: Vec<ItemId>) -> Self {
        let mut directions = Vec::with_capacity(chosen.len() * items.n_dims());
        for block in chosen.chunks(BLOCK) {
            for component in 0..items.n_dims() {
                directions.extend(block.iter().map(|&item| items.unit_embedding(item)[component]));
            }
        }
        Self { items: Arc::clone(items), among: Among::Chosen(chosen, directions) }
    }

    /// Puts the embedding of the item nearest in direction in the place of each action; ties go to the first item. An action
    /// with a NaN is near to none, and stays.
    pub fn map(&self, level: Level, actions: &mut [f32], scratch: &mut Scratch) {
        let n = self.items.n_dims();
        match &self.among {
            Among::Chosen(chosen, directions) => {
                for actions in actions.chunks_mut(CHUNK * n) {
                    compare_all(level, directions, actions, n, scratch);
                    for (action, &(score, at)) in actions.chunks_exact_mut(n).zip(&scratch.best) {
                        if score > f32::NEG_INFINITY {
                            action.copy_from_slice(self.items.embedding(chosen[at]));
                        }
                    }
                }
            }
            Among::Index(index) => {
                for action in actions.chunks_exact_mut(n) {
                    if let Some(item) = self.look_up(level, index, action, scratch) {
                        action.copy_from_slice(self.items.embedding(item));
                    }
                }
            }
        }
    }

    /// The item nearest to an action by the index; the first for one without direction, as where all are compared.
    fn look_up(
        &self,
        level: Level,
        index: &InvertedFile,
        action: &[f32],
        scratch: &mut Scratch,
    ) -> Option<ItemId> {
        let Scratch { scores, found, unmasked, .. } = scratch;
        if action.iter().all(|x| *x == 0.0) {
            return Some(ItemId(0));
        }
        index.search(level, action, (LOOKED_AT, 1), found);
        scores.resize(found.ids.len(), 0.0);
        unmasked.resize(found.ids.len().div_ceil(64), 0);
        search::dot_rows(level, self.items.unit_embeddings(), &found.ids, action, scores);
        search::argmax_masked(level, scores, unmasked).map(|at| ItemId(found.ids[at]))
    }
}

/// Finds for each of at most [`CHUNK`] actions the largest product with the directions, [`BLOCK`] after block.
fn compare_all(level: Level, directions: &[f32], actions: &[f32], n: usize, scratch: &mut Scratch) {
    let Scratch { scores, best, unmasked, .. } = scratch;
    let n_rows = actions.len() / n;
    best.clear();
    best.resize(n_rows, (f32::NEG_INFINITY, 0));
    scores.resize(CHUNK * BLOCK, 0.0);
    unmasked.resize(BLOCK / 64, 0);
    for (block, directions) in directions.chunks(BLOCK * n).enumerate() {
        let width = directions.len() / n;
        let b = RowMajor { data: directions, stride: width };
        let c = RowMajorMut { data: scores, stride: width };
        // Eq 9: argmax cos(a^, a_i); the length of a^ changes no order within a row.
        gemm(level, (n_rows, width, n), Strided::rows(actions, n), b, c, Init::Zero);
        let unmasked = &unmasked[..width.div_ceil(64)];
        for (best, scores) in best.iter_mut().zip(scores.chunks_exact_mut(width)) {
            if let Some(i) = search::argmax_masked(level, scores, unmasked)
                && scores[i] > best.0
            {
                *best = (scores[i], block * BLOCK + i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n: usize, embeddings: Vec<f32>) -> Arc<ItemTable> {
        let n_items = embeddings.len() / n;
        Arc::new(ItemTable::new(n, 5.0, embeddings, vec![0; n_items], vec![0.0; n_items]).unwrap())
    }

    fn mapped(items: &Arc<ItemTable>, actions: &[f32], search: ItemSearch) -> Vec<f32> {
        let mut out = actions.to_vec();
        let mapping = Mapping::new(items, search);
        mapping.map(Level::best(), &mut out, &mut Scratch::default());
        out
    }

    const SEARCHES: [ItemSearch; 2] = [ItemSearch::Exact, ItemSearch::Approximate];

    #[test]
    fn an_action_becomes_the_item_of_the_nearest_direction() {
        let items = vec![0.1, 0.1, 1.0, 0.0, 0.0, 1.5];
        for search in SEARCHES {
            let actions = [1.0, 0.9, 1.9, 0.1, -0.1, 0.3];
            assert_eq!(mapped(&table(2, items.clone()), &actions, search), items);
            let lost = mapped(&table(2, items.clone()), &[f32::NAN, 1.0, 0.0, 2.0], search);
            assert!(lost[0].is_nan() && lost[1..] == [1.0, 0.0, 1.5], "{lost:?}");
            assert_eq!(mapped(&table(2, items.clone()), &[0.0, 0.0], search), [0.1, 0.1], "no direction");
            let below = table(2, vec![-1.0, -1.0, -1.0, 0.0]);
            assert_eq!(mapped(&below, &[0.1, 1.0], search), [-1.0, 0.0], "cosines below 0");
        }
    }

    #[test]
    fn ties_go_to_the_lowest_id_across_blocks_too() {
        let mut items = vec![[0.0, 1.0]; 3 * BLOCK + 7];
        for (i, length) in [(BLOCK - 1, 2.0), (BLOCK, 1.0), (2 * BLOCK + 3, 0.5)] {
            items[i] = [length, 0.0];
        }
        for search in SEARCHES {
            assert_eq!(
                mapped(&table(2, items.concat()), &[3.0, 0.0].repeat(50), search),
                [2.0, 0.0].repeat(50)
            );
        }
    }

    #[test]
    fn the_index_finds_most_of_the_nearest_of_many_and_no_other_than_by_comparing() {
        const N: usize = 6;
        let mut rng = common::seed::Streams::new(1, "test").sequential();
        let mut random = |n: usize| -> Vec<f32> {
            (0..n * N).map(|_| rand::RngExt::random_range(&mut rng, -1.0..1.0)).collect()
        };
        let (items, actions) = (table(N, random(3 * LOOKED_AT)), random(200));
        let [exact, near] = SEARCHES.map(|search| mapped(&items, &actions, search));
        let [first, rest] = [&actions[..70 * N], &actions[70 * N..]];
        let alone = [first, rest].map(|actions| mapped(&items, actions, ItemSearch::Approximate)).concat();
        assert_eq!(alone, near, "whatever else is mapped");
        let cosine = |k: usize, items: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let item = &items[k * N..][..N];
            dot(item, &actions[k * N..][..N]) / dot(item, item).sqrt()
        };
        let same = |k: &usize| exact[k * N..][..N] == near[k * N..][..N];
        let missed: Vec<usize> = (0..200).filter(|k| !same(k)).collect();
        assert!(missed.len() <= 10, "{} of 200", missed.len());
        assert!(missed.iter().all(|&k| cosine(k, &near) <= cosine(k, &exact) + 1e-6));
    }
}
