//! The index of a large catalogue. In: an item table; out: its unit embeddings grouped by direction
//! ([`InvertedFile`]), built when it is first needed and once a process for all threads that map into the table.
//!
//! A choice estimates the cosines of the items in the groups nearest to the virtual action, compares those with the largest
//! exactly, and takes the best that is left of them. How often that is the best of all (recall@1) and what it costs:
//! `cargo bench -p agent --bench item_search`.

use std::{sync::Arc, time::Instant};

use common::{ItemTable, config::ItemSearch};
use kernels::{InvertedFile, Level};

use crate::per_table::PerTable;

/// Items up to which [`ItemSearch::Auto`] compares all.
const EXACT_ITEMS: usize = 100_000;
/// Items that a choice looks at, or somewhat more, whatever the catalogue's size: with it the cost grows slowly, and recall
/// falls slowly.
pub const LOOKED_AT: usize = 131_072;

/// Whether a choice among `n_candidates` of a catalogue looks into the index. Candidates that are not the whole catalogue
/// are compared one by one: an index of all items would find few of them.
pub(crate) fn is_approximate(search: ItemSearch, n_candidates: usize, n_items: usize) -> bool {
    is_wanted(search, n_items) && n_candidates == n_items
}

/// Whether a choice among all items of a catalogue looks into the index.
pub fn is_wanted(search: ItemSearch, n_items: usize) -> bool {
    match search {
        ItemSearch::Auto => n_items > EXACT_ITEMS,
        ItemSearch::Exact => false,
        ItemSearch::Approximate => true,
    }
}

static INDEXES: PerTable<InvertedFile> = PerTable::new();

/// The index of a table. Whoever asks first builds it (9 s for a million items), the others wait. It is built on the best instructions
/// whatever it is searched on: which items share a group depends on rounding.
pub fn index(items: &Arc<ItemTable>) -> Arc<InvertedFile> {
    INDEXES.get(items, || {
        let (n_items, begun, mut told) = (items.n_items(), Instant::now(), 0);
        tracing::info!(items = n_items, "grouping the items by direction");
        let progress = |done: usize, total: usize| {
            let tenths = 10 * done / total.max(1);
            if tenths > told && tenths < 10 {
                told = tenths;
                tracing::info!(items = n_items, percent = 10 * tenths, "grouping the items by direction");
            }
        };
        let index = InvertedFile::new(Level::best(), items.unit_embeddings(), items.n_dims(), progress);
        let (seconds, mb) = (begun.elapsed().as_secs_f32(), index.bytes() / 1_000_000);
        tracing::info!(items = n_items, seconds, mb, "the items are grouped by direction");
        index
    })
}
