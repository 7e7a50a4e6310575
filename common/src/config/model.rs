//! `[model]`: sizes and forms of the networks.

use serde::{Deserialize, Serialize};

use super::{Error, require};
use crate::history::Kind;

/// How goals reach the low-level agent (docs/deviations.md, D1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalConditioning {
    /// Through the internal reward only (the paper's equations).
    Reward,
    /// In the low-level state `[s; g; one-hot i]`, without internal reward (HRL-S).
    State,
    /// Both.
    Both,
}

impl GoalConditioning {
    /// Whether r_in is part of the low-level reward.
    pub fn in_reward(self) -> bool {
        self != Self::State
    }

    /// Whether the active goal is part of the low-level state.
    pub fn in_state(self) -> bool {
        self != Self::Reward
    }
}

/// Activation of the critics' output (D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticOutput {
    /// ReLU with output bias +1 (Eqs 5, 8).
    Relu,
    /// Softplus.
    Softplus,
    /// e^x, beyond x = 8 along its tangent (D29).
    Exponential,
    /// None.
    Linear,
}

impl CriticOutput {
    /// Where [`Self::Exponential`] goes on along its tangent, so that it cannot overflow.
    pub const TANGENT: f32 = 8.0;

    /// Where the output's bias starts, if not at random: a ReLU would start half dead otherwise (D2), an exponential one
    /// starts with values of the size of a step's reward (D29).
    pub fn initial_bias(self) -> Option<f32> {
        match self {
            Self::Relu => Some(1.0),
            Self::Exponential => Some(-2.0),
            Self::Softplus | Self::Linear => None,
        }
    }
}

/// The form in which a critic sees an action or a goal (D8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticAction {
    /// As it is (Eqs 5, 8).
    Raw,
    /// `7 a / |a|`: only the direction matters to Eqs 9 and 11, 7 is an item's typical length.
    Direction,
}

/// The history windows that an encoder reads, in this order, one GRU each (Eqs 3, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Skips and clicks: the low level of the paper.
    SkipsClicks,
    /// Clicks and orders: the high level of the paper.
    ClicksOrders,
    /// Clicks alone (HRL-I).
    Clicks,
    /// Skips, clicks and orders (DDPG-O).
    SkipsClicksOrders,
}

impl History {
    /// The windows, in the order of the encoder's GRUs.
    pub fn windows(self) -> &'static [Kind] {
        match self {
            Self::SkipsClicks => &[Kind::Skipped, Kind::Clicked],
            Self::ClicksOrders => &[Kind::Clicked, Kind::Ordered],
            Self::Clicks => &[Kind::Clicked],
            Self::SkipsClicksOrders => &[Kind::Skipped, Kind::Clicked, Kind::Ordered],
        }
    }
}

/// How the nearest item is looked for where a session's candidates, or those of a target, are the whole catalogue (D28).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemSearch {
    /// Approximate above 100,000 items, exact up to there.
    Auto,
    /// Every candidate is compared (Eq 9).
    Exact,
    /// Those that seem to be the best in the nearest groups are compared.
    Approximate,
}

/// `[model]`: sizes and forms of the networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Item embedding size, n.
    pub n_dims: usize,
    /// Length of each history window, N.
    pub window: usize,
    /// Width of the GRUs and of the state s.
    pub encoder_width: usize,
    /// Width of the critics' heads.
    pub head_width: usize,
    /// Goals per period, M; 0: no high-level agent at all (DDPG+).
    pub n_goals: usize,
    /// Steps per period, c.
    pub period_steps: usize,
    /// Bound B of goals, virtual actions and embeddings.
    pub bound: f32,
    /// What the high-level agent sees of the past.
    pub high_history: History,
    /// What the low-level agent sees of the past.
    pub low_history: History,
    /// How goals reach the low-level agent.
    pub goal_conditioning: GoalConditioning,
    /// Activation of the critics' output.
    pub critic_output: CriticOutput,
    /// The form in which critics see actions.
    pub critic_action: CriticAction,
    /// Whether the critics' hidden layers are normalised before their ReLU (D24).
    pub head_norm: bool,
    /// Dimensions K in which the low-level critic measures how near an action is to each item of the windows (D30); 0: it does
    /// not.
    pub critic_affinity: usize,
    /// Items nearest to the virtual action among which the low-level critic chooses the one to show (D23); 0 and 1: the
    /// nearest is shown (Eq 9).
    pub rescored_items: usize,
    /// How the nearest item is looked for where the candidates are the whole catalogue (D28).
    pub item_search: ItemSearch,
}

impl ModelConfig {
    /// Whether there is a high-level agent.
    pub fn has_high_level(&self) -> bool {
        self.n_goals > 0
    }

    /// Steps of a high-level transition; 0 without a high level.
    pub fn high_steps(&self) -> usize {
        if self.has_high_level() { self.period_steps } else { 0 }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let size = |key, value: usize, most: usize| {
            require((1..=most).contains(&value), key, value, format!("1 to {most}"))
        };
        size("model.n_dims", self.n_dims, 4096)?;
        size("model.window", self.window, 255)?;
        size("model.encoder_width", self.encoder_width, 4096)?;
        size("model.head_width", self.head_width, 4096)?;
        size("model.period_steps", self.period_steps, 255)?;
        require(
            self.n_goals <= self.period_steps,
            "model.n_goals",
            self.n_goals,
            format!("at most model.period_steps = {} (a goal needs a step)", self.period_steps),
        )?;
        require(
            self.n_goals >= 1 || !self.goal_conditioning.in_state(),
            "model.n_goals",
            self.n_goals,
            "at least 1 with model.goal_conditioning = \"state\" or \"both\": there would be no goal to see",
        )?;
        require(self.critic_affinity <= 256, "model.critic_affinity", self.critic_affinity, "at most 256")?;
        require(self.rescored_items <= 10_000, "model.rescored_items", self.rescored_items, "at most 10000")?;
        require(self.bound > 0.0 && self.bound.is_finite(), "model.bound", self.bound, "a positive number")
    }
}
