//! The accept loop: takes connections under a limit, and goes on whatever happens to one of them.
//!
//! In: a listener; out: a stream of [`Guarded`] connections, at most [`Limits::connections`] alive at once. Owner: one
//! task, which ends with the stream's reader. Invariant: a connection's place is free again once it is dropped.
//! tonic shakes hands on a connection and asks for its [`Connected::connect_info`] once that is done: one that spoke and was
//! dropped before was refused, and is counted.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::Limits;
use crate::{Shutdown, metrics};

/// Pause after an error of the listener itself, e.g. when the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the accept loop of a listener. `name` is the listener's in the metrics; with `tls` its connections begin with a
/// handshake; `cut` ends them all.
pub(crate) fn accept(
    listener: TcpListener,
    limits: &Limits,
    (name, tls): (&'static str, bool),
    cut: &Shutdown,
) -> ReceiverStream<io::Result<Guarded>> {
    let (connections, incoming) = mpsc::channel(1);
    let (limits, cut) = (*limits, cut.clone());
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(limits.connections));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connections.closed() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, listener = name, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                metrics::CONNECTIONS_REFUSED.increment(1, [name]);
                tracing::debug!(listener = name, limit = limits.connections, "too many connections");
                continue;
            };
            // Fails only for a connection that is gone already, which its first read will say too.
            let _nodelay = stream.set_nodelay(true);
            let mut guarded = Guarded::new(stream, place, name, limits.idle, cut.clone());
            guarded.handshake = tls.then(AtomicBool::default);
            if connections.send(Ok(guarded)).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(incoming)
}

/// A connection that fails when it is silent for too long, or cut off.
pub(crate) struct Guarded {
    stream: TcpStream,
    idle: Duration,
    heard: Instant,
    silence: Pin<Box<Sleep>>,
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// With TLS: whether the handshake is done.
    handshake: Option<AtomicBool>,
    /// Whether the peer has sent anything.
    has_spoken: bool,
    place: Place,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let is_done = self.handshake.as_ref().is_none_or(|done| done.load(Relaxed));
        // Who says nothing only looks whether somebody listens.
        if !is_done && self.has_spoken && self.cut.is_some() {
            metrics::AUTH_FAILURES.increment(1, ["tls"]);
        }
    }
}

/// A place among the connections, counted while it is taken.
struct Place {
    listener: &'static str,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::CONNECTIONS.decrement(1.0, [self.listener]);
    }
}

impl Guarded {
    fn new(
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        listener: &'static str,
        idle: Duration,
        cut: Shutdown,
    ) -> Self {
        metrics::CONNECTIONS.increment(1.0, [listener]);
        Self {
            stream,
            idle,
            heard: Instant::now(),
            silence: Box::pin(sleep(idle)),
            cut: Some(Box::pin(async move { cut.wait().await })),
            handshake: None,
            has_spoken: false,
            place: Place { listener, _permit: permit },
        }
    }

    /// Fails if the connection is cut off, or silent for too long.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let is_cut = self.cut.as_mut().is_none_or(|cut| cut.as_mut().poll(cx).is_ready());
        if is_cut {
            self.cut = None;
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        loop {
            ready!(self.silence.as_mut().poll(cx));
            // The timer is moved here, not at each read, of which there are many.
            let end = self.heard + self.idle;
            if end <= Instant::now() {
                tracing::debug!(listener = self.place.listener, "a silent connection is closed");
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.silence.as_mut().reset(end);
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.has_spoken |= buf.filled().len() > before;
        self.heard = Instant::now();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Guarded {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        if let Some(done) = &self.handshake {
            done.store(true, Relaxed);
        }
        self.stream.connect_info()
    }
}
