//! Load on the shards of a cluster: the learner's side, writers in threads, one in a process of its own.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use common::config::{Batch, Config, Sampling};
use system_tests::{
    checker::{self, Report},
    client::{self, Client, Learner, Seen},
    cluster::{Cluster, START},
    ledger::Ledger,
    process::{Process, wait_until},
    writers::{self, Plan, Threads},
};

/// Longest time until writers go on after a fault.
pub(crate) const RESUME: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Writers in threads.
const WRITERS: u64 = 2;

/// See the module.
pub(crate) struct Load {
    // Dropped in this order: the client's runtime last.
    threads: Option<Threads>,
    child: Process,
    pub(crate) learner: Learner,
    pub(crate) ledgers: PathBuf,
    next_writer: u64,
    fence: u64,
    pub(crate) client: Client,
}

/// Shards for a load: minibatches large enough to see every row soon.
pub(crate) fn cluster(n_shards: usize, with_redis: bool, change: impl FnOnce(&mut Config)) -> Cluster {
    Cluster::new(n_shards, with_redis, |config| {
        (config.replay.low.batch, config.replay.high.batch) = (Batch::Rows(256), Batch::Rows(64));
        config.train.updates_per_step = 0.01;
        change(config);
    })
}

impl Load {
    /// Starts the shards, and load on them.
    pub(crate) fn start(cluster: &mut Cluster) -> Self {
        cluster.shards.iter_mut().for_each(Process::start);
        let client = Client::open(&cluster.config);
        let learner = Learner::start(&client, &cluster.config, 1);
        let ledgers = cluster.folder().join("ledgers");
        std::fs::create_dir(&ledgers).unwrap();
        let threads = Threads::start(&client, &Plan::new(&ledgers), 1..=WRITERS);
        let child = child(cluster, &ledgers, WRITERS + 1);
        let load = Self {
            client,
            learner,
            ledgers,
            threads: Some(threads),
            child,
            next_writer: WRITERS + 2,
            fence: 1,
        };
        load.wait_for_progress(cluster, "the writers begin");
        load
    }

    /// Steps acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        Ledger::read(&self.ledgers).steps().0
    }

    /// Waits until writers and learner have gone on; how long that took.
    pub(crate) fn wait_for_progress(&self, cluster: &Cluster, what: &str) -> Duration {
        let (begun, before) = (Instant::now(), self.acknowledged());
        while self.acknowledged() <= before + 100 {
            if begun.elapsed() > RESUME {
                let (totals, seen) = (self.learner.pacer.totals(), self.learner.seen());
                panic!("not within {RESUME:?}: {what}\n{totals:#?}\n{seen:#?}\n{}", cluster.tails());
            }
            std::thread::sleep(LOOK);
        }
        begun.elapsed()
    }

    /// kill -9 of the writer's process, in the middle of whatever it does; another one comes.
    pub(crate) fn kill_writer(&mut self, cluster: &Cluster) {
        self.child.kill();
        self.child = child(cluster, &self.ledgers, self.next_writer);
        self.next_writer += 1;
    }

    /// The learner's side ends; another one leads under a higher token.
    pub(crate) fn replace_learner(&mut self, cluster: &Cluster) {
        let seen = self.learner.stop();
        assert!(seen.wrong.is_empty(), "{:#?}\n{}", seen.wrong, cluster.tails());
        self.fence += 1;
        self.learner = Learner::start(&self.client, &cluster.config, self.fence);
    }

    /// Stops everything but the shards; the learner's side last, as writers wait for it.
    pub(crate) fn stop(&mut self) -> Seen {
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
        self.child.kill();
        self.learner.stop()
    }

    fn stop_well(&mut self, cluster: &Cluster) -> Seen {
        let seen = self.stop();
        assert!(seen.wrong.is_empty(), "{:#?}\n{}", seen.wrong, cluster.tails());
        seen
    }

    /// Where the shards are now.
    pub(crate) fn addresses(&self, cluster: &Cluster) -> Vec<String> {
        let expected = cluster.config.replay.shards;
        let up = || {
            let members = self.client.shards.members();
            let up: Vec<String> = members.iter().filter(|m| m.up).map(|m| m.address.clone()).collect();
            (up.len() == expected).then_some(up)
        };
        wait_until("all shards are up", START, cluster.folder(), up)
    }

    /// Stops everything but the shards, then looks at every row that is held.
    pub(crate) fn check(&mut self, cluster: &Cluster) -> (Report, Seen) {
        let seen = self.stop_well(cluster);
        let ledger = Ledger::read(&self.ledgers);
        assert_eq!(ledger.lost(), [0_u64; 0], "no shard was gone for good\n{}", cluster.tails());
        (self.check_rows(cluster, &ledger), seen)
    }

    /// The same where sessions must have begun anew elsewhere: what of them was acknowledged must be there all the same.
    pub(crate) fn check_beside_lost(&mut self, cluster: &Cluster) -> (Report, Seen) {
        let seen = self.stop_well(cluster);
        let ledger = Ledger::read(&self.ledgers);
        assert!(!ledger.lost().is_empty(), "no session was given up");
        (self.check_rows(cluster, &ledger), seen)
    }

    /// Looks at every row that is held.
    pub(crate) fn check_rows(&self, cluster: &Cluster, ledger: &Ledger) -> Report {
        check_shards(&self.client, cluster, &self.addresses(cluster), ledger)
    }
}

/// Looks at every row that shards at these addresses hold.
pub(crate) fn check_shards(
    client: &Client,
    cluster: &Cluster,
    addresses: &[String],
    ledger: &Ledger,
) -> Report {
    let rows = cluster.config.replay.low.batch.rows(0) as u32;
    let found = checker::collect(&client.runtime, &cluster.config.cluster.run, addresses, rows);
    match checker::check(ledger, found) {
        Ok(report) => report,
        Err(violations) => panic!("{violations}\n{}", cluster.tails()),
    }
}

/// Writers with ledgers beside the actors of a cluster that trains.
pub(crate) struct Beside {
    threads: Threads,
    ledgers: PathBuf,
}

impl Beside {
    /// Their numbers are far above those that the learner gives to actors; they leave most of the balance to these.
    pub(crate) fn start(client: &Client, cluster: &Cluster) -> Self {
        let ledgers = cluster.folder().join("ledgers");
        std::fs::create_dir(&ledgers).unwrap();
        let plan = Plan { pause: Duration::from_millis(20), ..Plan::new(&ledgers) };
        let writers = (1_u64 << 40)..(1 << 40) + WRITERS;
        Self { threads: Threads::start(client, &plan, writers), ledgers }
    }

    /// Stops them, kills everybody once more, and looks at every row of theirs that the shards hold when they are back.
    pub(crate) fn check(self, cluster: &mut Cluster) -> Report {
        self.threads.stop();
        cluster.actors.iter_mut().chain(&mut cluster.learners).for_each(Process::kill);
        for shard in &mut cluster.shards {
            shard.kill();
            shard.push_argument("--set", "replay.sampling=fifo");
            shard.start();
        }
        // Whose settings are those of the shards now.
        let mut config = cluster.config.clone();
        config.replay.sampling = Sampling::Fifo;
        let client = Client::open(&config);
        let (run, expected) = (&cluster.config.cluster.run, cluster.config.replay.shards);
        let addresses = wait_until("all shards are up", START, cluster.folder(), || {
            let members = client.shards.members();
            let up = members.iter().filter(|member| member.up).map(|member| member.address.clone());
            // A member is up until it is asked again.
            let answers = |address: &String| client::info(&client.runtime, run, address).is_some();
            let up: Vec<String> = up.filter(answers).collect();
            (up.len() == expected).then_some(up)
        });
        let rows = cluster.config.replay.high.batch.rows(0) as u32;
        let found = checker::collect_beside_others(&client.runtime, run, &addresses, rows);
        match checker::check(&Ledger::read(&self.ledgers), found) {
            Ok(report) => report,
            Err(violations) => panic!("{violations}\n{}", cluster.tails()),
        }
    }
}

fn child(cluster: &Cluster, ledgers: &std::path::Path, writer: u64) -> Process {
    let mut child =
        writers::process("writer_process", &cluster.config_path(), ledgers, writer, cluster.folder());
    child.start();
    child
}
