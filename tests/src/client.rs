//! The client side of a replay service of processes: the product's own, for load, and bare requests, for the checker.
//!
//! In: the settings of a cluster; out: [`Client`] (shards, runtime), [`Learner`] (pacer, and a thread that samples and
//! checks every row it gets), [`info`]. Owner: the test.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use common::{
    config::Config,
    history::N_WINDOWS,
    transition::{HighBatch, LowBatch},
};
use control::{Control, Discovery};
use node::{Dialer, Security};
use proto::v1::{self, replay_client::ReplayClient};
use replay::{
    Settings, Shards,
    client::{Pace, Pacer},
};
use tokio::runtime::Runtime;

use crate::identity::{self, High, Low, SHAPE};

/// Longest wait of the learner's side for one minibatch: a shard may be away for long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shards of a cluster, found as its settings say.
pub struct Client {
    /// Of its tasks.
    pub runtime: Runtime,
    /// As the product sees them.
    pub shards: Shards,
    settings: Settings,
}

impl Client {
    /// Of identities ([`crate::identity`]): their catalogue.
    pub fn open(config: &Config) -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let guard = runtime.enter();
        let security = Security::load(&config.cluster).expect("the test's security is readable");
        let control = Control::open(&config.cluster).expect("the test's control plane is well named");
        let settings = Settings::from_config(config, &config.cluster.run, identity::N_ITEMS);
        let addresses = Discovery::start(&config.cluster, &control);
        let shards = Shards::discover(addresses, Dialer::new(&security), &settings, runtime.handle().clone());
        drop(guard);
        Self { runtime, shards, settings }
    }
}

/// One request, to a shard that may be away.
pub fn info(runtime: &Runtime, run: &str, address: &str) -> Option<v1::InfoResponse> {
    runtime.block_on(async {
        let mut client = bare(address);
        let request =
            v1::InfoRequest { run: Some(v1::RunHeader::current(run)), ..v1::InfoRequest::default() };
        let answer = tokio::time::timeout(Duration::from_secs(2), client.info(request)).await;
        answer.ok()?.ok().map(tonic::Response::into_inner)
    })
}

/// A client without the product's care.
pub fn bare(address: &str) -> ReplayClient<node::Connection> {
    let connection = node::connect(address, &Security::default()).expect("loopback needs no certificate");
    ReplayClient::new(connection).max_decoding_message_size(64 << 20)
}

/// What the sampling thread saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Minibatches.
    pub batches: u64,
    /// Rows that were not what they must be.
    pub wrong: Vec<String>,
    /// Longest time of one look at both tables.
    pub longest: Duration,
    /// Least balance, in samples.
    pub least: f64,
    /// Largest balance, in samples.
    pub most: f64,
    /// Why a minibatch came late, the last time.
    pub trouble: Option<String>,
}

/// Paces the writers, and samples all the time.
pub struct Learner {
    /// The product's.
    pub pacer: Pacer,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Learner {
    /// Leads under `fence`; waits until all shards have answered.
    pub fn start(client: &Client, config: &Config, fence: u64) -> Self {
        let _guard = client.runtime.enter();
        let pace = Pace { budget: 1 << 40, fence, expected_shards: config.replay.shards };
        let pacer = Pacer::start(&client.shards, &client.settings, pace, None).expect("the pace can be kept");
        client.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, pacer.contact())
                .await
                .unwrap_or_else(|_| panic!("not all shards answered: {:?}", client.shards.missing()))
                .expect("nobody else leads");
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (handle, asked, pace) = (client.runtime.handle().clone(), Arc::clone(&stop), pacer.clone());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let sees = Arc::clone(&seen);
        let rows = (config.replay.low.batch.rows(0), config.replay.high.batch.rows(0));
        let thread = std::thread::spawn(move || sample(&handle, &pace, rows, (&asked, &sees)));
        Self { pacer, stop, seen, thread: Some(thread) }
    }

    /// What the sampling thread saw so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops sampling; writers are paced until this is dropped.
    pub fn stop(&mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the sampling thread does not panic");
        }
        self.seen()
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        // Before the runtime ends, whatever has failed.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _failed = thread.join();
        }
    }
}

fn sample(
    handle: &tokio::runtime::Handle,
    pacer: &Pacer,
    (low, high): (usize, usize),
    (stop, sees): (&AtomicBool, &Mutex<Seen>),
) {
    let sampler = pacer.sampler(Duration::from_millis(500), 1.0);
    let mut last = Instant::now();
    for key in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let low = handle.block_on(sampler.sample_low(low, key));
        let high = handle.block_on(sampler.sample_high(high, key));
        let rows = [low.map(|batch| wrong_low(&batch)), high.map(|batch| wrong_high(&batch))];
        let mut seen = sees.lock().unwrap_or_else(PoisonError::into_inner);
        for found in rows {
            match found {
                Ok(wrong) => {
                    seen.wrong.extend(wrong);
                    seen.batches += 1;
                }
                Err(error @ replay::Error::Fenced(_)) => seen.wrong.push(error.to_string()),
                Err(error) => seen.trouble = Some(error.to_string()),
            }
            seen.wrong.truncate(20);
        }
        let balance = pacer.totals().balance;
        (seen.least, seen.most) = (seen.least.min(balance), seen.most.max(balance));
        seen.longest = seen.longest.max(last.elapsed());
        last = Instant::now();
    }
}

/// The low-level rows of a minibatch.
pub fn low_rows(batch: &LowBatch) -> Vec<Low> {
    let (w, g) = (N_WINDOWS * SHAPE.window, SHAPE.n_goals * SHAPE.n_dims);
    let row = |k: usize| Low {
        windows: batch.windows[k * w..][..w].to_vec(),
        next_windows: batch.next_windows[k * w..][..w].to_vec(),
        goals: batch.goals[k * g..][..g].to_vec(),
        item: batch.items[k],
        feedback: batch.feedback[k],
        position: batch.positions[k],
        terminated: batch.terminated[k],
        policy_version: batch.policy_versions[k],
    };
    (0..batch.len()).map(row).collect()
}

/// The high-level rows of a minibatch.
pub fn high_rows(batch: &HighBatch) -> Vec<High> {
    let (w, g, c) = (N_WINDOWS * SHAPE.window, SHAPE.n_goals * SHAPE.n_dims, SHAPE.n_steps);
    let row = |k: usize| High {
        windows: batch.windows[k * w..][..w].to_vec(),
        next_windows: batch.next_windows[k * w..][..w].to_vec(),
        goals: batch.goals[k * g..][..g].to_vec(),
        feedback: batch.feedback[k * c..][..c].to_vec(),
        terminated: batch.terminated[k],
        policy_version: batch.policy_versions[k],
    };
    (0..batch.len()).map(row).collect()
}

/// What is wrong with a row, if anything.
pub fn wrong_low_row(row: &Low) -> Option<String> {
    let (session, t) = identity::of_low(row);
    let known = t < identity::length(session);
    (!known || *row != identity::low(session, t))
        .then(|| format!("a low-level row is torn or mixed; session {session}, step {t}: {row:?}"))
}

/// What is wrong with a row, if anything.
pub fn wrong_high_row(row: &High) -> Option<String> {
    let (session, period) = identity::of_policy_version(row.policy_version.max(1));
    let known = period * (SHAPE.n_steps as u64) < identity::length(session);
    (!known || *row != identity::high(session, period))
        .then(|| format!("a high-level row is torn or mixed; session {session}, period {period}: {row:?}"))
}

fn wrong_low(batch: &LowBatch) -> Vec<String> {
    low_rows(batch).iter().filter_map(wrong_low_row).collect()
}

fn wrong_high(batch: &HighBatch) -> Vec<String> {
    high_rows(batch).iter().filter_map(wrong_high_row).collect()
}
