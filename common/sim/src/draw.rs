//! Draws that worlds share: candidates without replacement, one of several by weight.

use std::sync::Arc;

use common::{ItemId, RecallSet, seed::Rng};
use rand::RngExt;

use crate::numbers::exp;

/// Draws the recall sets of a world's sessions.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    n_items: usize,
    n_drawn: usize,
    /// All items, where a session's candidates are the whole catalogue: one list for all sessions.
    whole: Option<Arc<[ItemId]>>,
}

impl Candidates {
    /// `n_drawn` candidates a session, at most `n_items`.
    pub(crate) fn new(n_items: usize, n_drawn: usize) -> Self {
        let whole = (n_drawn == n_items).then(|| (0..n_items as u32).map(ItemId).collect());
        Self { n_items, n_drawn, whole }
    }

    /// The recall set of a session, from a stream of its own.
    pub(crate) fn draw(&self, rng: &mut Rng) -> RecallSet {
        match &self.whole {
            Some(items) => RecallSet::shared(Arc::clone(items)),
            None => RecallSet::new(candidates(self.n_items, self.n_drawn, rng)),
        }
    }
}

/// `n_drawn` distinct items of `0..n_items`, every set equally likely, ascending. `n_drawn <= n_items`.
///
/// Floyd's algorithm over a bitmap: one draw a candidate, and the bitmap is read off in order.
fn candidates(n_items: usize, n_drawn: usize, rng: &mut Rng) -> Vec<ItemId> {
    assert!(n_drawn <= n_items, "{n_drawn} candidates of {n_items} items");
    let mut drawn = vec![0_u64; n_items.div_ceil(64)];
    let bit = |item: u32| (item as usize / 64, 1_u64 << (item % 64));
    for last in (n_items - n_drawn) as u32..n_items as u32 {
        let (word, mask) = bit(rng.random_range(0..=last));
        let (word, mask) = if drawn[word] & mask == 0 { (word, mask) } else { bit(last) };
        drawn[word] |= mask;
    }
    let mut items = Vec::with_capacity(n_drawn);
    for (word, mut bits) in drawn.into_iter().enumerate() {
        while bits != 0 {
            items.push(ItemId(word as u32 * 64 + bits.trailing_zeros()));
            bits &= bits - 1;
        }
    }
    items
}

/// Weights of a session's candidates, drawn from without replacement: those that were shown weigh nothing.
///
/// Sums are kept for blocks of 64, so that a draw looks at n/64 + 64 numbers. Equal to the argmax of
/// `ln weight + Gumbel` with fresh noise at every step (Gumbel-max), at a fraction of the draws.
#[derive(Clone, Debug, Default)]
pub(crate) struct WeightedDraw {
    weights: Vec<f32>,
    blocks: Vec<f32>,
}

/// Candidates in a block; also those of a word of [`RecallSet::shown_words`].
const BLOCK: usize = 64;

impl WeightedDraw {
    /// Starts over with weight `exp(score)` for each candidate that is left; scores in candidate order, finite.
    pub(crate) fn reset(&mut self, recall: &RecallSet, scores: &[f32]) {
        assert_eq!(scores.len(), recall.candidates().len(), "one score a candidate");
        // Shifted by the largest: the best candidate weighs 1, whatever the scale of the scores.
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.weights.resize(scores.len(), 0.0);
        for (weight, score) in self.weights.iter_mut().zip(scores) {
            *weight = exp(score - largest);
        }
        self.blocks.clear();
        self.blocks.extend(self.weights.chunks(BLOCK).map(sum));
        self.remove_shown(recall);
    }

    /// Takes out what has been shown since, of the session that these weights are of.
    pub(crate) fn remove_shown(&mut self, recall: &RecallSet) {
        for (block, &word) in recall.shown_words().iter().enumerate().filter(|(_, word)| **word != 0) {
            let end = self.weights.len().min((block + 1) * BLOCK);
            let weights = &mut self.weights[block * BLOCK..end];
            let mut rest = word;
            while rest != 0 {
                weights[rest.trailing_zeros() as usize] = 0.0;
                rest &= rest - 1;
            }
            self.blocks[block] = sum(weights);
        }
    }

    /// Position of a candidate, drawn by weight with one uniform `u` in [0, 1); `None` when none is left.
    pub(crate) fn draw(&self, u: f32) -> Option<usize> {
        let mut rest = u * sum(&self.blocks);
        // Rounding can leave a rest behind the last weight: then the last positive one is meant.
        let block = pick(&self.blocks, &mut rest)?;
        let inside =
            pick(&self.weights[block * BLOCK..][..BLOCK.min(self.weights.len() - block * BLOCK)], &mut rest)?;
        Some(block * BLOCK + inside)
    }

    /// The candidate at a position has been shown.
    pub(crate) fn remove(&mut self, position: usize) {
        self.weights[position] = 0.0;
        let block = position / BLOCK;
        self.blocks[block] = self.weights.chunks(BLOCK).nth(block).map_or(0.0, sum);
    }
}

fn sum(values: &[f32]) -> f32 {
    values.iter().sum()
}

/// The first index whose cumulated value exceeds `rest`, which is lowered to what remains inside it.
fn pick(values: &[f32], rest: &mut f32) -> Option<usize> {
    let mut last_positive = None;
    for (index, &value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        if *rest < value {
            return Some(index);
        }
        *rest -= value;
        last_positive = Some(index);
    }
    last_positive
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    #[test]
    fn candidates_are_distinct_ascending_and_equally_likely() {
        let mut rng = Streams::new(1, "test").sequential();
        let mut counts = [0_u32; 100];
        for _ in 0..2_000 {
            let items = candidates(100, 30, &mut rng);
            assert_eq!(items.len(), 30);
            assert!(items.windows(2).all(|pair| pair[0] < pair[1]));
            items.iter().for_each(|item| counts[item.row()] += 1);
        }
        // Each count is binomial (2000, .3): mean 600, standard deviation 20.5; 4.5 of them.
        assert!(counts.iter().all(|&count| count.abs_diff(600) < 93), "{counts:?}");
        assert_eq!(candidates(7, 7, &mut rng), (0..7).map(ItemId).collect::<Vec<_>>());
        assert!(candidates(7, 0, &mut rng).is_empty());
        let all = RecallSet::new((0..7).map(ItemId).collect());
        assert_eq!(Candidates::new(7, 7).draw(&mut rng), all);
    }

    proptest::proptest! {
        #[test]
        fn any_number_of_candidates_is_distinct_and_inside(n_items in 1_usize..300, share in 0.0..=1.0, seed: u64) {
            let n_drawn = (n_items as f64 * share) as usize;
            let items = candidates(n_items, n_drawn, &mut Streams::new(seed, "test").sequential());
            proptest::prop_assert_eq!(items.len(), n_drawn);
            proptest::prop_assert!(items.windows(2).all(|pair| pair[0] < pair[1]));
            proptest::prop_assert!(items.iter().all(|item| item.row() < n_items));
        }
    }

    #[test]
    fn a_draw_follows_the_weights_and_never_repeats() {
        let mut recall = RecallSet::new((0..130).map(ItemId).collect());
        for shown in (0..130).filter(|item| ![3, 70, 129].contains(item)) {
            assert!(recall.show(ItemId(shown)));
        }
        let mut scores = vec![0.5; 130];
        scores[3] = 1.0_f32.ln();
        scores[70] = 2.0_f32.ln();
        scores[129] = 5.0_f32.ln();
        let mut draw = WeightedDraw::default();
        draw.reset(&recall, &scores);
        let n = 8_000;
        let count = |draw: &WeightedDraw, position| {
            (0..n).filter(|k| draw.draw((*k as f32 + 0.5) / n as f32) == Some(position)).count()
        };
        assert_eq!([3, 70, 129].map(|position| count(&draw, position)), [1_000, 2_000, 5_000]);
        draw.remove(129);
        assert_eq!(count(&draw, 129), 0);
        draw.remove(3);
        draw.remove(70);
        assert_eq!(draw.draw(0.5), None);
    }
}
