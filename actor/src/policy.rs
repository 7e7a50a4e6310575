//! A policy and where it comes from.

use std::sync::Arc;

use agent::Policy;
use common::{ItemTable, PolicyVersion, config::ModelConfig};

use crate::weights::Version;

/// Both agents, with the version of the broadcast that brought them.
pub struct VersionedPolicy {
    /// Number of the broadcast; 0 before the first.
    pub version: PolicyVersion,
    /// Learner updates done when it was made.
    pub learner_step: u64,
    /// The agents.
    pub policy: Policy,
}

impl VersionedPolicy {
    /// Makes policies over `items` of the versions of a broadcast.
    pub fn decoder(
        model: ModelConfig,
        items: Arc<ItemTable>,
    ) -> impl Fn(Version) -> Result<Self, agent::Error> + Send + 'static {
        move |Version { version, learner_step, data }| {
            let policy = Policy::from_safetensors(&data, &model, Arc::clone(&items))?;
            Ok(Self { version, learner_step, policy })
        }
    }
}

impl std::fmt::Debug for VersionedPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionedPolicy")
            .field("version", &self.version)
            .field("learner_step", &self.learner_step)
            .finish_non_exhaustive()
    }
}
