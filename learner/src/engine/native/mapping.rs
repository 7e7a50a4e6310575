//! The action mapping for targets (Eq 9, `target_action = mapped`). In: virtual actions `[B, n]`; out: embeddings of items
//! `[B, n]`, in their place.
//!
//! A blocked product with the directions of all items, and the largest of each row as it goes. As in the torch engine a
//! target is mapped into the whole catalogue or into one set given for all (D9).

use common::{ItemId, ItemTable};
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, search};

use super::window::CHUNK;

/// Items of a block: their products with a chunk of rows stay in the L1 cache.
const BLOCK: usize = 256;

/// The items that targets are mapped to.
#[derive(Clone, Debug)]
pub struct Mapping {
    n: usize,
    /// `[K, n]` embeddings.
    embeddings: Vec<f32>,
    /// `[ceil(K / BLOCK), n, BLOCK]` their directions; the last block is as narrow as what is left.
    directions: Vec<f32>,
}

/// Working memory of a mapping; one a thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[CHUNK, BLOCK]`
    scores: Vec<f32>,
    /// `[CHUNK]` the largest product of each row so far, and whose it is.
    best: Vec<(f32, usize)>,
}

impl Mapping {
    /// A mapping to these items of the table.
    pub fn new(items: &ItemTable, chosen: &[ItemId]) -> Self {
        let n = items.n_dims();
        let mut directions = Vec::with_capacity(chosen.len() * n);
        for block in chosen.chunks(BLOCK) {
            for component in 0..n {
                directions.extend(block.iter().map(|&item| items.unit_embedding(item)[component]));
            }
        }
        Self {
            n,
            embeddings: chosen.iter().flat_map(|&item| items.embedding(item)).copied().collect(),
            directions,
        }
    }

    /// Puts the embedding of the item nearest in direction in the place of each action; ties go to the first item.
    pub fn map(&self, level: Level, actions: &mut [f32], scratch: &mut Scratch) {
        let (n, Scratch { scores, best }) = (self.n, scratch);
        scores.resize(CHUNK * BLOCK, 0.0);
        for actions in actions.chunks_mut(CHUNK * n) {
            let n_rows = actions.len() / n;
            best.clear();
            best.resize(n_rows, (f32::NEG_INFINITY, 0));
            for (block, directions) in self.directions.chunks(BLOCK * n).enumerate() {
                let width = directions.len() / n;
                let b = RowMajor { data: directions, stride: width };
                let c = RowMajorMut { data: scores, stride: width };
                // Eq 9: argmax cos(a^, a_i); the length of a^ changes no order within a row.
                gemm(level, (n_rows, width, n), Strided::rows(actions, n), b, c, Init::Zero);
                let unmasked = &[0; BLOCK / 64][..width.div_ceil(64)];
                for (scores, best) in scores.chunks_exact_mut(width).zip(best.iter_mut()) {
                    if let Some(i) = search::argmax_masked(level, scores, unmasked)
                        && scores[i] > best.0
                    {
                        *best = (scores[i], block * BLOCK + i);
                    }
                }
            }
            for (action, &(_, item)) in actions.chunks_exact_mut(n).zip(best.iter()) {
                action.copy_from_slice(&self.embeddings[item * n..][..n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(items: &[[f32; 2]], actions: &[[f32; 2]]) -> Vec<f32> {
        let n = items.len();
        let table = ItemTable::new(2, 5.0, items.concat(), vec![0; n], vec![0.0; n]).unwrap();
        let all: Vec<ItemId> = (0..n as u32).map(ItemId).collect();
        let mut out = actions.concat();
        Mapping::new(&table, &all).map(Level::best(), &mut out, &mut Scratch::default());
        out
    }

    #[test]
    fn an_action_becomes_the_item_of_the_nearest_direction() {
        let items = [[0.1, 0.1], [1.0, 0.0], [0.0, 1.5]];
        assert_eq!(mapped(&items, &[[1.0, 0.9], [1.9, 0.1], [-0.1, 0.3]]), items.concat());
        assert_eq!(mapped(&[[-1.0, -1.0], [-1.0, 0.0]], &[[0.1, 1.0]]), [-1.0, 0.0], "cosines below 0");
    }

    #[test]
    fn ties_go_to_the_lowest_id_across_blocks_too() {
        let mut items = vec![[0.0, 1.0]; 3 * BLOCK + 7];
        for (i, length) in [(BLOCK - 1, 2.0), (BLOCK, 1.0), (2 * BLOCK + 3, 0.5)] {
            items[i] = [length, 0.0];
        }
        assert_eq!(mapped(&items, &[[3.0, 0.0]; 50]), [[2.0, 0.0]; 50].concat());
    }
}
