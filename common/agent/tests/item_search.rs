//! Eq 9 over an index of the catalogue (D28): how often it finds the best item, and what it never shows.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod clustered;

use agent::{Mapping, MappingScratch};
use clustered::{N, directions, items, whole};
use common::{ItemId, RecallSet, config::ItemSearch, seed::Streams};
use kernels::{Found, InvertedFile, Level};

#[test]
fn the_nearest_of_many_items_is_found_19_times_in_20() {
    let mut rng = Streams::new(3, "test").sequential();
    // More than a choice looks at.
    let items = items(250_000, &mut rng);
    let recall = whole(&items);
    let (exact, mut scratch) = (Mapping::new(items.clone()), MappingScratch::default());
    let approximate = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
    let n_queries = 300;
    let directions = directions(&items, n_queries, &mut rng);
    let mut agreed = [0; 2];
    for (k, direction) in directions.chunks_exact(N).enumerate() {
        let choose = |mapping: &Mapping, scratch: &mut MappingScratch| {
            mapping.choose_one(direction, &recall, scratch).unwrap()
        };
        let same = choose(&exact, &mut scratch) == choose(&approximate, &mut scratch);
        agreed[k % 2] += usize::from(same);
    }
    let recall_at_1 = agreed.map(|n| n as f64 / (n_queries / 2) as f64);
    println!("recall@1: {:.3} towards items, {:.3} anywhere", recall_at_1[0], recall_at_1[1]);
    assert!(recall_at_1.iter().sum::<f64>() / 2.0 >= 0.95, "{recall_at_1:?}");
    assert!(recall_at_1.iter().all(|share| *share >= 0.9), "{recall_at_1:?}");
}

#[test]
fn what_was_shown_is_not_found_again_and_the_rest_comes_in_order() {
    let mut rng = Streams::new(4, "test").sequential();
    let items = items(60_000, &mut rng);
    let mut recall = whole(&items);
    let mapping = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
    let (mut scratch, mut nearest) = (MappingScratch::default(), Vec::new());
    let direction = directions(&items, 1, &mut rng);
    mapping.nearest(&direction, &recall, 6, &mut scratch, &mut nearest);
    let mut shown = Vec::new();
    for _ in 0..6 {
        let item = mapping.choose_one(&direction, &recall, &mut scratch).unwrap();
        assert!(recall.show(item), "{item} was shown before");
        shown.push(item);
    }
    assert_eq!(shown, nearest);
}

#[test]
fn a_threads_memory_serves_mappings_into_tables_of_any_size() {
    let mut rng = Streams::new(9, "test").sequential();
    let mut scratch = MappingScratch::default();
    for n_items in [3_000, 1_000, 5_000] {
        let items = items(n_items, &mut rng);
        let mapping = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
        let last = ItemId(n_items as u32 - 1);
        let direction = items.unit_embedding(last).to_vec();
        assert_eq!(mapping.choose_one(&direction, &whole(&items), &mut scratch), Some(last));
    }
}

#[test]
fn items_far_away_are_shown_when_the_near_ones_are_used_up() {
    let mut rng = Streams::new(5, "test").sequential();
    let items = items(60_000, &mut rng);
    let mapping = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
    let (mut scratch, mut recall) = (MappingScratch::default(), whole(&items));
    let direction = directions(&items, 1, &mut rng);
    let opposite: Vec<f32> = direction.iter().map(|x| -x).collect();
    let last = Mapping::new(items.clone()).choose_one(&opposite, &recall, &mut scratch).unwrap();
    (0..60_000).map(ItemId).filter(|item| *item != last).for_each(|item| assert!(recall.show(item)));
    assert_eq!(mapping.choose_one(&direction, &recall, &mut scratch), Some(last));
    assert!(recall.show(last));
    assert_eq!(mapping.choose_one(&direction, &recall, &mut scratch), None);
}

#[test]
fn without_a_direction_the_lowest_id_that_is_left_is_shown() {
    let mut rng = Streams::new(8, "test").sequential();
    let items = items(150_000, &mut rng);
    let mapping = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
    let (mut scratch, mut recall) = (MappingScratch::default(), whole(&items));
    for item in 0..3 {
        assert_eq!(mapping.choose_one(&[0.0; N], &recall, &mut scratch), Some(ItemId(item)));
        assert!(recall.show(ItemId(item)));
    }
}

#[test]
fn candidates_that_are_not_the_whole_catalogue_are_all_compared() {
    let mut rng = Streams::new(6, "test").sequential();
    let items = items(60_000, &mut rng);
    let (exact, mut scratch) = (Mapping::new(items.clone()), MappingScratch::default());
    let approximate = Mapping::new(items.clone()).with_search(ItemSearch::Approximate);
    let recall = RecallSet::new((0..60_000).step_by(7).map(ItemId).collect());
    for direction in directions(&items, 20, &mut rng).chunks_exact(N) {
        let best = exact.choose_one(direction, &recall, &mut scratch);
        assert_eq!(approximate.choose_one(direction, &recall, &mut scratch), best);
    }
}

#[test]
fn an_index_is_the_same_whenever_it_is_built_and_all_its_rows_are_the_table() {
    let mut rng = Streams::new(7, "test").sequential();
    let (items, level) = (items(5_000, &mut rng), Level::best());
    let build = || InvertedFile::new(level, items.unit_embeddings(), N, |_, _| ());
    let (one, two) = (build(), build());
    let (mut found, mut again) = (Found::default(), Found::default());
    let (ids, mut scores): (Vec<u32>, _) = ((0..5_000).collect(), vec![0.0; 5_000]);
    for direction in directions(&items, 20, &mut rng).chunks_exact(N) {
        one.search(level, direction, (500, 10), &mut found);
        two.search(level, direction, (500, 10), &mut again);
        assert!((256..400).contains(&found.ids.len()) && found.ids.is_sorted(), "{:?}", found.ids);
        assert_eq!(found.ids, again.ids);
        // With all lists it is exact: as many as are asked for, and who is equal to the last of them.
        kernels::search::dot_rows(level, items.unit_embeddings(), &ids, direction, &mut scores);
        let mut descending = scores.clone();
        descending.sort_unstable_by(|a, b| b.total_cmp(a));
        one.search(level, direction, (usize::MAX, 10), &mut found);
        let nearest = ids.iter().filter(|&&id| scores[id as usize] >= descending[9]);
        assert!(nearest.clone().all(|id| found.ids.binary_search(id).is_ok()));
        one.search(level, direction, (usize::MAX, 5_000), &mut found);
        assert_eq!(found.ids, ids, "every row is in one list");
    }
}
