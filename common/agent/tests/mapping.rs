//! Eq 9: masks, ties and agreement with plain f64.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use agent::{Error, Mapping, MappingScratch};
use common::{
    ItemId, ItemTable, RecallSet,
    seed::{Rng, Streams},
};
use kernels::Level;
use proptest::prelude::*;
use rand::{RngExt, seq::index};

const N_ITEMS: usize = 300;

fn uniform(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.9..1.9)).collect()
}

fn table(n: usize, embeddings: Vec<f32>) -> Arc<ItemTable> {
    let n_items = embeddings.len() / n;
    Arc::new(ItemTable::new(n, 1.94, embeddings, vec![0; n_items], vec![0.0; n_items]).unwrap())
}

fn recall(rng: &mut Rng, candidates: usize, shown: usize) -> RecallSet {
    let drawn = index::sample(rng, N_ITEMS, candidates);
    let mut recall = RecallSet::new(drawn.iter().map(|i| ItemId(i as u32)).collect());
    for i in index::sample(rng, candidates, shown) {
        let item = recall.candidates()[i];
        assert!(recall.show(item));
    }
    recall
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The candidates that are left, by id.
fn left(recall: &RecallSet) -> impl Iterator<Item = ItemId> {
    (0..recall.candidates().len()).filter(|&p| !recall.is_shown(p)).map(|p| recall.candidates()[p])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_choice_is_left_and_has_the_largest_cosine(
        n in 1usize..70, candidates in 1usize..200, shown in 0usize..200, scale in 1e-3f32..1.0, seed: u64,
    ) {
        let mut rng = Streams::new(seed, "test").sequential();
        let items = table(n, uniform(&mut rng, N_ITEMS * n));
        let recall = recall(&mut rng, candidates, shown.min(candidates - 1));
        let direction: Vec<f32> = uniform(&mut rng, n).iter().map(|x| x * scale).collect();
        let best = left(&recall).map(|i| cosine(&direction, items.embedding(i))).fold(-2.0, f64::max);
        for level in Level::available() {
            let mapping = Mapping::new(items.clone()).with_level(level);
            let mut scratch = MappingScratch::default();
            let chosen = mapping.choose_one(&direction, &recall, &mut scratch).unwrap();
            let mut nearest = Vec::new();
            mapping.nearest(&direction, &recall, 2, &mut scratch, &mut nearest);
            prop_assert_eq!(chosen, nearest[0], "from codes as from all");
            prop_assert!(left(&recall).any(|item| item == chosen), "{level}: {chosen} was shown or is no candidate");
            let found = cosine(&direction, items.embedding(chosen));
            prop_assert!(found > best - 1e-6, "{level}: {found}, best {best}");
        }
    }

    #[test]
    fn a_shown_item_never_wins_even_when_every_cosine_is_negative(n in 1usize..20, seed: u64) {
        let mut rng = Streams::new(seed, "test").sequential();
        let embeddings = uniform(&mut rng, N_ITEMS * n).iter().map(|x| x.abs() + 0.01).collect();
        let items = table(n, embeddings);
        let mut recall = recall(&mut rng, 40, 0);
        let direction = vec![-1.0; n];
        let mut scratch = MappingScratch::default();
        let mapping = Mapping::new(items.clone());
        for _ in 0..40 {
            let chosen = mapping.choose_one(&direction, &recall, &mut scratch).unwrap();
            prop_assert!(cosine(&direction, items.embedding(chosen)) < 0.0);
            prop_assert!(recall.show(chosen), "{chosen} was shown before");
        }
        prop_assert_eq!(mapping.choose_one(&direction, &recall, &mut scratch), None);
    }

    #[test]
    fn ties_go_to_the_lowest_id(n in 1usize..70, seed: u64) {
        let mut rng = Streams::new(seed, "test").sequential();
        // Every embedding stands in the table four times, 75 rows apart.
        let embeddings = uniform(&mut rng, N_ITEMS / 4 * n).repeat(4);
        let items = table(n, embeddings);
        let recall = recall(&mut rng, 150, 60);
        let direction = uniform(&mut rng, n);
        for level in Level::available() {
            let mapping = Mapping::new(items.clone()).with_level(level);
            let chosen = mapping.choose_one(&direction, &recall, &mut MappingScratch::default()).unwrap();
            let lowest = left(&recall).find(|item| items.embedding(*item) == items.embedding(chosen));
            prop_assert_eq!(Some(chosen), lowest);
            let mut nearest = Vec::new();
            mapping.nearest(&direction, &recall, 60, &mut MappingScratch::default(), &mut nearest);
            for pair in nearest.windows(2) {
                let is_tie = items.embedding(pair[0]) == items.embedding(pair[1]);
                prop_assert!(!is_tie || pair[0] < pair[1], "{level}: {pair:?}");
            }
        }
    }
}

#[test]
fn without_a_direction_the_lowest_id_that_is_left_wins() {
    let mut rng = Streams::new(1, "test").sequential();
    let items = table(5, uniform(&mut rng, N_ITEMS * 5));
    let recall = recall(&mut rng, 50, 20);
    let lowest = left(&recall).next();
    for bad in [0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut direction = vec![0.0; 5];
        direction[2] = bad;
        let mapping = Mapping::new(items.clone());
        assert_eq!(mapping.choose_one(&direction, &recall, &mut MappingScratch::default()), lowest, "{bad}");
    }
}

#[test]
fn of_equal_candidates_the_lowest_ids_are_the_nearest() {
    // Products with 0 have either sign, which must not order them.
    let mut rng = Streams::new(1, "test").sequential();
    let mapping = Mapping::new(table(5, uniform(&mut rng, N_ITEMS * 5)));
    let (recall, mut nearest) = (recall(&mut rng, 100, 20), Vec::new());
    for zero in [0.0, -0.0] {
        mapping.nearest(&[zero; 5], &recall, 30, &mut MappingScratch::default(), &mut nearest);
        assert_eq!(nearest, left(&recall).take(30).collect::<Vec<_>>());
    }
}

#[test]
fn the_nearest_of_many_are_those_of_comparing_all_the_nearest_first() {
    const CANDIDATES: usize = 7_000;
    let (n, mut rng) = (50, Streams::new(2, "test").sequential());
    let items = table(n, uniform(&mut rng, CANDIDATES * n));
    let mut recall = RecallSet::new((0..CANDIDATES as u32).map(ItemId).collect());
    (0..CANDIDATES as u32).step_by(3).for_each(|item| assert!(recall.show(ItemId(item))));
    let (mut scratch, mut nearest) = (MappingScratch::default(), Vec::new());
    for level in Level::available() {
        let mapping = Mapping::new(items.clone()).with_level(level);
        for k in [2, 100] {
            let direction = uniform(&mut rng, n);
            let mut expected: Vec<ItemId> = left(&recall).collect();
            let of = |item: &ItemId| cosine(&direction, items.embedding(*item));
            expected.sort_by(|a, b| of(b).total_cmp(&of(a)));
            mapping.nearest(&direction, &recall, k, &mut scratch, &mut nearest);
            assert_eq!(nearest, expected[..k], "{level}: {k}");
        }
    }
}

#[test]
fn a_session_that_has_shown_everything_is_named() {
    let mut rng = Streams::new(1, "test").sequential();
    let mapping = Mapping::new(table(2, uniform(&mut rng, N_ITEMS * 2)));
    let recall = [recall(&mut rng, 5, 4), recall(&mut rng, 5, 5)];
    let mut items = [ItemId::PADDING; 2];
    let result = mapping.choose(&[1.0; 4], &recall, &mut MappingScratch::default(), &mut items);
    assert!(matches!(result, Err(Error::NoCandidate { row: 1 })));
}
