//! What a choice among a whole catalogue costs, and how often the index finds the best item (D28).
//!
//! `cargo bench -p agent --bench item_search [-- ITEMS ...]`; n = 50, one thread, 10,000 to 1,000,000 items. Half
//! of the directions lie 50 degrees off an item, which is what a trained actor asks for, the others anywhere.

#[path = "../tests/clustered/mod.rs"]
mod clustered;

use std::{collections::HashSet, time::Instant};

use agent::{Mapping, MappingScratch, item_search};
use clustered::{N, directions, items, whole};
use common::{ItemId, RecallSet, config::ItemSearch, seed::Streams};

const QUERIES: usize = 2_000;

/// Of these one is asked for, or these many, as where a critic chooses among the nearest (`model.rescored_items`).
const NEAREST: usize = 200;

/// Microseconds of each direction.
fn us(begun: Instant, directions: &[f32]) -> f64 {
    1e6 * begun.elapsed().as_secs_f64() / (directions.len() / N) as f64
}

/// The [`NEAREST`] items of each direction, and microseconds to find them.
fn nearest(mapping: &Mapping, directions: &[f32], recall: &RecallSet) -> (Vec<ItemId>, f64) {
    let (mut scratch, mut nearest) = (MappingScratch::default(), Vec::new());
    let mut all = Vec::with_capacity(NEAREST * directions.len() / N);
    let begun = Instant::now();
    for direction in directions.chunks_exact(N) {
        mapping.nearest(direction, recall, NEAREST, &mut scratch, &mut nearest);
        all.extend_from_slice(&nearest);
    }
    let us = us(begun, directions);
    assert_eq!(all.len(), NEAREST * directions.len() / N);
    (all, us)
}

/// The items chosen, and microseconds a choice.
fn choose(mapping: &Mapping, directions: &[f32], recall: &RecallSet) -> (Vec<Option<ItemId>>, f64) {
    let mut scratch = MappingScratch::default();
    let mut choose = |direction| mapping.choose_one(direction, recall, &mut scratch);
    // The first one looks the index up.
    choose(&directions[..N]);
    let begun = Instant::now();
    let chosen: Vec<_> = directions.chunks_exact(N).map(choose).collect();
    (chosen, us(begun, directions))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too, without the flag.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let mut sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000, 250_000, 1_000_000];
    }
    println!("{} items or somewhat more are looked at", item_search::LOOKED_AT);
    println!("             one, us          200 nearest, us   recall@1         recall@200       index built");
    println!("items        exact   index    exact   index     near / anywhere  near / anywhere  in s, MB");
    for n_items in sizes {
        let mut rng = Streams::new(1, "item_search").sequential();
        let items = items(n_items, &mut rng);
        let (recall, directions) = (whole(&items), directions(&items, QUERIES, &mut rng));
        let begun = Instant::now();
        let index = item_search::index(&items);
        let built = begun.elapsed().as_secs_f64();
        let exact = Mapping::new(items.clone());
        let (best, exact_us) = choose(&exact, &directions, &recall);
        let approximate = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
        let (found, index_us) = choose(&approximate, &directions, &recall);
        let (all_nearest, exact_many_us) = nearest(&exact, &directions, &recall);
        let (found_nearest, index_many_us) = nearest(&approximate, &directions, &recall);
        // Of directions towards items, then of the others.
        let recall_at_1 = [0, 1].map(|kind| {
            let same = (kind..QUERIES).step_by(2).filter(|&k| best[k] == found[k]).count();
            2.0 * same as f64 / QUERIES as f64
        });
        let recall_at_many = [0, 1].map(|kind| {
            let of = |nearest: &[ItemId], k: usize| nearest[k * NEAREST..][..NEAREST].to_vec();
            let same = |k: usize| {
                let found: HashSet<ItemId> = of(&found_nearest, k).into_iter().collect();
                of(&all_nearest, k).iter().filter(|item| found.contains(item)).count()
            };
            2.0 * (kind..QUERIES).step_by(2).map(same).sum::<usize>() as f64 / (QUERIES * NEAREST) as f64
        });
        println!(
            "{n_items:<12} {exact_us:<7.0} {index_us:<8.0} {exact_many_us:<7.0} {index_many_us:<9.0} {:.3} / {:.3}    {:.3} / {:.3}    {built:.1}, {}",
            recall_at_1[0],
            recall_at_1[1],
            recall_at_many[0],
            recall_at_many[1],
            index.bytes() / 1_000_000
        );
    }
}
