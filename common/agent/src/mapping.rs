//! Action mapping (Eq 9). In: a direction `[n]` and a session's recall set; out: the candidate left to show whose
//! embedding has the largest cosine with it, ties to the lowest id.
//!
//! The cosine is taken as the dot product with the item's unit embedding: the direction's own length is the same for
//! all candidates. Candidates stand by ascending id, so the first of equals is the lowest id. A direction without
//! direction (zero, or with a NaN or an infinity) makes every candidate equal: the lowest id that is left wins.
//!
//! Each session's candidates are read row by row from a table that all sessions share. Where few of many are asked for, they are
//! first compared in 8-bit codes, a cache line an item ([`CodedTable`]): what cannot be among the nearest is left out, and the
//! few that are left are compared exactly, so that the choice is that of comparing all. Measured with 1,000 candidates of 10,000
//! items, n = 50, AVX-512 with VNNI: 1.9 us a session instead of 5.2. A matrix product over the whole catalogue followed by a
//! gather takes 10 us, and loses more as the catalogue grows.
//!
//! Where the candidates are a whole catalogue of more than 100,000 items, they are not all compared ([`item_search`], D28).

use std::sync::{Arc, OnceLock};

use common::{ItemId, ItemTable, RecallSet, config::ItemSearch};
use kernels::{CodedScratch, CodedTable, Found, InvertedFile, Level, search};

use crate::{
    Error,
    item_search::{self, is_approximate},
    per_table::PerTable,
    scratch::sized,
};

/// Candidates for each item that is looked for from which on codes pay.
const LEAST_CODED: usize = 64;
/// Largest table of codes that is made, in bytes.
const MAX_CODED_BYTES: usize = 64 << 20;

/// Up to so many nearest candidates are looked for one after the other; more are selected and sorted.
const ONE_BY_ONE: usize = 16;

static CODED: PerTable<CodedTable> = PerTable::new();

/// Eq 9 over an item table. Shared between threads.
#[derive(Clone, Debug)]
pub struct Mapping {
    items: Arc<ItemTable>,
    level: Level,
    search: ItemSearch,
    /// The codes of the items, once they were needed.
    coded: OnceLock<Arc<CodedTable>>,
    /// Their index, once it was needed.
    index: OnceLock<Arc<InvertedFile>>,
}

/// Working memory of a thread.
#[derive(Clone, Debug, Default)]
pub struct MappingScratch {
    /// `[|I|]`
    scores: Vec<f32>,
    coded: CodedScratch,
    /// Candidates that can be the nearest.
    contenders: Vec<ItemId>,
    /// Keys of candidates, see [`search::key`].
    keys: Vec<u64>,
    found: Found,
    /// Zeros: what was shown is not among the contenders.
    shown: Vec<u64>,
}

/// Candidates with their scores and which of them were shown.
struct Scored<'a> {
    candidates: &'a [ItemId],
    scores: &'a mut [f32],
    shown: &'a [u64],
    keys: &'a mut Vec<u64>,
}

impl Scored<'_> {
    /// Takes the best that is left out of the choice: the largest score, ties to the first.
    fn take(&mut self, level: Level) -> Option<ItemId> {
        // Eq 9. Shown candidates are -inf, never a product with a mask: every cosine may be negative.
        let position = search::argmax_masked(level, self.scores, self.shown)?;
        self.scores[position] = f32::NEG_INFINITY;
        Some(self.candidates[position])
    }

    /// Takes the k best, the best first.
    fn take_many(&mut self, k: usize, each: &mut impl FnMut(ItemId)) {
        let is_left = |i: usize| self.shown[i / 64] >> (i % 64) & 1 == 0;
        self.keys.clear();
        let left = self.scores.iter().enumerate().filter(|(i, score)| is_left(*i) && !score.is_nan());
        self.keys.extend(left.map(|(i, &score)| search::key(score, i)));
        if k < self.keys.len() {
            self.keys.select_nth_unstable(k);
            self.keys.truncate(k);
        }
        self.keys.sort_unstable();
        self.keys.iter().for_each(|&key| each(self.candidates[search::position(key)]));
    }
}

impl Mapping {
    /// The mapping into a table, which compares all candidates.
    pub fn new(items: Arc<ItemTable>) -> Self {
        let (coded, index) = (OnceLock::new(), OnceLock::new());
        Self { items, level: Level::best(), search: ItemSearch::Exact, coded, index }
    }

    /// The same mapping, which looks for the nearest item in this way.
    pub fn with_search(mut self, search: ItemSearch) -> Self {
        self.search = search;
        self
    }

    /// The same mapping on other instructions.
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Maps directions `[E, n]` to items `[E]`, each among its session's candidates that are left.
    ///
    /// # Errors
    /// [`Error::NoCandidate`] with the row of a session that has shown everything.
    pub fn choose(
        &self,
        directions: &[f32],
        recall: &[RecallSet],
        scratch: &mut MappingScratch,
        items: &mut [ItemId],
    ) -> Result<(), Error> {
        let n = self.items.n_dims();
        assert_eq!(directions.len(), recall.len() * n, "directions are [{}, {n}]", recall.len());
        assert_eq!(items.len(), recall.len(), "one item a session");
        for (row, direction) in directions.chunks_exact(n).enumerate() {
            items[row] =
                self.choose_one(direction, &recall[row], scratch).ok_or(Error::NoCandidate { row })?;
        }
        Ok(())
    }

    /// Maps one direction `[n]`; `None` if no candidate is left.
    ///
    /// # Panics
    /// If a candidate is no item of the table.
    pub fn choose_one(
        &self,
        direction: &[f32],
        recall: &RecallSet,
        scratch: &mut MappingScratch,
    ) -> Option<ItemId> {
        self.best(direction, recall, 1, scratch, |_| ())
    }

    /// The k candidates left whose cosines with a direction `[n]` are the largest, the largest first, ties by the lowest
    /// id; all that are left if they are fewer. `nearest` is overwritten. A direction without direction has one: the
    /// lowest id.
    ///
    /// # Panics
    /// If a candidate is no item of the table.
    pub fn nearest(
        &self,
        direction: &[f32],
        recall: &RecallSet,
        k: usize,
        scratch: &mut MappingScratch,
        nearest: &mut Vec<ItemId>,
    ) {
        nearest.clear();
        if k > 0 {
            self.best(direction, recall, k, scratch, |item| nearest.push(item));
        }
    }

    /// Tells `each` of the k best, the best first, and returns the first of them.
    fn best(
        &self,
        direction: &[f32],
        recall: &RecallSet,
        k: usize,
        scratch: &mut MappingScratch,
        mut each: impl FnMut(ItemId),
    ) -> Option<ItemId> {
        assert_eq!(direction.len(), self.items.n_dims(), "a direction is [n]");
        let mut first = None;
        if direction.iter().all(|x| x.is_finite()) {
            // Nothing is near to no direction.
            let approximate = is_approximate(self.search, recall.candidates().len(), self.items.n_items())
                && direction.iter().any(|x| *x != 0.0);
            // Fewer than k left among those found: then all are compared.
            let mut scored = if approximate && self.find(direction, recall, k, scratch) {
                self.contenders(direction, scratch)
            } else if self.has_codes(recall, k) {
                self.leave_out(direction, recall, k, scratch);
                self.contenders(direction, scratch)
            } else {
                self.all(direction, recall, scratch)
            };
            let mut each = |item| {
                first.get_or_insert(item);
                each(item);
            };
            if k > ONE_BY_ONE {
                scored.take_many(k, &mut each);
            } else {
                (0..k).map_while(|_| scored.take(self.level)).for_each(each);
            }
        }
        first.or_else(|| {
            let lowest = recall.nth_left(0).map(|position| recall.candidates()[position])?;
            each(lowest);
            Some(lowest)
        })
    }

    /// All candidates with their lengths of the direction along them.
    fn all<'a>(
        &self,
        direction: &[f32],
        recall: &'a RecallSet,
        scratch: &'a mut MappingScratch,
    ) -> Scored<'a> {
        let candidates = recall.candidates();
        let MappingScratch { scores, keys, .. } = scratch;
        let scores = sized(scores, candidates.len());
        let rows = bytemuck::cast_slice(candidates);
        search::dot_rows(self.level, self.items.unit_embeddings(), rows, direction, scores);
        Scored { candidates, scores, shown: recall.shown_words(), keys }
    }

    fn has_codes(&self, recall: &RecallSet, k: usize) -> bool {
        recall.candidates().len() / LEAST_CODED >= k
            && CodedTable::bytes(self.items.n_items(), self.items.n_dims()) <= MAX_CODED_BYTES
    }

    /// Of all candidates left, the contenders are those that can be among the k nearest.
    fn leave_out(&self, direction: &[f32], recall: &RecallSet, k: usize, scratch: &mut MappingScratch) {
        let MappingScratch { coded, contenders, shown, .. } = scratch;
        let (items, candidates) = (&self.items, recall.candidates());
        let codes = self
            .coded
            .get_or_init(|| CODED.get(items, || CodedTable::new(items.unit_embeddings(), items.n_dims())));
        let rows = (bytemuck::cast_slice(candidates), recall.shown_words());
        let positions = codes.contenders(self.level, rows, direction, k, coded);
        contenders.clear();
        shown.clear();
        // However many they turn out to be, nothing is allocated later.
        contenders.reserve(candidates.len());
        shown.reserve(candidates.len().div_ceil(64));
        contenders.extend(positions.iter().map(|&position| candidates[position as usize]));
    }

    /// Looks up candidates near a direction: the contenders are those left that are among the nearest by their estimates. False
    /// if they are fewer than k.
    fn find(&self, direction: &[f32], recall: &RecallSet, k: usize, scratch: &mut MappingScratch) -> bool {
        let MappingScratch { found, contenders, .. } = scratch;
        let index = self.index.get_or_init(|| item_search::index(&self.items));
        let n_shown = recall.candidates().len() - recall.n_left();
        index.search(self.level, direction, (item_search::LOOKED_AT, k + n_shown), found);
        contenders.clear();
        // The candidates are the whole catalogue: an item's position is its row.
        let left = found.ids.iter().copied().filter(|&id| !recall.is_shown(id as usize));
        contenders.extend(left.map(ItemId));
        contenders.len() >= k
    }

    /// The contenders with their lengths of the direction along them.
    fn contenders<'a>(&self, direction: &[f32], scratch: &'a mut MappingScratch) -> Scored<'a> {
        let MappingScratch { scores, keys, contenders, shown, .. } = scratch;
        shown.resize(contenders.len().div_ceil(64), 0);
        let (rows, scores) = (bytemuck::cast_slice(contenders), sized(scores, contenders.len()));
        search::dot_rows(self.level, self.items.unit_embeddings(), rows, direction, scores);
        Scored { candidates: contenders, scores, shown, keys }
    }
}
