//! `mahrl.v1.Control`: how an actor enters the run.
//!
//! In: an actor's settings; out: sessions and writers of its own, or the first setting in which it differs from the run.
//! A refused actor has been given nothing.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use common::config::Config;
use node::metrics;
use proto::{
    SCHEMA_VERSION,
    v1::{JoinRequest, JoinResponse, control_server::Control},
};
use sim::WorldFingerprint;
use tonic::{Code, Request, Response, Status};

use super::numbers::Numbers;
use crate::weights::service::{ITEMS, other_files};

/// First session of actors in a cluster: beyond those of single-node runs and of every evaluation.
const FIRST_SESSION: u64 = 1 << 48;
/// Sessions of one incarnation of an actor, over all its threads.
const SESSIONS: u64 = 1 << 26;
/// Most rollout threads of an actor: as many writers are set aside for each incarnation.
const MAX_THREADS: u32 = 1 << 10;
/// Longest settings, in bytes.
const MAX_SETTINGS_BYTES: usize = 1 << 16;
/// Longest name of an actor, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What the service and the loop share.
#[derive(Debug)]
pub(super) struct Admission {
    run_id: String,
    /// The run's, as TOML.
    settings: String,
    world: WorldFingerprint,
    numbers: Mutex<Numbers>,
    env_steps: AtomicU64,
    actors: AtomicU64,
}

impl Admission {
    /// Of the run of these settings, in a world that is known by this.
    pub(super) fn new(config: &Config, world: WorldFingerprint, numbers: Numbers) -> Self {
        Self {
            run_id: config.cluster.run.clone(),
            settings: config.to_toml(),
            world,
            numbers: Mutex::new(numbers),
            env_steps: AtomicU64::new(0),
            actors: AtomicU64::new(0),
        }
    }

    /// The run's numbers, for a moment.
    pub(super) fn numbers(&self) -> std::sync::MutexGuard<'_, Numbers> {
        // Each change is on disk before it is in memory: whole after a panic elsewhere.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the run is, for those who join.
    pub(super) fn note(&self, env_steps: u64, actors: usize) {
        self.env_steps.store(env_steps, Relaxed);
        self.actors.store(actors as u64, Relaxed);
    }

    fn check(&self, request: &JoinRequest) -> Result<(), Status> {
        let run = request.run.as_ref().ok_or_else(|| Status::invalid_argument("run: is missing"))?;
        if run.schema_version != SCHEMA_VERSION {
            let problem =
                format!("run.schema_version: {}, this learner speaks {SCHEMA_VERSION}", run.schema_version);
            return Err(Status::invalid_argument(problem));
        }
        if run.run_id != self.run_id {
            let problem =
                format!("run.run_id: `{}`, this run is `{}` (cluster.run)", run.run_id, self.run_id);
            return Err(Status::invalid_argument(problem));
        }
        for (field, found, most) in [
            ("actor", request.actor.len(), MAX_NAME_BYTES),
            ("settings", request.settings.len(), MAX_SETTINGS_BYTES),
        ] {
            if found > most {
                return Err(Status::invalid_argument(format!("{field}: {found} bytes are more than {most}")));
            }
        }
        if !(1..=MAX_THREADS).contains(&request.threads) {
            let problem = format!("threads: {} is outside 1 to {MAX_THREADS}", request.threads);
            return Err(Status::invalid_argument(problem));
        }
        let difference = control::settings_difference(&self.settings, &request.settings)
            .map_err(|error| Status::invalid_argument(format!("settings: {error}")))?;
        match difference {
            Some(difference) => Err(Status::failed_precondition(format!(
                "actor `{}` has {} = {}, the run has {}: start it with the run's settings",
                request.actor, difference.key, difference.theirs, difference.ours
            ))),
            None => self.check_world(request).map_err(Status::failed_precondition),
        }
    }

    /// Settings name a log by its folder, which may hold another one elsewhere.
    fn check_world(&self, request: &JoinRequest) -> Result<(), String> {
        for (what, ours, theirs) in [
            (ITEMS, &self.world.items, &request.items_sha256),
            ("fitted simulator", &self.world.simulator, &request.simulator_sha256),
        ] {
            if ours != theirs {
                return Err(format!("actor {}", other_files(&request.actor, what)));
            }
        }
        Ok(())
    }
}

/// The service.
#[derive(Clone, Debug)]
pub(super) struct AdmissionService(pub(super) Arc<Admission>);

#[tonic::async_trait]
impl Control for AdmissionService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let (request, admission) = (request.into_inner(), Arc::clone(&self.0));
        if let Err(status) = admission.check(&request) {
            let reason = if status.code() == Code::FailedPrecondition { "settings" } else { "request" };
            metrics::LEARNER_JOINS_REFUSED.increment(1, [reason]);
            tracing::warn!(actor = request.actor, code = ?status.code(), reason = status.message(), "an actor was refused");
            return Err(status);
        }
        // A block of numbers may have to reach the disk first.
        let number = tokio::task::spawn_blocking({
            let admission = Arc::clone(&admission);
            move || admission.numbers().next_incarnation()
        });
        let incarnation = number
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::unavailable(format!("{error:#}")))?;
        tracing::info!(actor = request.actor, incarnation, threads = request.threads, "an actor joined");
        Ok(Response::new(JoinResponse {
            incarnation,
            first_session: FIRST_SESSION + incarnation * SESSIONS,
            sessions: SESSIONS,
            first_writer: incarnation * u64::from(MAX_THREADS),
            env_steps: admission.env_steps.load(Relaxed),
            actors: admission.actors.load(Relaxed) as u32 + 1,
        }))
    }
}
