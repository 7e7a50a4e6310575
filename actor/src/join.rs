//! How an actor enters a run: `mahrl.v1.Control.Join`.
//!
//! In: the actor's settings, whoever leads; out: sessions and writers of its own. Asks again until somebody answers, and
//! gives up when the run refuses this actor.

use std::time::Duration;

use node::Connection;
use proto::v1::{JoinRequest, JoinResponse, RunHeader, control_client::ControlClient};
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
    connection: &mut watch::Receiver<Option<Connection>>,
    request: JoinRequest,
) -> Result<JoinResponse, Error> {
    for tries in 0_u32.. {
        let now = connection.borrow_and_update().clone();
        let problem = match now {
            None => "nobody leads the run yet".to_owned(),
            Some(now) => match timeout(ANSWER, ControlClient::new(now).join(request.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if is_final(status.code()) => {
                    return Err(Error::Refused { code: status.code(), reason: status.message().to_owned() });
                }
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
            },
        };
        if tries.is_multiple_of(TRIES_A_LINE) {
            tracing::warn!(problem, "waiting for the learner");
        }
        let _new_leader = timeout(PAUSE, connection.changed()).await;
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
pub(crate) fn request(run: &str, name: &str, settings: String, threads: usize) -> JoinRequest {
    JoinRequest {
        run: Some(RunHeader::current(run)),
        actor: name.to_owned(),
        settings,
        threads: threads as u32,
    }
}
