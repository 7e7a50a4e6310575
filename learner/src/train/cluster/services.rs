//! What stands around the learner's thread: the shards as one replay, and what is served to actors.
//!
//! In: a lead; out: minibatches, totals, broadcasts. Owner: the learner's thread; everything else runs on the runtime.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actor::Counts;
use anyhow::{Context, Result, ensure};
use common::config::Config;
use control::{CheckpointEntry, Control};
use node::{Dialer, Health, Limits, Security, Server, Shutdown, metrics};
use proto::v1::control_server::ControlServer;
use replay::{
    Settings, Shards,
    client::{Minibatch, Pace, Pacer, Prefetch, Sampler, Totals},
};
use sha2::{Digest, Sha256};
use tokio::{runtime::Runtime, task::JoinHandle};
use tonic::service::Routes;

use super::{
    admission::{Admission, AdmissionService},
    lead::Lead,
};
use crate::{
    train::{
        services::{LONG, request},
        trainer::Trainer,
    },
    weights::{Publisher, WeightsService},
};

/// Minibatches sampled ahead.
const PREFETCH: usize = 2;
/// How long subscribers may take to hear that the run is over.
const FAREWELL: Duration = Duration::from_secs(3);
/// Longest time that requests have to end, and a quarter of the grace at most: the checkpoint comes before.
const REQUESTS: Duration = Duration::from_secs(2);
/// Between two tries to end the services.
const LOOK_AROUND: Duration = Duration::from_millis(20);
/// What a cluster's processes reach each other by.
pub(super) struct Links {
    pub(super) control: Control,
    pub(super) shards: Shards,
    settings: Settings,
    /// Bound, not serving yet.
    server: Server,
    /// Who else is told whether this learner is ready.
    pub(super) probes: Option<Health>,
}

impl Links {
    /// Finds the shards, and binds the learner's own address.
    pub(super) fn open(config: &Config, n_items: usize, runtime: &Runtime) -> Result<Self> {
        let _guard = runtime.enter();
        check_list(config)?;
        let security = Security::load(&config.cluster)?;
        let control = Control::open(&config.cluster)?;
        let settings = Settings::from_config(config, &config.cluster.run, n_items);
        let addresses = control::Discovery::start(&config.cluster, &control);
        let shards = Shards::discover(addresses, Dialer::new(&security), &settings, runtime.handle().clone());
        let bound = Server::bind(&config.cluster.learner_listen, &security, Limits::default());
        Ok(Self { control, shards, settings, server: runtime.block_on(bound)?, probes: None })
    }

    /// Where others find this learner.
    pub(super) fn address(&self, config: &Config) -> Result<String, node::Error> {
        self.server.advertised(&config.cluster, config.cluster.learner == "redis")
    }
}

/// A list of shards that is too short would be waited on for ever.
fn check_list(config: &Config) -> Result<()> {
    let (listed, expected) = (&config.cluster.shards, config.replay.shards);
    let is_list = listed.iter().all(|address| address != "redis" && !address.starts_with("dns:"));
    ensure!(
        !is_list || listed.len() >= expected,
        "cluster.shards lists {} of the {expected} shards of replay.shards: {}",
        listed.len(),
        listed.join(", ")
    );
    Ok(())
}

/// Everything that runs beside the learner's thread.
pub(super) struct Services {
    prefetch: Option<Prefetch>,
    pub(super) pacer: Pacer,
    pub(super) admission: Arc<Admission>,
    pub(super) sampler: Sampler,
    publisher: Publisher,
    control: Control,
    fence: u64,
    health: Health,
    probes: Option<Health>,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), node::Error>>,
    /// Updates that the counters of the control plane know.
    counted: u64,
}

impl Services {
    /// Starts to serve and to ask the shards; `saved` is the pacer's part of a checkpoint. Waits until the shards have
    /// answered.
    pub(super) fn start(
        trainer: &Trainer<'_>,
        runtime: &Runtime,
        links: Links,
        lead: &mut Lead,
        saved: &[u8],
    ) -> Result<Self> {
        let _guard = runtime.enter();
        let Links { control, shards, settings, server, probes } = links;
        let config = trainer.config;
        let pace =
            Pace { budget: config.train.steps, fence: lead.fence, expected_shards: config.replay.shards };
        let pacer = Pacer::start(&shards, &settings, pace, (!saved.is_empty()).then_some(saved))
            .context("cannot pace the replay shards")?;
        let numbers = lead.numbers.take().context("the numbers are taken once")?;
        let world = trainer.world.fingerprint()?;
        let items_sha256 = world.items.clone();
        let admission = Arc::new(Admission::new(config, world, numbers));
        let publisher = Publisher::new();
        let weights = WeightsService::new(&config.cluster.run, lead.fence, &publisher).of_items(items_sha256);
        let routes = Routes::new(weights.into_server())
            .add_service(ControlServer::new(AdmissionService(Arc::clone(&admission))));
        let (shutdown, health) = (Shutdown::new(), server.health());
        let requests = REQUESTS.min(Duration::from_secs_f64(config.cluster.grace_seconds / 4.0));
        let server = runtime.spawn(server.serve(routes, shutdown.clone(), requests));
        let sampler = pacer
            .sampler(LONG, config.replay.importance_exponent)
            .with_whole_periods(crate::train::relabel::needs_periods(config));
        let (requests, first) = (config.clone(), trainer.engine.updates());
        let prefetch = sampler.clone().prefetch(first, PREFETCH, move |number| request(&requests, number));
        Ok(Self {
            prefetch: Some(prefetch),
            pacer,
            admission,
            sampler,
            publisher,
            control,
            fence: lead.fence,
            health,
            probes,
            shutdown,
            server,
            counted: first,
        })
    }

    /// The shards have answered, the weights are out: actors may come.
    pub(super) fn ready(&self) {
        self.health.set_ready(true);
        if let Some(probes) = &self.probes {
            probes.set_ready(true);
        }
        metrics::LEARNER_LEADER.set(1.0, []);
        metrics::LEARNER_FINISHED.set(0.0, []);
    }

    pub(super) fn publish(&self, version: u64, updates: u64, weights: Vec<u8>) -> Result<()> {
        self.publisher.publish(version, updates, weights)?;
        self.pacer.set_policy_version(version);
        metrics::WEIGHTS_VERSION.set(version as f64, []);
        metrics::WEIGHTS_PUBLISHED.increment(1, []);
        Ok(())
    }

    /// The next minibatch, as [`Prefetch::take`] gives it.
    pub(super) fn take(&mut self, wait: Duration) -> Result<Minibatch, replay::Error> {
        match &mut self.prefetch {
            Some(prefetch) => prefetch.take(wait),
            None => Err(replay::Error::Closed("the run".into())),
        }
    }

    /// What the shards have stored.
    pub(super) fn totals(&self) -> Totals {
        self.pacer.totals()
    }

    /// Notes how far the run is, for actors and for operators.
    pub(super) fn note(&mut self, trainer: &Trainer<'_>, totals: &Totals) {
        let actors = self.publisher.n_actors();
        self.admission.note(totals.env_steps, actors);
        metrics::LEARNER_STEP.set(trainer.engine.updates() as f64, []);
        metrics::LEARNER_ENV_STEPS.set(totals.env_steps as f64, []);
        metrics::LEARNER_ACTORS.set(actors as f64, []);
        for (table, sampled) in ["low", "high"].into_iter().zip(totals.sampled) {
            let ratio = sampled as f64 / totals.env_steps.max(1) as f64;
            metrics::LEARNER_SAMPLES_PER_INSERT.set(ratio, [table]);
        }
        // Those that were replaced or dealt out are nobody to wait for.
        let (up, down): (Vec<_>, Vec<_>) =
            totals.shards.iter().filter(|shard| !shard.gone).partition(|shard| shard.up);
        metrics::LEARNER_SHARDS.set(up.len() as f64, ["live"]);
        metrics::LEARNER_SHARDS.set(down.len() as f64, ["down"]);
        if let Some(staleness) = trainer.staleness {
            metrics::LEARNER_STALENESS_VERSIONS.set(staleness, []);
        }
    }

    /// Enters a checkpoint into the catalogue of the control plane; Redis may be away.
    pub(super) fn catalogue(&mut self, trainer: &Trainer<'_>, path: &std::path::Path, runtime: &Runtime) {
        metrics::CHECKPOINT_STEP.set(trainer.engine.updates() as f64, []);
        let Ok(bytes) = std::fs::read(path) else { return };
        let entry = CheckpointEntry {
            step: trainer.env_steps,
            updates: trainer.engine.updates(),
            path: path.display().to_string(),
            sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            fence: self.fence,
        };
        let new = entry.updates.saturating_sub(std::mem::replace(&mut self.counted, entry.updates));
        let keep = trainer.config.train.keep_checkpoints;
        let control = self.control.clone();
        let noted = runtime.block_on(async {
            control.publish_checkpoint(entry, keep).await?;
            control.add("updates", new).await
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "the control plane is away; it will know of the checkpoint later");
        }
    }

    /// The run is over: subscribers hear so, now and later, and nothing is sampled any more.
    pub(super) fn finish(&mut self) {
        self.prefetch = None;
        metrics::LEARNER_FINISHED.set(1.0, []);
        self.publisher.finish();
        let begun = Instant::now();
        while self.publisher.n_subscribers() > 0 && begun.elapsed() < FAREWELL {
            std::thread::sleep(LOOK_AROUND);
        }
    }

    /// Ends everything.
    pub(super) fn stop(self, runtime: &Runtime) {
        self.health.set_ready(false);
        if let Some(probes) = self.probes {
            probes.set_ready(false);
        }
        metrics::LEARNER_LEADER.set(0.0, []);
        drop(self.prefetch);
        // Ends the streams.
        drop(self.publisher);
        self.shutdown.begin();
        if let Ok(Err(error)) = runtime.block_on(self.server) {
            tracing::warn!(%error, "the learner's server ended with an error");
        }
    }
}

/// What the shards have stored, as rollouts count it. Shards do not know which items were random.
pub(super) fn counts(totals: &Totals) -> Counts {
    Counts {
        steps: totals.env_steps,
        clicks_only: totals.feedback.clicks,
        orders: totals.feedback.orders,
        sessions: totals.feedback.sessions,
        left: totals.feedback.left,
        ..Counts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_shards_that_is_too_short_is_refused_at_the_start() {
        let list = |shards: &[&str], expected| {
            let mut config = Config::default();
            config.cluster.shards = shards.iter().map(|&address| address.to_owned()).collect();
            config.replay.shards = expected;
            check_list(&config).map_err(|error| error.to_string())
        };
        let error = list(&["a:1"], 2).unwrap_err();
        assert_eq!(error, "cluster.shards lists 1 of the 2 shards of replay.shards: a:1");
        for (shards, expected) in
            [(&["a:1", "b:1"][..], 2), (&["a:1", "b:1"], 1), (&["redis"], 3), (&["dns:shards:1"], 3)]
        {
            assert_eq!(list(shards, expected), Ok(()), "{shards:?} for {expected}");
        }
    }
}
