//! A connection that is reset at each border of its frames, in either direction.
//!
//! Between a writer and its shard stands a proxy that knows where HTTP/2 frames end: its k-th connection is reset after
//! k / 2 frames, of the writer's for even k, of the shard's for odd k. What the other side has sent by then is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use system_tests::{
    chance::Chance,
    client::{Client, Learner},
    ledger::Ledger,
    process::{Process, wait_until},
    writers::{Plan, Threads},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
};

use crate::load;

/// What a client says before its first frame.
const PREFACE: usize = 24;
/// Length, type, flags, stream.
const HEADER: usize = 9;

/// Passes whole frames on, at most so many.
async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    preface: usize,
    most: usize,
) -> std::io::Result<()> {
    let mut bytes = vec![0; preface];
    from.read_exact(&mut bytes).await?;
    to.write_all(&bytes).await?;
    for _ in 0..most {
        let mut header = [0; HEADER];
        from.read_exact(&mut header).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await?;
        to.write_all(&header).await?;
        to.write_all(&payload).await?;
    }
    Ok(())
}

/// One connection, reset as soon as either direction has ended.
async fn connection(client: TcpStream, shard: String, (of_client, of_shard): (usize, usize)) {
    let Ok(server) = TcpStream::connect(shard).await else { return };
    // Closing sends a reset, and drops what is on its way.
    client.set_zero_linger().unwrap();
    server.set_zero_linger().unwrap();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        _ended = pass(from_client, to_server, PREFACE, of_client) => {}
        _ended = pass(from_server, to_client, 0, of_shard) => {}
    }
}

/// Passes connections on to a shard; the first `resets` of them are reset. Its address, and how many have come.
async fn proxy(shard: String, resets: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let k = counted.fetch_add(1, Relaxed);
            let frames = match (k < resets, k % 2) {
                (false, _) => (usize::MAX, usize::MAX),
                (true, 0) => (k / 2, usize::MAX),
                (true, _) => (usize::MAX, k / 2),
            };
            tokio::spawn(connection(client, shard.clone(), frames));
        }
    });
    (address, count)
}

#[test]
fn a_reset_at_each_border_of_frames_loses_and_doubles_nothing() {
    let chance = Chance::of("borders", 30);
    let mut cluster = load::cluster(1, false, |_| {});
    cluster.shards.iter_mut().for_each(Process::start);
    let client = Client::open(&cluster.config);
    let mut learner = Learner::start(&client, &cluster.config, 1);
    let (address, count) = client.runtime.block_on(proxy(cluster.addresses[0].clone(), chance.rounds));
    let mut behind = cluster.config.clone();
    behind.cluster.shards = vec![address];
    let writers = Client::open(&behind);
    let ledgers = cluster.folder().join("ledgers");
    std::fs::create_dir(&ledgers).unwrap();
    let threads = Threads::start(&writers, &Plan::new(&ledgers), [1]);
    let deadline = Duration::from_secs(4 * chance.rounds as u64);
    wait_until("every border has had its reset", deadline, cluster.folder(), || {
        assert!(!threads.has_failed(), "the writer has failed\n{}", cluster.tails());
        (count.load(Relaxed) > chance.rounds).then_some(())
    });
    let before = Ledger::read(&ledgers).steps().0;
    wait_until("the writer goes on", load::RESUME, cluster.folder(), || {
        (Ledger::read(&ledgers).steps().0 > before + 200).then_some(())
    });
    threads.stop();
    let seen = learner.stop();
    assert!(seen.wrong.is_empty() && seen.batches > 0, "{seen:#?}");
    let ledger = Ledger::read(&ledgers);
    assert_eq!(ledger.lost(), [0_u64; 0]);
    let report = load::check_shards(&client, &cluster, &cluster.addresses, &ledger);
    assert!(report.acknowledged > 200, "{report:?}");
}
