//! The replay service of one process: the same servers and clients as a cluster's, over in-memory duplex streams.
//!
//! In: settings and a number of shards; out: [`Shards`] to write to and sample from. The shards live as long as the
//! [`LocalReplay`].

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use node::{
    connection::{Bearer, Connection},
    server::FRAME,
};
use tokio::{
    io::DuplexStream,
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    service::Routes,
    transport::{Endpoint, Server, Uri},
};

use crate::{
    Error, Settings,
    client::Shards,
    service::{Gate, ReplayService},
};

/// Bytes that a connection holds on the way.
const PIPE_BYTES: usize = 1 << 20;
/// Flow-control windows of HTTP/2, in bytes: a stream and a connection.
const WINDOWS: (u32, u32) = (8 << 20, 16 << 20);

/// The servers of all shards. Dropping it ends them.
pub struct LocalReplay {
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<Result<(), tonic::transport::Error>>>,
}

impl LocalReplay {
    /// Starts `n_shards` shards on a multi-threaded runtime. Refuses settings that cannot work.
    pub fn start(settings: &Settings, n_shards: usize, runtime: &Handle) -> Result<(Shards, Self), Error> {
        settings.validate(n_shards)?;
        // Servers, channels and their tasks live on this runtime.
        let _guard = runtime.enter();
        let (services, gate) = ReplayService::all(settings, n_shards);
        let (stop, stopped) = watch::channel(false);
        let (connections, servers) =
            services.into_iter().map(|service| serve(Routes::new(service.server()), stopped.clone())).unzip();
        let shards =
            Shards::new(connections, &settings.run_id, settings.shape, settings.n_items, runtime.clone());
        Ok((shards, Self { gate, stop, servers }))
    }

    /// Ends all waits and streams, then the servers. Clients see UNAVAILABLE.
    pub async fn stop(mut self) {
        self.end();
        for server in std::mem::take(&mut self.servers) {
            if let Ok(Err(error)) = server.await {
                tracing::warn!(%error, "a replay server ended with an error");
            }
        }
    }

    fn end(&self) {
        self.gate.close();
        self.stop.send_replace(true);
    }
}

impl Drop for LocalReplay {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves routes until `stopped` is true or its sender gone; every connection of the channel is a new pair of pipes.
pub fn serve(
    routes: Routes,
    mut stopped: watch::Receiver<bool>,
) -> (Connection, JoinHandle<Result<(), tonic::transport::Error>>) {
    let (connections, incoming) = mpsc::channel::<DuplexStream>(1);
    let incoming = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
    let server = Server::builder()
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_frame_size(FRAME)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move {
            // An error: the LocalReplay is gone, which means the same.
            let _gone = stopped.wait_for(|stopped| *stopped).await;
        });
    let connect = tower::service_fn(move |_: Uri| {
        let connections = connections.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            connections.send(theirs).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    let channel = Endpoint::from_static("http://replay.local")
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_frame_size(FRAME)
        .connect_with_connector_lazy(connect);
    (Bearer::none(channel), tokio::spawn(server))
}
