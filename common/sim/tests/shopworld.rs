//! ShopWorld as its users meet it: repeatable sessions, refused actions, endings, saved states.

// Helpers of tests: a panic is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use common::{Feedback, ItemId, RecallSet, history, transition::Ending};
use sim::{
    Catalogue, Environment, Error, Outcome, Reference, ReferencePolicy, ShopWorld, ShopWorldSettings, Variant,
};

static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::new(0, 0.5).unwrap()));

const NOTHING: Outcome = Outcome { feedback: Feedback::Skip, ending: Ending::None };

fn world(settings: ShopWorldSettings) -> ShopWorld {
    ShopWorld::new(CATALOGUE.clone(), settings).unwrap()
}

fn small() -> ShopWorldSettings {
    ShopWorldSettings { n_slots: 4, session_length: 30, candidates: 200, ..ShopWorldSettings::default() }
}

/// Plays the slots for up to `steps` steps with random items: (item, outcome) by step and slot.
fn play(world: &mut ShopWorld, steps: usize) -> Vec<Vec<(ItemId, Outcome)>> {
    let mut policy = ReferencePolicy::new(Reference::Random, 5);
    let mut actions = vec![ItemId::PADDING; world.n_slots()];
    let mut outcomes = vec![NOTHING; world.n_slots()];
    (0..steps)
        .map(|_| {
            policy.choose(world, &mut actions).unwrap();
            world.step(&actions, &mut outcomes).unwrap();
            actions.iter().copied().zip(outcomes.iter().copied()).collect()
        })
        .collect()
}

#[test]
fn a_session_is_the_same_in_any_slot_of_any_batch() {
    let session = 1_000_003;
    let course = |n_slots: usize, slot: usize| {
        let mut world = world(ShopWorldSettings { n_slots, ..small() });
        world.begin(slot, session);
        let start = world.windows()[slot * 30..][..30].to_vec();
        let steps: Vec<_> = play(&mut world, 30).into_iter().map(|step| step[slot]).collect();
        (start, steps, world.recall()[slot].clone(), world.windows()[slot * 30..][..30].to_vec())
    };
    let alone = course(1, 0);
    assert_eq!(course(4, 2), alone);
    assert_eq!(course(7, 6), alone);
    assert_ne!(course(1, 0).1, {
        let mut world = world(ShopWorldSettings { n_slots: 1, seed: 9, ..small() });
        world.begin(0, session);
        play(&mut world, 30).into_iter().map(|step| step[0]).collect::<Vec<_>>()
    });
}

#[test]
fn beginning_a_session_again_forgets_the_old_one() {
    let mut world = world(small());
    let first = play(&mut world, 10);
    (0..4).for_each(|slot| world.begin(slot, slot as u64));
    assert_eq!(play(&mut world, 10), first);
}

#[test]
fn warm_up_fills_the_windows_uses_candidates_and_counts_no_step() {
    let warm = world(ShopWorldSettings { n_slots: 50, ..small() });
    for (slot, recall) in warm.recall().iter().enumerate() {
        assert_eq!((recall.candidates().len(), recall.n_left()), (200, 180));
        assert_eq!(warm.step_number(slot), 0);
        let windows = &warm.windows()[slot * 30..][..30];
        let skipped = history::window(windows, history::Kind::Skipped);
        let clicked = history::length(history::window(windows, history::Kind::Clicked));
        assert_eq!(history::length(skipped), 10.min(20 - clicked), "slot {slot}");
        for &item in windows.iter().filter(|item| !item.is_padding()) {
            assert!(recall.is_shown(recall.position(item).unwrap()));
        }
    }
    let cold = world(ShopWorldSettings { warmup_steps: 0, ..small() });
    assert!(cold.windows().iter().all(|item| item.is_padding()));
    assert!(cold.recall().iter().all(|recall| recall.n_left() == 200));
}

#[test]
fn a_bad_action_is_refused_and_nothing_changes() {
    let mut world = world(small());
    play(&mut world, 3);
    let good: Vec<ItemId> =
        world.recall().iter().map(|recall| recall.candidates()[recall.nth_left(0).unwrap()]).collect();
    let stranger = (0..10_000).map(ItemId).find(|&item| world.recall()[2].position(item).is_none()).unwrap();
    let shown = {
        let recall = &world.recall()[3];
        let position = (0..200).find(|&position| recall.is_shown(position)).unwrap();
        recall.candidates()[position]
    };
    let before = world.save();
    let mut outcomes = [NOTHING; 4];
    for (slot, item) in [(2, stranger), (3, shown), (0, ItemId::PADDING), (1, ItemId(10_000))] {
        let mut actions = good.clone();
        actions[slot] = item;
        let error = world.step(&actions, &mut outcomes).unwrap_err();
        let Error::Action { slot: named, item: refused, .. } = error else { panic!("{error}") };
        assert_eq!((named, refused), (slot, item));
        assert_eq!(world.save(), before);
    }
    let error = world.step(&good[..3], &mut outcomes).unwrap_err();
    assert_eq!(error.to_string(), "got 3 actions or outcomes for 4 sessions");
    assert_eq!(world.save(), before);
    world.step(&good, &mut outcomes).unwrap();
    let again = world.step(&good, &mut outcomes).unwrap_err().to_string();
    assert!(again.starts_with("session 0 in slot 0: item"), "{again}");
}

#[test]
fn no_item_is_shown_twice() {
    let mut world =
        world(ShopWorldSettings { candidates: 50, session_length: 30, warmup_steps: 20, ..small() });
    let steps = play(&mut world, 30);
    for slot in 0..4 {
        let mut items: Vec<ItemId> = steps.iter().map(|step| step[slot].0).collect();
        items.sort_unstable();
        items.dedup();
        assert_eq!(items.len(), 30);
        assert_eq!(world.recall()[slot].n_left(), 0);
    }
}

#[test]
fn a_fixed_length_truncates_and_a_user_who_leaves_terminates() {
    let mut fixed = world(small());
    let steps = play(&mut fixed, 30);
    for (step, outcomes) in steps.iter().enumerate() {
        let expected = if step == 29 { Ending::Truncated } else { Ending::None };
        assert!(outcomes.iter().all(|(_, outcome)| outcome.ending == expected));
    }
    let error = fixed.step(&[ItemId(0); 4], &mut [NOTHING; 4]).unwrap_err();
    assert!(matches!(error, Error::Over { slot: 0, .. }), "{error}");

    let mut leaving = world(ShopWorldSettings { n_slots: 1, leave: true, ..small() });
    let mut endings = [0; 2];
    for session in 0..200 {
        leaving.begin(0, session);
        let ending = loop {
            match play(&mut leaving, 1)[0][0].1.ending {
                Ending::None => {}
                ending => break ending,
            }
        };
        let steps = leaving.step_number(0);
        assert!(steps == 30 || ending == Ending::Terminated);
        endings[usize::from(ending == Ending::Terminated)] += 1;
    }
    // At a hazard of 2.4%, 48% of the users stay for 30 steps.
    assert!(endings[0] > 60 && endings[1] > 60, "{endings:?} truncated, terminated");
}

#[test]
fn leaving_changes_no_feedback() {
    let mut staying = world(ShopWorldSettings { n_slots: 1, ..small() });
    let mut leaving = world(ShopWorldSettings { n_slots: 1, leave: true, ..small() });
    let steps = play(&mut staying, 30);
    for expected in steps {
        let found = play(&mut leaving, 1)[0][0];
        assert_eq!((found.0, found.1.feedback), (expected[0].0, expected[0].1.feedback));
        if found.1.ending != Ending::None {
            break;
        }
    }
}

#[test]
fn a_restored_world_goes_on_bit_for_bit() {
    let mut original = world(small());
    play(&mut original, 7);
    let saved = original.save();
    let expected = (play(&mut original, 20), original.save());
    let mut other = world(small());
    other.restore(&saved).unwrap();
    assert_eq!(other.save(), saved);
    assert_eq!((play(&mut other, 20), other.save()), expected);
}

#[test]
fn a_state_of_another_world_or_a_damaged_one_is_refused() {
    let mut world_a = world(small());
    let saved = world_a.save();
    for settings in [
        ShopWorldSettings { seed: 1, ..small() },
        ShopWorldSettings { n_slots: 3, ..small() },
        ShopWorldSettings { variant: Variant::Dense, ..small() },
        ShopWorldSettings { candidates: 100, ..small() },
        ShopWorldSettings { leave: true, ..small() },
    ] {
        let mut other = world(settings);
        let before = other.save();
        assert!(matches!(other.restore(&saved), Err(Error::State(_))));
        assert_eq!(other.save(), before);
    }
    for length in [0, 1, saved.len() / 2, saved.len() - 1] {
        assert!(matches!(world_a.restore(&saved[..length]), Err(Error::State(_))));
    }
    assert_eq!(world_a.save(), saved);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let message = |settings| ShopWorld::new(CATALOGUE.clone(), settings).unwrap_err().to_string();
    let few = message(ShopWorldSettings { candidates: 49, ..small() });
    assert!(
        few.starts_with("shopworld: 49 candidates: at least session_length + warmup_steps = 50"),
        "{few}"
    );
    assert!(message(ShopWorldSettings { candidates: 10_001, ..small() }).contains("at most the 10000 items"));
    assert!(message(ShopWorldSettings { n_slots: 0, ..small() }).contains("slots is 0"));
    assert!(
        message(ShopWorldSettings { variant: Variant::Rho0, ..small() })
            .contains("the catalogue has rho 0.5")
    );
}

#[test]
fn without_delay_the_past_moves_interests_only() {
    let course = |variant: Variant| {
        let mut world = world(ShopWorldSettings { variant, n_slots: 1, ..small() });
        let item = world.recall()[0].candidates()[world.recall()[0].nth_left(0).unwrap()];
        let mut orders = Vec::new();
        for _ in 0..25 {
            orders.push(world.truth().unwrap().probability(0, item).1);
            // The item watched is not shown: the last one left is.
            let recall = &world.recall()[0];
            let last = recall.candidates()[recall.nth_left(recall.n_left() - 1).unwrap()];
            world.step(&[last], &mut [NOTHING]).unwrap();
        }
        orders.dedup();
        orders.len()
    };
    assert_eq!(course(Variant::NoDelay), 1, "p_order depends on need and quality alone");
    assert_eq!(course(Variant::Default), 25, "p_order moves with trust and readiness");
}

#[test]
fn shuffled_orders_fall_on_every_item_alike() {
    let mut world =
        world(ShopWorldSettings { variant: Variant::ShuffledOrders, n_slots: 1, warmup_steps: 0, ..small() });
    let (mut p_click, mut p_order, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        world.truth().unwrap().probabilities(0, &mut p_click, &mut p_order);
        shares.extend(p_click.iter().zip(&p_order).map(|(click, order)| click * order));
        assert!(p_click.iter().chain(&p_order).all(|p| (0.0..=1.0).contains(p)));
        let (least, most) = p_click.iter().fold((1.0_f32, 0.0_f32), |(a, b), &p| (a.min(p), b.max(p)));
        assert!(most > 5.0 * least, "clicks go on as ever: {least} to {most}");
        play(&mut world, 1);
    }
    // Table 1: 9.81% clicks, 5.46% of them orders, of sessions with a click: all together have some 4% fewer.
    assert!(shares.iter().all(|share| (share / shares[0] - 1.0).abs() < 1e-5));
    assert!((shares[0] / (0.0981 * 0.0546) - 0.96).abs() < 0.02, "{}", shares[0]);
}

#[test]
fn the_truth_of_one_item_is_that_of_all() {
    for variant in [Variant::Default, Variant::ShuffledOrders] {
        the_truth_of_one_item_is_that_of_all_in(variant);
    }
}

fn the_truth_of_one_item_is_that_of_all_in(variant: Variant) {
    let mut world = world(ShopWorldSettings { variant, ..small() });
    play(&mut world, 5);
    let truth = world.truth().unwrap();
    let (mut p_click, mut p_order) = (Vec::new(), vec![7.0; 999]);
    for (slot, recall) in world.recall().iter().enumerate() {
        truth.probabilities(slot, &mut p_click, &mut p_order);
        assert_eq!((p_click.len(), p_order.len()), (200, 200));
        for (position, &item) in recall.candidates().iter().enumerate() {
            assert_eq!((p_click[position], p_order[position]), truth.probability(slot, item));
        }
    }
}

#[test]
fn feedback_has_the_frequencies_the_truth_says() {
    for variant in [Variant::Default, Variant::ShuffledOrders] {
        feedback_has_the_frequencies_the_truth_says_in(variant);
    }
}

fn feedback_has_the_frequencies_the_truth_says_in(variant: Variant) {
    let mut world = world(ShopWorldSettings { variant, n_slots: 200, warmup_steps: 0, ..small() });
    let mut policy = ReferencePolicy::new(Reference::Myopic, 0);
    let mut actions = vec![ItemId::PADDING; 200];
    let mut outcomes = vec![NOTHING; 200];
    let (mut clicks, mut orders, mut click_variance, mut order_variance) = (0.0, 0.0, 0.0, 0.0);
    for _ in 0..30 {
        policy.choose(&world, &mut actions).unwrap();
        let truth: Vec<_> = actions
            .iter()
            .enumerate()
            .map(|(e, &item)| world.truth().unwrap().probability(e, item))
            .collect();
        world.step(&actions, &mut outcomes).unwrap();
        for (outcome, (p_click, p_order)) in outcomes.iter().zip(truth) {
            let (p_click, p_both) = (f64::from(p_click), f64::from(p_click * p_order));
            clicks += f64::from(u8::from(outcome.feedback.clicked())) - p_click;
            orders += f64::from(u8::from(outcome.feedback.ordered())) - p_both;
            click_variance += p_click * (1.0 - p_click);
            order_variance += p_both * (1.0 - p_both);
        }
    }
    assert!(clicks.abs() < 4.0 * f64::sqrt(click_variance), "{clicks} too many clicks");
    assert!(orders.abs() < 4.0 * f64::sqrt(order_variance), "{orders} too many orders");
}

/// The most popular candidate left of each slot, the first of equals.
fn most_popular(world: &ShopWorld) -> Vec<ItemId> {
    let of_slot = |(slot, recall): (usize, &RecallSet)| {
        let mut scores = Vec::new();
        assert!(world.truth().unwrap().popularity(slot, &mut scores));
        let left = (0..scores.len()).filter(|&position| !recall.is_shown(position));
        let best = left.rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        recall.candidates()[best.unwrap()]
    };
    world.recall().iter().enumerate().map(of_slot).collect()
}

#[test]
fn a_reference_that_was_asked_before_chooses_as_one_that_was_not() {
    // More steps than popularity has leaders; then the same sessions again, after others.
    let settings = ShopWorldSettings { session_length: 150, ..small() };
    let mut world = world(settings);
    let (mut actions, mut fresh) = (vec![ItemId::PADDING; 4], vec![ItemId::PADDING; 4]);
    let mut outcomes = vec![NOTHING; 4];
    for reference in [Reference::Popularity, Reference::Logging] {
        let mut policy = ReferencePolicy::new(reference, 1);
        let mut chooses_alike = |world: &ShopWorld, actions: &mut [ItemId]| {
            policy.choose(world, actions).unwrap();
            ReferencePolicy::new(reference, 1).choose(world, &mut fresh).unwrap();
            assert_eq!(
                actions,
                fresh,
                "{reference}, step {} of session {}",
                world.step_number(0),
                world.session(0)
            );
            if reference == Reference::Popularity {
                assert_eq!(actions, most_popular(world));
            }
        };
        for first_session in [0, 4, 0] {
            (0..4).for_each(|slot| world.begin(slot, first_session + slot as u64));
            for _ in 0..150 {
                chooses_alike(&world, &mut actions);
                world.step(&actions, &mut outcomes).unwrap();
            }
        }
        // Asked twice, not asked, asked about another course of the same session and its next step.
        (0..4).for_each(|slot| world.begin(slot, slot as u64));
        chooses_alike(&world, &mut actions);
        chooses_alike(&world, &mut actions);
        play(&mut world, 3);
        chooses_alike(&world, &mut actions);
        (0..4).for_each(|slot| world.begin(slot, slot as u64));
        play(&mut world, 4);
        chooses_alike(&world, &mut actions);
    }
}
