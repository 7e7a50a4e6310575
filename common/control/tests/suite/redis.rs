//! What only a real Redis can do wrong.

use std::{fs, time::Duration};

use common::config::ClusterConfig;
use control::{Control, Error, RunRecord, Standing};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    server::Server,
    world::{World, ends},
};

/// A word that no message may hold.
const SECRET: &str = "correct-horse-battery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_server_holds_nobody_up() {
    let Some(world) = World::redis() else { return };
    let (lease, process) = (world.lease(), world.process().await);
    let leadership = process.control.campaign("l:1", lease, 0).await.unwrap();
    let World::Redis(server) = &world else { unreachable!("it is a Redis") };
    server.signal(Signal::STOP);
    for _ in 0..4 {
        let start = Instant::now();
        let answer = process.control.run().await;
        assert!(matches!(answer, Err(Error::Unreachable { .. })), "{answer:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    let mut standing = leadership.view().watch();
    ends("the lease", standing.wait_for(|now| *now == Standing::Unconfirmed)).await.unwrap();
    server.signal(Signal::CONT);
    ends("the renewal", standing.wait_for(|now| *now == Standing::Held)).await.unwrap();
    assert_eq!(process.control.leader().await.unwrap().unwrap().fence, leadership.fence());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_old_state_gives_no_fence_twice() {
    let Some(mut world) = World::redis() else { return };
    let lease = world.lease();
    let mut last = 0;
    for restore in [false, true, true] {
        let World::Redis(server) = &mut world else { unreachable!("it is a Redis") };
        if restore {
            server.kill();
            server.start_again();
        }
        // Nobody who leads now knows of those before.
        let process = world.process().await;
        for _ in 0..2 {
            let leadership = ends("the campaign", process.control.campaign("l:1", lease, 0)).await.unwrap();
            assert!(leadership.fence() > last, "{} after {last}", leadership.fence());
            last = leadership.fence();
            leadership.release().await;
            let World::Redis(server) = &world else { unreachable!("it is a Redis") };
            if !restore && !server.dump().exists() {
                assert!(server.command("SAVE").starts_with("+OK"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_starts_before_its_redis_does() {
    let Some(mut world) = World::redis() else { return };
    let (lease, process) = (world.lease(), world.process().await);
    world.die(&[]);
    let start = Instant::now();
    assert!(matches!(process.control.ping().await, Err(Error::Unreachable { .. })));
    assert!(start.elapsed() < Duration::from_secs(2));
    let control = process.control.clone();
    let campaign = tokio::spawn(async move { control.campaign("l:1", lease, 0).await.unwrap() });
    sleep(lease).await;
    assert!(!campaign.is_finished());
    world.come_back(&[]);
    assert!(ends("the campaign", campaign).await.unwrap().is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_without_the_password() {
    let Some(server) = Server::start(&["--requirepass", SECRET]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let config = ClusterConfig {
        redis: format!("redis://127.0.0.1:{}", server.port),
        redis_password_file: file.to_string_lossy().into_owned(),
        ..ClusterConfig::default()
    };
    let message = Control::open(&config).unwrap_err().to_string();
    assert!(message.contains("cluster.redis_password_file") && message.contains("password"), "{message}");
    let wrong = format!("{SECRET}-not");
    fs::write(&file, &wrong).unwrap();
    let control = Control::open(&config).unwrap();
    let lease = Duration::from_secs(5);
    let campaign = ends("a refusal", control.campaign("l:1", lease, 0)).await.map(drop);
    for refused in [control.ping().await, campaign] {
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        let message = format!("{refused:?} {} {control:?}", refused.as_ref().unwrap_err());
        assert!(message.contains("cluster.redis_password_file"), "{message}");
        assert!(!message.contains(SECRET), "{message}");
    }
    let none = ClusterConfig { redis_password_file: String::new(), ..config.clone() };
    let refused = Control::open(&none).unwrap().ping().await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let control = Control::open(&config).unwrap();
    control.ping().await.unwrap();
    assert!(!format!("{control:?}").contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_named() {
    let Some(world) = World::redis() else { return };
    let process = world.process().await;
    let World::Redis(server) = &world else { unreachable!("it is a Redis") };
    server.command("SET mahrl:mahrl:run not-json");
    let message = process.control.run().await.unwrap_err().to_string();
    assert!(message.contains("mahrl:mahrl:run"), "{message}");
    process.control.publish_run(RunRecord::new("mahrl", String::new())).await.unwrap();
    assert!(process.control.run().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_one_redis_do_not_meet() {
    let Some(world) = World::redis() else { return };
    let World::Redis(server) = &world else { unreachable!("it is a Redis") };
    let of =
        |run: &str| Control::open(&ClusterConfig { run: run.into(), ..world.config(server.port) }).unwrap();
    let (one, two) = (of("one"), of("two"));
    let _first = ends("one", one.campaign("l:1", world.lease(), 0)).await.unwrap();
    let _second = ends("two", two.campaign("l:2", world.lease(), 0)).await.unwrap();
    one.add("joins", 1).await.unwrap();
    assert!(two.counters().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for name in ["ours", "other"] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(path(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Issuer::new(params, key);
        let server_key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let certificate = params.signed_by(&server_key, &authority).unwrap();
        fs::write(path(&format!("{name}-server.pem")), certificate.pem()).unwrap();
        fs::write(path(&format!("{name}-server.key")), server_key.serialize_pem()).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tls_port = port.to_string();
    let Some(_server) = Server::start(&[
        "--tls-port",
        &tls_port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &path("ours-server.pem"),
        "--tls-key-file",
        &path("ours-server.key"),
        "--tls-ca-cert-file",
        &path("ours.pem"),
    ]) else {
        return;
    };
    let with = |authority: &str| {
        let mut config =
            ClusterConfig { redis: format!("rediss://127.0.0.1:{port}"), ..ClusterConfig::default() };
        config.tls.ca = path(authority);
        Control::open(&config)
    };
    with("ours.pem").unwrap().ping().await.unwrap();
    let message = with("other.pem").unwrap().ping().await.unwrap_err().to_string();
    assert!(message.contains("certificate"), "{message}");
    let message = with("none.pem").unwrap_err().to_string();
    assert!(message.contains("cluster.tls.ca"), "{message}");
}
