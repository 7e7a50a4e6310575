//! What can be known of a user: the belief's references between those who know nothing and those who know all.

// Helpers of tests: a panic is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use common::{Feedback, ItemId, SessionId, seed::Streams, transition::Ending};
use sim::{Catalogue, Environment, Outcome, Reference, ReferencePolicy, ShopWorld, ShopWorldSettings};

static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::new(0, 0.5).unwrap()));

const LENGTH: usize = 20;

fn world(sessions: &[SessionId]) -> ShopWorld {
    let settings =
        ShopWorldSettings { n_slots: sessions.len(), session_length: LENGTH, ..ShopWorldSettings::default() };
    let mut world = ShopWorld::new(CATALOGUE.clone(), settings).unwrap();
    sessions.iter().enumerate().for_each(|(slot, &session)| world.begin(slot, session));
    world
}

/// Items shown `[steps, E]`, and the mean expected reward of a session.
fn play(world: &mut ShopWorld, policy: &mut ReferencePolicy, steps: usize) -> (Vec<Vec<ItemId>>, f32) {
    let mut actions = vec![ItemId::PADDING; world.n_slots()];
    let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; world.n_slots()];
    let (mut shown, mut sum) = (Vec::new(), 0.0);
    for _ in 0..steps {
        policy.choose(world, &mut actions).unwrap();
        for (slot, &item) in actions.iter().enumerate() {
            let (click, order) = world.truth().unwrap().probability(slot, item);
            sum += click * (1.0 + 4.0 * order);
        }
        world.step(&actions, &mut outcomes).unwrap();
        shown.push(actions.clone());
    }
    (shown, sum / actions.len() as f32)
}

#[test]
fn what_can_be_known_earns_more_than_the_logging_policy_and_less_than_reading_minds() {
    let sessions: Vec<SessionId> = (100..136).collect();
    let expected = |reference| play(&mut world(&sessions), &mut ReferencePolicy::new(reference, 1), LENGTH).1;
    let [logging, windows, belief, myopic] =
        [Reference::Logging, Reference::WindowBelief, Reference::Belief, Reference::Myopic].map(expected);
    // In so few steps the windows hold nearly all of a session.
    for knowing in [windows, belief] {
        assert!(
            1.2 * logging < knowing && knowing < 0.8 * myopic,
            "logging {logging}, windows {windows}, session {belief}, minds {myopic}"
        );
    }
    assert!(windows < 1.1 * belief, "windows {windows}, session {belief}");
}

#[test]
fn a_belief_is_about_its_session_whatever_is_beside_it_or_was_before() {
    let course = |sessions: &[SessionId], slot: usize| -> Vec<ItemId> {
        let mut policy = ReferencePolicy::new(Reference::Belief, 1);
        let mut world = world(sessions);
        // Another session in the slot first.
        world.begin(slot, 9);
        play(&mut world, &mut policy, 3);
        sessions.iter().enumerate().for_each(|(slot, &session)| world.begin(slot, session));
        play(&mut world, &mut policy, 12).0.into_iter().map(|items| items[slot]).collect()
    };
    let alone = course(&[77], 0);
    assert_eq!(course(&[5, 77, 6], 1), alone);
    assert_ne!(course(&[78], 0), alone);
}

#[test]
fn a_click_speaks_for_items_like_it_and_a_skip_against_them() {
    let world = world(&[1]);
    let items: Vec<ItemId> = (0..500).map(ItemId).collect();
    let clicked = ItemId(600);
    let likeness = |item: &ItemId| -> f32 {
        let [a, b] = [*item, clicked].map(|item| CATALOGUE.items().unit_embedding(item));
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    };
    // How much more is expected of the fifty most alike than of the fifty least.
    let gap = |feedback: Option<Feedback>| {
        let mut belief = world.truth().unwrap().belief(Streams::new(3, "test").sequential()).unwrap();
        if let Some(feedback) = feedback {
            belief.observe(clicked, feedback);
        }
        let mut rewards = Vec::new();
        belief.expected_rewards(&items, &mut rewards);
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|&a, &b| likeness(&items[a]).total_cmp(&likeness(&items[b])));
        let mean = |of: &[usize]| of.iter().map(|&i| rewards[i]).sum::<f32>() / of.len() as f32;
        mean(&order[450..]) - mean(&order[..50])
    };
    let (before, skip, click, order) =
        (gap(None), gap(Some(Feedback::Skip)), gap(Some(Feedback::Click)), gap(Some(Feedback::Order)));
    assert!(skip < before && before < click && before < order, "{skip} {before} {click} {order}");
}
