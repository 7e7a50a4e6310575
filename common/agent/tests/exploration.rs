//! Exploration: what it draws depends on the address only, stays in bounds and has the configured size.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use agent::{Address, Explorer, Mapping, MappingScratch, NoiseCounts, exploration::Turn};
use common::{ItemId, ItemTable, RecallSet, config::ExplorationConfig, seed::Streams};
use rand::RngExt;

const BOUND: f32 = 1.94;
const N: usize = 6;
const N_ITEMS: u32 = 200;

fn config(noise: f32, random_items: f32) -> ExplorationConfig {
    ExplorationConfig { goal_noise: noise, action_noise: noise, random_items, random_steps: 0 }
}

fn mapping() -> Mapping {
    let mut rng = Streams::new(1, "test").sequential();
    let n_items = N_ITEMS as usize;
    let embeddings = (0..n_items * N).map(|_| rng.random_range(-1.9..1.9)).collect();
    Mapping::new(Arc::new(
        ItemTable::new(N, BOUND, embeddings, vec![0; n_items], vec![0.0; n_items]).unwrap(),
    ))
}

fn addresses(n_sessions: u64, step: u64) -> Vec<Address> {
    (0..n_sessions).map(|session| Address { session, step }).collect()
}

/// Items for sessions that all point the same way.
fn choose(explorer: &Explorer, run_step: u64, addresses: &[Address]) -> (Vec<ItemId>, Vec<f32>, NoiseCounts) {
    let recall = vec![RecallSet::new((0..N_ITEMS).map(ItemId).collect()); addresses.len()];
    let mut actions = [0.5, -0.2, 0.1, 0.9, -1.0, 0.3].repeat(addresses.len());
    let mut items = vec![ItemId::PADDING; addresses.len()];
    let turn = Turn { run_step, addresses, recall: &recall };
    let (mapping, mut scratch) = (mapping(), MappingScratch::default());
    let map = |_, action: &[f32], recall: &RecallSet| mapping.choose_one(action, recall, &mut scratch);
    let counts = explorer.choose(turn, &mut actions, map, &mut items).unwrap();
    (items, actions, counts)
}

#[test]
fn draws_do_not_depend_on_the_batch() {
    let explorer = Explorer::new(&config(0.2, 0.3), BOUND, 7);
    let all = addresses(50, 3);
    let (items, actions, counts) = choose(&explorer, 0, &all);
    let mut sum = NoiseCounts::default();
    for (row, address) in all.iter().enumerate() {
        let (item, action, count) = choose(&explorer, 0, &[*address]);
        assert_eq!((item[0], &action[..]), (items[row], &actions[row * N..][..N]));
        sum += count;
    }
    assert_eq!(sum, counts);
}

#[test]
fn steps_seeds_and_purposes_draw_differently() {
    let perturbed = |explorer: &Explorer, step| {
        let (mut goal, mut action) = ([0.0; N], [0.0; N]);
        explorer.perturb_goals(Address { session: 4, step }, &mut goal);
        explorer.perturb_action(Address { session: 4, step }, &mut action);
        assert_ne!(goal, action);
        action
    };
    let explorer = Explorer::new(&config(0.2, 0.0), BOUND, 7);
    assert_ne!(perturbed(&explorer, 0), perturbed(&explorer, 1));
    assert_ne!(perturbed(&explorer, 0), perturbed(&Explorer::new(&config(0.2, 0.0), BOUND, 8), 0));
}

#[test]
fn noise_has_the_configured_size_and_stays_inside_the_bound() {
    let explorer = Explorer::new(&config(0.1, 0.0), BOUND, 7);
    let mut goals = vec![0.0f32; 20_000];
    explorer.perturb_goals(Address { session: 0, step: 0 }, &mut goals);
    let mean = goals.iter().sum::<f32>() / 20_000.0;
    let std = (goals.iter().map(|x| x * x).sum::<f32>() / 20_000.0).sqrt();
    assert!(mean.abs() < 0.01 && (std / (0.1 * BOUND) - 1.0).abs() < 0.03, "mean {mean}, std {std}");
    let wild = Explorer::new(&config(50.0, 0.0), BOUND, 7);
    wild.perturb_goals(Address { session: 0, step: 0 }, &mut goals);
    assert!(goals.iter().all(|x| x.abs() < BOUND));
}

#[test]
fn without_exploration_the_policy_acts_alone() {
    let explorer = Explorer::new(&config(0.0, 0.0), BOUND, 7);
    let (items, actions, counts) = choose(&explorer, 0, &addresses(100, 0));
    assert!(items.iter().all(|item| *item == items[0]));
    assert_eq!(actions[..N], [0.5, -0.2, 0.1, 0.9, -1.0, 0.3]);
    assert_eq!(counts, NoiseCounts { steps: 100, ..NoiseCounts::default() });
}

#[test]
fn random_items_are_as_frequent_as_configured_and_always_at_the_start() {
    let explorer = Explorer::new(&config(0.0, 0.25), BOUND, 7);
    let (_, _, counts) = choose(&explorer, 0, &addresses(4_000, 0));
    assert!((800..1_200).contains(&counts.random), "{counts:?}");
    let start = ExplorationConfig { random_steps: 1_000, ..config(0.0, 0.0) };
    let explorer = Explorer::new(&start, BOUND, 7);
    assert_eq!(choose(&explorer, 999, &addresses(10, 0)).2.random, 10);
    assert_eq!(choose(&explorer, 1_000, &addresses(10, 0)).2.random, 0);
}

#[test]
fn what_noise_changes_is_counted_on_one_step_in_64() {
    let counts = |noise| choose(&Explorer::new(&config(noise, 0.0), BOUND, 7), 0, &addresses(640, 5)).2;
    let (weak, strong) = (counts(1e-6), counts(1.0));
    assert_eq!((weak.sampled, weak.changed), (10, 0));
    assert!(strong.sampled == 10 && strong.changed > 5, "{strong:?}");
}
