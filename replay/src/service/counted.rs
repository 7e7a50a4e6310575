//! Refusals, counted for operators.
//!
//! In: how a call or a message of a stream ended; out: the same, and a count by reason. What a call ends with before it
//! answers anything is seen from outside ([`Counted`]): tonic refuses requests that cannot be read before any handler. What
//! ends a stream under way is told by its handler ([`counted`]).
//!
//! A client that takes a call back before its message has come (a pacer that has something newer to say does, many times a
//! second) is refused nothing. tonic calls that INTERNAL, "missing request message", as it does a body that ends without a
//! message, so neither code nor text tells the two apart. The connection does: it drops a call that was reset, and looks for
//! a reset whenever the call has to wait. So a refusal waits once before it counts.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use node::metrics;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{Request, Response},
    server::NamedService,
};
use tower::Service;

/// Counts a refusal of a message in a stream.
pub(super) fn counted<T>(answer: Result<T, Status>) -> Result<T, Status> {
    if let Err(status) = &answer {
        count(status.code());
    }
    answer
}

/// Waits that ended and streams that broke are no refusals.
fn count(code: Code) {
    let reason = match code {
        Code::InvalidArgument => "invalid",
        Code::FailedPrecondition => "precondition",
        Code::ResourceExhausted => "full",
        // No whole frame, no message, too long, compressed, no such call.
        Code::Internal | Code::OutOfRange | Code::Unimplemented => "unreadable",
        _ => return,
    };
    metrics::REPLAY_REJECTED.increment(1, [reason]);
}

/// A service whose refusals of whole calls are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S>(pub(super) S);

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // A call that ends before it answers says how in its headers.
            let status = answer.as_ref().ok().and_then(|answer| Status::from_header_map(answer.headers()));
            if let Some(status) = status {
                // Of a client that has gone, this is dropped here: see the module.
                tokio::task::yield_now().await;
                count(status.code());
            }
            answer
        })
    }
}
