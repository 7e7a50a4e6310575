//! Health served alone, and the question of probes: ready, alive, away.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use std::time::Duration;

use node::{Security, Shutdown, health};

const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_process_lives_before_it_is_ready_and_is_away_once_it_ends() {
    let (security, shutdown) = (Security::default(), Shutdown::new());
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let said = health::serve(&address, &security, &shutdown).unwrap();
    health::answers(&address, &security, TIMEOUT).await.unwrap();
    let error = health::ready(&address, &security, TIMEOUT).await.unwrap_err();
    assert!(error.to_string().contains("NOT_SERVING"), "{error}");

    said.set_ready(true);
    let becomes_ready = async {
        while health::ready(&address, &security, TIMEOUT).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, becomes_ready).await.unwrap();

    let taken = health::serve(&address, &security, &Shutdown::new()).unwrap_err();
    assert!(taken.to_string().contains(&address), "{taken}");

    shutdown.begin();
    let goes_away = async {
        while health::answers(&address, &security, TIMEOUT).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, goes_away).await.unwrap();
}
