//! The critic's choice among the nearest items, against a plain sort and the critic asked one item at a time.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use agent::{
    Chooser, Error, Guidance, Mapping, MappingScratch, NO_GOAL, Network, Policy, Scratch, Sessions, Weights,
};
use common::{
    ItemId, ItemTable, RecallSet,
    config::{Config, CriticAction, GoalConditioning, ItemSearch, ModelConfig, Preset},
    history::N_WINDOWS,
    seed::{Rng, Streams},
};
use rand::RngExt;

const N_ITEMS: u32 = 240;
/// Every third.
const N_CANDIDATES: usize = 80;
const N: usize = 6;

fn model(rescored_items: usize) -> ModelConfig {
    ModelConfig {
        n_dims: N,
        window: 4,
        encoder_width: 8,
        head_width: 16,
        goal_conditioning: GoalConditioning::State,
        rescored_items,
        ..Config::preset(Preset::Tuned).model
    }
}

fn uniform(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.9..1.9)).collect()
}

fn items(rng: &mut Rng) -> Arc<ItemTable> {
    let n = N_ITEMS as usize;
    Arc::new(ItemTable::new(N, 1.94, uniform(rng, n * N), vec![0; n], vec![0.0; n]).unwrap())
}

/// Every third item, the first `shown` of them shown.
fn recall(shown: usize) -> RecallSet {
    let mut recall = RecallSet::new((0..N_ITEMS).step_by(3).map(ItemId).collect());
    (0..shown).for_each(|k| assert!(recall.show(ItemId(3 * k as u32))));
    recall
}

/// The candidates left by falling cosine, in f64.
fn by_cosine(items: &ItemTable, direction: &[f32], recall: &RecallSet) -> Vec<ItemId> {
    let cosine = |item: &ItemId| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let (embedding, squared): (_, f64) =
            (items.embedding(*item), dot(items.embedding(*item), items.embedding(*item)));
        let along: f64 = dot(embedding, direction);
        along / squared.sqrt()
    };
    let left = recall.candidates().iter().enumerate().filter(|(k, _)| !recall.is_shown(*k));
    let mut left: Vec<ItemId> = left.map(|(_, item)| *item).collect();
    left.sort_by(|a, b| cosine(b).total_cmp(&cosine(a)));
    left
}

#[test]
fn the_nearest_are_those_of_a_sort() {
    let mut rng = Streams::new(1, "test").sequential();
    let items = items(&mut rng);
    let (mapping, mut scratch, mut nearest) =
        (Mapping::new(items.clone()), MappingScratch::default(), Vec::new());
    for shown in [0, 5, 77, N_CANDIDATES] {
        let (recall, direction) = (recall(shown), uniform(&mut rng, N));
        let sorted = by_cosine(&items, &direction, &recall);
        for k in [0, 1, 4, 17, 100] {
            mapping.nearest(&direction, &recall, k, &mut scratch, &mut nearest);
            assert_eq!(nearest, sorted[..k.min(sorted.len())], "{k} of {}", sorted.len());
        }
        let first = mapping.choose_one(&direction, &recall, &mut scratch);
        assert_eq!(first, sorted.first().copied());
    }
}

#[test]
fn the_critic_chooses_among_the_nearest_and_among_no_others() {
    // Values are read off a table of projected items, unless hidden layers are normalised.
    for (norm, affinity) in [(false, 0), (true, 0), (false, 3), (true, 3)] {
        for action in [CriticAction::Raw, CriticAction::Direction] {
            let forms = |rescored_items| ModelConfig {
                head_norm: norm,
                critic_affinity: affinity,
                critic_action: action,
                ..model(rescored_items)
            };
            the_best_of_the_nearest_is_chosen(forms);
        }
    }
}

fn the_best_of_the_nearest_is_chosen(model: impl Fn(usize) -> ModelConfig) {
    let mut rng = Streams::new(2, "test").sequential();
    let items = items(&mut rng);
    let weights = Weights::random(&model(5), 3);
    let n_sessions = 40;
    let windows: Vec<ItemId> =
        (0..n_sessions * N_WINDOWS * 4).map(|_| ItemId(rng.random_range(0..N_ITEMS))).collect();
    let n_goals = model(5).n_goals;
    let (goals, actions) = (uniform(&mut rng, n_sessions * n_goals * N), uniform(&mut rng, n_sessions * N));
    let active: Vec<u8> = (0..n_sessions).map(|row| [0, 1, NO_GOAL][row % 3]).collect();
    let (sessions, guidance) = (Sessions::all(&windows), Guidance { goals: &goals, active: &active });
    let recall = recall(7);
    let mut chosen = Vec::new();
    for k in [0, 1, 5, 40] {
        let policy = Policy::new(&weights, &model(k), items.clone()).unwrap();
        let mut chooser = Chooser::new(items.clone(), ItemSearch::Exact);
        chooser.begin(&policy, sessions, guidance);
        for row in 0..n_sessions {
            let action = &actions[row * N..][..N];
            let found = chooser.choose(&policy, row, action, &recall).unwrap();
            let left = by_cosine(&items, action, &recall);
            let nearest = &left[..k.clamp(1, left.len())];
            let value = |item: &ItemId| {
                // Asked of this session alone, in a batch that holds all of them.
                let (selected, mut q) = ([row], vec![0.0; n_sessions]);
                let one = Sessions { windows: &windows, selected: Some(&selected) };
                let embeddings = items.embedding(*item).repeat(n_sessions);
                policy.low_q(one, guidance, &embeddings, &mut Scratch::default(), &mut q).unwrap();
                q[row]
            };
            let best = nearest.iter().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap();
            assert_eq!(found, *best, "k = {k}, row {row}");
            chosen.push(found);
        }
    }
    let [nearest, one, five, many] = [0, 1, 2, 3].map(|k| &chosen[k * n_sessions..(k + 1) * n_sessions]);
    assert_eq!(nearest, one, "one item is no choice");
    assert_ne!(nearest, five, "the critic never had another opinion");
    assert_ne!(five, many, "nothing further away was better");
}

#[test]
fn nothing_is_chosen_where_nothing_is_left_and_a_policy_without_a_critic_is_refused() {
    let mut rng = Streams::new(3, "test").sequential();
    let items = items(&mut rng);
    let mut weights = Weights::random(&model(5), 3);
    let policy = Policy::new(&weights, &model(5), items.clone()).unwrap();
    let (windows, recall) = (vec![ItemId::PADDING; N_WINDOWS * 4], recall(N_CANDIDATES));
    let goals = vec![0.0; model(5).n_goals * N];
    let mut chooser = Chooser::new(items.clone(), ItemSearch::Exact);
    chooser.begin(&policy, Sessions::all(&windows), Guidance { goals: &goals, active: &[0] });
    assert_eq!(chooser.choose(&policy, 0, &[1.0; N], &recall), None);
    weights.remove(Network::LowCritic);
    let refused = Policy::new(&weights, &model(5), items).unwrap_err();
    assert!(matches!(refused, Error::NoCritic(Network::LowCritic)));
}
