//! The forward passes of both levels against plain f64, and what must not change them.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod naive;

use std::sync::Arc;

use agent::{Error, Guidance, NO_GOAL, Network, Policy, Scratch, Sessions, Weights};
use common::{
    Feedback, ItemId, ItemTable,
    config::{Config, CriticAction, CriticOutput, GoalConditioning, History, ModelConfig, Preset},
    history::{self, N_WINDOWS},
    seed::{Rng, Streams},
};
use kernels::Level;
use naive::Naive;
use proptest::{collection::vec, prelude::*};
use rand::RngExt;

const N_ITEMS: usize = 60;
/// Of f32 against f64, on values of magnitude 1 to 10.
const TOLERANCE: f64 = 1e-5;
/// The same where hidden layers are normalised: two nearly equal numbers of a narrow one are drawn far apart.
const NORM_TOLERANCE: f64 = 1e-3;

fn model(n_dims: usize, width: usize, head_width: usize, n_goals: usize, window: usize) -> ModelConfig {
    let paper = Config::preset(Preset::Paper).model;
    ModelConfig { n_dims, encoder_width: width, head_width, n_goals, window, ..paper }
}

/// Settings, items and sessions with ragged histories, drawn from a seed.
struct Case {
    model: ModelConfig,
    items: Arc<ItemTable>,
    weights: Weights<'static>,
    windows: Vec<ItemId>,
    goals: Vec<f32>,
    active: Vec<u8>,
    actions: Vec<f32>,
}

impl Case {
    fn new(model: ModelConfig, n_sessions: usize, seed: u64) -> Self {
        let mut rng = Streams::new(seed, "test").sequential();
        let (n, n_goals) = (model.n_dims, model.n_goals);
        let uniform = |rng: &mut Rng, len: usize| -> Vec<f32> {
            (0..len).map(|_| rng.random_range(-1.9..1.9)).collect()
        };
        let embeddings = uniform(&mut rng, N_ITEMS * n);
        let items = ItemTable::new(n, model.bound, embeddings, vec![0; N_ITEMS], vec![0.0; N_ITEMS]).unwrap();
        let mut windows = Vec::new();
        for _ in 0..n_sessions * N_WINDOWS {
            let length = rng.random_range(0..=model.window);
            windows.resize(windows.len() + model.window - length, ItemId::PADDING);
            windows.extend((0..length).map(|_| ItemId(rng.random_range(0..N_ITEMS as u32))));
        }
        let mut weights = Weights::random(&model, seed);
        // They start at 0.
        let name = "low/critic/heads.0.affinity.place".to_owned();
        if weights.get(&name).is_some() {
            let shape = vec![model.low_history.windows().len(), model.window];
            let values = uniform(&mut rng, shape.iter().product());
            weights.insert(name, shape, values);
        }
        let active = (0..n_sessions)
            .map(|_| rng.random_range(0..=n_goals))
            .map(|i| if i == n_goals { NO_GOAL } else { i as u8 });
        Self {
            active: active.collect(),
            goals: uniform(&mut rng, n_sessions * n_goals * n),
            actions: uniform(&mut rng, n_sessions * n),
            weights,
            items: Arc::new(items),
            windows,
            model,
        }
    }

    fn policy(&self, level: Level) -> Policy {
        Policy::new(&self.weights, &self.model, self.items.clone()).unwrap().with_level(level)
    }

    fn run(&self, policy: &Policy, scratch: &mut Scratch) -> Outputs {
        self.run_selected(policy, None, scratch)
    }

    fn run_selected(&self, policy: &Policy, selected: Option<&[usize]>, scratch: &mut Scratch) -> Outputs {
        let (n_sessions, n, n_goals) = (self.active.len(), self.model.n_dims, self.model.n_goals);
        let sessions = Sessions { windows: &self.windows, selected };
        let guidance = Guidance { goals: &self.goals, active: &self.active };
        let mut out = Outputs {
            goals: vec![99.0; n_sessions * n_goals * n],
            actions: vec![99.0; n_sessions * n],
            high_q: vec![99.0; n_sessions * n_goals],
            low_q: vec![99.0; n_sessions],
        };
        policy.goals(sessions, scratch, &mut out.goals);
        policy.virtual_actions(sessions, guidance, scratch, &mut out.actions);
        if n_goals > 0 {
            policy.high_q(sessions, &self.goals, scratch, &mut out.high_q).unwrap();
        }
        policy.low_q(sessions, guidance, &self.actions, scratch, &mut out.low_q).unwrap();
        out
    }

    fn naive(&self) -> [Vec<f64>; 4] {
        let Self { weights, model, .. } = self;
        let naive = Naive { weights, model, items: self.items.embeddings() };
        let (n, n_goals) = (model.n_dims, model.n_goals);
        let mut out = [const { Vec::new() }; 4];
        for (row, windows) in self.windows.chunks_exact(N_WINDOWS * model.window).enumerate() {
            let goals = &self.goals[row * n_goals * n..][..n_goals * n];
            let active = (self.active[row] != NO_GOAL).then_some(usize::from(self.active[row]));
            out[0].extend(naive.goals(windows));
            out[1].extend(naive.virtual_action(windows, goals, active));
            out[2].extend(naive.high_q(windows, goals));
            out[3].push(naive.low_q(windows, goals, active, &self.actions[row * n..][..n]));
        }
        out
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Outputs {
    goals: Vec<f32>,
    actions: Vec<f32>,
    high_q: Vec<f32>,
    low_q: Vec<f32>,
}

impl Outputs {
    fn parts(&self) -> [&[f32]; 4] {
        [&self.goals, &self.actions, &self.high_q, &self.low_q]
    }

    /// Rows of each part.
    fn row(&self, row: usize, n_sessions: usize) -> [Vec<f32>; 4] {
        self.parts().map(|part| {
            let width = part.len() / n_sessions;
            part[row * width..][..width].to_vec()
        })
    }
}

fn any_model() -> impl Strategy<Value = ModelConfig> {
    let sizes = (1usize..20, 1usize..35, 1usize..35, 0usize..4, 1usize..6);
    let forms = (0..3, 0..4, any::<bool>(), 0..4, 0..4, any::<bool>(), 0usize..12);
    (sizes, forms).prop_map(|((n, w, k, m, window), (goal, output, direction, high, low, norm, affinity))| {
        use CriticOutput::{Exponential, Linear, Relu, Softplus};
        use GoalConditioning::{Both, Reward, State};
        use History::{Clicks, ClicksOrders, SkipsClicks, SkipsClicksOrders};
        let histories = [SkipsClicks, ClicksOrders, Clicks, SkipsClicksOrders];
        ModelConfig {
            // Where there is no goal, none can be in the state.
            goal_conditioning: if m == 0 { Reward } else { [Reward, State, Both][goal as usize] },
            head_norm: norm,
            high_history: histories[high as usize],
            low_history: histories[low as usize],
            critic_affinity: affinity,
            critic_output: [Relu, Softplus, Linear, Exponential][output as usize],
            critic_action: if direction { CriticAction::Direction } else { CriticAction::Raw },
            ..model(n, w, k, m, window)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_level_agrees_with_the_equations(model in any_model(), n_sessions in 1usize..9, seed: u64) {
        let case = Case::new(model, n_sessions, seed);
        let expected = case.naive();
        let tolerance = if case.model.head_norm { NORM_TOLERANCE } else { TOLERANCE };
        for level in Level::available() {
            let found = case.run(&case.policy(level), &mut Scratch::default());
            for (found, expected) in found.parts().into_iter().zip(&expected) {
                for (found, expected) in found.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs() / expected.abs().max(1.0);
                    prop_assert!(error < tolerance, "{level}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_session_has_the_same_bits_in_any_batch(model in any_model(), n_sessions in 1usize..70, seed: u64) {
        let case = Case::new(model, n_sessions, seed);
        for level in Level::available() {
            let policy = case.policy(level);
            let together = case.run(&policy, &mut Scratch::default());
            for row in [0, n_sessions / 2, n_sessions - 1] {
                // Working memory of its own: nothing is there already.
                let alone = case.run_selected(&policy, Some(&[row]), &mut Scratch::default());
                prop_assert_eq!(alone.row(row, n_sessions), together.row(row, n_sessions));
                let others = (0..n_sessions).filter(|other| *other != row);
                for other in others {
                    prop_assert!(alone.row(other, n_sessions).iter().flatten().all(|x| *x == 99.0), "untouched");
                }
            }
        }
    }

    #[test]
    fn windows_that_stay_change_no_bit(
        model in any_model(), n_sessions in 1usize..20, turns in vec((any::<u8>(), 0u32..60, 0usize..4), 1..60), seed: u64,
    ) {
        let mut case = Case::new(model, n_sessions, seed);
        let policies = [case.policy(Level::best()), case.policy(Level::PORTABLE), case.policy(Level::best())];
        let mut scratch = Scratch::default();
        for (session, item, which) in turns {
            // Some sessions go on, the policy or its instructions may be other ones, and a pass may be of one session only.
            let of_session = case.windows.len() / n_sessions;
            let session = session as usize % n_sessions;
            let windows = &mut case.windows[session * of_session..][..of_session];
            history::push(windows, ItemId(item % N_ITEMS as u32), [Feedback::Skip, Feedback::Click][which % 2]);
            let policy = &policies[which % 3];
            let selected = [session];
            let selected = (which == 3).then_some(&selected[..]);
            let found = case.run_selected(policy, selected, &mut scratch);
            prop_assert_eq!(found, case.run_selected(policy, selected, &mut Scratch::default()));
        }
    }

    #[test]
    fn padding_is_neutral(length in 0usize..4, padding in 1usize..8, seed: u64) {
        let short = Case::new(model(5, 9, 7, 2, length.max(1)), 3, seed);
        let mut long = Case::new(model(5, 9, 7, 2, length.max(1) + padding), 3, seed);
        long.windows.clear();
        for window in short.windows.chunks_exact(length.max(1)) {
            long.windows.resize(long.windows.len() + padding, ItemId::PADDING);
            long.windows.extend_from_slice(window);
        }
        (long.items, long.weights) = (short.items.clone(), short.weights.clone());
        (long.goals, long.actions) = (short.goals.clone(), short.actions.clone());
        let mut scratch = Scratch::default();
        let outputs = |case: &Case, scratch: &mut Scratch| case.run(&case.policy(Level::best()), scratch);
        prop_assert_eq!(outputs(&short, &mut scratch), outputs(&long, &mut scratch));
    }
}

#[test]
fn projecting_the_catalogue_changes_no_bit() {
    let case = Case::new(model(6, 16, 8, 2, 5), 4, 1);
    let policy = case.policy(Level::best());
    let first = case.run(&policy, &mut Scratch::default());
    // 4 sessions of 5 items a pass: the table of 60 is projected at the fourth.
    for _ in 0..8 {
        assert_eq!(case.run(&policy, &mut Scratch::default()), first);
    }
}

#[test]
fn an_empty_selection_writes_nothing() {
    let case = Case::new(model(6, 16, 8, 2, 5), 4, 1);
    let out = case.run_selected(&case.policy(Level::best()), Some(&[]), &mut Scratch::default());
    assert!(out.parts().into_iter().flatten().all(|x| *x == 99.0));
}

#[test]
fn goals_reach_the_action_only_where_the_state_holds_them() {
    for conditioning in [GoalConditioning::Reward, GoalConditioning::State, GoalConditioning::Both] {
        let model = ModelConfig { goal_conditioning: conditioning, ..model(6, 16, 8, 2, 5) };
        let mut case = Case::new(model, 4, 1);
        case.active = vec![0, 1, 0, NO_GOAL];
        let policy = case.policy(Level::best());
        let before = case.run(&policy, &mut Scratch::default());
        case.goals.iter_mut().for_each(|x| *x = -*x);
        let after = case.run(&policy, &mut Scratch::default());
        for row in 0..4 {
            let changed = before.row(row, 4)[1] != after.row(row, 4)[1];
            let guided = conditioning.in_state() && case.active[row] != NO_GOAL;
            assert_eq!(changed, guided, "{conditioning:?}, row {row}");
        }
    }
}

#[test]
fn outputs_of_saturated_actors_stay_strictly_inside_the_bound() {
    let mut case = Case::new(model(6, 16, 8, 2, 5), 4, 1);
    for name in ["high/actor/heads.0.bias", "high/actor/heads.1.bias", "low/actor/heads.0.bias"] {
        case.weights.insert(name.into(), vec![6], vec![50.0, -50.0, 50.0, -50.0, 50.0, -50.0]);
    }
    let out = case.run(&case.policy(Level::best()), &mut Scratch::default());
    assert!(out.goals.iter().chain(&out.actions).all(|x| x.abs() < 1.94 && x.abs() > 1.93));
}

#[test]
fn a_critic_that_sees_directions_ignores_length_and_accepts_zero() {
    let model = ModelConfig { critic_action: CriticAction::Direction, ..model(6, 16, 8, 2, 5) };
    let mut case = Case::new(model, 4, 1);
    let policy = case.policy(Level::best());
    let before = case.run(&policy, &mut Scratch::default());
    case.actions.iter_mut().for_each(|x| *x *= 0.25);
    assert_eq!(case.run(&policy, &mut Scratch::default()).low_q, before.low_q);
    case.actions.fill(0.0);
    assert!(case.run(&policy, &mut Scratch::default()).low_q.iter().all(|q| q.is_finite()));
}

#[test]
fn several_actions_in_one_state_have_the_bits_of_each_alone() {
    for goal_conditioning in [GoalConditioning::Reward, GoalConditioning::State] {
        let case = Case::new(ModelConfig { goal_conditioning, ..model(5, 6, 7, 2, 4) }, 9, 2);
        let (policy, mut scratch) = (case.policy(Level::best()), Scratch::default());
        let (session, per_goals) = (N_WINDOWS * 4, 2 * 5);
        for row in 0..9 {
            let windows = &case.windows[row * session..][..session];
            let (goals, active) = (&case.goals[row * per_goals..][..per_goals], [case.active[row]]);
            let (mut q, mut expected) = ([0.0; 9], [0.0; 9]);
            let guidance = Guidance { goals, active: &active };
            policy.low_q_of_actions(windows, guidance, &case.actions, &mut scratch, &mut q).unwrap();
            let (repeated, goals, active) = (windows.repeat(9), goals.repeat(9), active.repeat(9));
            let guidance = Guidance { goals: &goals, active: &active };
            policy
                .low_q(Sessions::all(&repeated), guidance, &case.actions, &mut scratch, &mut expected)
                .unwrap();
            assert_eq!(q, expected, "session {row}");
        }
        let none = policy.low_q_of_actions(
            &case.windows[..session],
            Guidance { goals: &case.goals[..10], active: &[0] },
            &[],
            &mut scratch,
            &mut [],
        );
        assert!(none.is_ok(), "no action has no value");
    }
}

#[test]
fn a_broadcast_may_carry_actors_only() {
    let mut case = Case::new(model(6, 16, 8, 2, 5), 1, 1);
    case.weights.remove(Network::HighCritic);
    case.weights.remove(Network::LowCritic);
    let bytes = case.weights.to_safetensors();
    let policy = Policy::from_safetensors(&bytes, &case.model, case.items.clone()).unwrap();
    let mut scratch = Scratch::default();
    let sessions = Sessions::all(&case.windows);
    policy.goals(sessions, &mut scratch, &mut case.goals.clone());
    let error = policy.low_q(sessions, Guidance::NONE, &case.actions, &mut scratch, &mut [0.0]).unwrap_err();
    assert_eq!(error.to_string(), "the weights hold no low-level critic");
}

#[test]
fn weights_and_items_of_other_sizes_are_refused() {
    let case = Case::new(model(6, 16, 8, 2, 5), 1, 1);
    let refused = |model: &ModelConfig| Policy::new(&case.weights, model, case.items.clone()).unwrap_err();
    let wider = ModelConfig { encoder_width: 17, ..case.model.clone() };
    assert_eq!(
        refused(&wider).to_string(),
        "tensor `high/actor/encoder.first.cell.weight_ih` has shape [48, 6], expected [51, 6]"
    );
    let one_goal = ModelConfig { n_goals: 1, ..case.model.clone() };
    assert!(matches!(refused(&one_goal), Error::Unexpected { name } if name == "high/actor/heads.1.bias"));
    let other_items = ModelConfig { n_dims: 7, ..case.model.clone() };
    assert!(matches!(refused(&other_items), Error::Embeddings { found: 6, expected: 7 }));
}

#[test]
fn a_model_without_goals_has_no_high_level_and_refuses_one() {
    let case = Case::new(model(6, 16, 8, 0, 5), 3, 1);
    let policy = case.policy(Level::best());
    assert!(case.run(&policy, &mut Scratch::default()).goals.is_empty());
    let sessions = Sessions::all(&case.windows);
    let error = policy.high_q(sessions, &[], &mut Scratch::default(), &mut []).unwrap_err();
    assert_eq!(error.to_string(), "the weights hold no high-level critic");
    let with_goals = Weights::random(&model(6, 16, 8, 2, 5), 1);
    let refused = Policy::new(&with_goals, &case.model, case.items.clone()).unwrap_err();
    assert!(matches!(refused, Error::Unexpected { name } if name.starts_with("high/actor/")));
}

#[test]
fn a_policy_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Policy>();
}
