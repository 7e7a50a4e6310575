//! What a shard counts as refused: requests that cannot be read, not those that their client takes back.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use node::{
    connection::{Bearer, Connection},
    metrics,
};
use proto::v1::{self, append_request::Kind, replay_client::ReplayClient};
use replay::ShardServer;
use support::*;
use tokio_stream::{Stream, pending};
use tonic::{
    Code, Status,
    codegen::http::{Request, Uri},
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::ServiceExt;

/// Calls of one message, by what the service must read first.
const CALLS: [&str; 4] = ["Info", "Pace", "Sample", "UpdatePriorities"];

async fn connect() -> Connection {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = ShardServer::named(&settings(), (0, 1), 7).unwrap();
    tokio::spawn(Server::builder().add_routes(server.routes()).serve_with_incoming(incoming));
    Bearer::none(Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap())
}

/// Sends what `Append` takes to another call: nothing, for as long as the stream has nothing, or what that cannot read.
async fn misdirected(
    connection: &Connection,
    call: &'static str,
    requests: impl Stream<Item = v1::AppendRequest> + Send + 'static,
) -> Result<(), Status> {
    let inner = connection.clone();
    let service = tower::service_fn(move |mut request: Request<tonic::body::Body>| {
        *request.uri_mut() = Uri::try_from(format!("http://replay.test/mahrl.v1.Replay/{call}")).unwrap();
        inner.clone().oneshot(request)
    });
    ReplayClient::new(service.boxed_clone()).append(requests).await?.into_inner().message().await.map(drop)
}

fn batch(bytes: usize) -> impl Stream<Item = v1::AppendRequest> + Send + 'static {
    let batch = v1::AppendBatch { sequence: 1, records: vec![1; bytes].into() };
    tokio_stream::iter([v1::AppendRequest { kind: Some(Kind::Batch(batch)) }])
}

/// Refusals so far, by reason: `invalid`, `precondition`, `full`, `unreadable`.
fn refused(recorded: &metrics::Recorded) -> [f64; 4] {
    let text = recorded.text();
    ["invalid", "precondition", "full", "unreadable"].map(|reason| {
        let reason = format!("reason=\"{reason}\"");
        let counts = |line: &&str| line.starts_with("mahrl_replay_rejected_total{") && line.contains(&reason);
        text.lines().find(counts).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_counts_as_refused_and_what_its_client_takes_back_does_not() {
    let recorded = metrics::install("replay").unwrap();
    let connection = connect().await;
    for call in CALLS {
        for k in 0..20 {
            // Taken back while the shard waits for the message, or as soon as the call is on its way.
            let call = misdirected(&connection, call, pending());
            let patience = Duration::from_millis(if k % 2 == 0 { 20 } else { 1 });
            assert!(tokio::time::timeout(patience, call).await.is_err());
        }
    }
    // A stream, too; and one that its connection takes with it.
    for connection in [connection.clone(), connect().await] {
        let stream =
            async { ReplayClient::new(connection).append(pending()).await?.into_inner().message().await };
        assert!(tokio::time::timeout(Duration::from_millis(50), stream).await.is_err());
    }
    // A call that is answered comes after those before it on their connection.
    let info = v1::InfoRequest { run: Some(v1::RunHeader::current("test")), ready: 0, wait_ms: 0 };
    ReplayClient::new(connection.clone()).info(info).await.unwrap();
    assert_eq!(refused(&recorded), [0.0; 4]);

    for call in CALLS {
        let before = refused(&recorded)[3];
        let garbled = misdirected(&connection, call, batch(100)).await.unwrap_err();
        assert_eq!(garbled.code(), Code::Internal, "{call}: {garbled}");
        let empty = misdirected(&connection, call, tokio_stream::empty()).await.unwrap_err();
        assert_eq!(empty.code(), Code::Internal, "{call}: {empty}");
        let too_long = misdirected(&connection, call, batch(5 << 20)).await.unwrap_err();
        assert_eq!(too_long.code(), Code::OutOfRange, "{call}: {too_long}");
        assert_eq!(refused(&recorded)[3] - before, 3.0, "{call}");
    }
    let unknown = misdirected(&connection, "Nothing", batch(1)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    assert_eq!(refused(&recorded), [0.0, 0.0, 0.0, 3.0 * CALLS.len() as f64 + 1.0]);
}
