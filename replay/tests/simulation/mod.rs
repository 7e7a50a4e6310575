//! A cluster in a simulated network: shards that survive their crashes, a learner that paces, actors that write.
//!
//! Everything in it happens in simulated time and with the simulation's random numbers: the same seed gives the same
//! course of events.
#![allow(dead_code, missing_docs, unreachable_pub)]

mod case;

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use node::{
    Dialer,
    connection::{Bearer, Connection},
};
use replay::{
    Error, Settings, ShardServer, Shards, WriterSettings,
    client::{Pace, Pacer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep},
};
use tonic::transport::{Endpoint, Server, Uri, server::Connected};
use turmoil::{Sim, net};

pub use case::*;

use crate::support::{Session, checker::Ledger, distinct, low_rows};

pub const PORT: u16 = 7410;
/// Most rows of a sample request.
pub const LARGEST_SAMPLE: usize = 1_024;
/// No wait of a writer is longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A simulated connection, as tonic's server wants it.
struct Pipe(net::TcpStream);

impl Connected for Pipe {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A connection over the simulated network.
pub fn connect(address: &str) -> Result<Connection, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let connector = tower::service_fn(|uri: Uri| async move {
        let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(PORT));
        net::TcpStream::connect((host, port)).await.map(TokioIo::new)
    });
    let endpoint = endpoint
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true);
    Ok(Bearer::none(endpoint.connect_with_connector_lazy(connector)))
}

/// `shard-K:PORT`.
pub fn address(shard: usize) -> String {
    format!("shard-{shard}:{PORT}")
}

/// Serves a shard until the host is crashed. Its contents stay with `server`, as if they were on a disk.
async fn serve(server: ShardServer) -> turmoil::Result {
    let listener = net::TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
    let incoming = futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Pipe(stream));
        Some((accepted, listener))
    });
    Server::builder().add_routes(server.routes()).serve_with_incoming(incoming).await?;
    Ok(())
}

/// What all hosts of a simulation share: they take turns on one thread.
#[derive(Clone, Default)]
pub struct World {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    ledger: Ledger,
    /// What happened, in order.
    trace: Vec<String>,
    /// Actors that have handed over everything.
    n_finished: usize,
    /// What was wrong.
    failures: Vec<String>,
}

impl World {
    pub fn note(&self, what: String) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.inner.borrow_mut().trace.push(format!("{at:?} {what}"));
    }
    pub fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.inner.borrow_mut().ledger)
    }
    pub fn n_finished(&self) -> usize {
        self.inner.borrow().n_finished
    }
    fn finish_one(&self) {
        self.inner.borrow_mut().n_finished += 1;
    }
    pub fn fail(&self, what: String) {
        self.inner.borrow_mut().failures.push(what);
    }
    pub fn trace(&self) -> Vec<String> {
        self.inner.borrow().trace.clone()
    }
    pub fn failures(&self) -> Vec<String> {
        self.inner.borrow().failures.clone()
    }
}

/// What a test may change, beside the network.
pub struct Stage {
    settings: Settings,
    /// Addresses that are listed.
    pub list: watch::Sender<Vec<String>>,
    /// The contents that each host serves when it starts.
    contents: Vec<Rc<RefCell<ShardServer>>>,
}

impl Stage {
    /// Hosts `shard-0`, ...; the first `n_listed` of them are listed.
    pub fn new(sim: &mut Sim<'_>, settings: &Settings, n_hosts: usize, n_listed: usize) -> Self {
        let contents = (0..n_hosts).map(|k| {
            let contents = Rc::new(RefCell::new(contents(settings, (k, n_hosts), k as u64)));
            let ours = Rc::clone(&contents);
            sim.host(format!("shard-{k}"), move || serve(ours.borrow().clone()));
            contents
        });
        let contents = contents.collect();
        Self { settings: settings.clone(), list: watch::channel(listed(0..n_listed)).0, contents }
    }

    /// From its next start on, a host serves what another one does.
    pub fn give(&self, from: usize, to: usize) {
        let given = self.contents[from].borrow().clone();
        self.contents[to].replace(given);
    }

    /// From its next start on, a host begins with nothing.
    pub fn empty(&self, host: usize) {
        let place = (host, self.contents.len());
        self.contents[host].replace(contents(&self.settings, place, 100 + host as u64));
    }
}

fn contents(settings: &Settings, place: (usize, usize), number: u64) -> ShardServer {
    ShardServer::named(settings, place, 1_000 + number).unwrap()
}

/// The addresses of hosts.
pub fn listed(hosts: impl IntoIterator<Item = usize>) -> Vec<String> {
    hosts.into_iter().map(address).collect()
}

pub fn discover(addresses: &watch::Receiver<Vec<String>>, settings: &Settings) -> Shards {
    Shards::discover(addresses.clone(), Dialer::by(connect), settings, Handle::current())
}

/// How an actor plays.
#[derive(Clone, Copy)]
pub struct Play {
    pub writer: u64,
    /// Sessions side by side.
    pub slots: u64,
    /// Steps of each slot.
    pub steps: u64,
    /// Between two steps.
    pub pause: Duration,
}

/// Plays sessions of 23 steps, and acknowledges what a flush said is stored. A session that is lost makes way for the
/// next one.
pub async fn act(shards: Shards, world: World, play: Play) -> Result<(), Error> {
    let settings = WriterSettings { wait: PATIENCE, in_flight: 3, ..WriterSettings::new(play.writer) };
    let mut writer = shards.writer(settings).await?;
    let mut numbers = play.writer * 1_000..;
    let mut begin = move || Session::new(numbers.next().unwrap_or(0), 23);
    let mut sessions: Vec<Session> = (0..play.slots).map(|_| begin()).collect();
    let mut over: Vec<u64> = Vec::new();
    for step in 0..play.steps {
        for session in &mut sessions {
            if session.is_over() {
                over.push(session.session);
                *session = begin();
            }
            writer.ready_async().await?;
            match session.try_step(&mut writer) {
                Ok(()) => world.ledger(|ledger| ledger.handed_over(session.session, &session.low)),
                Err(Error::SessionLost { session: lost }) => {
                    world.note(format!("writer {} lost session {lost}", play.writer));
                    world.ledger(|ledger| ledger.lost.insert(lost));
                    *session = begin();
                }
                Err(error) => return Err(error),
            }
        }
        writer.submit_async().await?;
        if step % 7 == 6 || step + 1 == play.steps {
            let not_stored = match writer.flush_async().await {
                Ok(()) => Vec::new(),
                Err(Error::NotStored { sessions }) => sessions,
                Err(error) => return Err(error),
            };
            let flushed = over.drain(..).chain(sessions.iter().map(|session| session.session));
            let stored = flushed.filter(|session| !not_stored.contains(session));
            world.ledger(|ledger| ledger.acknowledge(stored));
            world.note(format!("writer {} flushed after {step}, but for {not_stored:?}", play.writer));
        }
        sleep(play.pause).await;
    }
    world.finish_one();
    Ok(())
}

/// Paces and samples until all actors have finished; then compares what the shards hold with the ledger.
pub async fn learn(
    shards: Shards,
    settings: Settings,
    world: World,
    (n_shards, n_actors, may_lose): (usize, usize, bool),
) -> turmoil::Result {
    let pace = Pace { budget: u64::MAX / 4, fence: 1, expected_shards: n_shards };
    let pacer = Pacer::start(&shards, &settings, pace, None)?;
    pacer.contact().await?;
    world.note("first contact".into());
    let sampler = pacer.sampler(Duration::from_millis(200), 1.0);
    let mut key = 0;
    let mut slowest = Duration::ZERO;
    while world.n_finished() < n_actors {
        key += 1;
        let begun = Instant::now();
        match sampler.sample_low(16, key).await {
            Ok(batch) if batch.len() == 16 => slowest = slowest.max(begun.elapsed()),
            Ok(batch) => world.fail(format!("{} rows", batch.len())),
            Err(Error::Deadline { .. }) => {}
            Err(error) => world.fail(format!("sampling: {error}")),
        }
        let balance = pacer.totals().balance;
        let window = settings.ratio.map_or(0.0, |ratio| ratio.error_window);
        if balance.abs() > window + 0.01 {
            world.fail(format!("the balance is {balance}, its window {window}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    world.note(format!("slowest sample {slowest:?}"));
    // The faults are over: everything is there.
    let unpaced = Settings { ratio: None, ..settings };
    drop((sampler, pacer));
    let pace = Pace { fence: 2, expected_shards: shards.n_shards(), ..pace };
    let pacer = Pacer::start(&shards, &unpaced, pace, None)?;
    pacer.contact().await?;
    let (sampler, held) = (pacer.sampler(PATIENCE, 1.0), pacer.totals().sizes.low);
    let mut rows = Vec::new();
    // 25 draws a row leave one of them unseen with a chance of e^-25.
    for key in 0..25 * held / LARGEST_SAMPLE as u64 + 1 {
        rows.extend(low_rows(&sampler.sample_low(LARGEST_SAMPLE, key).await?));
        rows = distinct(rows);
    }
    if let Err(problem) = world.ledger(|ledger| ledger.check(&rows, held, may_lose)) {
        world.fail(problem);
    }
    world.note(format!("{held} rows are held"));
    Ok(())
}
