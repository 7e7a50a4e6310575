//! States, weights, determinism and refusals of the torch engine.

// A test fails by panicking, in its helpers too.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod fixture;

use common::{Feedback, ItemId};
use fixture::{config, engine, high, items, low, part};
use learner::{
    checkpoint::{self, Array, Checkpoint, Data, tensors},
    engine::{Engine, torch::TorchEngine},
};

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let run = |seed: u64, torch_seed: i64| {
        tch::manual_seed(torch_seed);
        let mut config = config();
        config.seed = seed;
        let mut engine = engine(&config);
        for u in 0..3 {
            engine.update(&high(12, &config, u), &low(30, &config, u)).unwrap();
        }
        tensors::to_bytes(&engine.state())
    };
    assert!(run(5, 1) == run(5, 2));
    assert!(run(5, 1) != run(6, 1));
}

#[test]
fn weights_of_one_change_nothing_and_the_errors_of_a_weighted_batch_are_its_priorities() {
    let config = config();
    let (h, mut l) = (high(12, &config, 0), low(30, &config, 0));
    let mut plain = engine(&config);
    let expected = plain.update(&h, &l).unwrap().low.unwrap();
    assert!(expected.td_errors.is_empty());
    l.weights = vec![1.0; 30];
    let mut weighted = engine(&config);
    let found = weighted.update(&h, &l).unwrap().low.unwrap();
    assert_eq!(weighted.state(), plain.state());
    // The loss is the mean square of the errors: one head.
    let mean_square = found.td_errors.iter().map(|e| e * e).sum::<f64>() / 30.0;
    assert!((mean_square - expected.critic_loss[0]).abs() < 1e-5 * mean_square, "{mean_square}");
    l.weights = vec![0.0; 30];
    let before = weighted.state();
    weighted.update(&h, &l).unwrap();
    assert_ne!(weighted.state(), before, "the actors and the high level still move");
}

#[test]
fn a_resumed_engine_goes_on_as_the_uninterrupted_one() {
    let config = config();
    let folder = tempfile::tempdir().unwrap();
    let mut whole = engine(&config);
    for u in 0..3 {
        whole.update(&high(12, &config, u), &low(30, &config, u)).unwrap();
    }
    let saved = Checkpoint {
        step: 3,
        updates: whole.updates(),
        config_toml: config.to_toml(),
        tensors: whole.state(),
        ..Checkpoint::default()
    };
    checkpoint::write(folder.path(), &saved, 2, || Ok(())).unwrap();
    let path = checkpoint::latest(folder.path()).unwrap().unwrap();
    let mut other = config.clone();
    other.seed = 99;
    let mut resumed = engine(&other);
    resumed.load_state(&checkpoint::file::load(&path).unwrap().tensors).unwrap();
    assert_eq!(resumed.updates(), 3);
    for u in 3..6 {
        let (h, l) = (high(12, &config, u), low(30, &config, u));
        assert_eq!(whole.update(&h, &l).unwrap(), resumed.update(&h, &l).unwrap());
    }
    assert_eq!(whole.state(), resumed.state());
}

#[test]
fn a_state_that_does_not_fit_is_named_and_changes_nothing() {
    let config = config();
    let mut engine = engine(&config);
    let before = engine.state();
    let mut wider = config.clone();
    wider.model.head_width = 11;
    let cases = [
        (
            fixture::engine(&wider).state(),
            "tensor `high/critic/heads.0.state.weight` has shape [11, 8], expected [9, 8]",
        ),
        (
            before
                .iter()
                .filter(|(k, _)| *k != "low/actor/heads.0.bias")
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            "tensor `low/actor/heads.0.bias` is missing",
        ),
        (
            before.clone().into_iter().chain([("zebra".to_owned(), Array::counts(vec![1]))]).collect(),
            "tensor `zebra` is unknown: other goals, other settings or another version wrote it",
        ),
    ];
    for (mut state, message) in cases {
        if let Some(array) = state.get_mut("high/actor/heads.0.bias") {
            array.data = Data::F32(vec![1e9; 6]);
        }
        assert_eq!(engine.load_state(&state).unwrap_err().to_string(), message);
        assert_eq!(engine.state(), before);
    }
}

#[test]
fn weights_are_the_online_networks() {
    let engine = engine(&config());
    let actors = tensors::from_bytes(&engine.weights(false)).unwrap();
    assert!(actors.keys().all(|k| k.starts_with("high/actor/") || k.starts_with("low/actor/")));
    let all = tensors::from_bytes(&engine.weights(true)).unwrap();
    let state = engine.state();
    for network in ["high/actor/", "high/critic/", "low/actor/", "low/critic/"] {
        assert_eq!(part(&all, network), part(&state, network));
    }
    assert_eq!(part(&all, "high/actor/"), part(&actors, "high/actor/"));
    assert_eq!(part(&state, "low/target_critic/").len(), part(&state, "low/critic/").len());
}

#[test]
fn a_level_without_a_batch_stays_as_it_is() {
    let config = config();
    let mut engine = engine(&config);
    let before = engine.state();
    let metrics = engine.update(&Default::default(), &low(30, &config, 1)).unwrap();
    let after = engine.state();
    assert!(metrics.high.is_none() && metrics.low.is_some());
    assert_eq!(part(&before, "high/"), part(&after, "high/"));
    assert_eq!(part(&before, "adam/high/"), part(&after, "adam/high/"));
    assert_ne!(part(&before, "low/target_critic"), part(&after, "low/target_critic"));
}

#[test]
fn repeated_updates_fit_the_rewards() {
    let mut config = config();
    config.algorithm.discount = 0.0;
    let mut engine = engine(&config);
    let (h, l) = (high(12, &config, 1), low(30, &config, 1));
    let mut losses = (0..300).map(|_| {
        let metrics = engine.update(&h, &l).unwrap();
        [metrics.high.unwrap().critic_loss[2], metrics.low.unwrap().critic_loss[0]]
    });
    let first = losses.next().unwrap();
    let last = losses.last().unwrap();
    assert!(last[0] < 0.5 * first[0] && last[1] < 0.5 * first[1], "{first:?} to {last:?}");
}

#[test]
fn bad_batches_are_refused_by_column_and_row() {
    let config = config();
    let mut engine = engine(&config);
    let before = engine.state();
    let mut refusal =
        |change: &dyn Fn(&mut common::transition::HighBatch, &mut common::transition::LowBatch)| {
            let (mut h, mut l) = (high(4, &config, 1), low(4, &config, 1));
            change(&mut h, &mut l);
            engine.update(&h, &l).unwrap_err().to_string()
        };
    let cases = [
        (
            refusal(&|_, l| l.items[2] = ItemId(40)),
            "batch column `low.items`, row 2: item 40 is none of the 40 items",
        ),
        (
            refusal(&|h, _| h.next_windows[59] = ItemId(77)),
            "batch column `high.next_windows`, row 3: item 77 is none of the 40 items",
        ),
        (
            refusal(&|_, l| l.items[0] = ItemId::PADDING),
            "batch column `low.items`, row 0: item padding is none of the 40 items",
        ),
        (refusal(&|h, _| h.goals.truncate(71)), "batch column `high.goals` holds 71 values, expected 72"),
        (
            refusal(&|h, _| h.goals[20] = f32::NAN),
            "batch column `high.goals`, row 1: NaN is not a finite number",
        ),
        (
            refusal(&|_, l| l.positions[3] = 10),
            "batch column `low.positions`, row 3: 10 lies outside a period of 10 steps",
        ),
        (refusal(&|_, l| l.terminated[1] = 2), "batch column `low.terminated`, row 1: 2 is neither 0 nor 1"),
        (
            refusal(&|_, l| l.weights = vec![1.0, f32::NAN, 1.0, 1.0]),
            "batch column `low.weights`, row 1: NaN is no importance weight",
        ),
        (refusal(&|_, l| l.feedback[1] = 255), "batch column `low.feedback`, row 1: 255 is no feedback"),
        (refusal(&|h, _| h.feedback[13] = 3), "batch column `high.feedback`, row 1: 3 is no feedback"),
        (
            refusal(&|_, l| {
                l.windows[30..35].copy_from_slice(&[
                    ItemId(1),
                    ItemId::PADDING,
                    ItemId(2),
                    ItemId(3),
                    ItemId(4),
                ])
            }),
            "batch column `low.windows`, row 2: an item stands before padding; windows are padded on the left",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    assert_eq!(engine.state(), before, "a refused batch changes nothing");
    assert_eq!(Feedback::Order.code(), 2);
}

#[test]
fn a_diverged_update_is_an_error() {
    let config = config();
    let mut engine = engine(&config);
    let mut state = engine.state();
    for (_, array) in state.iter_mut().filter(|(name, _)| *name == "low/critic/heads.0.out.bias") {
        array.data = Data::F32(vec![f32::NAN]);
    }
    engine.load_state(&state).unwrap();
    let error = engine.update(&high(4, &config, 1), &low(4, &config, 1)).unwrap_err();
    assert_eq!(error.to_string(), "update 1 diverged: the low critic loss is NaN");
}

#[test]
fn items_of_another_size_are_refused() {
    let error = TorchEngine::new(&config(), &items(7)).unwrap_err();
    assert_eq!(error.to_string(), "items have 7 dimensions, but `model.n_dims` is 6");
}
