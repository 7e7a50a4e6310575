//! Where the metrics are served: `GET /metrics`, in Prometheus's text form.
//!
//! In: a listen address; out: what was recorded in this process. A thread of its own, so that a busy process still tells.
//! The listener is the server module's, with its limits on connections and silence, which the exporter's own has not.
//! Plain text and without a token: the metrics hold nothing secret, and the address is set on purpose.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use ::metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tonic::{
    body::Body,
    codegen::http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE},
    service::Routes,
};
use tower::{Layer, Service};

use super::{CATALOGUE, Kind, Metric, PROCESS_INFO};
use crate::{Error, Shutdown, server};

/// Connections to the metrics at once: a few scrapers.
const CONNECTIONS: usize = 32;
/// How often histograms are folded together when nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(1);
/// Upper ends of the buckets of times, in seconds.
const SECONDS: [f64; 14] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
/// Upper ends of the buckets of ages, in versions of the weights.
const VERSIONS: [f64; 16] =
    [0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 300.0, 500.0, 1000.0, 3000.0, 10_000.0];

/// What this process has recorded.
#[derive(Clone)]
pub struct Recorded(PrometheusHandle);

impl Recorded {
    /// All of it, in Prometheus's text form.
    pub fn text(&self) -> String {
        self.0.render()
    }
}

/// Starts to record, without serving. Later calls give the same. Fails if another recorder is installed.
pub fn install(role: &str) -> Result<Recorded, Error> {
    static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_versions".into()), &VERSIONS))
            .expect("the lists of buckets are not empty");
        let handle = builder.install_recorder().ok()?;
        CATALOGUE.iter().for_each(describe);
        Some(handle)
    });
    let handle = installed.clone().ok_or(Error::Recorder)?;
    PROCESS_INFO.set(1.0, [role, crate::VERSION]);
    Ok(Recorded(handle))
}

fn describe(metric: &Metric) {
    let Metric { name, kind, help, .. } = *metric;
    match (kind, metric.unit()) {
        (Kind::Counter, Some(unit)) => describe_counter!(name, unit, help),
        (Kind::Counter, None) => describe_counter!(name, help),
        (Kind::Gauge, Some(unit)) => describe_gauge!(name, unit, help),
        (Kind::Gauge, None) => describe_gauge!(name, help),
        (Kind::Histogram, Some(unit)) => describe_histogram!(name, unit, help),
        (Kind::Histogram, None) => describe_histogram!(name, help),
    }
}

/// Starts to record, and to serve on `listen` (`HOST:PORT`, port 0 takes a free one) until the process ends; gives the
/// address. `role` is `replay`, `actor` or `learner`. Works within and without a runtime.
pub fn serve(listen: &str, role: &str) -> Result<SocketAddr, Error> {
    let recorded = install(role)?;
    let failed = |source| Error::Start { what: "the thread of the metrics", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // On the new thread: a runtime cannot be blocked on within another one.
    let (bound, binds) = std::sync::mpsc::sync_channel(1);
    let listen = listen.to_owned();
    let serves = move || {
        runtime.block_on(async {
            let listener = match server::bind(&listen, |_| Ok(())).await {
                Ok(listener) => listener,
                Err(error) => return bound.send(Err(error)).unwrap_or_default(),
            };
            let address = listener.local_addr();
            let address = address.map_err(|source| Error::Bind { address: listen.clone(), source });
            // The caller waits for it.
            bound.send(address).unwrap_or_default();
            let upkeep = recorded.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(UPKEEP).await;
                    upkeep.0.run_upkeep();
                }
            });
            let limits = server::Limits { connections: CONNECTIONS, ..server::Limits::default() };
            let incoming = server::accept(listener, &limits, ("metrics", false), &Shutdown::new());
            let served = server::builder(&limits)
                .accept_http1(true)
                .layer(Page(recorded))
                .add_routes(Routes::default())
                .serve_with_incoming(incoming)
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the metrics are served no more");
            }
        });
    };
    thread::Builder::new().name("metrics".into()).spawn(serves).map_err(failed)?;
    let gone = |_| failed(std::io::Error::other("it has ended"));
    let address = binds.recv().map_err(gone)??;
    tracing::info!(%address, beyond_loopback = !address.ip().is_loopback(), "serving metrics");
    Ok(address)
}

/// Answers in the place of any service.
#[derive(Clone)]
struct Page(Recorded);

impl<S> Layer<S> for Page {
    type Service = Self;

    fn layer(&self, _inner: S) -> Self {
        self.clone()
    }
}

impl Service<Request<Body>> for Page {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, self.0.text()),
            (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
        };
        let mut response = Response::new(Body::new(text));
        *response.status_mut() = status;
        let text_form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text_form);
        Box::pin(std::future::ready(Ok(response)))
    }
}
