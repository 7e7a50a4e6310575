//! The weights service inside one process: the gRPC code that a cluster runs, over in-memory pipes.

use std::{future::Future, io};

use futures::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Server};

use super::WeightsService;

/// Bytes in flight in one direction of a pipe.
const PIPE_BYTES: usize = 1 << 20;
/// Connections that wait to be accepted.
const BACKLOG: usize = 16;

/// A channel to the service and the server behind it, to be spawned on the same runtime. The server ends when all clones
/// of the channel are gone. Must be called on a tokio runtime.
pub fn serve_in_memory(
    service: WeightsService,
) -> (Channel, impl Future<Output = Result<(), tonic::transport::Error>> + Send + 'static) {
    let (connect, accept) = mpsc::channel::<DuplexStream>(BACKLOG);
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let connect = connect.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            connect.send(theirs).await.map_err(|_| io::Error::other("the weights service has ended"))?;
            Ok::<_, io::Error>(TokioIo::new(ours))
        }
    });
    let channel = Endpoint::from_static("http://weights.in-memory").connect_with_connector_lazy(connector);
    let incoming = ReceiverStream::new(accept).map(Ok::<_, io::Error>);
    let server = Server::builder().add_service(service.into_server()).serve_with_incoming(incoming);
    (channel, server)
}
