//! The question whether a process is ready, as `--check-health`, tests and probes ask it.

use std::time::Duration;

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{Error, Security, connect, security::host};

/// Asks the process at `address` (`HOST:PORT`; the unspecified host of a listen address means this machine) whether it is
/// ready. Fails with [`Error::NotReady`] if it says no, or nothing within `timeout`.
pub async fn ready(address: &str, security: &Security, timeout: Duration) -> Result<(), Error> {
    let address = &reachable(address)?;
    let not_ready = |reason: String| Error::NotReady { address: address.clone(), reason };
    let mut client = HealthClient::new(connect(address, security)?);
    let asked = client.check(HealthCheckRequest::default());
    match tokio::time::timeout(timeout, asked).await {
        Err(_) => Err(not_ready(format!("no answer within {timeout:?}"))),
        Ok(Err(status)) => Err(not_ready(status_text(&status))),
        Ok(Ok(answer)) => match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(not_ready(format!("it says {}", other.as_str_name()))),
        },
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
