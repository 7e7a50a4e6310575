//! The symbols of the paper. In: a validated configuration; out: its sizes and constants, real numbers in f64.

use common::{
    PeriodLayout,
    config::{AlgorithmConfig, Config, HighDiscount, LevelRates, ModelConfig, Precision},
    history::Kind,
    transition::Shape,
};

/// Typical length of an item's embedding, the length critics see with `critic_action = direction` (D8).
pub const DIRECTION_LENGTH: f64 = 7.0;

/// Added to values before their logarithm is taken (D29).
pub const LOG_EPSILON: f64 = 1e-8;

/// Added to the variance of a normalised layer (D24).
pub const NORM_EPSILON: f64 = 1e-5;

/// Everything the equations depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Sizes and forms of the networks.
    pub model: ModelConfig,
    /// Rewards, targets, losses, optimisers.
    pub algorithm: AlgorithmConfig,
    /// B, bound of goals and virtual actions.
    pub bound: f64,
    /// alpha, weight of the internal reward (Eq 10).
    pub alpha: f64,
    /// beta of Eq 13.
    pub beta: f64,
    /// What products of the GRUs multiply in the native engine.
    pub precision: Precision,
}

/// One of the two agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelKind {
    /// Sets goals; sees clicks and orders (HRA).
    High,
    /// Picks items; sees skips and clicks (LRA).
    Low,
}

impl LevelKind {
    /// `high` or `low`, as in the names of parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

/// The number a person wrote: 1.94 and not 1.940000057..., which is what the f32 nearest to 1.94 is in f64.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().expect("a number prints as a number")
}

impl Settings {
    /// The symbols of a validated configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            bound: as_written(config.model.bound),
            alpha: as_written(config.algorithm.internal_weight),
            beta: as_written(config.algorithm.beta),
            model: config.model.clone(),
            algorithm: config.algorithm.clone(),
            precision: config.train.precision,
        }
    }

    /// Sizes shared by records and batches.
    pub fn shape(&self) -> Shape {
        Shape {
            window: self.model.window,
            n_steps: self.model.period_steps,
            n_goals: self.model.n_goals,
            n_dims: self.model.n_dims,
        }
    }

    /// Periods and sub-periods.
    pub fn period_layout(&self) -> PeriodLayout {
        PeriodLayout {
            n_goals: self.model.n_goals,
            n_steps: self.model.period_steps,
            remainder: self.algorithm.remainder,
        }
    }

    /// The history windows that a level's encoders read, one a GRU.
    pub fn windows(&self, level: LevelKind) -> &'static [Kind] {
        match level {
            LevelKind::High => self.model.high_history.windows(),
            LevelKind::Low => self.model.low_history.windows(),
        }
    }

    /// Heads of a level's networks: one a goal, and one for the item.
    pub fn n_heads(&self, level: LevelKind) -> usize {
        match level {
            LevelKind::High => self.model.n_goals,
            LevelKind::Low => 1,
        }
    }

    /// Numbers that stand behind s in a level's state: goal and one-hot index where goals condition the state (D1).
    pub fn n_features(&self, level: LevelKind) -> usize {
        if level == LevelKind::Low && self.model.goal_conditioning.in_state() {
            self.model.n_dims + self.model.n_goals
        } else {
            0
        }
    }

    /// Dimensions of the affinity of a level's critics (D30); 0 where they have none.
    pub fn affinity(&self, level: LevelKind) -> usize {
        if level == LevelKind::Low { self.model.critic_affinity } else { 0 }
    }

    /// Adam's learning rates of a level.
    pub fn learning_rates(&self, level: LevelKind) -> LevelRates {
        match level {
            LevelKind::High => self.algorithm.learning_rate_high,
            LevelKind::Low => self.algorithm.learning_rate_low,
        }
    }

    /// Share of the learning rates in force after this share of a run, in [0, 1]: they fall geometrically to
    /// `learning_rate_final` of themselves.
    pub fn rate_share(&self, done: f64) -> f64 {
        self.algorithm.learning_rate_final.powf(done.clamp(0.0, 1.0))
    }

    /// Weight of r_in in r^l: alpha, or 0 where goals act through the state alone.
    pub fn internal_weight(&self) -> f64 {
        if self.model.goal_conditioning.in_reward() { self.alpha } else { 0.0 }
    }

    /// Discount of one transition of a level: gamma a step; a period's is gamma (Eq 14) or gamma^c (D4).
    pub fn discount(&self, level: LevelKind) -> f64 {
        let gamma = self.algorithm.discount;
        match (level, self.algorithm.high_discount) {
            (LevelKind::Low, _) | (LevelKind::High, HighDiscount::Gamma) => gamma,
            (LevelKind::High, HighDiscount::GammaPowC) => gamma.powi(self.model.period_steps as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::config::{GoalConditioning, Preset};

    use super::*;

    #[test]
    fn a_bound_is_the_number_that_was_written() {
        assert_eq!(Settings::new(&Config::preset(Preset::Paper)).bound, 1.94);
    }

    #[test]
    fn high_discount_is_a_period_or_its_steps() {
        let mut settings = Settings::new(&Config::preset(Preset::Paper));
        assert_eq!(settings.discount(LevelKind::High), 0.95);
        settings.algorithm.high_discount = HighDiscount::GammaPowC;
        assert!((settings.discount(LevelKind::High) - 0.95_f64.powi(10)).abs() < 1e-15);
        assert_eq!(settings.discount(LevelKind::Low), 0.95);
    }

    #[test]
    fn goals_are_in_the_reward_or_in_the_state_or_in_both() {
        let mut settings = Settings::new(&Config::preset(Preset::Paper));
        for (conditioning, features, weight) in [
            (GoalConditioning::Reward, 0, 0.5),
            (GoalConditioning::State, 52, 0.0),
            (GoalConditioning::Both, 52, 0.5),
        ] {
            settings.model.goal_conditioning = conditioning;
            assert_eq!(settings.n_features(LevelKind::Low), features);
            assert_eq!(settings.n_features(LevelKind::High), 0);
            assert_eq!(settings.internal_weight(), weight);
        }
    }
}
