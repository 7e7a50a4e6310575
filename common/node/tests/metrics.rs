//! The metrics as a scraper sees them, and docs/metrics.md beside the catalogue. `UPDATE_DOCS=1` rewrites its table.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use node::{
    Limits, Security, Server, Shutdown,
    metrics::{self, CATALOGUE, Kind},
};
use proto::v1::{JoinRequest, control_client::ControlClient};
use tonic::{Code, service::Routes};

/// Head and body of the answer.
fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_scraper_reads_what_was_recorded_with_its_description() {
    let address = metrics::serve("127.0.0.1:0", "replay").unwrap();
    metrics::REPLAY_INSERTED.increment(3, ["low"]);
    metrics::REPLAY_INSERTED.with(["low"]).increment(4);
    metrics::REPLAY_SIZE.set(12.0, ["high"]);
    metrics::REPLAY_SYNC_SECONDS.record(0.002, []);
    metrics::LEARNER_SAMPLED_AGE_VERSIONS.record_many(3.0, 5, []);
    let (head, text) = ask(address, "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "# HELP mahrl_replay_inserted_total transitions stored, by table",
        "# TYPE mahrl_replay_inserted_total counter",
        "mahrl_replay_inserted_total{table=\"low\"} 7",
        "mahrl_replay_size{table=\"high\"} 12",
        "# TYPE mahrl_replay_sync_seconds histogram",
        "mahrl_replay_sync_seconds_bucket{le=\"0.001\"} 0",
        "mahrl_replay_sync_seconds_bucket{le=\"0.003\"} 1",
        "mahrl_replay_sync_seconds_count 1",
        "mahrl_learner_sampled_age_versions_bucket{le=\"2\"} 0",
        "mahrl_learner_sampled_age_versions_bucket{le=\"3\"} 5",
        "mahrl_learner_sampled_age_versions_sum 15",
        "mahrl_connections{listener=\"metrics\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    assert!(text.contains("mahrl_process_info{role=\"replay\""), "{text}");

    assert!(ask(address, "GET /").0.starts_with("HTTP/1.1 404"));
    assert!(ask(address, "POST /metrics").0.starts_with("HTTP/1.1 405"));
    // A second role in the same process is served beside the first.
    let second = metrics::serve("127.0.0.1:0", "replay").unwrap();
    assert!(ask(second, "GET /metrics").1.contains("mahrl_replay_size"));
    let taken = metrics::serve(&second.to_string(), "replay").unwrap_err().to_string();
    assert!(taken.contains(&second.to_string()), "{taken}");
}

#[tokio::test]
async fn refused_tokens_are_counted_by_reason() {
    let recorded = metrics::install("replay").unwrap();
    let security = Security::default().with_token("0123456789abcdef");
    let server = Server::bind("127.0.0.1:0", &security, Limits::default()).await.unwrap();
    let (address, shutdown) = (server.address().to_string(), Shutdown::new());
    let served = tokio::spawn(server.serve(Routes::default(), shutdown.clone(), Duration::from_secs(20)));
    let ask = async |security: &Security| {
        let connection = node::connect(&address, security).unwrap();
        ControlClient::new(connection).join(JoinRequest::default()).await.unwrap_err().code()
    };
    assert_eq!(ask(&Security::default()).await, Code::Unauthenticated);
    let wrong = Security::default().with_token("another-token-of-a-run");
    assert_eq!(ask(&wrong).await, Code::Unauthenticated);
    assert_eq!(ask(&wrong).await, Code::Unauthenticated);
    // With the right one it gets as far as to what is not there.
    assert_eq!(ask(&security).await, Code::Unimplemented);
    let text = recorded.text();
    for line in
        ["mahrl_auth_failures_total{reason=\"missing\"} 1", "mahrl_auth_failures_total{reason=\"wrong\"} 2"]
    {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    shutdown.begin();
    served.await.unwrap().unwrap();
}

#[test]
fn names_are_unique_and_say_kind_and_unit() {
    let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), CATALOGUE.len());
    for metric in CATALOGUE {
        let name = metric.name;
        assert!(name.starts_with("mahrl_") && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()));
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        let has_buckets = name.ends_with("_seconds") || name.ends_with("_versions");
        assert!(metric.kind != Kind::Histogram || has_buckets, "{name} needs buckets");
        assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
    }
}

#[test]
fn the_page_of_metrics_has_the_catalogue() {
    const HEADING: &str = "## Prometheus\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let row = |metric: &metrics::Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.help)
            .replace("|  |", "| |")
    };
    let table: String = CATALOGUE.iter().map(row).collect();
    let section = text.find(HEADING).expect("a heading `## Prometheus`");
    let rows = section + text[section..].find("\n| `").map_or(0, |at| at + 1);
    let length: usize =
        text[rows..].split_inclusive('\n').take_while(|line| line.starts_with("| `")).map(str::len).sum();
    if text[rows..rows + length] == table {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/metrics.md and the catalogue differ; UPDATE_DOCS=1 rewrites the table. It should be\n{table}"
    );
    fs::write(&path, format!("{}{table}{}", &text[..rows], &text[rows + length..])).unwrap();
}
