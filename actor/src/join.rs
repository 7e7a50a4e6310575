//! How an actor enters a run: `mahrl.v1.Control.Join`.
//!
//! In: the actor's settings, whoever leads; out: sessions and writers of its own. Asks again until somebody answers, and
//! gives up when the run refuses this actor.

use std::time::Duration;

use common::config::Config;
use node::Peer;
use proto::v1::{JoinRequest, JoinResponse, RunHeader, control_client::ControlClient};
use sim::WorldFingerprint;
use tokio::{sync::watch, time::timeout};
use tonic::Code;

use crate::Error;

/// How long one try may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Tries between two lines in the log, about every five seconds.
const TRIES_A_LINE: u32 = 25;

/// Joins the run of whoever leads.
///
/// # Errors
/// [`Error::Refused`] if the run does not want this actor: its settings, its token, its schema.
pub(crate) async fn join(
    learner: &mut watch::Receiver<Option<Peer>>,
    request: JoinRequest,
) -> Result<JoinResponse, Error> {
    for tries in 0_u32.. {
        let now = learner.borrow_and_update().clone();
        let connection = now.as_ref().map(|now| now.connection.clone());
        let problem = match connection {
            None => "nobody leads the run yet".to_owned(),
            Some(connection) => match timeout(ANSWER, ControlClient::new(connection).join(request.clone()))
                .await
            {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if is_final(status.code()) => {
                    return Err(Error::Refused { code: status.code(), reason: status.message().to_owned() });
                }
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
            },
        };
        // Not the first: whoever leads may not have been looked up yet.
        if tries % TRIES_A_LINE == 1 {
            let problem = match &now {
                Some(now) => now.explain(&problem).await,
                None => problem,
            };
            tracing::warn!(problem, "waiting for the learner");
        }
        let _new_leader = timeout(PAUSE, learner.changed()).await;
    }
    unreachable!("the loop has no end")
}

fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
    )
}

/// What this actor says of itself.
pub(crate) fn request(config: &Config, name: &str, world: &WorldFingerprint) -> JoinRequest {
    JoinRequest {
        run: Some(RunHeader::current(&config.cluster.run)),
        actor: name.to_owned(),
        settings: config.to_toml(),
        threads: config.actor.actors as u32,
        items_sha256: world.items.clone(),
        simulator_sha256: world.simulator.clone(),
    }
}
