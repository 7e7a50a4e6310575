//! Bare tonic: rows as packed bytes in one message, nothing else done with them but storing and gathering.
//!
//! Inserts go through one stream of frames that are acknowledged one by one; a minibatch is a unary call.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Task, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, http, http::uri::PathAndQuery},
    server::{NamedService, StreamingService, UnaryService},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    ROWS, Reply,
    cpu::{Server, free_address, own_s},
    repeat,
    socket::sampled,
    table::Table,
};

/// First argument of the program where it is this server.
pub(crate) const ROLE: &str = "tonic-server";
/// Frames on their way.
const IN_FLIGHT: usize = 8;
/// HTTP/2 windows of a stream and of a connection.
const WINDOWS: [u32; 2] = [8 << 20, 16 << 20];
const APPEND: &str = "/bare.Rows/Append";
const SAMPLE: &str = "/bare.Rows/Sample";

/// Rows one after the other.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(bytes = "bytes", tag = "1")]
    rows: Bytes,
}

#[derive(Clone)]
struct Rows(Arc<Mutex<Table>>);

impl Rows {
    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl NamedService for Rows {
    const NAME: &'static str = "bare.Rows";
}

impl Service<http::Request<Body>> for Rows {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rows = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Frame, Frame>::default());
            Ok(match request.uri().path() {
                APPEND => grpc.streaming(rows, request).await,
                _ => grpc.unary(rows, request).await,
            })
        })
    }
}

impl StreamingService<Frame> for Rows {
    type Response = Frame;
    type ResponseStream = ReceiverStream<Result<Frame, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let (rows, (acks, out)) = (self.clone(), mpsc::channel(IN_FLIGHT));
        tokio::spawn(async move {
            let mut frames = request.into_inner();
            while let Ok(Some(frame)) = frames.message().await {
                rows.with(|table| table.append(&frame.rows));
                if acks.send(Ok(Frame::default())).await.is_err() {
                    break;
                }
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(out))) })
    }
}

impl UnaryService<Frame> for Rows {
    type Response = Frame;
    type Future = BoxFuture<Response<Frame>, Status>;

    fn call(&mut self, _: Request<Frame>) -> Self::Future {
        let rows = self.clone();
        Box::pin(async move {
            let mut bytes = Vec::new();
            rows.with(|table| table.gather(&mut bytes));
            Ok(Response::new(Frame { rows: bytes.into() }))
        })
    }
}

/// Serves until it is killed.
pub(crate) fn serve(address: &str, row_bytes: usize) -> Result<()> {
    let rows = Rows(Arc::new(Mutex::new(Table::new(row_bytes))));
    let server = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOWS[0])
        .initial_connection_window_size(WINDOWS[1])
        .add_service(rows)
        .serve(address.parse()?);
    Ok(Runtime::new()?.block_on(server)?)
}

/// A server and a channel to it.
pub(crate) struct Case {
    server: Server,
    runtime: Runtime,
    channel: Channel,
    frame: Bytes,
}

impl Case {
    /// For rows of so many bytes.
    pub(crate) fn start(row_bytes: usize) -> Result<Self> {
        let (address, runtime) = (free_address()?, Runtime::new()?);
        let server = Server::start(&[ROLE.into(), address.clone(), row_bytes.to_string()])?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOWS[0])
            .initial_connection_window_size(WINDOWS[1]);
        let begun = Instant::now();
        let channel = loop {
            match runtime.block_on(endpoint.connect()) {
                Ok(channel) => break channel,
                Err(error) if begun.elapsed() > Duration::from_secs(20) => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Ok(Self { server, runtime, channel, frame: vec![7; ROWS * row_bytes].into() })
    }

    fn cpu_s(&self) -> f64 {
        own_s() + self.server.cpu_s()
    }

    /// Frames as fast as they are taken.
    pub(crate) fn insert(&mut self, seconds: f64) -> Result<Reply> {
        let (cpu, begun) = (self.cpu_s(), Instant::now());
        let stored = self.runtime.block_on(async {
            let (frames, stream) = mpsc::channel(IN_FLIGHT);
            let mut grpc = tonic::client::Grpc::new(self.channel.clone());
            grpc.ready().await?;
            let request = Request::new(ReceiverStream::new(stream));
            let codec = ProstCodec::<Frame, Frame>::default();
            let answer = grpc.streaming(request, PathAndQuery::from_static(APPEND), codec).await?;
            let mut acks = answer.into_inner();
            let (mut sent, mut stored) = (0, 0);
            while begun.elapsed().as_secs_f64() < seconds {
                // As ours does: every frame is put together anew.
                let rows = Bytes::copy_from_slice(&self.frame);
                frames.send(Frame { rows }).await.context("the stream has ended")?;
                sent += 1;
                while sent - stored >= IN_FLIGHT {
                    acks.message().await?.context("the stream has ended")?;
                    stored += 1;
                }
            }
            drop(frames);
            while acks.message().await?.is_some() {
                stored += 1;
            }
            anyhow::Ok(stored)
        })?;
        let (rows, seconds) = ((ROWS * stored) as f64, begun.elapsed().as_secs_f64());
        Ok(vec![("rows_per_s", rows / seconds), ("cpu_us", 1e6 * (self.cpu_s() - cpu) / rows)])
    }

    /// One minibatch after the other.
    pub(crate) fn sample(&mut self, seconds: f64) -> Result<Reply> {
        let cpu = self.cpu_s();
        let times = repeat(seconds, || {
            self.runtime.block_on(async {
                let mut grpc = tonic::client::Grpc::new(self.channel.clone());
                grpc.ready().await?;
                let codec = ProstCodec::<Frame, Frame>::default();
                let request = Request::new(Frame::default());
                let reply = grpc.unary(request, PathAndQuery::from_static(SAMPLE), codec).await?;
                anyhow::ensure!(
                    reply.into_inner().rows.len() == self.frame.len(),
                    "a minibatch is cut short"
                );
                Ok(())
            })
        })?;
        Ok(sampled(&times, self.cpu_s() - cpu))
    }
}
