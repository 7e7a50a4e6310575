//! How a server ends: what is under way has its time, and not more.

use std::time::{Duration, Instant};

use node::{Limits, Security, Shutdown};
use tokio::time::timeout;

use crate::support::{DEADLINE, join, serve};

#[tokio::test]
async fn a_call_under_way_is_finished_and_then_the_server_ends() {
    let server = serve(&Security::default(), Limits::default(), DEADLINE).await;
    let connection = node::connect(&server.address, &Security::default()).unwrap();
    let running = tokio::spawn(join(connection, "slow"));
    server.service.started.acquire().await.unwrap().forget();
    server.shutdown.begin();
    // No new connection is taken from here on.
    let refused = async {
        while tokio::net::TcpStream::connect(&server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, refused).await.unwrap();
    assert!(!server.served.is_finished() && !server.health.is_ready());
    server.service.released.add_permits(1);
    assert_eq!(running.await.unwrap().unwrap().incarnation, 7);
    timeout(DEADLINE / 2, server.served).await.expect("well before the grace is over").unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_after_the_grace() {
    let grace = Duration::from_millis(200);
    let server = serve(&Security::default(), Limits::default(), grace).await;
    let connection = node::connect(&server.address, &Security::default()).unwrap();
    let running = tokio::spawn(join(connection, "slow"));
    server.service.started.acquire().await.unwrap().forget();
    let begun = Instant::now();
    server.shutdown.begin();
    timeout(DEADLINE, server.served).await.unwrap().unwrap().unwrap();
    assert!(begun.elapsed() >= grace);
    running.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn sigterm_begins_the_end() {
    let shutdown = Shutdown::on_signals(DEADLINE).unwrap();
    assert!(!shutdown.is_begun());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    timeout(DEADLINE, shutdown.wait()).await.unwrap();
    assert!(shutdown.is_begun());
}
