//! The token check in front of every service but health.
//!
//! In: a request's headers; out: the service's answer, or UNAUTHENTICATED before any of the body is read. The comparison
//! takes the same time whatever differs; only a wrong length shows.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use subtle::ConstantTimeEq;
use tonic::{
    Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response, header::AUTHORIZATION},
};
use tower::{Layer, Service};

use crate::metrics;

/// What probes ask without a token; it says only whether the process is ready.
const OPEN: &str = "/grpc.health.v1.Health/";

/// Puts [`Checked`] in front of services.
#[derive(Clone)]
pub(super) struct TokenLayer(Option<Arc<str>>);

impl TokenLayer {
    /// `None` lets everyone in.
    pub(super) fn new(token: Option<&str>) -> Self {
        Self(token.map(Arc::from))
    }
}

impl<S> Layer<S> for TokenLayer {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, token: self.0.clone() }
    }
}

/// Services behind the token.
#[derive(Clone)]
pub(super) struct Checked<S> {
    inner: S,
    token: Option<Arc<str>>,
}

impl<S> Service<Request<Body>> for Checked<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_open = request.uri().path().starts_with(OPEN);
        let refused = match &self.token {
            Some(token) if !is_open => check(request.headers(), token).err(),
            _ => None,
        };
        match refused {
            None => Box::pin(self.inner.call(request)),
            Some(refusal) => {
                metrics::AUTH_FAILURES.increment(1, [refusal.reason]);
                Box::pin(async move { Ok(Status::unauthenticated(refusal.says).into_http()) })
            }
        }
    }
}

/// Why a request is refused.
struct Refusal {
    /// Label of the metric.
    reason: &'static str,
    /// For the client.
    says: &'static str,
}

fn check(headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Err(Refusal {
            reason: "missing",
            says: "no token: set `cluster.token_file` to the run's token",
        });
    };
    let given = value.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
    if bool::from(given.ct_eq(token.as_bytes())) {
        Ok(())
    } else {
        Err(Refusal {
            reason: "wrong",
            says: "another run's token: `cluster.token_file` differs from the server's",
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::codegen::http::HeaderValue;

    use super::*;

    #[test]
    fn fuzz_the_header_of_a_token() {
        let token = "s3cret-of-the-run";
        let right = format!("Bearer {token}").into_bytes();
        let examples = [right.clone(), b"Bearer ".to_vec(), b"Basic YTpi".to_vec(), token.into()];
        let (mut let_in, mut refused) = (0, 0);
        crate::fuzz::fuzz("token", &examples, |bytes| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value);
            let answer = check(&headers, token);
            assert_eq!(answer.is_ok(), bytes == right, "only the token itself opens");
            match answer {
                Ok(()) => let_in += 1,
                Err(refusal) => refused += usize::from(!refusal.says.contains(token)),
            }
        });
        assert!(let_in > 0 && refused > 0, "{let_in} let in, {refused} refused");
    }
}
