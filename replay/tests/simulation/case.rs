//! A case: shards, two actors and a learner in the simulated network, and what is done to them.

use std::time::Duration;

use replay::{Ratio, Settings, TableSettings};
use turmoil::{Builder, Sim};

use super::{LARGEST_SAMPLE, Play, Stage, World, act, discover, learn};
use crate::support::settings;

const STEPS: u64 = 800;

pub fn coupled() -> Settings {
    Settings {
        low: TableSettings { capacity: 30_000, min_size: 40 },
        high: TableSettings { capacity: 6_000, min_size: 4 },
        ratio: Some(Ratio {
            samples_per_insert: 2.0,
            error_window: LARGEST_SAMPLE as f64,
            largest_insert: 64,
            largest_sample: LARGEST_SAMPLE,
        }),
        ..settings()
    }
}

pub fn simulation(seed: u64) -> Sim<'static> {
    Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(2))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(15))
        .tcp_capacity(4_096)
        .build()
}

/// What is done to the network and the hosts: at which millisecond, what.
pub type Fault = (u64, fn(&mut Sim<'_>, &Stage));

/// Shards, two actors, a learner.
#[derive(Clone, Copy)]
pub struct Case {
    pub seed: u64,
    /// Hosts, and how many of them are listed at first.
    pub hosts: (usize, usize),
    pub losses: Losses,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    Nothing,
    /// Sessions in progress, and what was not acknowledged of those that have ended: their shard is given up.
    Sessions,
    /// Rows that were acknowledged too: their shard is gone for good.
    Rows,
}

/// Runs a case with faults as they come. The course of events, and how many sessions were lost.
pub fn run(case: Case, faults: &[Fault]) -> (Vec<String>, usize) {
    let n_actors = 2;
    let mut sim = simulation(case.seed);
    let (settings, world) = (coupled(), World::default());
    let stage = Stage::new(&mut sim, &settings, case.hosts.0, case.hosts.1);
    for actor in 0..n_actors {
        let (settings, world, list) = (settings.clone(), world.clone(), stage.list.subscribe());
        sim.client(format!("actor-{actor}"), async move {
            let play =
                Play { writer: actor as u64 + 1, slots: 4, steps: STEPS, pause: Duration::from_millis(20) };
            act(discover(&list, &settings), world, play).await?;
            Ok(())
        });
    }
    let (ours, theirs, list) = (world.clone(), settings.clone(), stage.list.subscribe());
    sim.client("learner", async move {
        let counts = (case.hosts.1, n_actors, case.losses == Losses::Rows);
        learn(discover(&list, &theirs), theirs, ours, counts).await
    });
    let mut faults = faults.iter().peekable();
    while !sim.step().unwrap() {
        while let Some((_, fault)) = faults.next_if(|(at, _)| sim.elapsed() >= Duration::from_millis(*at)) {
            fault(&mut sim, &stage);
        }
    }
    assert_eq!(faults.count(), 0, "the run was over before its faults");
    assert_eq!(world.failures(), Vec::<String>::new());
    let (handed_over, acknowledged) = world.ledger(|ledger| ledger.counts());
    let n_lost = world.ledger(|ledger| ledger.lost.len());
    assert_eq!(handed_over, (n_actors as u64 * 4 * STEPS) as usize - n_lost, "a lost step is no step");
    let is_whole = (acknowledged, n_lost) == (handed_over, 0);
    assert!(case.losses != Losses::Nothing || is_whole, "{acknowledged} of {handed_over}, {n_lost} lost");
    (world.trace(), n_lost)
}

/// Two shards that stay.
pub fn two(seed: u64) -> Case {
    Case { seed, hosts: (2, 2), losses: Losses::Nothing }
}
