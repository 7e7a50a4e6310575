//! Shards that are servers of their own, over loopback: exact draws, the budget, fences, priorities.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use node::{
    Dialer,
    connection::{Bearer, Connection},
};
use replay::{
    Error, Level, Settings, ShardServer, Shards, TransitionSink, WriterSettings,
    client::{Pace, Pacer, shard_of},
    settings::Sampling,
};
use support::*;
use tokio::{runtime::Handle, sync::watch};
use tonic::transport::{Endpoint, Server, server::TcpIncoming};

const UIDS: [u64; 3] = [11, 12, 13];
/// Rows of the shards: sessions of 20 steps.
const SESSIONS: [usize; 3] = [2, 8, 20];

fn serve(server: &ShardServer) -> String {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
    let address = incoming.local_addr().unwrap().to_string();
    tokio::spawn(Server::builder().add_routes(server.routes()).serve_with_incoming(incoming));
    address
}

fn connect(address: &str) -> Result<Connection, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    Ok(Bearer::none(endpoint.connect_lazy()))
}

fn discover(list: &watch::Sender<Vec<String>>, settings: &Settings) -> Shards {
    Shards::discover(list.subscribe(), Dialer::by(connect), settings, Handle::current())
}

fn pace(fence: u64, expected_shards: usize) -> Pace {
    Pace { budget: u64::MAX / 4, fence, expected_shards }
}

/// Addresses of three shards with unequal contents, by [`SESSIONS`]; a learner with fence 1 has let them.
async fn unequal(settings: &Settings) -> Vec<String> {
    let addresses: Vec<String> =
        (0..3).map(|k| serve(&ShardServer::named(settings, (k, 3), UIDS[k]).unwrap())).collect();
    let (list, _) = watch::channel(addresses.clone());
    let shards = discover(&list, settings);
    let pacer = Pacer::start(&shards, settings, pace(1, 3), None).unwrap();
    pacer.contact().await.unwrap();
    let mut writer = shards.writer(writer(1)).await.unwrap();
    let sessions: Vec<u64> = UIDS
        .iter()
        .zip(SESSIONS)
        .flat_map(|(uid, n)| (0..).filter(|s| shard_of(*s, UIDS) == Some(*uid)).take(n).collect::<Vec<_>>())
        .collect();
    tokio::task::spawn_blocking(move || {
        let mut sessions: Vec<_> = sessions.into_iter().map(|session| Session::new(session, 20)).collect();
        roll_out(&mut sessions, &mut writer);
        writer.flush().unwrap();
    })
    .await
    .unwrap();
    addresses
}

/// Waits until the learner knows of so many rows.
async fn knows(pacer: &Pacer, rows: u64) {
    let known = async {
        while pacer.totals().sizes.low != rows {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WAIT, known).await.unwrap();
}

/// Standard normal quantile of a chi-square value (Wilson and Hilferty's approximation).
fn z_of_chi_square(value: f64, degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    ((value / degrees).cbrt() - (1.0 - spread)) / spread.sqrt()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_draws_over_unequal_shards_are_uniform_also_while_one_joins() {
    let settings = settings();
    let addresses = unequal(&settings).await;
    let mut draws = 0;
    for seed in 0..20_u64 {
        let (list, _) = watch::channel(addresses[..2].to_vec());
        let shards = discover(&list, &settings);
        let pacer = Pacer::start(&shards, &settings, pace(seed + 2, 2), None).unwrap();
        pacer.contact().await.unwrap();
        let sampler = pacer.sampler(WAIT, 1.0);
        let mut counts: BTreeMap<(u64, u8), f64> = BTreeMap::new();
        let mut n_batches = [0.0; 2];
        for k in 0..50_u64 {
            let before = pacer.totals().sizes.low;
            let batch = sampler.sample_low(1_000, seed << 32 | k).await.unwrap();
            let after = pacer.totals().sizes.low;
            if k == 24 {
                list.send_replace(addresses.clone());
            }
            if before != after {
                // It joined meanwhile.
                continue;
            }
            n_batches[usize::from(before == 600)] += 1.0;
            for name in batch.policy_versions.iter().zip(&batch.positions) {
                *counts.entry((*name.0, *name.1)).or_default() += 1.0;
            }
            draws += 1_000;
            if k == 30 {
                knows(&pacer, 600).await;
            }
        }
        assert!(n_batches.iter().all(|n| *n > 10.0), "{n_batches:?}");
        let of_third = |name: &(u64, u8)| shard_of(name.0 / 1_000, UIDS) == Some(UIDS[2]);
        let expected = |name: &(u64, u8)| {
            let of_all = n_batches[1] * 1_000.0 / 600.0;
            if of_third(name) { of_all } else { of_all + n_batches[0] * 1_000.0 / 200.0 }
        };
        assert_eq!(counts.len(), 600);
        let squares = counts.iter().map(|(name, count)| (count - expected(name)).powi(2) / expected(name));
        let z = z_of_chi_square(squares.sum(), 598.0);
        // p >= .01 one-sided.
        assert!(z <= 2.326, "seed {seed}: z {z}");
    }
    assert!(draws > 950_000, "{draws} draws");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_learner_ends_the_older_one() {
    let settings = settings();
    let (list, _) = watch::channel(unequal(&settings).await);
    let shards = discover(&list, &settings);
    let older = Pacer::start(&shards, &settings, pace(2, 3), None).unwrap();
    older.contact().await.unwrap();
    older.sampler(WAIT, 1.0).sample_low(100, 1).await.unwrap();
    let newer = Pacer::start(&shards, &settings, pace(3, 3), None).unwrap();
    newer.contact().await.unwrap();
    let error = older.sampler(WAIT, 1.0).sample_low(100, 2).await.unwrap_err();
    assert!(matches!(error, Error::Fenced(_)), "{error}");
    assert!(matches!(older.failure(), Some(Error::Fenced(_))));
    newer.sampler(WAIT, 1.0).sample_low(100, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_stored_than_the_run_may_take() {
    let settings = settings();
    let addresses = (0..2).map(|k| serve(&ShardServer::in_memory(&settings, k, 2).unwrap())).collect();
    let (list, _) = watch::channel(addresses);
    let shards = discover(&list, &settings);
    let pace = Pace { budget: 700, ..pace(1, 2) };
    let pacer = Pacer::start(&shards, &settings, pace, None).unwrap();
    pacer.contact().await.unwrap();
    let short = WriterSettings { wait: Duration::from_secs(2), frame_steps: 16, ..writer(1) };
    let mut writer = shards.writer(short).await.unwrap();
    let stuck = tokio::task::spawn_blocking(move || {
        let mut sessions: Vec<_> = (0..40).map(|session| Session::new(session, 40)).collect();
        let error =
            (0..40).find_map(|_| sessions.iter_mut().find_map(|session| session.try_step(&mut writer).err()));
        writer.discard();
        error
    });
    let spent = async {
        while !pacer.totals().is_spent {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, spent).await.unwrap();
    let totals = pacer.totals();
    assert!((685..=700).contains(&totals.env_steps), "{totals:?}");
    assert!(totals.inserting_bound.is_none_or(|bound| bound.contains("of the run's 700 steps")));
    let error = stuck.await.unwrap().unwrap();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(pacer.totals().env_steps <= 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_reach_the_shard_that_holds_the_row() {
    let settings = Settings { sampling: Sampling::Prioritised { exponent: 1.0 }, ..settings() };
    let (list, _) = watch::channel(unequal(&settings).await);
    let shards = discover(&list, &settings);
    let pacer = Pacer::start(&shards, &settings, pace(2, 3), None).unwrap();
    pacer.contact().await.unwrap();
    knows(&pacer, 600).await;
    let sampler = pacer.sampler(WAIT, 0.5);
    let mut keys = BTreeSet::new();
    for k in 0..20 {
        let batch = sampler.sample_low(1_000, k).await.unwrap();
        assert_eq!((batch.keys.len(), batch.weights.len()), (1_000, 1_000));
        // All priorities are the same yet.
        assert!(batch.weights.iter().all(|weight| (weight - 1.0).abs() < 1e-3), "{:?}", &batch.weights[..4]);
        keys.extend(batch.keys);
    }
    assert_eq!(keys.len(), 600);
    let keys: Vec<_> = keys.into_iter().collect();
    let priorities: Vec<f64> = (0..600).map(|k| if k < 300 { 0.0 } else { 1.0 + f64::from(k % 2) }).collect();
    assert_eq!(sampler.update_priorities(Level::Low, &keys, &priorities).await.unwrap(), 600);
    let mass = async {
        while (sampler_mass(&shards).await - 450.0).abs() > 1e-6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, mass).await.unwrap();
    // The learner hears of masses with the next answers.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut counts = [0_u32; 2];
    for k in 100..120 {
        let batch = sampler.sample_low(1_000, k).await.unwrap();
        for (key, weight) in batch.keys.iter().zip(&batch.weights) {
            let at = keys.binary_search(key).unwrap();
            assert!(at >= 300, "a row of priority 0 was drawn");
            counts[at % 2] += 1;
            // (N P)^-.5 over that of the rarest rows: those of twice the priority weigh 1 / sqrt 2.
            let expected = if at % 2 == 0 { 1.0 } else { 0.5_f32.sqrt() };
            assert!((weight - expected).abs() < 1e-3, "{weight} is not {expected}");
        }
    }
    let share = f64::from(counts[1]) / 20_000.0;
    // Standard deviation .0033.
    assert!((share - 2.0 / 3.0).abs() < 0.015, "{share}");
    assert!(sampler.update_priorities(Level::Low, &keys[..1], &[f64::NAN]).await.is_err());
}

async fn sampler_mass(shards: &Shards) -> f64 {
    shards.info().await.unwrap().iter().map(|info| info.low.as_ref().unwrap().mass).sum()
}
