//! Certificates: who is believed.

use std::{path::Path, process::Command, time::Duration};

use common::config::ClusterConfig;
use node::{Error, Limits, Security, Server};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{Authority, DEADLINE, join_as, serve_with};

fn security(config: &ClusterConfig) -> Security {
    Security::load(config).unwrap()
}

/// An authority and a server's settings with its certificate.
fn server_settings(is_valid: bool) -> (TempDir, Authority, ClusterConfig) {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let config = authority.issue(folder.path(), "node.test", is_valid);
    (folder, authority, config)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let (folder, authority, config) = server_settings(true);
    let server = serve_with(&security(&config)).await;
    let client = security(&authority.trusted(folder.path()));
    assert_eq!(join_as(&server, &client).await.unwrap().incarnation, 7);
    node::health::ready(&server.address, &client, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_client_with_another_name_authority_or_without_tls_is_not_served() {
    let (folder, authority, config) = server_settings(true);
    let server = serve_with(&security(&config)).await;
    let mut other_name = authority.trusted(folder.path());
    other_name.tls.domain = "other.test".into();
    let elsewhere = tempfile::tempdir().unwrap();
    let other_authority = Authority::new().trusted(elsewhere.path());
    for client in [other_name, other_authority, ClusterConfig::default()] {
        let status = join_as(&server, &security(&client)).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
    }
    // None of them has harmed it.
    join_as(&server, &security(&authority.trusted(folder.path()))).await.unwrap();
}

#[tokio::test]
async fn where_one_side_alone_speaks_tls_both_are_told_what_to_set() {
    let (folder, authority, config) = server_settings(true);
    let (secure, plain) = (serve_with(&security(&config)).await, serve_with(&Security::default()).await);
    let trusting = security(&authority.trusted(folder.path()));
    let error = async |server: &crate::support::Running, client: &Security| {
        node::health::ready(&server.address, client, DEADLINE).await.unwrap_err().to_string()
    };
    let said = error(&secure, &Security::default()).await;
    assert!(said.contains("it speaks TLS") && said.contains("cluster.tls.ca"), "{said}");
    let said = error(&plain, &trusting).await;
    assert!(said.contains("it speaks plain text") && said.contains("cluster.tls.certificate"), "{said}");
    // Who is away, or right, is no riddle.
    let dialer = node::Dialer::new(&trusting);
    for address in [&secure.address, "127.0.0.1:1"] {
        assert_eq!(dialer.explain(address, "away").await, "away");
    }
    let peer = node::Dialer::new(&Security::default()).dial(&secure.address).unwrap();
    let said = peer.explain("no answer").await;
    assert!(said.starts_with(&format!("{}: no answer; it speaks TLS", secure.address)), "{said}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let (folder, authority, config) = server_settings(false);
    let server = serve_with(&security(&config)).await;
    let client = security(&authority.trusted(folder.path()));
    let status = join_as(&server, &client).await.unwrap_err();
    assert!(format!("{status:?}").contains("xpired"), "{status:?}");
    let error = node::health::ready(&server.address, &client, DEADLINE).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn mutual_tls_refuses_a_client_without_a_right_certificate() {
    let (folder, authority, mut config) = server_settings(true);
    config.tls.mutual = true;
    let server = serve_with(&security(&config)).await;

    join_as(&server, &security(&authority.trusted(folder.path()))).await.unwrap_err();

    let elsewhere = tempfile::tempdir().unwrap();
    let mut stranger = Authority::new().issue(elsewhere.path(), "actor.test", true);
    stranger.tls.ca.clone_from(&config.tls.ca);
    join_as(&server, &security(&stranger)).await.unwrap_err();

    let late = tempfile::tempdir().unwrap();
    join_as(&server, &security(&authority.issue(late.path(), "actor.test", false))).await.unwrap_err();

    let member = tempfile::tempdir().unwrap();
    let member = security(&authority.issue(member.path(), "actor.test", true));
    assert_eq!(join_as(&server, &member).await.unwrap().incarnation, 7);
}

#[tokio::test]
async fn half_of_the_settings_is_refused_with_the_other_half_named() {
    let (folder, authority, config) = server_settings(true);
    let client_only = security(&authority.trusted(folder.path()));
    let refused = Server::bind("127.0.0.1:0", &client_only, Limits::default()).await.unwrap_err();
    assert!(refused.to_string().contains("cluster.tls.certificate"), "{refused}");

    let mut no_authority = config.clone();
    no_authority.tls.ca.clear();
    let refused = node::connect("127.0.0.1:1", &security(&no_authority)).unwrap_err();
    assert!(refused.to_string().contains("cluster.tls.ca"), "{refused}");

    let elsewhere = tempfile::tempdir().unwrap();
    let mut other_key = config.clone();
    other_key.tls.key = Authority::new().issue(elsewhere.path(), "node.test", true).tls.key;
    assert!(matches!(Security::load(&other_key), Err(Error::Tls(_))));

    let mut no_pem = config;
    no_pem.tls.ca.clone_from(&no_pem.tls.key);
    let refused = Security::load(&no_pem).unwrap_err().to_string();
    assert!(refused.contains("cluster.tls.ca") && refused.contains("no PEM file"), "{refused}");
}

#[tokio::test]
async fn who_says_nothing_of_tls_is_closed_after_the_handshakes_time() {
    let (_folder, _authority, config) = server_settings(true);
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let server = crate::support::serve(&security(&config), limits, DEADLINE).await;
    assert!(crate::limits::is_closed(&server.address).await);
}

/// The commands of docs/security.md, as a user would run them.
#[tokio::test]
async fn the_certificates_and_the_token_of_the_page_work() {
    let folder = tempfile::tempdir().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let scripts: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(scripts.len(), 2);
    for script in scripts {
        match Command::new("sh").args(["-ec", script]).current_dir(folder.path()).output() {
            Ok(done) if done.status.success() => {}
            Ok(done) if done.status.code() == Some(127) => {
                eprintln!("SKIPPED: no openssl on this machine");
                return;
            }
            other => panic!("{script}: {other:?}"),
        }
    }
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut config = ClusterConfig { token_file: at("token"), ..ClusterConfig::default() };
    config.tls.ca = at("ca.pem");
    config.tls.certificate = at("node.pem");
    config.tls.key = at("node.key");
    config.tls.domain = "node.mahrl".into();
    config.tls.mutual = true;
    let server = serve_with(&security(&config)).await;
    assert_eq!(join_as(&server, &security(&config)).await.unwrap().incarnation, 7);
    config.token_file.clear();
    assert_eq!(join_as(&server, &security(&config)).await.unwrap_err().code(), Code::Unauthenticated);
}
