//! Mapping the actions of the targets of a low-level minibatch of `best`, into all items and by the index, on one thread.

use std::sync::Arc;

use common::{ItemTable, config::ItemSearch, seed::Streams};
use kernels::Level;
use learner::engine::native::mapping::{Mapping, Scratch};

use crate::{
    clustered::{N, directions, items},
    machine::{median, seconds},
};

/// Rows of the minibatch.
const ROWS: usize = 512;
const SIZES: [usize; 4] = [10_000, 100_000, 250_000, 1_000_000];

/// Milliseconds to map the actions `[ROWS, n]`, and what they become.
fn map(items: &Arc<ItemTable>, actions: &[f32], search: ItemSearch) -> (f64, Vec<f32>) {
    let mapping = Mapping::new(items, search);
    let (mut scratch, mut mapped) = (Scratch::default(), Vec::new());
    let mut once = || {
        mapped = actions.to_vec();
        1e3 * seconds(|| mapping.map(Level::best(), &mut mapped, &mut scratch))
    };
    // The first one grows the working memory.
    once();
    (median((0..5).map(|_| once()).collect()), mapped)
}

/// Prints a table.
pub(crate) fn measure() {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header([
        "items",
        "all compared, ms",
        "index, ms",
        "the same item, near / anywhere",
    ]);
    for n_items in SIZES {
        let mut rng = Streams::new(1, "bench/mapping").sequential();
        let items = items(n_items, &mut rng);
        let actions = directions(&items, ROWS, &mut rng);
        let [(all_ms, all), (index_ms, found)] =
            [ItemSearch::Exact, ItemSearch::Approximate].map(|search| map(&items, &actions, search));
        let row = |of: &[f32], k: usize| of[k * N..][..N].to_vec();
        let agreed = |kind: usize| {
            let same = (kind..ROWS).step_by(2).filter(|&k| row(&all, k) == row(&found, k)).count();
            2.0 * same as f64 / ROWS as f64
        };
        table.add_row([
            n_items.to_string(),
            format!("{all_ms:.1}"),
            format!("{index_ms:.1}"),
            format!("{:.3} / {:.3}", agreed(0), agreed(1)),
        ]);
    }
    println!("targets of {ROWS} rows, mapped\n{table}");
}
