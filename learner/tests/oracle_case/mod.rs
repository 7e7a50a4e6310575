//! One case of the oracle. In: a safetensors file; out: settings, batches, comparisons.

mod native;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use common::{
    ItemId, Remainder,
    config::{
        Assignment, Config, CriticAction, CriticOutput, EncoderUpdate, GoalConditioning, HighDiscount,
        LevelRates, Preset, TargetAction,
    },
    seed::Streams,
};
use learner::{
    algorithm::{
        layout::Role,
        settings::{LevelKind, Settings},
        window::{PackedWindow, Packing, Windows},
    },
    engine::torch::{Core, HighTensors, LowTensors, level::LevelBatch},
};
use tch::{Device, Kind, Tensor};

/// The worst comparison so far.
#[derive(Debug, Default)]
pub(crate) struct Worst {
    pub(crate) error: f64,
    pub(crate) tensor: String,
    pub(crate) n_compared: usize,
}

impl Worst {
    /// Takes note of a tensor and of what it should be.
    fn note(&mut self, name: &str, found: &Tensor, expected: &Tensor) {
        let found = found.to_kind(Kind::Double).reshape([-1]);
        let expected = expected.to_kind(Kind::Double).reshape([-1]);
        let error = (found - &expected).abs().max().double_value(&[])
            / expected.abs().max().double_value(&[]).max(1e-12);
        if error.is_nan() || error > self.error {
            (self.error, self.tensor) = (error, name.to_owned());
        }
        self.n_compared += 1;
    }
}

/// A case with its tensors in one kind.
pub(crate) struct Case {
    settings: Settings,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
    kind: Kind,
    /// Whether GRUs run side by side, as on GPUs.
    side_by_side: bool,
    /// Expectations that were compared, to find any that were not.
    compared: RefCell<BTreeSet<String>>,
}

/// Keys of the metadata that this program understands; any other might change the maths.
const KNOWN: [&str; 26] = [
    "name",
    "seed",
    "n",
    "N",
    "M",
    "c",
    "width",
    "head_width",
    "batch_high",
    "batch_low",
    "updates",
    "gamma",
    "tau",
    "alpha",
    "beta",
    "bound",
    "lr_actor",
    "lr_critic",
    "remainder",
    "assignment",
    "high_discount",
    "critic_output",
    "encoder_update",
    "goal_conditioning",
    "critic_action",
    "target_action",
];

fn settings(metadata: &BTreeMap<String, String>) -> Settings {
    for key in metadata.keys() {
        assert!(KNOWN.contains(&key.as_str()), "metadata `{key}` is unknown; it might change the maths");
    }
    let text =
        |key: &str| metadata.get(key).unwrap_or_else(|| panic!("metadata `{key}` is missing")).as_str();
    let real = |key: &str| text(key).parse::<f64>().unwrap_or_else(|e| panic!("metadata `{key}`: {e}"));
    let size = |key: &str| text(key).parse::<usize>().unwrap_or_else(|e| panic!("metadata `{key}`: {e}"));
    let unknown = |key: &str| -> ! { panic!("metadata `{key}` = `{}` is unknown", text(key)) };
    let mut config = Config::preset(Preset::Paper);
    let model = &mut config.model;
    (model.n_dims, model.window, model.n_goals) = (size("n"), size("N"), size("M"));
    (model.period_steps, model.encoder_width) = (size("c"), size("width"));
    model.head_width = size("head_width");
    // The three settings that the first cases do not name: absent means the paper's form.
    let optional = |key: &str| metadata.get(key).map(String::as_str);
    model.goal_conditioning = match optional("goal_conditioning") {
        None | Some("reward") => GoalConditioning::Reward,
        _ => unknown("goal_conditioning"),
    };
    model.critic_action = match optional("critic_action") {
        None | Some("raw") => CriticAction::Raw,
        Some("direction") => CriticAction::Direction,
        _ => unknown("critic_action"),
    };
    model.critic_output = match text("critic_output") {
        "relu" => CriticOutput::Relu,
        "softplus" => CriticOutput::Softplus,
        "linear" => CriticOutput::Linear,
        _ => unknown("critic_output"),
    };
    let algorithm = &mut config.algorithm;
    algorithm.target_action = match optional("target_action") {
        None | Some("virtual") => TargetAction::Virtual,
        // `low_targets` below would have to map as well.
        _ => unknown("target_action"),
    };
    (algorithm.discount, algorithm.soft_update) = (real("gamma"), real("tau"));
    algorithm.learning_rate_high = LevelRates { actor: real("lr_actor"), critic: real("lr_critic") };
    algorithm.learning_rate_low = algorithm.learning_rate_high;
    algorithm.remainder = match text("remainder") {
        "last" => Remainder::Last,
        "drop" => Remainder::Drop,
        _ => unknown("remainder"),
    };
    algorithm.assignment = match text("assignment") {
        "paper" => Assignment::Paper,
        "naive" => Assignment::Naive,
        "causal" => Assignment::Causal,
        _ => unknown("assignment"),
    };
    algorithm.high_discount = match text("high_discount") {
        "gamma" => HighDiscount::Gamma,
        "gamma_pow_c" => HighDiscount::GammaPowC,
        _ => unknown("high_discount"),
    };
    algorithm.encoder_update = match text("encoder_update") {
        "summed" => EncoderUpdate::Summed,
        "sequential" => EncoderUpdate::Sequential,
        _ => unknown("encoder_update"),
    };
    let mut settings = Settings::new(&config);
    (settings.bound, settings.alpha, settings.beta) = (real("bound"), real("alpha"), real("beta"));
    settings
}

impl Case {
    pub(crate) fn read(path: &Path, kind: Kind, side_by_side: bool) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let stored = match view.dtype() {
                safetensors::Dtype::F64 => Kind::Double,
                safetensors::Dtype::I64 => Kind::Int64,
                other => panic!("{}: `{name}` holds {other:?}", path.display()),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&x| x as i64).collect();
            let tensor = Tensor::from_data_size(view.data(), &shape, stored);
            (name, if stored == Kind::Double { tensor.to_kind(kind) } else { tensor })
        });
        let tensors = tensors.collect();
        Self {
            settings: settings(&metadata),
            metadata,
            tensors,
            kind,
            side_by_side,
            compared: RefCell::default(),
        }
    }

    pub(crate) fn n_updates(&self) -> usize {
        self.metadata["updates"].parse().unwrap()
    }

    pub(crate) fn is_sequential(&self) -> bool {
        self.settings.algorithm.encoder_update == EncoderUpdate::Sequential
    }

    fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("tensor `{name}` is missing"))
    }

    /// Levels with the case's initial parameters.
    pub(crate) fn core(&self) -> Core {
        let items = self.tensor("items").to_device(Device::Cpu);
        let core = Core::new(
            self.settings.clone(),
            items,
            &Streams::new(0, "overwritten"),
            Streams::new(0, "unused"),
        );
        let mut n_set = 0;
        for (name, mut view) in views(&core) {
            let value = self.tensor(&format!("init/{name}"));
            assert_eq!(view.size(), value.size(), "{name}");
            view.copy_(value);
            n_set += 1;
        }
        let n_init = self.tensors.keys().filter(|name| name.starts_with("init/")).count();
        assert_eq!(n_set, n_init, "every initial parameter of the case has its place");
        core
    }

    fn window(&self, name: &str) -> PackedWindow {
        let ids = self.tensor(name);
        let n = self.settings.model.window;
        let flat: Vec<i64> = Vec::try_from(ids.contiguous().view([-1])).unwrap();
        let items: Vec<ItemId> =
            flat.iter().map(|&id| u32::try_from(id).map_or(ItemId::PADDING, ItemId)).collect();
        let (packing, items) = (Packing::new(n, items.chunks_exact(n)), self.tensor("items"));
        if self.side_by_side { packing.gather_padded(n, items) } else { packing.gather(items) }
    }

    fn windows(&self, prefix: &str, when: &str) -> Windows {
        let window = |which: &str| self.window(&format!("{prefix}/{when}{which}"));
        Windows(vec![window("first"), window("second")])
    }

    pub(crate) fn high(&self, u: usize) -> HighTensors {
        let prefix = format!("batch/{u}/high");
        let column = |name: &str| self.tensor(&format!("{prefix}/{name}")).shallow_clone();
        HighTensors {
            now: self.windows(&prefix, ""),
            next: self.windows(&prefix, "next_"),
            goals: column("goals"),
            rewards: column("rewards"),
            terminated: column("terminated"),
            weights: None,
        }
    }

    pub(crate) fn low(&self, u: usize) -> LowTensors {
        let prefix = format!("batch/{u}/low");
        let column = |name: &str| self.tensor(&format!("{prefix}/{name}")).shallow_clone();
        let positions: Vec<i64> = Vec::try_from(column("position")).unwrap();
        LowTensors {
            now: self.windows(&prefix, ""),
            next: self.windows(&prefix, "next_"),
            next_period: None,
            goals: column("goals"),
            action: self.tensor("items").index_select(0, &column("action_id")),
            positions: positions.into_iter().map(|p| p as usize).collect(),
            reward_external: column("reward_external"),
            terminated: column("terminated"),
            weights: None,
            ahead: None,
        }
    }

    pub(crate) fn high_targets(&self, core: &Core, batch: &HighTensors) -> Tensor {
        core.level(LevelKind::High).targets(&LevelBatch {
            now: &batch.now,
            next: &batch.next,
            features: None,
            next_features: None,
            action: &batch.goals,
            reward: &core.high_reward(batch),
            terminated: &batch.terminated,
            mapping: None,
            weights: None,
            smoothing: None,
            further_discount: None,
        })
    }

    pub(crate) fn low_targets(&self, core: &Core, batch: &LowTensors) -> Tensor {
        core.level(LevelKind::Low).targets(&LevelBatch {
            now: &batch.now,
            next: &batch.next,
            features: None,
            next_features: None,
            action: &batch.action.unsqueeze(1),
            reward: &core.low_reward(batch).unsqueeze(1),
            terminated: &batch.terminated,
            mapping: None,
            weights: None,
            smoothing: None,
            further_discount: None,
        })
    }

    /// Compares a tensor with an expectation of as many numbers.
    pub(crate) fn compare(&self, worst: &mut Worst, name: &str, found: &Tensor) {
        let expected = self.tensor(name);
        assert_eq!(found.numel(), expected.numel(), "{name}: {:?} and {:?}", found.size(), expected.size());
        worst.note(name, found, expected);
        self.compared.borrow_mut().insert(name.to_owned());
    }

    pub(crate) fn compare_values(&self, worst: &mut Worst, name: &str, found: &[f64]) {
        self.compare(worst, name, &Tensor::from_slice(found));
    }

    pub(crate) fn compare_gradients(&self, worst: &mut Worst, core: &Core) {
        for level in [LevelKind::High, LevelKind::Low] {
            for role in [Role::Actor, Role::Critic] {
                let trained = core.level(level).trained(role);
                let flat = trained.gradient.as_ref().expect("a step leaves its gradient");
                for named in trained.network.layout().named() {
                    let name = format!("expect/0/{}/grad/{}/{}", level.name(), role.name(), named.name);
                    let part = flat.narrow(0, named.range.start as i64, named.range.len() as i64);
                    self.compare(worst, &name, &part);
                }
            }
        }
    }

    /// Compares all final parameters, and fails if any expectation of the file was never looked at.
    pub(crate) fn compare_final(&self, worst: &mut Worst, core: &Core) {
        for (name, view) in views(core) {
            self.compare(worst, &format!("expect/final/{name}"), &view);
        }
        self.check_all_compared();
        assert_eq!(self.kind, core.options().0);
    }

    fn check_all_compared(&self) {
        let compared = self.compared.borrow();
        for name in self.tensors.keys().filter(|name| name.starts_with("expect/")) {
            assert!(compared.contains(name), "`{name}` was not compared with anything");
        }
    }
}

/// Every parameter of the eight networks as `level/network/name` and a view of it.
fn views(core: &Core) -> Vec<(String, Tensor)> {
    let mut out = Vec::new();
    for kind in [LevelKind::High, LevelKind::Low] {
        let level = core.level(kind);
        for (network, name) in [
            (level.actor(), "actor"),
            (level.critic(), "critic"),
            (level.target_actor(), "target_actor"),
            (level.target_critic(), "target_critic"),
        ] {
            for named in network.layout().named() {
                let flat = network.parameters().flat();
                let view = flat.narrow(0, named.range.start as i64, named.range.len() as i64);
                out.push((
                    format!("{}/{name}/{}", kind.name(), named.name),
                    view.view(named.shape.as_slice()),
                ));
            }
        }
    }
    out
}
