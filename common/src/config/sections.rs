//! The sections of a configuration and their ranges.

use serde::{Deserialize, Serialize};

use super::{Error, require, within};
use crate::Remainder;

/// Most threads of an update (`train.learner_threads`).
pub const MOST_LEARNER_THREADS: usize = 4;

/// `[environment]`: the world the actors roll out in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// `shopworld`, `shopworld:VARIANT`, or the folder of an imported log with a fitted simulator.
    pub name: String,
    /// Steps after which a session is truncated, at least 1.
    pub session_length: usize,
    /// Whether users may leave before (termination).
    pub leave: bool,
    /// Candidates of the action mapping per session, |I|.
    pub candidates: usize,
    /// Steps of the logging policy that fill the windows before a session starts.
    pub warmup_steps: usize,
    /// Learned simulators only: their logits are divided by it; above 1, feedback is less predictable. 1 is as fitted.
    pub temperature: f32,
    /// Learned simulators only: share of steps whose feedback is drawn from the log's base rates, whatever the item.
    pub flip_share: f32,
}

/// Discount of the high-level targets (D4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HighDiscount {
    /// gamma a period (Eq 14).
    Gamma,
    /// gamma^c a period.
    GammaPowC,
}

/// How high-level rewards are assigned to goals (Eq 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// r_i = sum over k <= i of beta^(i-k) phi_k.
    Paper,
    /// r_i = phi_i (beta = 0).
    Naive,
    /// r_i = sum over k >= i of beta^(k-i) phi_k.
    Causal,
}

/// The action of the low-level target (Eq 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetAction {
    /// The target actor's output as it is.
    Virtual,
    /// The item Eq 9 maps it to.
    Mapped,
}

/// What a critic's error counts (Eqs 15, 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticLoss {
    /// (y - Q)^2.
    Squared,
    /// Q - y ln Q, for values above 0 (D29).
    Poisson,
}

/// How the shared encoder of several heads is updated (Sec 2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderUpdate {
    /// One loss over the M heads, one Adam step.
    Summed,
    /// M steps, one a head, each stepping the encoder as well.
    Sequential,
}

/// What becomes of a period that the end of a session cuts short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialPeriods {
    /// A high-level transition with the rewards it has.
    Keep,
    /// None: Algorithm 1 stores a high-level transition every c steps only.
    Drop,
}

/// Adam's learning rates of one level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelRates {
    /// Of the actor.
    pub actor: f64,
    /// Of the critic.
    pub critic: f64,
}

/// `[algorithm]`: rewards, targets, losses, optimisers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmConfig {
    /// gamma, a step at the low level, see `high_discount` for the high one.
    pub discount: f64,
    /// Discount of a period.
    pub high_discount: HighDiscount,
    /// alpha, weight of the internal reward (Eq 10).
    pub internal_weight: f32,
    /// beta of Eq 13.
    pub beta: f32,
    /// How high-level rewards are assigned.
    pub assignment: Assignment,
    /// Who owns the steps left over when c is not divisible by M.
    pub remainder: Remainder,
    /// Periods cut short.
    pub partial_periods: PartialPeriods,
    /// The action of the low-level target.
    pub target_action: TargetAction,
    /// What the critics' errors count.
    pub critic_loss: CriticLoss,
    /// How shared encoders are updated.
    pub encoder_update: EncoderUpdate,
    /// tau of the soft target updates.
    pub soft_update: f64,
    /// Adam, high level.
    pub learning_rate_high: LevelRates,
    /// Adam, low level.
    pub learning_rate_low: LevelRates,
    /// Share of all learning rates left at the last step of a run; they fall geometrically (1 in the paper: constant).
    pub learning_rate_final: f64,
    /// The actors and all targets move at every k-th update (1 in the paper).
    pub actor_delay: u64,
    /// A second critic a level, and the smaller of both values in the targets (D21).
    pub twin_critics: bool,
    /// Standard deviation of the Gaussian on every component of the targets' actions, in units of B; 0 is off (D22).
    pub target_noise: f64,
    /// Most that it changes a component by, in units of B.
    pub target_noise_limit: f64,
    /// Steps of a low-level return before it bootstraps, within the period (D26); 1: Eq 17.
    pub low_steps: usize,
    /// Share of low-level rows whose goals are replaced by what was clicked in hindsight (D27).
    pub hindsight_share: f64,
    /// Largest gradient norm of a network; 0 is off.
    pub gradient_clip: f64,
    /// Weight of the mean square of the actors' pre-activations beyond 1 in the actor loss; 0 is off.
    pub saturation_penalty: f64,
}

/// `[exploration]`: noise of the rollouts; none in any evaluation (D3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplorationConfig {
    /// Standard deviation of the Gaussian on every component of a goal, in units of B.
    pub goal_noise: f32,
    /// Standard deviation of the Gaussian on every component of a virtual action, in units of B, before mapping.
    pub action_noise: f32,
    /// Share of steps that show a random candidate.
    pub random_items: f32,
    /// Environment steps at the start of a run that show random candidates only.
    pub random_steps: u64,
}

/// `[actor]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorConfig {
    /// Rollout threads.
    pub actors: usize,
    /// Sessions each of them rolls out side by side.
    pub sessions: usize,
    /// Cluster: form of the weights on the wire.
    pub weights: WeightsForm,
    /// Cluster: seconds since an actor's weights were last known to be the newest, beyond which nothing is chosen by them.
    pub max_staleness_seconds: f64,
}

/// Numbers of the weights on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsForm {
    /// As they are.
    F32,
    /// Rounded to bfloat16: half the bytes.
    Bf16,
}

/// How actors and learner are coupled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Algorithm 1 serially: a step of the sessions, then the updates it earns. Bitwise reproducible from the seed.
    Lockstep,
    /// Actors and learner run freely under the rate limiter.
    Async,
}

/// What updates the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Native on a CPU, torch on a GPU.
    Auto,
    /// Our own kernels, CPU only.
    Native,
    /// libtorch.
    Torch,
}

impl EngineKind {
    /// The setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Torch => "torch",
        }
    }
}

/// Numbers that the matrix products of the encoders' GRUs multiply in the native engine (D31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Of 32 bits.
    F32,
    /// Of 16 bits, bfloat16; sums are of 32.
    Bf16,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Coupling of actors and learner.
    pub mode: Mode,
    /// Environment steps of the run.
    pub steps: u64,
    /// Updates of both levels an environment step (1 in the paper).
    pub updates_per_step: f64,
    /// Sessions of the log that the low-level actor imitates before the first update; 0: none (D25).
    pub warm_start_sessions: u64,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// What updates the parameters.
    pub engine: EngineKind,
    /// Threads of an update of the native engine; 0 is half of the cores, from 2 to 4, or 1 of a single core.
    pub learner_threads: usize,
    /// What the GRUs' products of the native engine multiply.
    pub precision: Precision,
    /// Environment steps between evaluations.
    pub evaluate_every: u64,
    /// Sessions of an evaluation during training.
    pub evaluation_sessions: usize,
    /// Environment steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept, the newest.
    pub keep_checkpoints: usize,
    /// Updates between weight broadcasts.
    pub publish_every: u64,
}

impl EnvironmentConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        require(!self.name.is_empty(), "environment.name", "empty", "a world or the folder of a log")?;
        require(
            (1..=10_000).contains(&self.session_length),
            "environment.session_length",
            self.session_length,
            "1 to 10000 steps",
        )?;
        require(self.warmup_steps <= 1_000, "environment.warmup_steps", self.warmup_steps, "at most 1000")?;
        let least = self.session_length + self.warmup_steps;
        require(
            self.candidates >= least,
            "environment.candidates",
            self.candidates,
            format!("at least session_length + warmup_steps = {least}, no item is shown twice"),
        )?;
        require(
            self.temperature > 0.0 && self.temperature <= 100.0,
            "environment.temperature",
            self.temperature,
            "above 0, at most 100",
        )?;
        within("environment.flip_share", self.flip_share.into(), 0.0, 1.0)
    }
}

impl AlgorithmConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        within("algorithm.discount", self.discount, 0.0, 1.0)?;
        within("algorithm.internal_weight", self.internal_weight.into(), 0.0, 100.0)?;
        within("algorithm.beta", self.beta.into(), 0.0, 1.0)?;
        within("algorithm.soft_update", self.soft_update, 0.0, 1.0)?;
        within("algorithm.learning_rate_high.actor", self.learning_rate_high.actor, 0.0, 1.0)?;
        within("algorithm.learning_rate_high.critic", self.learning_rate_high.critic, 0.0, 1.0)?;
        within("algorithm.learning_rate_low.actor", self.learning_rate_low.actor, 0.0, 1.0)?;
        within("algorithm.learning_rate_low.critic", self.learning_rate_low.critic, 0.0, 1.0)?;
        within("algorithm.learning_rate_final", self.learning_rate_final, 1e-9, 1.0)?;
        within("algorithm.target_noise", self.target_noise, 0.0, 100.0)?;
        within("algorithm.target_noise_limit", self.target_noise_limit, 0.0, 100.0)?;
        require((1..=255).contains(&self.low_steps), "algorithm.low_steps", self.low_steps, "1 to 255")?;
        within("algorithm.hindsight_share", self.hindsight_share, 0.0, 1.0)?;
        within("algorithm.gradient_clip", self.gradient_clip, 0.0, 1e9)?;
        within("algorithm.saturation_penalty", self.saturation_penalty, 0.0, 1e9)?;
        require(self.actor_delay >= 1, "algorithm.actor_delay", self.actor_delay, "at least 1")
    }
}

impl ExplorationConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        within("exploration.goal_noise", self.goal_noise.into(), 0.0, 100.0)?;
        within("exploration.action_noise", self.action_noise.into(), 0.0, 100.0)?;
        within("exploration.random_items", self.random_items.into(), 0.0, 1.0)
    }
}

impl ActorConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        require((1..=1024).contains(&self.actors), "actor.actors", self.actors, "1 to 1024 threads")?;
        require((1..=65_536).contains(&self.sessions), "actor.sessions", self.sessions, "1 to 65536")?;
        within("actor.max_staleness_seconds", self.max_staleness_seconds, 0.1, 1e6)
    }
}

impl TrainConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        require(self.steps >= 1, "train.steps", self.steps, "at least 1")?;
        within("train.updates_per_step", self.updates_per_step, 1e-9, 1e3)?;
        require(
            self.warm_start_sessions <= 100_000_000,
            "train.warm_start_sessions",
            self.warm_start_sessions,
            "at most 100000000",
        )?;
        require(self.evaluate_every >= 1, "train.evaluate_every", self.evaluate_every, "at least 1")?;
        require(
            self.evaluation_sessions >= 2,
            "train.evaluation_sessions",
            self.evaluation_sessions,
            "at least 2",
        )?;
        require(self.checkpoint_every >= 1, "train.checkpoint_every", self.checkpoint_every, "at least 1")?;
        require(self.keep_checkpoints >= 1, "train.keep_checkpoints", self.keep_checkpoints, "at least 1")?;
        require(self.publish_every >= 1, "train.publish_every", self.publish_every, "at least 1")?;
        let threads = self.learner_threads;
        require(threads <= MOST_LEARNER_THREADS, "train.learner_threads", threads, "a number from 0 to 4")?;
        let cuda = self.device.strip_prefix("cuda:").is_some_and(|n| n.parse::<u8>().is_ok());
        require(
            cuda || matches!(self.device.as_str(), "auto" | "cpu"),
            "train.device",
            &self.device,
            "`auto`, `cpu` or `cuda:N`",
        )?;
        require(
            !cuda || self.engine != EngineKind::Native,
            "train.engine",
            "native",
            "`auto` or `torch` with train.device = \"cuda:N\"",
        )?;
        require(
            self.precision == Precision::F32 || (!cuda && self.engine != EngineKind::Torch),
            "train.precision",
            "bf16",
            "`f32` with train.engine = \"torch\" or train.device = \"cuda:N\": the native engine alone multiplies bf16",
        )
    }
}
