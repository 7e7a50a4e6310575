//! A channel that carries the run's token.
//!
//! In: `HOST:PORT` and [`Security`]; out: [`Connection`], which connects at its first request and again after a failure.
//! Invariant: the token is marked sensitive, so that no layer prints it.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    Error, Security,
    security::host,
    server::{CONNECTION_WINDOW, FRAME, PING_INTERVAL, PING_TIMEOUT, STREAM_WINDOW},
};

/// How long a server may take to accept a connection; TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client's side of a connection, cheap to clone.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Adds `authorization: Bearer TOKEN` to every request, if there is a token.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<AsciiMetadataValue>);

impl Bearer {
    /// A connection without a token, as within a process.
    pub fn none(channel: Channel) -> Connection {
        Connection::new(channel, Self::default())
    }

    fn of(security: &Security) -> Self {
        Self(security.token().map(|token| {
            let mut value = AsciiMetadataValue::try_from(format!("Bearer {token}"))
                .expect("a token is printable ASCII, checked where it was read");
            value.set_sensitive(true);
            value
        }))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection to `HOST:PORT` that is opened by its first request; while the server is away, requests fail with
/// UNAVAILABLE. A server that has gone without a word is noticed within [`PING_INTERVAL`] + [`PING_TIMEOUT`].
///
/// Needs a tokio runtime around it. Fails if this would be plain text beyond loopback without `cluster.insecure`.
pub fn connect(address: &str, security: &Security) -> Result<Connection, Error> {
    let tls = security.towards(address)?;
    host(address)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let no_address = |_| Error::Address { address: address.to_owned(), source: None };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(no_address)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.timeout(CONNECT_TIMEOUT)).map_err(Error::Tls)?;
    }
    Ok(Connection::new(endpoint.connect_lazy(), Bearer::of(security)))
}
