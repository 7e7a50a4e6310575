//! A cluster as queues, event by event, in simulated time.
//!
//! In: a [`Case`] and a seed; out: [`Measured`]. It shares no formula with the model: actors make batches whose frames
//! go to shards, wait for the limiter and for room among those under way; the learner samples ahead, updates, publishes
//! and pauses to evaluate; weights are sent latest first. Every service takes 0.8 to 1.2 times its mean.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use common::seed::{Rng, Streams};
use learner::scaling::{Case, Setup};
use rand::RngExt;

mod roles;

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    /// Environment steps a second from the first update on.
    pub(crate) steps_per_second: f64,
    /// Updates for every step stored from the first update on.
    pub(crate) update_ratio: f64,
    /// Mean over updates and rows.
    pub(crate) staleness: f64,
    /// Simulated seconds of the whole run.
    pub(crate) seconds: f64,
    /// Largest |samples_per_insert x inserted - sampled| seen.
    pub(crate) largest_balance: f64,
}

/// What is done when a service ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Job {
    Rollout { thread: usize },
    FrameOut { frame: Frame },
    FrameIn { frame: Frame },
    Insert { frame: Frame },
    Ack { thread: usize, shard: usize },
    Ask { shard: usize },
    RowsOf { shard: usize },
    RowsOut { shard: usize },
    RowsIn,
    Unpack,
    Update,
    Publish,
    Evaluate,
    Serialise { actor: usize, version: u64 },
    WeightsOut { actor: usize, version: u64 },
    Weights { actor: usize, version: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Frame {
    thread: usize,
    shard: usize,
    steps: f64,
    version: u64,
}

/// `servers` at once, first come first served.
#[derive(Debug, Default)]
struct Station {
    servers: usize,
    busy: usize,
    waiting: VecDeque<(f64, Job)>,
}

#[derive(Debug)]
struct Thread {
    /// Frames unacknowledged, by shard.
    under_way: Vec<u64>,
    period_version: u64,
    steps_in_period: u64,
    rolling: bool,
}

#[derive(Debug, Default, Clone)]
struct Subscriber {
    version: u64,
    sending: bool,
}

/// Time as ordered bits: times are never negative.
type Key = (u64, u64);

pub(crate) struct Simulation {
    case: Case,
    rng: Rng,
    now: f64,
    events: BinaryHeap<Reverse<(Key, usize)>>,
    jobs: Vec<(usize, Job)>,
    sequence: u64,
    stations: Vec<Station>,
    threads: Vec<Thread>,
    subscribers: Vec<Subscriber>,
    at_limiter: VecDeque<Frame>,
    stored: VecDeque<(f64, u64)>,
    held: f64,
    inserted: f64,
    sampled: f64,
    opened: Option<(f64, f64)>,
    /// Versions of the rows of minibatches that are ready.
    ready: VecDeque<Vec<u64>>,
    sampling: Option<(Vec<u64>, u64)>,
    learner_busy: bool,
    in_update: Vec<u64>,
    updates: u64,
    version: u64,
    next_evaluation: f64,
    staleness: (f64, u64),
    largest_balance: f64,
}

/// Rows whose versions are looked at, a minibatch.
const LOOKS: usize = 8;

impl Simulation {
    /// Plays a run to its last step.
    pub(crate) fn run(case: &Case, seed: u64) -> Measured {
        let mut simulation = Self::new(*case, seed);
        for thread in 0..simulation.threads.len() {
            simulation.roll(thread);
        }
        while simulation.inserted < case.setup.steps {
            let Reverse(((time, _), id)) = simulation.events.pop().expect("something always goes on");
            simulation.now = f64::from_bits(time);
            let (station, job) = simulation.jobs[id];
            simulation.leave(station);
            simulation.done(job);
        }
        let (opened, at) = simulation.opened.expect("the run is longer than its warm-up");
        let steps = simulation.inserted - at;
        Measured {
            steps_per_second: steps / (simulation.now - opened),
            update_ratio: simulation.updates as f64 / steps,
            staleness: simulation.staleness.0 / simulation.staleness.1.max(1) as f64,
            seconds: simulation.now,
            largest_balance: simulation.largest_balance,
        }
    }

    fn new(case: Case, seed: u64) -> Self {
        let Setup { actors, threads, shards, shared_cores, .. } = case.setup;
        let (n_actors, n_shards) = (actors as usize, shards as usize);
        let station = |servers: f64| Station { servers: servers as usize, ..Station::default() };
        let setup = &case.setup;
        // The machine; the learner's cores and its network out and in; shards' cores, in, out; actors' cores.
        let mut stations =
            vec![station(shared_cores), station(setup.learner_cores), station(1.0), station(1.0)];
        stations.extend((0..n_shards).map(|_| station(setup.shard_cores)));
        stations.extend((0..2 * n_shards).map(|_| station(1.0)));
        stations.extend((0..n_actors).map(|_| station(setup.actor_cores)));
        let mut rng = Streams::new(seed, "scaling/simulation").sequential();
        let threads = (0..actors * threads).map(|_| Thread {
            under_way: vec![0; n_shards],
            period_version: 0,
            steps_in_period: rng.random_range(0..setup.period_steps),
            rolling: false,
        });
        let threads = threads.collect();
        Self {
            rng,
            now: 0.0,
            events: BinaryHeap::new(),
            jobs: Vec::new(),
            sequence: 0,
            stations,
            threads,
            subscribers: vec![Subscriber::default(); n_actors],
            at_limiter: VecDeque::new(),
            stored: VecDeque::new(),
            held: 0.0,
            inserted: 0.0,
            sampled: 0.0,
            opened: None,
            ready: VecDeque::new(),
            sampling: None,
            learner_busy: false,
            in_update: Vec::new(),
            updates: 0,
            version: 0,
            next_evaluation: setup.evaluate_every,
            staleness: (0.0, 0),
            largest_balance: 0.0,
            case,
        }
    }

    // Stations.

    fn cpu(&self, own: usize) -> usize {
        if self.case.setup.shared_cores > 0.0 { 0 } else { own }
    }

    fn shard(&self, part: usize, shard: usize) -> usize {
        4 + part * self.case.setup.shards as usize + shard
    }

    fn actor(&self, actor: usize) -> usize {
        4 + 3 * self.case.setup.shards as usize + actor
    }

    /// A service of this mean length begins, now or when a server is free.
    fn serve(&mut self, station: usize, mean: f64, job: Job) {
        let length = mean * self.rng.random_range(0.8..1.2);
        let place = &mut self.stations[station];
        if place.busy < place.servers {
            place.busy += 1;
            self.at(length, station, job);
        } else {
            place.waiting.push_back((length, job));
        }
    }

    fn leave(&mut self, station: usize) {
        // A delay is no service.
        if station == usize::MAX {
            return;
        }
        match self.stations[station].waiting.pop_front() {
            Some((length, job)) => self.at(length, station, job),
            None => self.stations[station].busy -= 1,
        }
    }

    fn delay(&mut self, seconds: f64, job: Job) {
        self.at(seconds, usize::MAX, job);
    }

    fn at(&mut self, seconds: f64, station: usize, job: Job) {
        self.sequence += 1;
        self.jobs.push((station, job));
        self.events.push(Reverse((((self.now + seconds).to_bits(), self.sequence), self.jobs.len() - 1)));
    }

    /// Through a machine's network, if it is not all one machine.
    fn transfer(&mut self, station: usize, bytes: f64, job: Job) {
        let seconds =
            if self.case.setup.shared_cores > 0.0 { 0.0 } else { bytes / self.case.setup.bandwidth };
        self.serve(station, seconds, job);
    }

    fn done(&mut self, job: Job) {
        let Case { costs, setup } = self.case;
        match job {
            Job::Rollout { thread } => self.rolled(thread),
            Job::FrameOut { frame } => {
                let station = self.shard(1, frame.shard);
                self.transfer(station, costs.transition_bytes * frame.steps, Job::FrameIn { frame });
            }
            Job::FrameIn { frame } => {
                self.at_limiter.push_back(frame);
                self.grant();
            }
            Job::Insert { frame } => {
                self.store(frame);
                self.delay(setup.latency_s, Job::Ack { thread: frame.thread, shard: frame.shard });
            }
            Job::Ack { thread, shard } => {
                self.threads[thread].under_way[shard] -= 1;
                self.roll(thread);
            }
            Job::Ask { shard } => {
                let station = self.cpu(self.shard(0, shard));
                self.serve(station, costs.row_s * setup.rows / setup.shards as f64, Job::RowsOf { shard });
            }
            Job::RowsOf { shard } => {
                let bytes = costs.row_bytes * setup.rows / setup.shards as f64;
                let station = self.shard(2, shard);
                self.transfer(station, bytes, Job::RowsOut { shard });
            }
            Job::RowsOut { .. } => {
                let bytes = costs.row_bytes * setup.rows / setup.shards as f64;
                self.transfer(3, bytes, Job::RowsIn);
            }
            Job::RowsIn => {
                let seconds = costs.learner_row_s * setup.rows / setup.shards as f64;
                let station = self.cpu(1);
                self.serve(station, seconds, Job::Unpack);
            }
            Job::Unpack => self.unpacked(),
            Job::Update => self.updated(),
            Job::Publish => self.published(),
            Job::Evaluate => {
                self.learner_busy = false;
                self.learn();
            }
            Job::Serialise { actor, version } => {
                self.transfer(2, costs.weights_bytes, Job::WeightsOut { actor, version });
            }
            Job::WeightsOut { actor, version } => {
                self.delay(setup.latency_s, Job::Weights { actor, version })
            }
            Job::Weights { actor, version } => {
                self.subscribers[actor] = Subscriber { version, sending: false };
                self.send(actor);
            }
        }
    }
}
