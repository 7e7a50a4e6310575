//! A policy and where it comes from.

use agent::Policy;
use common::PolicyVersion;

/// Both agents, with the version of the broadcast that brought them.
pub struct VersionedPolicy {
    /// Number of the broadcast; 0 before the first.
    pub version: PolicyVersion,
    /// Learner updates done when it was made.
    pub learner_step: u64,
    /// The agents.
    pub policy: Policy,
}

impl std::fmt::Debug for VersionedPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionedPolicy")
            .field("version", &self.version)
            .field("learner_step", &self.learner_step)
            .finish_non_exhaustive()
    }
}
