//! The learned simulator on random networks: against an independent computation, as a folder, as a world.

// Helpers of tests: a panic is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use common::{
    Feedback, ItemId, ItemTable, RecallSet,
    seed::{Rng, Streams},
    transition::Ending,
};
use rand::RngExt;
use sim::{
    Environment, Error, LearnedModel, LearnedSettings, LearnedWorld, Outcome, Reference, ReferencePolicy,
    learned::{self, LogStatistics, Noise, Scratch, Tensors, Values},
};

const N_ITEMS: usize = 60;
const N_DIMS: usize = 4;
const N_FEATURES: usize = 2;
const N_CATEGORIES: usize = 5;
const CATEGORY_DIMS: usize = 3;
const WIDTH: usize = 6;
const HIDDEN: usize = 7;
const WINDOW: usize = 3;
const N_MEMBERS: usize = 3;
const NOTHING: Outcome = Outcome { feedback: Feedback::Skip, ending: Ending::None };

fn uniform(rng: &mut Rng, n: usize, bound: f32) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-bound..bound)).collect()
}

fn items() -> Arc<ItemTable> {
    let mut rng = Streams::new(1, "test/items").sequential();
    let categories = (0..N_ITEMS).map(|item| (item % N_CATEGORIES) as u32).collect();
    let embeddings = uniform(&mut rng, N_ITEMS * N_DIMS, 1.9);
    Arc::new(ItemTable::new(N_DIMS, 1.94, embeddings, categories, vec![0.0; N_ITEMS]).unwrap())
}

fn tensors() -> Tensors {
    let mut rng = Streams::new(2, "test/model").sequential();
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize]| {
        let values = uniform(&mut rng, shape.iter().product(), 0.8);
        tensors.insert(name, shape, Values::F32(values)).unwrap();
    };
    add("features", &[N_ITEMS, N_FEATURES]);
    for k in 0..N_MEMBERS {
        for kind in ["skipped", "clicked", "ordered"] {
            add(&format!("member.{k}.encoder.{kind}.weight_ih"), &[3 * WIDTH, N_DIMS]);
            add(&format!("member.{k}.encoder.{kind}.weight_hh"), &[3 * WIDTH, WIDTH]);
            add(&format!("member.{k}.encoder.{kind}.bias_ih"), &[3 * WIDTH]);
            add(&format!("member.{k}.encoder.{kind}.bias_hh"), &[3 * WIDTH]);
        }
        add(&format!("member.{k}.state.weight"), &[HIDDEN, 3 * WIDTH]);
        add(&format!("member.{k}.state.bias"), &[HIDDEN]);
        add(&format!("member.{k}.item.weight"), &[HIDDEN, N_DIMS + N_FEATURES + CATEGORY_DIMS]);
        add(&format!("member.{k}.category.weight"), &[N_CATEGORIES, CATEGORY_DIMS]);
        add(&format!("member.{k}.output.weight"), &[3, HIDDEN]);
        add(&format!("member.{k}.output.bias"), &[3]);
    }
    tensors
}

/// Ten starts: one empty, the others with one to three items a window.
fn statistics() -> LogStatistics {
    let mut rng = Streams::new(3, "test/log").sequential();
    let mut windows = Vec::new();
    for context in 0..10 {
        for _ in 0..3 {
            let n_items = if context == 0 { 0 } else { rng.random_range(1..=WINDOW) };
            windows.extend(std::iter::repeat_n(ItemId::PADDING, WINDOW - n_items));
            windows.extend((0..n_items).map(|_| ItemId(rng.random_range(0..N_ITEMS as u32))));
        }
    }
    let impressions = (0..N_ITEMS).map(|item| (item * 10) as f32).collect();
    let clicks = (0..N_ITEMS).map(|item| ((item * 7) % N_ITEMS) as f32).collect();
    LogStatistics::new(&items(), WINDOW, windows, impressions, clicks, [0.8, 0.15, 0.05]).unwrap()
}

fn world(settings: LearnedSettings) -> LearnedWorld {
    let model = Arc::new(LearnedModel::new(items(), &tensors()).unwrap());
    LearnedWorld::new(model, Arc::new(statistics()), settings).unwrap()
}

fn small() -> LearnedSettings {
    LearnedSettings { n_slots: 5, session_length: 12, candidates: 30, ..LearnedSettings::default() }
}

/// The module's equations in double precision, one row, straight from the tensors.
struct Plain<'a> {
    tensors: &'a Tensors,
    member: usize,
}

impl Plain<'_> {
    fn tensor(&self, name: &str) -> Vec<f64> {
        let Some(Values::F32(values)) = self.tensors.get(name).map(learned::Tensor::values) else {
            panic!("no tensor {name}")
        };
        values.iter().copied().map(f64::from).collect()
    }

    fn part(&self, name: &str) -> Vec<f64> {
        self.tensor(&format!("member.{}.{name}", self.member))
    }

    fn affine(weight: &[f64], x: &[f64], bias: &[f64]) -> Vec<f64> {
        let row = |row: &[f64]| std::iter::zip(row, x).map(|(w, x)| w * x).sum::<f64>();
        weight.chunks_exact(x.len()).zip(bias).map(|(weight, bias)| row(weight) + bias).collect()
    }

    fn gru(&self, kind: &str, sequence: &[ItemId]) -> Vec<f64> {
        let part = |name: &str| self.part(&format!("encoder.{kind}.{name}"));
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut h = vec![0.0; WIDTH];
        for &item in sequence.iter().filter(|item| !item.is_padding()) {
            let x: Vec<f64> = items().embedding(item).iter().copied().map(f64::from).collect();
            let from_x = Self::affine(&part("weight_ih"), &x, &part("bias_ih"));
            let from_h = Self::affine(&part("weight_hh"), &h, &part("bias_hh"));
            h = (0..WIDTH)
                .map(|i| {
                    let r = sigma(from_x[i] + from_h[i]);
                    let z = sigma(from_x[WIDTH + i] + from_h[WIDTH + i]);
                    let n = (from_x[2 * WIDTH + i] + r * from_h[2 * WIDTH + i]).tanh();
                    (1.0 - z) * n + z * h[i]
                })
                .collect();
        }
        h
    }

    fn probabilities(&self, windows: &[ItemId], item: ItemId) -> Vec<f64> {
        let kinds = ["skipped", "clicked", "ordered"];
        let encoded: Vec<f64> =
            kinds.iter().zip(windows.chunks_exact(WINDOW)).flat_map(|(kind, w)| self.gru(kind, w)).collect();
        let state = Self::affine(&self.part("state.weight"), &encoded, &self.part("state.bias"));
        let mut u: Vec<f64> = items().embedding(item).iter().copied().map(f64::from).collect();
        u.extend(&self.tensor("features")[item.row() * N_FEATURES..][..N_FEATURES]);
        let category = item.row() % N_CATEGORIES;
        u.extend(&self.part("category.weight")[category * CATEGORY_DIMS..][..CATEGORY_DIMS]);
        let hidden = Self::affine(&self.part("item.weight"), &u, &state);
        let hidden: Vec<f64> = hidden.into_iter().map(|x| x.max(0.0)).collect();
        let logits = Self::affine(&self.part("output.weight"), &hidden, &self.part("output.bias"));
        let total: f64 = logits.iter().map(|x| x.exp()).sum();
        logits.iter().map(|x| x.exp() / total).collect()
    }
}

#[test]
fn predictions_agree_with_the_equations_in_double_precision() {
    let (tensors, statistics) = (tensors(), statistics());
    let model = LearnedModel::new(items(), &tensors).unwrap();
    assert_eq!(model.n_members(), N_MEMBERS);
    let shown: Vec<ItemId> = (0..10).map(|k| ItemId(k * 6 + 1)).collect();
    let windows: Vec<ItemId> = (0..10).flat_map(|k| statistics.context(k).to_vec()).collect();
    for member in 0..N_MEMBERS {
        let mut found = Vec::new();
        model.predict(member, &windows, &shown, &mut Scratch::default(), &mut found);
        let plain = Plain { tensors: &tensors, member };
        for (row, item) in shown.iter().enumerate() {
            let expected = plain.probabilities(statistics.context(row), *item);
            for class in 0..3 {
                let (found, expected) = (f64::from(found[row * 3 + class]), expected[class]);
                assert!(
                    (found / expected - 1.0).abs() < 1e-5,
                    "member {member}, row {row}: {found}, {expected}"
                );
            }
        }
    }
}

#[test]
fn the_truth_is_the_prediction_of_the_sessions_member() {
    let mut world = world(small());
    play(&mut world, 6);
    let tensors = tensors();
    let mut members = [0; N_MEMBERS];
    for slot in 0..5 {
        let (mut p_click, mut p_order) = (Vec::new(), Vec::new());
        world.truth().unwrap().probabilities(slot, &mut p_click, &mut p_order);
        let windows = &world.windows()[slot * 9..][..9];
        let candidates = world.recall()[slot].candidates();
        let agrees = |member: usize| {
            let plain = Plain { tensors: &tensors, member };
            candidates.iter().enumerate().all(|(position, &item)| {
                let expected = plain.probabilities(windows, item);
                let clicked = expected[1] + expected[2];
                (f64::from(p_click[position]) - clicked).abs() < 1e-5
                    && (f64::from(p_order[position]) - expected[2] / clicked).abs() < 1e-5
                    && (p_click[position], p_order[position])
                        == world.truth().unwrap().probability(slot, item)
            })
        };
        let which: Vec<usize> = (0..N_MEMBERS).filter(|&member| agrees(member)).collect();
        assert_eq!(which.len(), 1, "slot {slot} follows one member");
        members[which[0]] += 1;
    }
    assert!(members.iter().filter(|&&count| count > 0).count() > 1, "sessions draw different members");
}

fn play(world: &mut LearnedWorld, steps: usize) -> Vec<Vec<(ItemId, Outcome)>> {
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
    let course = |n_slots: usize, slot: usize| {
        let mut world = world(LearnedSettings { n_slots, ..small() });
        world.begin(slot, 77);
        let steps: Vec<_> = play(&mut world, 12).into_iter().map(|step| step[slot]).collect();
        (steps, world.recall()[slot].clone(), world.windows()[slot * 9..][..9].to_vec())
    };
    assert_eq!(course(5, 3), course(1, 0));
    assert_eq!(course(9, 8), course(1, 0));
}

#[test]
fn sessions_start_in_the_log_and_are_truncated() {
    let mut world = world(small());
    let statistics = statistics();
    for slot in 0..5 {
        let windows = &world.windows()[slot * 9..][..9];
        assert!((0..10).any(|context| statistics.context(context) == windows), "slot {slot}");
    }
    let steps = play(&mut world, 12);
    assert!(steps[10].iter().all(|(_, outcome)| outcome.ending == Ending::None));
    assert!(steps[11].iter().all(|(_, outcome)| outcome.ending == Ending::Truncated));
    assert!(matches!(world.step(&[ItemId(0); 5], &mut [NOTHING; 5]), Err(Error::Over { slot: 0, .. })));
}

#[test]
fn a_restored_world_goes_on_bit_for_bit() {
    let mut original = world(small());
    (0..5).for_each(|slot| original.begin(slot, 100 + slot as u64));
    play(&mut original, 4);
    let saved = original.save();
    let expected = (play(&mut original, 8), original.save());
    let mut other = world(small());
    other.restore(&saved).unwrap();
    assert_eq!((play(&mut other, 8), other.save()), expected);

    let mut noisy = world(LearnedSettings { noise: Noise { temperature: 2.0, flip_share: 0.0 }, ..small() });
    let before = noisy.save();
    assert!(matches!(noisy.restore(&saved), Err(Error::State(_))));
    assert!(matches!(noisy.restore(&saved[..9]), Err(Error::State(_))));
    assert_eq!(noisy.save(), before);
}

#[test]
fn a_refused_action_changes_nothing() {
    let mut world = world(small());
    let before = world.save();
    let first = |recall: &RecallSet| recall.candidates()[0];
    let mut actions: Vec<ItemId> = world.recall().iter().map(first).collect();
    actions[4] = ItemId(N_ITEMS as u32);
    assert!(matches!(world.step(&actions, &mut [NOTHING; 5]), Err(Error::Action { slot: 4, .. })));
    assert_eq!(world.save(), before);
}

#[test]
fn feedback_has_the_frequencies_the_truth_says_with_any_noise() {
    for noise in [Noise::default(), Noise { temperature: 2.5, flip_share: 0.3 }] {
        let mut world = world(LearnedSettings { n_slots: 400, noise, ..small() });
        let actions: Vec<ItemId> = world.recall().iter().map(|recall| recall.candidates()[0]).collect();
        let truth: Vec<_> = actions
            .iter()
            .enumerate()
            .map(|(e, &item)| world.truth().unwrap().probability(e, item))
            .collect();
        let mut outcomes = vec![NOTHING; 400];
        world.step(&actions, &mut outcomes).unwrap();
        let check = |name: &str, happened: fn(Feedback) -> bool, p: &dyn Fn((f32, f32)) -> f32| {
            let count = outcomes.iter().filter(|outcome| happened(outcome.feedback)).count() as f32;
            let mean: f32 = truth.iter().map(|&truth| p(truth)).sum();
            let deviation = truth.iter().map(|&truth| p(truth) * (1.0 - p(truth))).sum::<f32>().sqrt();
            assert!((count - mean).abs() < 4.0 * deviation, "{count} {name}, {mean} expected ({noise:?})");
        };
        check("clicks", Feedback::clicked, &|(click, _)| click);
        check("orders", Feedback::ordered, &|(click, order)| click * order);
    }
}

#[test]
fn flips_alone_leave_the_base_rates() {
    let noise = Noise { temperature: 1.0, flip_share: 1.0 };
    let world = world(LearnedSettings { noise, ..small() });
    let (click, order) = world.truth().unwrap().probability(0, ItemId(3));
    assert!((click - 0.2).abs() < 1e-6 && (order - 0.25).abs() < 1e-6);
}

#[test]
fn references_that_the_log_knows_work_and_the_others_say_so() {
    let world = world(small());
    let mut actions = vec![ItemId::PADDING; 5];
    let of_shopworld = [Reference::WindowBelief, Reference::Belief, Reference::Lookahead];
    for reference in Reference::ALL {
        let chosen = ReferencePolicy::new(reference, 0).choose(&world, &mut actions);
        assert_eq!(chosen.is_ok(), !of_shopworld.contains(&reference));
        assert_eq!(chosen.is_ok(), reference.is_known_to(&world));
    }
    ReferencePolicy::new(Reference::Popularity, 0).choose(&world, &mut actions).unwrap();
    let clicks = |item: &ItemId| (item.row() * 7) % N_ITEMS;
    for (action, recall) in actions.iter().zip(world.recall()) {
        assert_eq!(recall.candidates().iter().max_by_key(|item| clicks(item)), Some(action));
    }
}

#[test]
fn a_small_catalogue_is_all_candidates_and_too_long_a_session_is_refused() {
    let all = world(LearnedSettings { candidates: 1_000, session_length: 50, ..small() });
    assert_eq!(all.recall()[0].candidates().len(), N_ITEMS);
    let model = Arc::new(LearnedModel::new(items(), &tensors()).unwrap());
    let settings = LearnedSettings { session_length: 61, candidates: 1_000, ..small() };
    let error = LearnedWorld::new(model.clone(), Arc::new(statistics()), settings).unwrap_err().to_string();
    assert!(error.contains("60 candidates (of 60 items): at least session_length = 61"), "{error}");
    let settings = LearnedSettings { noise: Noise { temperature: 0.0, flip_share: 0.0 }, ..small() };
    let error = LearnedWorld::new(model, Arc::new(statistics()), settings).unwrap_err().to_string();
    assert!(error.contains("temperature is 0: in (0, 100]"), "{error}");
}

#[test]
fn a_saved_folder_loads_to_the_same_world() {
    let folder = tempfile::tempdir().unwrap();
    learned::save(folder.path(), &items(), &tensors(), &statistics()).unwrap();
    let (model, log) = learned::load(folder.path()).unwrap();
    assert_eq!(*log, statistics());
    let mut loaded = LearnedWorld::new(model, log, small()).unwrap();
    let mut original = world(small());
    assert_eq!(play(&mut loaded, 12), play(&mut original, 12));
    assert_eq!(loaded.save(), original.save());
}

#[test]
fn a_simulator_beside_another_shares_its_catalogue_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    learned::save(folder.path(), &items(), &tensors(), &statistics()).unwrap();
    let shared = items();
    let (model, _) = learned::load_over(folder.path(), &shared).unwrap();
    assert!(Arc::ptr_eq(model.items(), &shared));
    let other = ItemTable::new(N_DIMS, 1.94, vec![0.5; 2 * N_DIMS], vec![0; 2], vec![0.0; 2]).unwrap();
    let error = learned::load_over(folder.path(), &Arc::new(other)).unwrap_err().to_string();
    assert!(
        error.ends_with("items.safetensors holds other items than the simulator beside it: fit both"),
        "{error}"
    );
}

#[test]
fn a_bad_model_is_refused_by_the_tensors_name() {
    let message = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = tensors();
        change(&mut tensors);
        LearnedModel::new(items(), &tensors).unwrap_err().to_string()
    };
    let zeros = |n: usize| Values::F32(vec![0.0; n]);
    assert_eq!(
        message(&|t| t.insert("member.1.output.bias", &[4], zeros(4)).unwrap()),
        "tensor `member.1.output.bias` has shape [4], expected [3]"
    );
    let nan =
        |t: &mut Tensors| t.insert("member.2.state.bias", &[7], Values::F32(vec![f32::NAN; 7])).unwrap();
    assert_eq!(message(&nan), "tensor `member.2.state.bias` holds NaN, not a finite number");
    assert!(message(&|t| t.insert("extra", &[1], zeros(1)).unwrap()).ends_with("no member: extra"));
    assert!(
        message(&|t| t.insert("member.0.category.weight", &[4, 3], zeros(12)).unwrap())
            .contains("has 4 rows, but an item is of category 4")
    );
    assert_eq!(
        LearnedModel::new(items(), &Tensors::new()).unwrap_err().to_string(),
        "tensor `member.0.state.weight` is missing"
    );
}

#[test]
fn bad_statistics_are_refused() {
    let with = |windows: Vec<ItemId>, impressions: Vec<f32>, rates: [f32; 3]| {
        let clicks = vec![0.0; N_ITEMS];
        LogStatistics::new(&items(), 1, windows, impressions, clicks, rates).unwrap_err().to_string()
    };
    let (start, shown, rates) = (vec![ItemId(1); 3], vec![1.0; N_ITEMS], [0.8, 0.15, 0.05]);
    assert!(with(vec![], shown.clone(), rates).contains("`windows` holds 0 ids"));
    assert!(with(vec![ItemId(60); 3], shown.clone(), rates).contains("context 0: no item 60"));
    assert!(with(start.clone(), vec![1.0; 59], rates).contains("59 impressions for 60 items"));
    assert!(with(start.clone(), vec![f32::NAN; N_ITEMS], rates).contains("`impressions` holds NaN"));
    assert!(with(start, shown, [0.9, 0.1, 0.0]).contains("expected positive shares of sum 1"));
}
