//! The reference policies earn in ShopWorld what the table of docs/environment.md says.
//!
//! The table comes from an independent implementation: 400 users, no warm-up, sessions of fixed length, b0 = -3.183 and
//! w0 = -3.317. Both catalogues are random draws; with equal constants, worlds of other seeds differ by a few percent
//! in their rates, for which 3% of the value are allowed on top of four standard errors of both samples.

use std::sync::{Arc, LazyLock};

use common::{Feedback, ItemId, transition::Ending};
use sim::{
    Catalogue, Environment, Outcome, Reference, ReferencePolicy, ShopWorld, ShopWorldSettings, Variant,
    shopworld::{Calibration, Dynamics},
};

/// Users behind the table.
const TABLE_USERS: f64 = 400.0;
/// Share of a value that two random catalogues may differ by.
const BETWEEN_CATALOGUES: f64 = 0.03;

static CATALOGUE: LazyLock<Arc<Catalogue>> =
    LazyLock::new(|| Arc::new(Catalogue::new(0, 0.5).expect("it can be built")));

/// Rewards of one session: clicks that are no orders, 5 an order.
type Rewards = [f64; 2];

fn play(reference: Reference, n_sessions: usize, length: usize, calibration: Calibration) -> Vec<Rewards> {
    let settings = ShopWorldSettings {
        n_slots: n_sessions,
        session_length: length,
        warmup_steps: 0,
        ..ShopWorldSettings::default()
    };
    let dynamics = Dynamics { calibration, ..Variant::Default.dynamics() };
    let mut world =
        ShopWorld::with_dynamics(CATALOGUE.clone(), settings, dynamics).expect("the settings are valid");
    let mut policy = ReferencePolicy::new(reference, 1);
    let mut actions = vec![ItemId::PADDING; n_sessions];
    let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_sessions];
    let mut rewards = vec![[0.0; 2]; n_sessions];
    for _ in 0..length {
        policy.choose(&world, &mut actions).expect("ShopWorld knows its truth");
        world.step(&actions, &mut outcomes).expect("a reference shows candidates");
        for (rewards, outcome) in rewards.iter_mut().zip(&outcomes) {
            rewards[usize::from(outcome.feedback.ordered())] += f64::from(outcome.feedback.reward());
        }
    }
    rewards
}

fn mean_and_variance(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, values.map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Checks (total, click, order) rewards of a policy.
fn check(reference: Reference, n_sessions: usize, length: usize, expected: [f64; 3]) {
    let calibration = Calibration { click_bias: -3.183, order_bias: -3.317, hazard: 0.0 };
    let rewards = play(reference, n_sessions, length, calibration);
    let parts: [fn(&Rewards) -> f64; 3] = [|r| r[0] + r[1], |r| r[0], |r| r[1]];
    for (part, expected) in parts.into_iter().zip(expected) {
        let (mean, variance) = mean_and_variance(rewards.iter().map(part));
        let error = (variance / n_sessions as f64 + variance / TABLE_USERS).sqrt();
        let allowed = 4.0 * error + BETWEEN_CATALOGUES * expected;
        let name = reference.name();
        assert!(
            (mean - expected).abs() < allowed,
            "{name}, {length} steps: {mean:.2}, the table has {expected} (+- {allowed:.2})"
        );
    }
}

#[test]
fn sessions_of_50_agree_with_the_table() {
    check(Reference::Random, 800, 50, [3.78, 2.88, 0.90]);
    check(Reference::Popularity, 800, 50, [6.42, 5.33, 1.09]);
    check(Reference::Logging, 800, 50, [5.90, 4.56, 1.34]);
    check(Reference::ClickGreedy, 500, 50, [15.45, 12.04, 3.41]);
    check(Reference::Myopic, 500, 50, [17.86, 11.29, 6.57]);
    check(Reference::OrderGreedy, 500, 50, [17.76, 7.26, 10.50]);
    check(Reference::Lookahead, 500, 50, [19.28, 9.56, 9.71]);
}

#[test]
fn sessions_of_200_agree_with_the_table() {
    check(Reference::Random, 400, 200, [14.95, 11.55, 3.40]);
    check(Reference::Logging, 400, 200, [21.92, 16.97, 4.95]);
    check(Reference::Popularity, 200, 200, [21.36, 17.71, 3.65]);
    check(Reference::ClickGreedy, 150, 200, [51.96, 40.07, 11.89]);
    check(Reference::Myopic, 150, 200, [56.80, 39.32, 17.48]);
    check(Reference::OrderGreedy, 150, 200, [54.28, 28.43, 25.85]);
    check(Reference::Lookahead, 150, 200, [61.36, 35.39, 25.98]);
}

#[test]
fn the_oracles_rank_as_they_should_under_the_calibrated_constants() {
    let total = |reference| {
        let rewards = play(reference, 300, 50, Variant::Default.calibration());
        rewards.iter().map(|r| r[0] + r[1]).sum::<f64>() / 300.0
    };
    let [random, popularity, myopic, lookahead] =
        [Reference::Random, Reference::Popularity, Reference::Myopic, Reference::Lookahead].map(total);
    assert!(random < popularity && popularity < myopic && myopic < lookahead);
}
