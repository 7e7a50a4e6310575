//! The action mapping for targets (Eq 9, `target_action = mapped`). In: virtual actions `[B, n]`; out: embeddings of items
//! `[B, n]`, in their place.
//!
//! Products with the directions of a block of items, and the largest of each row as it goes. As in the torch engine a
//! target is mapped into the whole catalogue or into one set given for all (D9). In a large catalogue the blocks are the lists
//! of the index that rollouts look into, and a row is compared with those nearest to it (D28): all rows of a part that look
//! into a list do so together, so that it is read once.

use std::{ops::Range, sync::Arc};

use agent::item_search::{self, LEAST_COMPARED};
use common::{ItemId, ItemTable, config::ItemSearch};
use kernels::{Found, Init, InvertedFile, Level, RowMajor, RowMajorMut, Strided, gemm, search};

use super::window::{CHUNK, MOST_PARTS};

/// Items that are compared at once: their products with a chunk of rows stay in the L1 cache.
const BLOCK: usize = 256;

/// Items up to which [`ItemSearch::Auto`] compares all: as matrix products that costs less than looking lists up, for longer
/// than where one action is mapped at a time.
const EXACT_ITEMS: usize = 250_000;

/// The items that targets are mapped to.
#[derive(Clone, Debug)]
pub struct Mapping {
    items: Arc<ItemTable>,
    /// `[K]` block after block.
    chosen: Vec<ItemId>,
    /// `[K, n]` directions, of each block `[n, width]`.
    directions: Vec<f32>,
    /// Items from the start of each block to the next, in `chosen`.
    blocks: Vec<Range<usize>>,
    /// Where the blocks are its lists.
    index: Option<Arc<InvertedFile>>,
}

/// Working memory of a mapping; one a part.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[CHUNK, BLOCK]`
    scores: Vec<f32>,
    /// `[B]` the largest product of each row so far, and whose it is in `chosen`.
    best: Vec<(f32, usize)>,
    found: Found,
    /// (list, row) where a row looks into a list.
    looks: Vec<(u32, u32)>,
    /// `[CHUNK, n]` actions that look into the same list.
    actions: Vec<f32>,
}

impl Mapping {
    /// A mapping to all items of the table, looked for in this way.
    pub fn new(items: &Arc<ItemTable>, search: ItemSearch, level: Level) -> Self {
        if !item_search::is_wanted(search, items.n_items(), EXACT_ITEMS) {
            return Self::to_chosen(items, (0..items.n_items() as u32).map(ItemId).collect());
        }
        let index = item_search::index(items, level);
        let lists = || (0..index.n_lists()).map(|list| index.list(list));
        let chosen = lists().flatten().map(|&id| ItemId(id)).collect();
        let sizes = lists().map(<[_]>::len).collect();
        Self { index: Some(Arc::clone(&index)), ..Self::in_blocks(items, chosen, sizes) }
    }

    /// A mapping to these items of the table, all of which are compared.
    pub fn to_chosen(items: &Arc<ItemTable>, chosen: Vec<ItemId>) -> Self {
        let sizes = chosen.chunks(BLOCK).map(<[_]>::len).collect();
        Self::in_blocks(items, chosen, sizes)
    }

    fn in_blocks(items: &Arc<ItemTable>, chosen: Vec<ItemId>, sizes: Vec<usize>) -> Self {
        let mut end = 0;
        let block = |size| {
            end += size;
            end - size..end
        };
        let blocks: Vec<_> = sizes.into_iter().map(block).collect();
        let mut directions = Vec::with_capacity(chosen.len() * items.n_dims());
        for block in &blocks {
            for component in 0..items.n_dims() {
                let of_block = chosen[block.clone()].iter();
                directions.extend(of_block.map(|&item| items.unit_embedding(item)[component]));
            }
        }
        Self { items: Arc::clone(items), chosen, directions, blocks, index: None }
    }

    /// Parts that a batch is best shared out in: actions that look into the same list of the index share what is read of it.
    pub fn most_parts(&self) -> usize {
        if self.index.is_some() { 2 } else { MOST_PARTS }
    }

    /// Puts the embedding of the item nearest in direction in the place of each action; ties go to the first item. An action
    /// with a NaN is near to none, and stays.
    pub fn map(&self, level: Level, actions: &mut [f32], scratch: &mut Scratch) {
        let n = self.items.n_dims();
        scratch.scores.resize(CHUNK * BLOCK, 0.0);
        scratch.best.clear();
        scratch.best.resize(actions.len() / n, (f32::NEG_INFINITY, 0));
        match &self.index {
            Some(index) => self.compare_near(index, level, actions, scratch),
            None => self.compare_all(level, actions, scratch),
        }
        for (action, &(score, at)) in actions.chunks_exact_mut(n).zip(&scratch.best) {
            if score > f32::NEG_INFINITY {
                action.copy_from_slice(self.items.embedding(self.chosen[at]));
            }
        }
    }

    fn compare_all(&self, level: Level, actions: &[f32], scratch: &mut Scratch) {
        let Scratch { scores, best, .. } = scratch;
        let n = self.items.n_dims();
        for (actions, best) in actions.chunks(CHUNK * n).zip(best.chunks_mut(CHUNK)) {
            for block in &self.blocks {
                self.compare(level, actions, block.clone(), scores, |row, score, at| {
                    if score > best[row].0 {
                        best[row] = (score, at);
                    }
                });
            }
        }
    }

    fn compare_near(&self, index: &InvertedFile, level: Level, actions: &[f32], scratch: &mut Scratch) {
        let Scratch { scores, best, found, looks, actions: together } = scratch;
        let n = self.items.n_dims();
        looks.clear();
        for (row, action) in (0..).zip(actions.chunks_exact(n)) {
            let lists = index.nearest_lists(level, action, LEAST_COMPARED, found);
            looks.extend(lists.map(|list| (list as u32, row)));
        }
        looks.sort_unstable();
        for looks in looks.chunk_by(|a, b| a.0 == b.0) {
            let block = &self.blocks[looks[0].0 as usize];
            for looks in looks.chunks(CHUNK) {
                let of_rows = looks.iter().flat_map(|look| &actions[look.1 as usize * n..][..n]);
                together.clear();
                together.extend(of_rows);
                self.compare(level, together, block.clone(), scores, |row, score, at| {
                    let best = &mut best[looks[row].1 as usize];
                    // Lists come in no order of ids.
                    if score > best.0 || (score == best.0 && self.chosen[at] < self.chosen[best.1]) {
                        *best = (score, at);
                    }
                });
            }
        }
    }

    /// Compares at most [`CHUNK`] actions with the items of a block: tells `each` (row, product, place in `chosen`) of the
    /// largest in every [`BLOCK`] of them.
    fn compare(
        &self,
        level: Level,
        actions: &[f32],
        block: Range<usize>,
        scores: &mut [f32],
        mut each: impl FnMut(usize, f32, usize),
    ) {
        let n = self.items.n_dims();
        let (n_rows, stride) = (actions.len() / n, block.len());
        let directions = &self.directions[block.start * n..block.end * n];
        for start in (0..block.len()).step_by(BLOCK) {
            let width = BLOCK.min(block.len() - start);
            let b = RowMajor { data: &directions[start..], stride };
            let c = RowMajorMut { data: scores, stride: width };
            // Eq 9: argmax cos(a^, a_i); the length of a^ changes no order within a row.
            gemm(level, (n_rows, width, n), Strided::rows(actions, n), b, c, Init::Zero);
            let unmasked = &[0; BLOCK / 64][..width.div_ceil(64)];
            for (row, scores) in scores.chunks_exact_mut(width).take(n_rows).enumerate() {
                if let Some(i) = search::argmax_masked(level, scores, unmasked) {
                    each(row, scores[i], block.start + start + i);
                }
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
        let mapping = Mapping::new(items, search, Level::best());
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
        let (items, actions) = (table(N, random(3 * LEAST_COMPARED)), random(200));
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
