//! What a server does not let its peers do.

use std::time::Duration;

use node::{Limits, Security, Server};
use proto::v1::{JoinRequest, control_client::ControlClient};
use rand::{Rng, RngExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::Code;

use crate::support::{DEADLINE, join_as, serve, serve_with};

/// What a client of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// Whether a connection on which nothing is said is closed by the server.
pub(crate) async fn is_closed(address: &str) -> bool {
    ends(TcpStream::connect(address).await.unwrap()).await
}

/// Whether the peer closes the connection; what it says until then does not matter.
async fn ends(mut stream: TcpStream) -> bool {
    let mut said = Vec::new();
    // A reset is an end too.
    timeout(DEADLINE, stream.read_to_end(&mut said)).await.is_ok()
}

#[tokio::test]
async fn plain_text_beyond_loopback_is_refused_at_the_start() {
    let closed = Security::default();
    let refused = Server::bind("0.0.0.0:0", &closed, Limits::default()).await.unwrap_err().to_string();
    for part in ["cluster.tls.certificate", "cluster.tls.key", "cluster.insecure = true", "0.0.0.0"] {
        assert!(refused.contains(part), "{refused}");
    }
    Server::bind("0.0.0.0:0", &closed.with_insecure(), Limits::default()).await.unwrap();
}

#[tokio::test]
async fn a_taken_port_and_a_bad_address_are_named() {
    let taken = Server::bind("127.0.0.1:0", &Security::default(), Limits::default()).await.unwrap();
    let address = taken.address().to_string();
    let refused = Server::bind(&address, &Security::default(), Limits::default()).await.unwrap_err();
    assert!(refused.to_string().contains(&address), "{refused}");
    let refused = Server::bind("7400", &Security::default(), Limits::default()).await.unwrap_err();
    assert!(refused.to_string().contains("HOST:PORT"), "{refused}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_the_others_served() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let server = serve(&Security::default(), limits, DEADLINE).await;
    let client = node::connect(&server.address, &Security::default()).unwrap();
    crate::support::join(client.clone(), "quick").await.unwrap();
    let second = TcpStream::connect(&server.address).await.unwrap();
    for _ in 0..3 {
        assert!(is_closed(&server.address).await);
    }
    crate::support::join(client, "quick").await.unwrap();
    drop(second);
    // Its place is free again, as soon as the server has noticed.
    let served = async {
        while join_as(&server, &Security::default()).await.is_err() {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, served).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_living_one_is_not() {
    let limits = Limits {
        ping_interval: Duration::from_millis(50),
        idle: Duration::from_millis(400),
        ..Limits::default()
    };
    let server = serve(&Security::default(), limits, DEADLINE).await;
    let living = node::connect(&server.address, &Security::default()).unwrap();
    let waits = tokio::spawn(crate::support::join(living, "slow"));
    server.service.started.acquire().await.unwrap().forget();
    // Two silent ones after each other take longer than `idle`: the living one gives signs of life meanwhile.
    for said in [&b""[..], PREFACE] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        assert!(ends(stream).await);
    }
    server.service.released.add_permits(1);
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_oversized_message_is_refused_before_it_is_read() {
    let server = serve_with(&Security::default()).await;
    let connection = node::connect(&server.address, &Security::default()).unwrap();
    let settings = "x".repeat(5 << 20);
    let request = JoinRequest { settings, ..JoinRequest::default() };
    let status = ControlClient::new(connection.clone()).join(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    crate::support::join(connection, "quick").await.unwrap();
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let server = serve_with(&Security::default()).await;
    let security = Security::default().with_token(&"t".repeat(60_000));
    join_as(&server, &security).await.unwrap_err();
    join_as(&server, &Security::default()).await.unwrap();
}

#[tokio::test]
async fn a_thousand_connections_of_garbage_harm_nobody() {
    let server = serve_with(&Security::default()).await;
    let steady = node::connect(&server.address, &Security::default()).unwrap();
    crate::support::join(steady.clone(), "quick").await.unwrap();
    let mut rng = common::seed::Streams::new(20, "node/garbage").at(0, 0);
    for round in 0..1000 {
        let mut noise = vec![0; rng.random_range(0..400)];
        rng.fill_bytes(&mut noise);
        let bytes = match round % 4 {
            // Anything.
            0 => noise,
            // A preface that breaks off.
            1 => PREFACE[..rng.random_range(0..PREFACE.len())].to_vec(),
            // Frames of anything behind a right preface.
            2 => [PREFACE, &noise].concat(),
            // Empty settings, then a frame that says it is 16 MiB long.
            _ => [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0xff, 0xff, 0xff, 0, 0], &noise].concat(),
        };
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        // The server may have closed it already.
        let _closed = stream.write_all(&bytes).await;
    }
    crate::support::join(steady, "quick").await.unwrap();
    join_as(&server, &Security::default()).await.unwrap();
    assert!(!server.served.is_finished());
}
