//! An actor's step allocates nothing once its working memory has grown. One test only: the count is the process's.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod counting;

use std::sync::Arc;

use agent::{Address, Chooser, Explorer, Guidance, Policy, Scratch, Sessions, exploration::Turn};
use common::{
    ItemId, ItemTable, RecallSet,
    config::{Config, Preset},
};
use counting::allocations;

/// Eq 9, then the critic's choice of a few and of many: one test, since the counter is the process's.
#[test]
fn a_warm_step_allocates_nothing() {
    for rescored_items in [0, 5, 20] {
        a_warm_step(rescored_items);
    }
}

fn a_warm_step(rescored_items: usize) {
    let mut config = Config::preset(Preset::Tuned);
    config.model.rescored_items = rescored_items;
    let (n, n_items, n_sessions) = (config.model.n_dims, 300, 20);
    let embeddings = (0..n_items * n).map(|i| ((i * 7919) % 3001) as f32 / 1600.0 - 0.93).collect();
    let items = ItemTable::new(n, 1.94, embeddings, vec![0; n_items], vec![0.0; n_items]).unwrap();
    let items = Arc::new(items);
    let policy = Policy::random(&config.model, items.clone(), 0).unwrap();
    let (mut chooser, explorer) =
        (Chooser::new(items, config.model.item_search), Explorer::new(&config.exploration, 1.94, 0));
    let windows: Vec<ItemId> =
        (0..n_sessions * 3 * config.model.window).map(|i| ItemId((i * 31 % n_items) as u32)).collect();
    let recall = vec![RecallSet::new((0..200).map(ItemId).collect()); n_sessions];
    let mut goals = vec![0.0; n_sessions * config.model.n_goals * n];
    let mut actions = vec![0.0; n_sessions * n];
    let mut chosen = vec![ItemId::PADDING; n_sessions];
    let mut scratch = Scratch::default();
    let addresses: Vec<Address> = (0..20).map(|session| Address { session, step: 0 }).collect();
    let mut step = |selected: &[usize]| {
        let starting = Sessions { windows: &windows, selected: Some(selected) };
        policy.goals(starting, &mut scratch, &mut goals);
        policy.virtual_actions(Sessions::all(&windows), Guidance::NONE, &mut scratch, &mut actions);
        let turn = Turn { run_step: 1_000_000, addresses: &addresses, recall: &recall };
        chooser.begin(&policy, Sessions::all(&windows), Guidance::NONE);
        let map = |row, action: &[f32], recall: &RecallSet| chooser.choose(&policy, row, action, recall);
        explorer.choose(turn, &mut actions, map, &mut chosen).unwrap();
    };
    // The projected item table is built after 300 item steps of a level.
    for _ in 0..30 {
        step(&[3, 4, 17]);
    }
    let before = allocations();
    for selected in [&[][..], &[0], &[1, 2]] {
        step(selected);
    }
    assert_eq!(allocations(), before);
}
