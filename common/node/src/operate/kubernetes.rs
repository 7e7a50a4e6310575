//! The Secret of a run in a cluster, filled from inside through the Kubernetes API.
//!
//! In: the name of a Secret that exists, the pod's own service account; out: the Secret with all of [`NAMES`], unless it
//! had them. Needs the rights `get` and `patch` on that one Secret. Two that fill it at once do not mix: a patch holds the
//! version that was read, and the second is refused and reads again.
//!
//! The API is spoken over a tonic channel: it is HTTP/2 with an authority of the cluster's own, like everything here.

use std::{fs, path::PathBuf, pin::Pin};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tonic::{
    body::Body as Bytes,
    codegen::{
        Body,
        http::{Method, Request, StatusCode, header},
    },
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tower::{Service, ServiceExt};

use super::secrets::{NAMES, fresh, missing};

/// Where Kubernetes mounts a pod's own account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Tries when others write the Secret at the same time.
const TRIES: u32 = 5;
/// Longest answer that is read.
const ANSWER_BYTES: usize = 4 << 20;

/// Fills the Secret of the pod's namespace.
pub(super) async fn fill(secret: &str) -> Result<()> {
    let api = Api::of_this_pod()?;
    let namespace = account("namespace")?;
    let path = format!("/api/v1/namespaces/{}/secrets/{secret}", namespace.trim());
    let redis = format!("redis.{}.svc", namespace.trim());
    println!("{}", api.fill(&path, &[redis]).await?);
    Ok(())
}

fn account(name: &str) -> Result<String> {
    let path = PathBuf::from(ACCOUNT).join(name);
    fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}: this runs in a pod with a service account only", path.display())
    })
}

/// The API server.
#[derive(Clone)]
struct Api {
    channel: Channel,
    origin: String,
    token: String,
}

impl Api {
    fn of_this_pod() -> Result<Self> {
        let variable = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set: this runs in a pod only"))
        };
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        Self::new(&host, &port, &account("ca.crt")?, account("token")?.trim())
    }

    fn new(host: &str, port: &str, authority: &str, token: &str) -> Result<Self> {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let origin = format!("https://{bracketed}:{port}");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name(host);
        let endpoint = Endpoint::from_shared(origin.clone())
            .and_then(|endpoint| endpoint.tls_config(tls))
            .with_context(|| format!("the Kubernetes API at {origin} cannot be asked"))?
            .timeout(crate::connection::CONNECT_TIMEOUT * 2)
            .connect_timeout(crate::connection::CONNECT_TIMEOUT);
        Ok(Self { channel: endpoint.connect_lazy(), origin, token: token.to_owned() })
    }

    /// Fills the Secret at a path; what was done, for people.
    async fn fill(&self, path: &str, redis_hosts: &[String]) -> Result<String> {
        for _ in 0..TRIES {
            let (status, secret) = self.ask(Method::GET, path, None).await?;
            if status != StatusCode::OK {
                bail!("GET {path} was answered {status}: {}", secret["message"]);
            }
            let has = |name: &str| secret["data"].get(name).is_some();
            let missing = missing(has);
            if missing.is_empty() {
                return Ok(format!("{path} holds the run's secrets already; they stay as they are"));
            }
            if missing.len() < NAMES.len() {
                bail!(
                    "{path} lacks {}, but holds others that belong together: add what is missing, or empty it",
                    missing.join(", ")
                );
            }
            // With the version that was read: another's secrets, written meanwhile, are not replaced.
            let version = &secret["metadata"]["resourceVersion"];
            let patch =
                json!({ "metadata": { "resourceVersion": version }, "stringData": fresh(redis_hosts)? });
            match self.ask(Method::PATCH, path, Some(patch)).await? {
                (StatusCode::OK, _) => return Ok(format!("{path} now holds {}", NAMES.join(", "))),
                (StatusCode::CONFLICT, _) => {}
                (status, answer) => bail!("PATCH {path} was answered {status}: {}", answer["message"]),
            }
        }
        bail!("{path} was written by others again and again; gave up after {TRIES} tries")
    }

    async fn ask(&self, method: Method, path: &str, patch: Option<Value>) -> Result<(StatusCode, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::ACCEPT, "application/json");
        let request = match patch {
            Some(patch) => request
                .header(header::CONTENT_TYPE, "application/merge-patch+json")
                .body(Bytes::new(patch.to_string())),
            None => request.body(Bytes::empty()),
        };
        let away = || format!("the Kubernetes API at {} does not answer", self.origin);
        let mut channel = self.channel.clone();
        let channel = channel.ready().await.with_context(away)?;
        let answer = channel.call(request.context("no such request")?).await.with_context(away)?;
        let status = answer.status();
        let bytes = read(answer.into_body()).await.with_context(away)?;
        let value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{}{path} was answered {status}, and not in JSON", self.origin))?;
        Ok((status, value))
    }
}

/// A body in one piece.
async fn read(mut body: Bytes) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES {
            bail!("the answer is longer than {ANSWER_BYTES} bytes");
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
        task::Poll,
    };

    use tokio::net::TcpListener;
    use tonic::{
        codegen::{BoxFuture, http::Response},
        service::Routes,
        transport::{Identity, ServerTlsConfig},
    };
    use tower::Layer;

    use super::*;
    use crate::{Limits, Shutdown, server};

    const PATH: &str = "/api/v1/namespaces/mahrl/secrets/mahrl-secrets";

    /// One Secret behind the API.
    #[derive(Default)]
    struct Secret {
        data: serde_json::Map<String, Value>,
        version: u64,
        /// Writes of others that come before that many patches.
        rivals: u32,
        patches: u32,
    }

    impl Secret {
        fn answer(&mut self, method: &Method, path: &str, token: Option<&str>, body: &[u8]) -> (u16, Value) {
            if token != Some("Bearer account") {
                return (401, json!({ "message": "Unauthorized" }));
            }
            if path != PATH {
                return (404, json!({ "message": format!("{path} not found") }));
            }
            if method == Method::PATCH {
                self.patches += 1;
                self.version += u64::from(self.rivals > 0);
                self.rivals = self.rivals.saturating_sub(1);
                let patch: Value = serde_json::from_slice(body).unwrap();
                if patch["metadata"]["resourceVersion"].as_str() != Some(&self.version.to_string()) {
                    return (409, json!({ "message": "the object has been modified" }));
                }
                self.version += 1;
                self.data.extend(patch["stringData"].as_object().unwrap().clone());
            }
            let metadata = json!({ "resourceVersion": self.version.to_string() });
            let whole = json!({ "kind": "Secret", "metadata": metadata, "data": self.data });
            (200, if self.data.is_empty() { json!({ "metadata": whole["metadata"] }) } else { whole })
        }
    }

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Secret>>);

    impl<S> Layer<S> for Fake {
        type Service = Self;

        fn layer(&self, _inner: S) -> Self {
            self.clone()
        }
    }

    impl Service<Request<Bytes>> for Fake {
        type Response = Response<Bytes>;
        type Error = Infallible;
        type Future = BoxFuture<Response<Bytes>, Infallible>;

        fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Bytes>) -> Self::Future {
            let secret = Arc::clone(&self.0);
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let body = read(body).await.unwrap();
                let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                let (status, answer) =
                    secret.lock().unwrap().answer(&parts.method, parts.uri.path(), token, &body);
                let mut response = Response::new(Bytes::new(answer.to_string()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            })
        }
    }

    /// Serves it under certificates of its own; the API as a pod sees it.
    async fn serve(fake: &Fake, token: &str) -> Api {
        let made = fresh(&[]).unwrap();
        let identity = Identity::from_pem(&made["tls.pem"], &made["tls.key"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let limits = Limits::default();
        let incoming = server::accept(listener, &limits, ("grpc", false), &Shutdown::new());
        let serves = server::builder(&limits)
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .layer(fake.clone())
            .add_routes(Routes::default())
            .serve_with_incoming(incoming);
        tokio::spawn(serves);
        Api::new("127.0.0.1", &port, &made["ca.pem"], token).unwrap()
    }

    #[tokio::test]
    async fn an_empty_secret_is_filled_once_whoever_writes_meanwhile() {
        let fake = Fake::default();
        fake.0.lock().unwrap().rivals = 2;
        let api = serve(&fake, "account").await;
        let said = api.fill(PATH, &[]).await.unwrap();
        assert!(
            said.ends_with("now holds token, ca.pem, tls.pem, tls.key, redis-password, redis.conf"),
            "{said}"
        );
        let filled = fake.0.lock().unwrap().data.clone();
        assert_eq!((filled.len(), fake.0.lock().unwrap().patches), (NAMES.len(), 3));

        let said = api.fill(PATH, &[]).await.unwrap();
        assert!(said.contains("already"), "{said}");
        assert_eq!(fake.0.lock().unwrap().data, filled);
    }

    #[tokio::test]
    async fn half_a_secret_a_missing_one_and_missing_rights_are_said() {
        let fake = Fake::default();
        fake.0.lock().unwrap().data.insert("token".into(), "mine".into());
        let api = serve(&fake, "account").await;
        let message = format!("{:#}", api.fill(PATH, &[]).await.unwrap_err());
        assert!(message.contains("lacks ca.pem, tls.pem"), "{message}");
        let message = format!("{:#}", api.fill("/api/v1/other", &[]).await.unwrap_err());
        assert!(message.contains("404") && message.contains("not found"), "{message}");
        let stranger = serve(&fake, "stranger").await;
        let message = format!("{:#}", stranger.fill(PATH, &[]).await.unwrap_err());
        assert!(message.contains("401"), "{message}");
        assert_eq!(fake.0.lock().unwrap().patches, 0);
    }
}
