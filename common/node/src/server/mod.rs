//! The server of a process: sockets with limits, TLS, token check, health, reflection.
//!
//! In: an address, [`Security`], [`Limits`], then the process's services; out: what they answer, until a [`Shutdown`].
//! Invariants: plain text beyond loopback only with `insecure`; without the token nothing is answered but health; a peer
//! that misbehaves costs its own connection only.

mod accept;
mod token;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use common::config::ClusterConfig;
use tokio::{
    net::{TcpListener, lookup_host},
    sync::watch,
};
use tonic::{service::Routes, transport};
use tonic_health::ServingStatus;

pub(crate) use accept::accept;

use crate::{Error, Security, Shutdown, metrics};

/// Flow-control window of a stream: a batch of minibatches, or the weights, in one piece.
pub const STREAM_WINDOW: u32 = 8 << 20;
/// Flow-control window of a connection.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest frame of HTTP/2: a minibatch or a chunk of the weights in a few of them, each a system call on either side (16 KiB
/// are the default).
pub const FRAME: u32 = 1 << 20;
/// Silence after which either side asks the other for a sign of life.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long that sign may take before the connection counts as dead.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server lets its peers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; those beyond are closed as soon as they come. 4,096.
    pub connections: usize,
    /// Streams (requests under way) at once on a connection; those beyond wait. 256.
    pub streams: u32,
    /// Bytes of a request's headers. 16 KiB.
    pub header_bytes: u32,
    /// How long a TLS handshake may take. 10 s.
    pub handshake: Duration,
    /// Silence after which the server asks for a sign of life. 5 s.
    pub ping_interval: Duration,
    /// How long that sign may take. 10 s.
    pub ping_timeout: Duration,
    /// A connection from which nothing comes for so long, no sign of life either, is closed, whatever it is about. 30 s.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 256,
            header_bytes: 16 << 10,
            handshake: Duration::from_secs(10),
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
            idle: Duration::from_secs(30),
        }
    }
}

/// Says whether the process is ready, to whom asks the gRPC health service. Not ready until told so, nor once the process
/// ends. Cheap to clone; may be told from any thread.
#[derive(Clone, Debug)]
pub struct Health(Arc<watch::Sender<bool>>);

impl Health {
    /// Ready = able to serve.
    pub fn set_ready(&self, is_ready: bool) {
        self.0.send_replace(is_ready);
        metrics::READY.set(f64::from(u8::from(is_ready)), []);
    }

    /// What was last said.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    security: Security,
    limits: Limits,
    health: Health,
}

impl Server {
    /// Binds `HOST:PORT`; port 0 takes a free one. Refuses plain text beyond loopback without `cluster.insecure`.
    pub async fn bind(listen: &str, security: &Security, limits: Limits) -> Result<Self, Error> {
        let listener = bind(listen, |address| security.may_listen(address)).await?;
        // Fails here rather than at the first connection.
        security.server_tls(&limits)?;
        let bind_error = |source| Error::Bind { address: listen.to_owned(), source };
        let address = listener.local_addr().map_err(bind_error)?;
        let health = Health(Arc::new(watch::Sender::new(false)));
        Ok(Self { listener, address, security: security.clone(), limits, health })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Under which address others find it: `cluster.advertise`, else where it listens. `in_redis`: that is where they look.
    ///
    /// # Errors
    /// [`Error::Missing`] where Redis would tell others an address that stands for any of a machine's.
    pub fn advertised(&self, config: &ClusterConfig, in_redis: bool) -> Result<String, Error> {
        match config.advertise.as_str() {
            "" if self.address.ip().is_unspecified() && in_redis => Err(Error::Missing {
                key: "cluster.advertise",
                why: "this process listens on every address of its machine, and Redis must know one that others can reach: \
                      set it to HOST:PORT, in the environment of each process MAHRL__CLUSTER__ADVERTISE",
            }),
            "" => Ok(self.address.to_string()),
            advertised => Ok(advertised.to_owned()),
        }
    }

    /// Says to the health service whether the process is ready.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves until `shutdown` begins; then no new connection is taken, requests under way have `grace` to end, and what
    /// is left is cut off. Services with long streams should end them at `shutdown` themselves.
    pub async fn serve(self, routes: Routes, shutdown: Shutdown, grace: Duration) -> Result<(), Error> {
        let Self { listener, security, limits, health, address } = self;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(Error::Reflection)?;
        let mut server = builder(&limits).layer(token::TokenLayer::new(security.token()));
        let tls = security.server_tls(&limits)?;
        let has_tls = tls.is_some();
        if let Some(tls) = tls {
            server = server.tls_config(tls).map_err(Error::Tls)?;
        }
        let router = server.add_routes(routes).add_service(health_service).add_service(reflection);

        let cut = Shutdown::new();
        let incoming = accept(listener, &limits, ("grpc", has_tls), &cut);
        let begun = shutdown.clone();
        let served = router.serve_with_incoming_shutdown(incoming, async move { begun.wait().await });
        tracing::info!(%address, "serving");
        let mut ready = health.0.subscribe();
        let reports = async {
            loop {
                let status = match *ready.borrow_and_update() {
                    true => ServingStatus::Serving,
                    false => ServingStatus::NotServing,
                };
                reporter.set_service_status("", status).await;
                if ready.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let ends = async {
            shutdown.wait().await;
            health.set_ready(false);
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            result = served => result.map_err(Error::Serve),
            () = ends => {
                tracing::warn!(?grace, "requests are still under way: cutting them off");
                cut.begin();
                Ok(())
            }
            () = reports => unreachable!("reports have no end"),
        }
    }
}

/// A tonic server under the limits.
pub(crate) fn builder(limits: &Limits) -> transport::Server {
    transport::Server::builder()
        .max_concurrent_streams(limits.streams)
        .concurrency_limit_per_connection(limits.streams as usize)
        .http2_max_header_list_size(limits.header_bytes)
        .http2_keepalive_interval(Some(limits.ping_interval))
        .http2_keepalive_timeout(Some(limits.ping_timeout))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
}

/// Binds the first address of `HOST:PORT` that can be, if `may` agrees to all of them.
pub(crate) async fn bind(
    listen: &str,
    may: impl Fn(SocketAddr) -> Result<(), Error>,
) -> Result<TcpListener, Error> {
    let found = lookup_host(listen).await;
    let addresses: Vec<SocketAddr> = found
        .map_err(|source| Error::Address { address: listen.to_owned(), source: Some(source) })?
        .collect();
    addresses.iter().try_for_each(|address| may(*address))?;
    TcpListener::bind(&addresses[..])
        .await
        .map_err(|source| Error::Bind { address: listen.to_owned(), source })
}
