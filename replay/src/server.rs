//! One shard as a process of its own serves it: writers are paced by the learner.
//!
//! In: settings and which shard it is; out: [`ShardServer::routes`] for any tonic server. Owner: the process; its
//! clones are the same shard.

use std::hash::{BuildHasher, RandomState};

use tonic::service::Routes;

use crate::{Error, Settings, service::ReplayService, shard::Shard};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct ShardServer {
    uid: u64,
    service: ReplayService,
}

impl ShardServer {
    /// An empty shard, the `shard`-th of `n_shards`, that keeps nothing. Its capacity is its share of the settings';
    /// its writers wait until a learner paces it. `settings.n_items` may be 0: the first writer's is taken then.
    pub fn in_memory(settings: &Settings, shard: usize, n_shards: usize) -> Result<Self, Error> {
        settings.validate_shards(n_shards)?;
        let uid = draw_uid();
        let shard = Shard::new(settings, shard, n_shards).named(uid);
        Ok(Self { uid, service: ReplayService::paced(settings, shard) })
    }

    /// Name of the shard's contents, as `InfoResponse.shard_uid`.
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// `mahrl.v1.Replay` over this shard.
    pub fn routes(&self) -> Routes {
        Routes::new(self.service.clone().server())
    }

    /// Ends all waits and streams with UNAVAILABLE. Whoever asks afterwards is told the same.
    pub fn stop(&self) {
        self.service.close();
    }
}

/// A number that no other shard has. Not one of the run's random streams: contents that begin anew must not be taken
/// for those before them, also under the same seed.
fn draw_uid() -> u64 {
    // The standard library's hasher is keyed by the system's randomness.
    RandomState::new().hash_one(std::process::id()).max(1)
}
