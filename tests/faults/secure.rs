//! Tokens and certificates against the real program `replay`: who may come in, and that it is counted.

use std::{fs, net::TcpStream, path::Path, time::Duration};

use common::config::{ClusterConfig, TlsConfig};
use node::Security;
use proto::v1::{self, replay_client::ReplayClient};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use system_tests::{
    cluster::{Cluster, START},
    process::wait_until,
};
use tokio::runtime::Runtime;
use tonic::{Code, Status};

const TOKEN: &str = "a-token-of-these-tests-0123456789";
/// Longest time for an answer; handshakes included.
const ANSWER: Duration = Duration::from_secs(15);

/// What a shard answers to whoever comes with this security.
fn ask(runtime: &Runtime, cluster: &Cluster, security: &Security) -> Result<(), Status> {
    let run = Some(v1::RunHeader::current(&cluster.config.cluster.run));
    let address = cluster.addresses[0].clone();
    runtime.block_on(async {
        let connection = node::connect(&address, security).expect("the client's files are right");
        let request = v1::InfoRequest { run, ..v1::InfoRequest::default() };
        let answer = tokio::time::timeout(ANSWER, ReplayClient::new(connection).info(request)).await;
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))).map(drop)
    })
}

fn security(change: impl FnOnce(&mut ClusterConfig)) -> Security {
    let mut config = ClusterConfig::default();
    change(&mut config);
    Security::load(&config).unwrap()
}

#[test]
fn without_the_runs_token_nobody_comes_in_and_it_is_counted() {
    let files = tempfile::tempdir().unwrap();
    let token = files.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let mut cluster =
        Cluster::new(1, false, |config| config.cluster.token_file = token.display().to_string());
    cluster.shards[0].start();
    let runtime = Runtime::new().unwrap();
    let right = security(|config| config.token_file = token.display().to_string());
    wait_until("the shard answers", START, cluster.folder(), || ask(&runtime, &cluster, &right).ok());
    let wrong = Security::default().with_token("another-token-of-these-tests-0123");
    for (reason, security) in [("missing", Security::default()), ("wrong", wrong)] {
        let status = ask(&runtime, &cluster, &security).expect_err(reason);
        assert_eq!(status.code(), Code::Unauthenticated, "{reason}: {status}");
        let counted =
            cluster.metric("replay-0", &format!("mahrl_auth_failures_total{{reason=\"{reason}\"}}"));
        assert_eq!(counted, Some(1.0), "{reason}: {:?}", cluster.metrics("replay-0"));
    }
    let log = cluster.shards[0].log();
    assert!(!log.contains("of-these-tests"), "a token is in the log");
}

/// An authority of the tests, with its certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::new([]).unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes ca.pem, NAME.pem and NAME.key; valid until the year.
    fn issue(&self, folder: &Path, name: &str, until: i32) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |name: String| folder.join(name).display().to_string();
        let tls = TlsConfig {
            ca: path(format!("{name}-ca.pem")),
            certificate: path(format!("{name}.pem")),
            key: path(format!("{name}.key")),
            mutual: true,
            domain: String::new(),
        };
        fs::write(&tls.ca, &self.pem).unwrap();
        fs::write(&tls.certificate, certificate.pem()).unwrap();
        fs::write(&tls.key, key.serialize_pem()).unwrap();
        tls
    }
}

#[test]
fn expired_unknown_and_missing_certificates_stay_outside() {
    let (files, authority, stranger) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let folder = files.path();
    let server = authority.issue(folder, "server", 2100);
    let mut cluster = Cluster::new(1, false, |config| config.cluster.tls = server);
    cluster.shards[0].start();
    let runtime = Runtime::new().unwrap();
    let with = |tls: TlsConfig| security(|config| config.tls = tls);
    let right = with(authority.issue(folder, "right", 2100));
    wait_until("the shard answers", START, cluster.folder(), || ask(&runtime, &cluster, &right).ok());
    let expired = with(authority.issue(folder, "expired", 2001));
    let mut unknown = stranger.issue(folder, "stranger", 2100);
    unknown.ca = folder.join("server-ca.pem").display().to_string();
    let mut none = authority.issue(folder, "none", 2100);
    (none.certificate, none.key, none.mutual) = (String::new(), String::new(), false);
    for (what, security) in
        [("expired", expired), ("of another authority", with(unknown)), ("missing", with(none))]
    {
        refused_and_counted(&runtime, &cluster, &security, what);
    }
    refused_and_counted(&runtime, &cluster, &Security::default(), "plain text");
    ask(&runtime, &cluster, &right).expect("the shard serves on");
    // Who only looks whether somebody listens is not refused.
    let counted = failed_handshakes(&cluster);
    drop(TcpStream::connect(&cluster.addresses[0]).unwrap());
    ask(&runtime, &cluster, &right).expect("the shard serves on");
    assert_eq!(failed_handshakes(&cluster), counted);
}

/// Connections whose handshake failed, as the shard counts them.
fn failed_handshakes(cluster: &Cluster) -> f64 {
    cluster.metric("replay-0", "mahrl_auth_failures_total{reason=\"tls\"}").unwrap_or(0.0)
}

fn refused_and_counted(runtime: &Runtime, cluster: &Cluster, security: &Security, what: &str) {
    let before = failed_handshakes(cluster);
    let status = ask(runtime, cluster, security).expect_err(what);
    assert_ne!(status.code(), Code::Ok, "{what}");
    wait_until(&format!("the handshake is counted: {what}"), ANSWER, cluster.folder(), || {
        (failed_handshakes(cluster) > before).then_some(())
    });
}

#[test]
fn a_client_does_not_talk_to_a_server_whose_certificate_has_expired() {
    let (files, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let expired = TlsConfig { mutual: false, ..authority.issue(files.path(), "server", 2001) };
    let mut cluster = Cluster::new(1, false, |config| config.cluster.tls = expired);
    cluster.shards[0].start();
    let runtime = Runtime::new().unwrap();
    let client = security(|config| config.tls = authority.issue(files.path(), "client", 2100));
    wait_until("the shard serves", START, cluster.folder(), || {
        cluster.shards[0].log().contains("serving").then_some(())
    });
    let status = ask(&runtime, &cluster, &client).expect_err("the certificate has expired");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}
