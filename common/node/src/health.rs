//! Whether a process is ready: a server that says so and nothing else, and the question as `PROGRAM health`, tests and
//! probes ask it.

use std::{sync::mpsc, thread, time::Duration};

use tonic::service::Routes;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{Dialer, Error, Health, Limits, Security, Server, Shutdown, connect, security::host};

/// How long probes under way have when the process ends.
const GRACE: Duration = Duration::from_secs(1);

/// Serves health alone on `listen` (`HOST:PORT`), on a thread of its own, until `shutdown` begins: for a process without
/// other services, or whose services come later. Works within and without a runtime.
pub fn serve(listen: &str, security: &Security, shutdown: &Shutdown) -> Result<Health, Error> {
    let failed = |source| Error::Start { what: "the thread of the health service", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // On the new thread: a runtime cannot be blocked on within another one.
    let (bound, binds) = mpsc::sync_channel(1);
    let (listen, security, shutdown) = (listen.to_owned(), security.clone(), shutdown.clone());
    let serves = move || {
        runtime.block_on(async {
            let server = match Server::bind(&listen, &security, Limits::default()).await {
                Ok(server) => server,
                Err(error) => return bound.send(Err(error)).unwrap_or_default(),
            };
            // The caller waits for it.
            bound.send(Ok(server.health())).unwrap_or_default();
            if let Err(error) = server.serve(Routes::default(), shutdown, GRACE).await {
                tracing::error!(%error, "the health service ended");
            }
        });
    };
    thread::Builder::new().name("health".into()).spawn(serves).map_err(failed)?;
    binds.recv().map_err(|_| failed(std::io::Error::other("it has ended")))?
}

/// Asks the process at `address` (`HOST:PORT`; the unspecified host of a listen address means this machine) whether it is
/// ready. Fails with [`Error::NotReady`] if it says no, or nothing within `timeout`.
pub async fn ready(address: &str, security: &Security, timeout: Duration) -> Result<(), Error> {
    match answers(address, security, timeout).await? {
        ServingStatus::Serving => Ok(()),
        other => Err(Error::NotReady {
            address: address.to_owned(),
            reason: format!("it says {}", other.as_str_name()),
        }),
    }
}

/// What it says, whatever that is: it lives. Fails with [`Error::NotReady`] if it says nothing within `timeout`.
pub async fn answers(address: &str, security: &Security, timeout: Duration) -> Result<ServingStatus, Error> {
    let address = &reachable(address)?;
    let not_ready = |reason: String| Error::NotReady { address: address.clone(), reason };
    let mut client = HealthClient::new(connect(address, security)?);
    let asked = client.check(HealthCheckRequest::default());
    match tokio::time::timeout(timeout, asked).await {
        Err(_) => Err(not_ready(format!("no answer within {timeout:?}"))),
        Ok(Err(status)) => {
            Err(not_ready(Dialer::new(security).explain(address, &status_text(&status)).await))
        }
        Ok(Ok(answer)) => Ok(answer.into_inner().status()),
    }
}

/// Code, message and innermost cause: tonic's own text for a refused connection is `transport error`.
fn status_text(status: &tonic::Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    let mut innermost = None;
    while let Some(error) = cause {
        innermost = Some(error.to_string());
        cause = error.source();
    }
    if let Some(innermost) = innermost.filter(|innermost| !text.contains(innermost.as_str())) {
        text += &format!(" ({innermost})");
    }
    text
}

/// A listen address as a client on the same machine reaches it.
fn reachable(address: &str) -> Result<String, Error> {
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    Ok(match host(address)? {
        "0.0.0.0" => format!("127.0.0.1:{port}"),
        "::" => format!("[::1]:{port}"),
        _ => address.to_owned(),
    })
}
