//! `policy.json`: what a reader of the other files must know.

use agent::{Network, Weights};
use common::{
    ItemTable, PeriodLayout,
    config::{Config, ModelConfig},
};
use serde::{Deserialize, Serialize};

/// Of this layout of the folder.
pub const VERSION: u32 = 1;

/// Settings and shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Version of the folder's layout, [`VERSION`].
    pub version: u32,
    /// World or log that the run learned in.
    pub environment: String,
    /// Seed of the run.
    pub seed: u64,
    /// Sizes and forms of the networks, as in the run's `config.toml`.
    pub model: ModelConfig,
    /// Periods: M goals, c steps, who owns the remainder.
    pub period: PeriodLayout,
    /// Items of the catalogue, V.
    pub n_items: usize,
    /// The networks of `policy.safetensors`.
    pub networks: Vec<NetworkDescription>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDescription {
    /// Prefix of its tensors' names.
    pub prefix: String,
    /// The windows that its encoder reads, in the order of its GRUs: 0 skipped, 1 clicked, 2 ordered.
    pub windows: Vec<usize>,
    /// Whether its state is `[s; g; one-hot i]` instead of s.
    pub sees_goal: bool,
    /// Name and shape of each tensor, without the prefix.
    pub tensors: Vec<(String, Vec<usize>)>,
}

impl Description {
    /// Of a run's policy; the networks that the weights hold.
    pub fn new(config: &Config, weights: &Weights<'_>, items: &ItemTable) -> Self {
        let of_network = |network: Network| NetworkDescription {
            prefix: network.prefix().to_owned(),
            windows: network.windows(&config.model).iter().map(|&kind| kind as usize).collect(),
            sees_goal: network.sees_goal(&config.model),
            tensors: network.parameters(&config.model).into_iter().map(|p| (p.name, p.shape)).collect(),
        };
        let held = Network::ALL.into_iter().filter(|&network| weights.contains(network));
        Self {
            version: VERSION,
            environment: config.environment.name.clone(),
            seed: config.seed,
            model: config.model.clone(),
            period: config.period_layout(),
            n_items: items.n_items(),
            networks: held.map(of_network).collect(),
        }
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a description is plain structs, strings and numbers")
    }
}
