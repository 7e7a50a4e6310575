//! Parameter layout. In: the settings of the model; out: name, shape and initialisation of every parameter.
//!
//! The names are those of the oracle and of PyTorch modules, after the network's prefix:
//!
//! | name | shape | meaning |
//! |---|---|---|
//! | `encoder.{first,second}.cell.{weight_ih,weight_hh,bias_ih,bias_hh}` | `[3w,n] [3w,w] [3w] [3w]` | GRU, gates reset, update, new |
//! | `encoder.merge.{weight,bias}` | `[w,2w] [w]` | Eqs 3, 6, on `[h_first; h_second]` |
//! | actor `heads.i.{weight,bias}` | `[n,s] [n]` | Eqs 4, 7 |
//! | critic `heads.i.{state.weight,state.bias,action.weight,out.weight,out.bias}` | `[k,s] [k] [k,n] [1,k] [1]` | Eqs 5, 8 |
//!
//! | low-level critic, with `critic_affinity` = K, `heads.0.affinity.{projection,place,weight}` | `[K,n] [windows,N] [k,4 windows]` | D30 |
//!
//! s is the size of the state: w; at the low level w + n + M when the goal is part of the state, `[s; g; one-hot i]`.
//! An encoder that reads one window, or three, has so many GRUs, the third one named `third`. Without goals (M = 0) the
//! high level has no parameter.

use std::fmt;

use common::{
    config::ModelConfig,
    history::{Kind, N_WINDOWS},
};

/// The four networks of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// Goals of a period.
    HighActor,
    /// Values of goals.
    HighCritic,
    /// The virtual action of a step.
    LowActor,
    /// The value of an action.
    LowCritic,
}

/// Names of an encoder's GRUs, in the order of its windows.
pub const GRUS: [&str; N_WINDOWS] = ["first", "second", "third"];

/// Forms of the likeness c of an action and an item of a window (D30): c, max(0, c), and e^(s (c - 1)) for two s.
pub const AFFINITY_FORMS: usize = 4;

/// How fast the last two fall with the likeness.
pub const AFFINITY_SHARPNESS: [f32; 2] = kernels::math::SHARPNESS;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform in ± this: PyTorch's default, 1 / sqrt(w) for a GRU, 1 / sqrt(inputs) for a linear layer.
    Uniform(f32),
    /// All this: the output bias of some critics ([`common::config::CriticOutput::initial_bias`]), places of affinities.
    All(f32),
}

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name within its network.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// How it starts.
    pub initial: Initial,
}

impl Network {
    /// All four, in the order of their prefixes.
    pub const ALL: [Self; 4] = [Self::HighActor, Self::HighCritic, Self::LowActor, Self::LowCritic];

    /// Prefix of the names in a weights file, with the slash.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::HighActor => "high/actor/",
            Self::HighCritic => "high/critic/",
            Self::LowActor => "low/actor/",
            Self::LowCritic => "low/critic/",
        }
    }

    /// Whether it is a critic.
    pub fn is_critic(self) -> bool {
        matches!(self, Self::HighCritic | Self::LowCritic)
    }

    /// Whether it belongs to the low level.
    pub fn is_low(self) -> bool {
        matches!(self, Self::LowActor | Self::LowCritic)
    }

    /// The windows its encoder reads, one a GRU (Sec 2.2, 2.3).
    pub fn windows(self, model: &ModelConfig) -> &'static [Kind] {
        if self.is_low() { model.low_history.windows() } else { model.high_history.windows() }
    }

    /// Number of heads: one a goal at the high level, one at the low level. A network without a head does not exist.
    pub fn n_heads(self, model: &ModelConfig) -> usize {
        if self.is_low() { 1 } else { model.n_goals }
    }

    /// Dimensions K in which it measures affinities (D30); 0 where it does not.
    pub fn affinity(self, model: &ModelConfig) -> usize {
        if self == Self::LowCritic { model.critic_affinity } else { 0 }
    }

    /// Whether its state holds the active goal.
    pub fn sees_goal(self, model: &ModelConfig) -> bool {
        self.is_low() && model.goal_conditioning.in_state()
    }

    /// Size of the state its heads read.
    pub fn state_size(self, model: &ModelConfig) -> usize {
        let goal = if self.sees_goal(model) { model.n_dims + model.n_goals } else { 0 };
        model.encoder_width + goal
    }

    /// Its parameters, in the order of the table above.
    pub fn parameters(self, model: &ModelConfig) -> Vec<Parameter> {
        let (n, w, k) = (model.n_dims, model.encoder_width, model.head_width);
        let state = self.state_size(model);
        let mut list = List(Vec::new());
        if self.n_heads(model) == 0 {
            return list.0;
        }
        let n_windows = self.windows(model).len();
        for gru in &GRUS[..n_windows] {
            let prefix = format!("encoder.{gru}.cell.");
            list.uniform(&prefix, "weight_ih", &[3 * w, n], w);
            list.uniform(&prefix, "weight_hh", &[3 * w, w], w);
            list.uniform(&prefix, "bias_ih", &[3 * w], w);
            list.uniform(&prefix, "bias_hh", &[3 * w], w);
        }
        list.uniform("encoder.merge.", "weight", &[w, n_windows * w], n_windows * w);
        list.uniform("encoder.merge.", "bias", &[w], n_windows * w);
        for i in 0..self.n_heads(model) {
            let prefix = format!("heads.{i}.");
            if self.is_critic() {
                list.uniform(&prefix, "state.weight", &[k, state], state);
                list.uniform(&prefix, "state.bias", &[k], state);
                list.uniform(&prefix, "action.weight", &[k, n], n);
                list.uniform(&prefix, "out.weight", &[1, k], k);
                list.uniform(&prefix, "out.bias", &[1], k);
                if let Some(value) = model.critic_output.initial_bias() {
                    list.0.last_mut().expect("just pushed").initial = Initial::All(value);
                }
                let affinity = self.affinity(model);
                if affinity > 0 {
                    let n_features = AFFINITY_FORMS * n_windows;
                    list.uniform(&prefix, "affinity.projection", &[affinity, n], n);
                    list.uniform(&prefix, "affinity.place", &[n_windows, model.window], 1);
                    list.0.last_mut().expect("just pushed").initial = Initial::All(0.0);
                    list.uniform(&prefix, "affinity.weight", &[k, n_features], n_features);
                }
            } else {
                list.uniform(&prefix, "weight", &[n, state], state);
                list.uniform(&prefix, "bias", &[n], state);
            }
        }
        list.0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HighActor => "high-level actor",
            Self::HighCritic => "high-level critic",
            Self::LowActor => "low-level actor",
            Self::LowCritic => "low-level critic",
        })
    }
}

struct List(Vec<Parameter>);

impl List {
    fn uniform(&mut self, prefix: &str, name: &str, shape: &[usize], fan_in: usize) {
        self.0.push(Parameter {
            name: format!("{prefix}{name}"),
            shape: shape.to_vec(),
            initial: Initial::Uniform(1.0 / (fan_in as f32).sqrt()),
        });
    }
}

#[cfg(test)]
mod tests {
    use common::config::{Config, GoalConditioning, History, Preset};

    use super::*;

    fn shapes(network: Network, model: &ModelConfig) -> Vec<(String, Vec<usize>)> {
        network.parameters(model).into_iter().map(|p| (p.name, p.shape)).collect()
    }

    #[test]
    fn the_goal_and_its_number_widen_low_level_heads_only() {
        let mut model = Config::preset(Preset::Paper).model;
        model.goal_conditioning = GoalConditioning::State;
        let head = |network, name: &str| {
            shapes(network, &model).into_iter().find(|(n, _)| n == name).map(|(_, shape)| shape)
        };
        assert_eq!(head(Network::LowActor, "heads.0.weight"), Some(vec![50, 64 + 50 + 2]));
        assert_eq!(head(Network::LowCritic, "heads.0.state.weight"), Some(vec![64, 64 + 50 + 2]));
        assert_eq!(head(Network::HighActor, "heads.1.weight"), Some(vec![50, 64]));
        assert_eq!(head(Network::HighCritic, "heads.1.state.weight"), Some(vec![64, 64]));
        assert_eq!(head(Network::LowActor, "heads.1.weight"), None);
    }

    #[test]
    fn an_encoder_has_a_gru_a_window_and_no_goals_mean_no_high_level() {
        let mut model = Config::preset(Preset::DdpgO).model;
        let low = shapes(Network::LowActor, &model);
        assert!(low.contains(&("encoder.third.cell.weight_hh".into(), vec![192, 64])));
        assert!(low.contains(&("encoder.merge.weight".into(), vec![64, 192])));
        assert_eq!(shapes(Network::HighActor, &model), []);
        model.low_history = History::Clicks;
        let low = shapes(Network::LowActor, &model);
        assert!(low.iter().all(|(name, _)| !name.contains("second")));
        assert!(low.contains(&("encoder.merge.weight".into(), vec![64, 64])));
    }

    #[test]
    fn parameters_stand_in_pytorchs_order() {
        let model = Config::preset(Preset::Paper).model;
        let names: Vec<String> = shapes(Network::HighCritic, &model).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names[0], "encoder.first.cell.weight_ih");
        assert_eq!(names[8..11], ["encoder.merge.weight", "encoder.merge.bias", "heads.0.state.weight"]);
        assert_eq!(names.len(), 10 + 2 * 5);
    }
}
