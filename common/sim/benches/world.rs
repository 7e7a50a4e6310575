//! Steps a second of ShopWorld, and what starting a session costs. `cargo bench -p sim`.

use std::sync::{Arc, LazyLock};

use common::{Feedback, ItemId, transition::Ending};
use divan::{Bencher, counter::ItemsCount};
use sim::{Catalogue, Environment, Outcome, Reference, ReferencePolicy, ShopWorld, ShopWorldSettings};

const N_SLOTS: usize = 256;

static CATALOGUE: LazyLock<Arc<Catalogue>> =
    LazyLock::new(|| Arc::new(Catalogue::new(0, 0.5).expect("the default catalogue can be built")));

fn world() -> ShopWorld {
    let settings = ShopWorldSettings { n_slots: N_SLOTS, ..ShopWorldSettings::default() };
    ShopWorld::new(CATALOGUE.clone(), settings).expect("the default settings are valid")
}

fn main() {
    divan::main();
}

/// 50 steps of 256 sessions with items chosen beforehand: an iteration is 12,800 steps.
#[divan::bench]
fn step(bencher: Bencher) {
    let start = world();
    let actions: Vec<Vec<ItemId>> = (0..50)
        .map(|step| {
            let choose = |recall: &common::RecallSet| {
                recall.candidates()[recall.nth_left(step * 19).expect("1,000 candidates, 20 shown")]
            };
            start.recall().iter().map(choose).collect()
        })
        .collect();
    let outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; N_SLOTS];
    bencher
        .counter(ItemsCount::new(50 * N_SLOTS))
        .with_inputs(|| (start.clone(), outcomes.clone()))
        .bench_local_values(|(mut world, mut outcomes)| {
            for actions in &actions {
                world.step(actions, &mut outcomes).expect("the actions are candidates");
            }
            (world, outcomes)
        });
}

/// A session begun: user, 1,000 candidates of 10,000, 20 warm-up steps.
#[divan::bench]
fn begin(bencher: Bencher) {
    let mut world = world();
    let mut session = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        session += 1;
        world.begin(0, session);
    });
}

/// What references cost to choose for 256 sessions: an iteration is 256 choices.
#[divan::bench(args = [Reference::Random, Reference::Popularity, Reference::Logging, Reference::Lookahead])]
fn choose(bencher: Bencher, reference: &Reference) {
    let world = world();
    let mut policy = ReferencePolicy::new(*reference, 0);
    let mut actions = vec![ItemId::PADDING; N_SLOTS];
    bencher.counter(ItemsCount::new(N_SLOTS)).bench_local(|| {
        policy.choose(&world, &mut actions).expect("ShopWorld knows its truth");
    });
}
