//! A server with a tiny Control service, and an authority that signs certificates.

use std::{fs, path::Path, sync::Arc, time::Duration};

use common::config::ClusterConfig;
use node::{Connection, Error, Health, Limits, Security, Server, Shutdown};
use proto::v1::{
    JoinRequest, JoinResponse, RunHeader,
    control_client::ControlClient,
    control_server::{Control, ControlServer},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::{Request, Response, Status, service::Routes};

/// After which a test that waits has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Answers at once, but the actor `slow` only with a permit of `released`.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) started: Arc<Semaphore>,
    pub(crate) released: Arc<Semaphore>,
}

#[tonic::async_trait]
impl Control for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        if request.get_ref().actor == "slow" {
            self.started.add_permits(1);
            let _permit = self.released.acquire().await;
        }
        Ok(Response::new(JoinResponse { incarnation: 7, ..JoinResponse::default() }))
    }
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) address: String,
    pub(crate) health: Health,
    pub(crate) service: Service,
    pub(crate) shutdown: Shutdown,
    pub(crate) served: JoinHandle<Result<(), Error>>,
}

/// Serves on loopback, ready at once.
pub(crate) async fn serve(security: &Security, limits: Limits, grace: Duration) -> Running {
    let server = Server::bind("127.0.0.1:0", security, limits).await.unwrap();
    let service = Service { started: Arc::new(Semaphore::new(0)), released: Arc::new(Semaphore::new(0)) };
    let shutdown = Shutdown::new();
    let (address, health) = (server.address().to_string(), server.health());
    health.set_ready(true);
    let routes = Routes::new(ControlServer::new(service.clone()));
    let served = tokio::spawn(server.serve(routes, shutdown.clone(), grace));
    Running { address, health, service, shutdown, served }
}

/// With the defaults.
pub(crate) async fn serve_with(security: &Security) -> Running {
    serve(security, Limits::default(), DEADLINE).await
}

/// Joins as `actor`; fails where no answer comes.
pub(crate) async fn join(connection: Connection, actor: &str) -> Result<JoinResponse, Status> {
    let request = JoinRequest {
        run: Some(RunHeader::current("test")),
        actor: actor.into(),
        settings: String::new(),
        threads: 1,
        ..JoinRequest::default()
    };
    let mut client = ControlClient::new(connection);
    let answer = tokio::time::timeout(DEADLINE, client.join(request)).await.expect("an answer in time");
    answer.map(Response::into_inner)
}

/// Joins a server under `security`.
pub(crate) async fn join_as(server: &Running, security: &Security) -> Result<JoinResponse, Status> {
    join(node::connect(&server.address, security).unwrap(), "quick").await
}

/// Something that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `NAME.pem` and `NAME.key` for the domain, valid or long expired, and `ca.pem`; gives the settings.
    pub(crate) fn issue(&self, folder: &Path, domain: &str, is_valid: bool) -> ClusterConfig {
        let mut params = CertificateParams::new(vec![domain.to_owned()]).unwrap();
        if !is_valid {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let mut config = self.trusted(folder);
        config.tls.certificate = write(folder, "certificate.pem", &certificate.pem());
        config.tls.key = write(folder, "key.pem", &key.serialize_pem());
        config
    }

    /// Settings of a client that trusts it and has no certificate.
    pub(crate) fn trusted(&self, folder: &Path) -> ClusterConfig {
        let mut config = ClusterConfig::default();
        config.tls.ca = write(folder, "ca.pem", &self.0.pem());
        config.tls.domain = "node.test".into();
        config
    }
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}
