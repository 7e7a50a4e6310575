//! The presets: `paper` is literal; `tuned` is the paper's structure with our values (docs/tuning.md), the others are variants
//! of it (docs/methods); `best` goes beyond it and is the default.

use serde::{Deserialize, Serialize};

use super::{
    ActorConfig, AlgorithmConfig, Assignment, Batch, ClusterConfig, Config, CriticAction, CriticLoss,
    CriticOutput, EncoderUpdate, EngineKind, EnvironmentConfig, ExplorationConfig, GoalConditioning,
    HighDiscount, History, ItemSearch, LevelRates, Mode, ModelConfig, PartialPeriods, Precision,
    ReplayConfig, Sampling, Sync, TableConfig, TargetAction, TrainConfig, WeightsForm,
};
use crate::Remainder;

/// A complete set of settings to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The paper's values, literally. It hardly learns: see docs/deviations.md.
    Paper,
    /// The paper's structure, with values found by the search of docs/tuning.md.
    Tuned,
    /// `tuned` without a high-level agent: the low-level one alone.
    #[serde(rename = "ddpg+")]
    DdpgPlus,
    /// `ddpg+` whose state knows the orders: what the information is worth without the hierarchy.
    #[serde(rename = "ddpg-o")]
    DdpgO,
    /// `tuned` with clicks alone in the states of both levels.
    #[serde(rename = "hrl-i")]
    HrlI,
    /// `tuned` with the goal in the low-level state instead of the internal reward.
    #[serde(rename = "hrl-s")]
    HrlS,
    /// `tuned` with one goal a period.
    #[serde(rename = "hrl-g")]
    HrlG,
    /// `tuned` with what goes beyond the paper: the critic's choice among many near items, goals and orders in the state,
    /// twin critics with smoothed target actions and delayed actors; and other values where it learns better with them.
    #[default]
    Best,
}

impl Preset {
    /// All of them, in the order of the docs.
    pub const ALL: [Self; 8] = [
        Self::Paper,
        Self::Tuned,
        Self::DdpgPlus,
        Self::DdpgO,
        Self::HrlI,
        Self::HrlS,
        Self::HrlG,
        Self::Best,
    ];

    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Tuned => "tuned",
            Self::DdpgPlus => "ddpg+",
            Self::DdpgO => "ddpg-o",
            Self::HrlI => "hrl-i",
            Self::HrlS => "hrl-s",
            Self::HrlG => "hrl-g",
            Self::Best => "best",
        }
    }
}

impl Config {
    /// The settings of a preset, seed 0.
    pub fn preset(preset: Preset) -> Self {
        let mut config = if preset == Preset::Paper { paper() } else { tuned() };
        config.preset = preset;
        let Self { model, algorithm, .. } = &mut config;
        match preset {
            Preset::Paper | Preset::Tuned => {}
            Preset::DdpgPlus | Preset::DdpgO => {
                (model.n_goals, algorithm.internal_weight) = (0, 0.0);
                if preset == Preset::DdpgO {
                    model.low_history = History::SkipsClicksOrders;
                }
            }
            Preset::HrlI => (model.high_history, model.low_history) = (History::Clicks, History::Clicks),
            Preset::HrlS => model.goal_conditioning = GoalConditioning::State,
            Preset::HrlG => model.n_goals = 1,
            Preset::Best => {
                model.goal_conditioning = GoalConditioning::Both;
                model.low_history = History::SkipsClicksOrders;
                (model.rescored_items, model.critic_affinity) = (200, 16);
                model.critic_output = CriticOutput::Exponential;
                algorithm.critic_loss = CriticLoss::Poisson;
                (algorithm.twin_critics, algorithm.actor_delay) = (true, 2);
                (algorithm.target_noise, algorithm.soft_update) = (0.1, 0.02);
                (algorithm.discount, algorithm.internal_weight) = (0.5, 0.02);
                config.train.updates_per_step = 1.0 / 256.0;
                // Two thirds of a run of `tuned`, and what goes in proportion.
                (config.train.steps, config.exploration.random_steps) = (2_000_000, 33_333);
                (config.replay.low.min_size, config.replay.high.min_size) = (13_333, 1_333);
            }
        }
        config
    }
}

fn paper() -> Config {
    let table = TableConfig { capacity: 400, batch: Batch::Share(0.1), min_size: 40 };
    Config {
        preset: Preset::Paper,
        seed: 0,
        environment: EnvironmentConfig {
            name: "shopworld".into(),
            session_length: 50,
            leave: false,
            candidates: 1000,
            warmup_steps: 20,
            temperature: 1.0,
            flip_share: 0.0,
        },
        model: ModelConfig {
            n_dims: 50,
            window: 10,
            encoder_width: 64,
            head_width: 64,
            n_goals: 2,
            period_steps: 10,
            bound: 1.94,
            high_history: History::ClicksOrders,
            low_history: History::SkipsClicks,
            goal_conditioning: GoalConditioning::Reward,
            critic_output: CriticOutput::Relu,
            critic_action: CriticAction::Raw,
            head_norm: false,
            critic_affinity: 0,
            rescored_items: 0,
            item_search: ItemSearch::Auto,
        },
        algorithm: AlgorithmConfig {
            discount: 0.95,
            high_discount: HighDiscount::Gamma,
            internal_weight: 0.5,
            beta: 1.0,
            assignment: Assignment::Paper,
            remainder: Remainder::Drop,
            partial_periods: PartialPeriods::Drop,
            target_action: TargetAction::Mapped,
            critic_loss: CriticLoss::Squared,
            encoder_update: EncoderUpdate::Sequential,
            soft_update: 0.01,
            learning_rate_high: LevelRates { actor: 1e-6, critic: 1e-6 },
            learning_rate_low: LevelRates { actor: 1e-6, critic: 1e-6 },
            learning_rate_final: 1.0,
            actor_delay: 1,
            twin_critics: false,
            target_noise: 0.0,
            target_noise_limit: 0.5,
            low_steps: 1,
            hindsight_share: 0.0,
            gradient_clip: 0.0,
            saturation_penalty: 0.0,
        },
        exploration: ExplorationConfig {
            goal_noise: 0.0,
            action_noise: 0.0,
            random_items: 0.0,
            random_steps: 0,
        },
        replay: ReplayConfig {
            shards: 1,
            low: table.clone(),
            high: table,
            sampling: Sampling::Uniform,
            priority_exponent: 0.6,
            importance_exponent: 0.4,
            memory_mib: 0,
            data_dir: String::new(),
            sync: Sync::Disk,
        },
        actor: ActorConfig { actors: 1, sessions: 1, weights: WeightsForm::F32, max_staleness_seconds: 60.0 },
        train: TrainConfig {
            mode: Mode::Lockstep,
            steps: 85_000,
            updates_per_step: 1.0,
            warm_start_sessions: 0,
            device: "auto".into(),
            engine: EngineKind::Auto,
            learner_threads: 0,
            precision: Precision::F32,
            evaluate_every: 10_000,
            evaluation_sessions: 500,
            checkpoint_every: 10_000,
            keep_checkpoints: 2,
            publish_every: 1,
        },
        cluster: ClusterConfig::default(),
    }
}

fn tuned() -> Config {
    let paper = paper();
    Config {
        preset: Preset::Tuned,
        model: ModelConfig {
            head_width: 256,
            critic_output: CriticOutput::Linear,
            critic_action: CriticAction::Direction,
            ..paper.model
        },
        algorithm: AlgorithmConfig {
            discount: 0.8,
            internal_weight: 0.1,
            remainder: Remainder::Last,
            partial_periods: PartialPeriods::Keep,
            encoder_update: EncoderUpdate::Summed,
            learning_rate_high: LevelRates { actor: 1e-4, critic: 1e-3 },
            learning_rate_low: LevelRates { actor: 5e-4, critic: 3e-3 },
            learning_rate_final: 0.02,
            ..paper.algorithm
        },
        exploration: ExplorationConfig {
            goal_noise: 0.1,
            action_noise: 0.1,
            random_items: 0.1,
            random_steps: 50_000,
        },
        replay: ReplayConfig {
            low: TableConfig { capacity: 500_000, batch: Batch::Rows(512), min_size: 20_000 },
            high: TableConfig { capacity: 50_000, batch: Batch::Rows(64), min_size: 2_000 },
            ..paper.replay
        },
        actor: ActorConfig { sessions: 256, ..paper.actor },
        train: TrainConfig {
            mode: Mode::Async,
            steps: 3_000_000,
            updates_per_step: 1.0 / 512.0,
            evaluate_every: 200_000,
            checkpoint_every: 500_000,
            publish_every: 10,
            ..paper.train
        },
        ..paper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written from the paper (Sec 4.1 and the equations), not from the code above.
    #[test]
    fn paper_has_the_papers_values() {
        let Config { model, algorithm, exploration, replay, actor, train, .. } =
            Config::preset(Preset::Paper);
        assert_eq!((model.n_dims, model.window, model.bound), (50, 10, 1.94));
        assert_eq!((model.n_goals, model.period_steps), (2, 10));
        assert_eq!(model.goal_conditioning, GoalConditioning::Reward);
        assert_eq!((model.head_norm, model.rescored_items), (false, 0));
        assert_eq!((model.high_history, model.low_history), (History::ClicksOrders, History::SkipsClicks));
        assert_eq!((model.critic_output, model.critic_action), (CriticOutput::Relu, CriticAction::Raw));
        let AlgorithmConfig { discount, soft_update, internal_weight, beta, .. } = algorithm;
        assert_eq!((discount, soft_update, internal_weight, beta), (0.95, 0.01, 0.5, 1.0));
        assert_eq!(algorithm.high_discount, HighDiscount::Gamma);
        assert_eq!((algorithm.assignment, algorithm.remainder), (Assignment::Paper, Remainder::Drop));
        assert_eq!(algorithm.target_action, TargetAction::Mapped);
        assert_eq!(algorithm.critic_loss, CriticLoss::Squared);
        assert_eq!(algorithm.encoder_update, EncoderUpdate::Sequential);
        for rates in [algorithm.learning_rate_high, algorithm.learning_rate_low] {
            assert_eq!((rates.actor, rates.critic), (1e-6, 1e-6));
        }
        assert_eq!((algorithm.learning_rate_final, algorithm.actor_delay), (1.0, 1));
        assert_eq!((algorithm.twin_critics, algorithm.target_noise), (false, 0.0));
        assert_eq!((algorithm.low_steps, algorithm.hindsight_share), (1, 0.0));
        assert_eq!((algorithm.gradient_clip, algorithm.saturation_penalty), (0.0, 0.0));
        let ExplorationConfig { goal_noise, action_noise, random_items, random_steps } = exploration;
        assert_eq!((goal_noise, action_noise, random_items, random_steps), (0.0, 0.0, 0.0, 0));
        for table in [replay.low, replay.high] {
            assert_eq!((table.capacity, table.batch), (400, Batch::Share(0.1)));
        }
        assert_eq!((actor.actors, actor.sessions), (1, 1));
        assert_eq!(train.warm_start_sessions, 0);
        assert_eq!((train.mode, train.steps, train.updates_per_step), (Mode::Lockstep, 85_000, 1.0));
    }

    #[test]
    fn a_variant_differs_from_tuned_in_what_makes_it_one() {
        let tuned = Config::preset(Preset::Tuned);
        let differing = |preset| {
            let (mut one, mut keys) = (Config::preset(preset), Vec::new());
            one.preset = Preset::Tuned;
            let [one, other] = [&one, &tuned].map(|of| crate::config::dotted(&of.to_toml()).unwrap());
            keys.extend(one.keys().filter(|key| one[*key] != other[*key]).cloned());
            keys
        };
        for (preset, keys) in [
            (Preset::DdpgPlus, &["algorithm.internal_weight", "model.n_goals"][..]),
            (Preset::DdpgO, &["algorithm.internal_weight", "model.low_history", "model.n_goals"]),
            (Preset::HrlI, &["model.high_history", "model.low_history"]),
            (Preset::HrlS, &["model.goal_conditioning"]),
            (Preset::HrlG, &["model.n_goals"]),
            (
                Preset::Best,
                &[
                    "algorithm.actor_delay",
                    "algorithm.critic_loss",
                    "algorithm.discount",
                    "algorithm.internal_weight",
                    "algorithm.soft_update",
                    "algorithm.target_noise",
                    "algorithm.twin_critics",
                    "exploration.random_steps",
                    "model.critic_affinity",
                    "model.critic_output",
                    "model.goal_conditioning",
                    "model.low_history",
                    "model.rescored_items",
                    "replay.high.min_size",
                    "replay.low.min_size",
                    "train.steps",
                    "train.updates_per_step",
                ],
            ),
        ] {
            assert_eq!(differing(preset), keys, "{}", preset.name());
        }
    }

    #[test]
    fn a_preset_is_written_as_it_is_named() {
        for preset in Preset::ALL {
            let config = Config::preset(preset);
            assert_eq!(config.preset, preset);
            let method = match preset {
                Preset::Paper | Preset::Tuned | Preset::Best => "MAHRL",
                variant => &variant.name().to_uppercase(),
            };
            assert_eq!(config.method().to_uppercase(), method);
            assert!(config.to_toml().starts_with(&format!("preset = \"{}\"\n", preset.name())));
        }
    }
}
