//! The one checker of what a replay service holds, after whatever happened to it.
//!
//! In: the [`Ledger`] of synthetic writers, the shards, quiet; out: [`Report`], or every violation. Checked are: no
//! acknowledged row lost (but the oldest, evicted by capacity, in order), none doubled, none torn or mixed, no next window
//! over a session's border (all by comparing whole rows with [`crate::identity`]), nothing stored that nobody wrote, no
//! hole in a session, both levels visible together, counters that add up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use bytemuck::pod_collect_to_vec as cast;
use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
    transition::{HighBatch, LowBatch},
};
use proto::v1::{self, SampleResponse, replay_client::ReplayClient};
use tokio::runtime::Runtime;

use crate::{
    client::{self, bare},
    identity::{self, SHAPE},
    ledger::Ledger,
};

/// Longest time to see every row of a shard.
const COLLECT: Duration = Duration::from_secs(120);
/// Violations that are told.
const TOLD: usize = 12;

/// What the shards hold.
#[derive(Debug, Default)]
pub struct Found {
    /// (session, step): the shard.
    pub low: BTreeMap<(u64, u64), u64>,
    /// (session, period): the shard.
    pub high: BTreeMap<(u64, u64), u64>,
    /// By shard.
    pub infos: BTreeMap<u64, v1::InfoResponse>,
    violations: Vec<String>,
}

/// What was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps that were acknowledged.
    pub acknowledged: u64,
    /// Low-level rows stored.
    pub inserted: u64,
    /// Low-level rows held.
    pub low: u64,
    /// High-level rows held.
    pub high: u64,
    /// Low-level rows evicted.
    pub evicted: u64,
}

/// What was not.
#[derive(Debug)]
pub struct Violations(Vec<String>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} violations:", self.0.len())?;
        self.0.iter().take(TOLD).try_for_each(|violation| writeln!(f, "- {violation}"))
    }
}

/// Draws `rows` at once (no more than the shards allow) from each shard until every row it says it holds was seen. Nobody
/// may write meanwhile.
pub fn collect(runtime: &Runtime, run: &str, addresses: &[String], rows: u32) -> Found {
    collect_by(runtime, run, addresses, |client, table, size| {
        draw_all(runtime, client, sample_request(run, table, rows), size)
    })
}

/// The ledgers' rows among those of others, from shards that were started with `replay.sampling = "fifo"`: every row is drawn
/// once, so that one that is doubled comes twice. What is said of the tables is of the ledgers' rows alone.
pub fn collect_beside_others(runtime: &Runtime, run: &str, addresses: &[String], rows: u32) -> Found {
    let mut found = collect_by(runtime, run, addresses, |client, table, size| {
        draw_in_order(runtime, client, sample_request(run, table, rows), size)
    });
    for (uid, info) in &mut found.infos {
        for (table, rows) in [(&mut info.low, &found.low), (&mut info.high, &found.high)] {
            let evicted = table.as_ref().map_or(0, |table| table.evicted);
            if evicted > 0 {
                found.violations.push(format!("shard {uid} has evicted {evicted} rows: whose is not known"));
            }
            let size = rows.values().filter(|shard| *shard == uid).count() as u64;
            *table = Some(v1::TableInfo { size, inserted: size, ..v1::TableInfo::default() });
        }
    }
    found
}

fn sample_request(run: &str, table: v1::Table, rows: u32) -> v1::SampleRequest {
    let run = Some(v1::RunHeader::current(run));
    v1::SampleRequest { run, table: table as i32, rows, wait_ms: 1_000, ..v1::SampleRequest::default() }
}

type Bare = ReplayClient<node::Connection>;
/// Names of rows.
type Names = Vec<(u64, u64)>;

/// What each shard holds, as `draw` finds it by the size that the shard says.
fn collect_by(
    runtime: &Runtime,
    run: &str,
    addresses: &[String],
    draw: impl Fn(Bare, v1::Table, u64) -> Result<Names, String>,
) -> Found {
    let mut found = Found::default();
    for address in addresses {
        let Some(info) = client::info(runtime, run, address) else {
            found.violations.push(format!("shard {address} does not answer"));
            continue;
        };
        let uid = info.shard_uid;
        let sizes = [&info.low, &info.high].map(|table| table.as_ref().map_or(0, |table| table.size));
        for (table, size) in [v1::Table::Low, v1::Table::High].into_iter().zip(sizes) {
            let client = {
                // Its connection belongs to a runtime.
                let _guard = runtime.enter();
                bare(address)
            };
            let names = draw(client, table, size).unwrap_or_else(|problem| {
                found.violations.push(format!("shard {address}, {table:?}: {problem}"));
                Names::new()
            });
            let all = if table == v1::Table::Low { &mut found.low } else { &mut found.high };
            for row in names {
                if let Some(other) = all.insert(row, uid) {
                    found.violations.push(format!("{table:?} row {row:?} is on shards {other} and {uid}"));
                }
            }
        }
        if found.infos.insert(uid, info).is_some() {
            found.violations.push(format!("two shards have the uid {uid}"));
        }
    }
    found
}

/// Draws until all rows were seen.
fn draw_all(runtime: &Runtime, mut client: Bare, one: v1::SampleRequest, size: u64) -> Result<Names, String> {
    let begun = Instant::now();
    let mut seen = BTreeSet::new();
    for key in 0.. {
        if seen.len() as u64 == size {
            break;
        }
        if begun.elapsed() > COLLECT {
            return Err(format!(
                "holds {size} rows, but {key} minibatches of {} show only {} distinct ones",
                one.rows,
                seen.len()
            ));
        }
        seen.extend(draw(runtime, &mut client, v1::SampleRequest { key, ..one.clone() }, size, |_| true)?);
        if seen.len() as u64 > size {
            return Err(format!("holds {size} rows, but {} distinct ones were drawn", seen.len()));
        }
    }
    Ok(seen.into_iter().collect())
}

/// Draws as many rows as there are; those of the ledgers.
fn draw_in_order(
    runtime: &Runtime,
    mut client: Bare,
    one: v1::SampleRequest,
    size: u64,
) -> Result<Names, String> {
    let mut names = Names::new();
    let mut left = size;
    while left > 0 {
        let rows = one.rows.min(left as u32);
        let request = v1::SampleRequest { rows, ..one.clone() };
        names.extend(draw(runtime, &mut client, request, size, identity::is_ours)?);
        left -= u64::from(rows);
    }
    Ok(names)
}

/// The names of a minibatch's rows whose policy version is meant; none of these may be wrong.
fn draw(
    runtime: &Runtime,
    client: &mut Bare,
    request: v1::SampleRequest,
    size: u64,
    is_meant: fn(u64) -> bool,
) -> Result<Names, String> {
    let table = request.table();
    let answer = runtime.block_on(client.sample(request));
    let answer = answer.map_err(|status| format!("a sample fails: {status}"))?.into_inner();
    if answer.size != size {
        return Err(format!("holds {size} rows, then {}: it is not quiet", answer.size));
    }
    let wrong = |wrong: Option<String>| wrong.map_or(Ok(()), Err);
    match table {
        v1::Table::Low => client::low_rows(&low_batch(&answer))
            .iter()
            .filter(|row| is_meant(row.policy_version))
            .map(|row| wrong(client::wrong_low_row(row)).map(|()| identity::of_low(row)))
            .collect(),
        _ => client::high_rows(&high_batch(&answer))
            .iter()
            .filter(|row| is_meant(row.policy_version))
            .map(|row| {
                wrong(client::wrong_high_row(row)).map(|()| identity::of_policy_version(row.policy_version))
            })
            .collect(),
    }
}

fn items(bytes: &[u8]) -> Vec<ItemId> {
    cast::<u8, u32>(bytes).into_iter().map(ItemId).collect()
}

/// What the windows of every row become by the steps that are shown with it.
fn next_windows(answer: &SampleResponse) -> Vec<ItemId> {
    let (mut windows, shown) = (items(&answer.windows), items(&answer.items));
    let (width, n_steps) = (N_WINDOWS * SHAPE.window, shown.len() / answer.rows as usize);
    for (row, windows) in windows.chunks_exact_mut(width).enumerate() {
        for step in row * n_steps..(row + 1) * n_steps {
            if let Some(feedback) = Feedback::from_code(answer.feedback[step]) {
                history::push(windows, shown[step], feedback);
            }
        }
    }
    windows
}

fn low_batch(answer: &SampleResponse) -> LowBatch {
    let n = answer.rows as usize;
    assert_eq!(
        answer.windows.len(),
        4 * n * N_WINDOWS * SHAPE.window,
        "columns have the length they must have"
    );
    LowBatch {
        windows: items(&answer.windows),
        next_windows: next_windows(answer),
        goals: cast(&answer.goals[..]),
        items: items(&answer.items),
        feedback: answer.feedback.to_vec(),
        positions: answer.positions.to_vec(),
        terminated: answer.terminated.to_vec(),
        policy_versions: cast(&answer.policy_versions[..]),
        ..LowBatch::default()
    }
}

fn high_batch(answer: &SampleResponse) -> HighBatch {
    HighBatch {
        windows: items(&answer.windows),
        next_windows: next_windows(answer),
        goals: cast(&answer.goals[..]),
        feedback: answer.feedback.to_vec(),
        terminated: answer.terminated.to_vec(),
        policy_versions: cast(&answer.policy_versions[..]),
        ..HighBatch::default()
    }
}

/// Compares what is held with what was acknowledged and tried.
///
/// # Errors
/// Everything that is not as it must be.
pub fn check(ledger: &Ledger, found: Found) -> Result<Report, Violations> {
    let Found { low, high, infos, mut violations } = found;
    let table = |pick: fn(&v1::InfoResponse) -> &Option<v1::TableInfo>| {
        infos
            .values()
            .filter_map(|info| pick(info).clone())
            .fold((0, 0, 0), |sum, table| (sum.0 + table.size, sum.1 + table.inserted, sum.2 + table.evicted))
    };
    let (low_size, inserted, evicted) = table(|info| &info.low);
    let (high_size, high_inserted, high_evicted) = table(|info| &info.high);
    for (name, distinct, size, inserted, evicted) in [
        ("low", low.len() as u64, low_size, inserted, evicted),
        ("high", high.len() as u64, high_size, high_inserted, high_evicted),
    ] {
        if distinct != size || inserted != size + evicted {
            violations.push(format!(
                "{name}: {distinct} distinct rows seen, {size} held, {inserted} inserted, {evicted} evicted"
            ));
        }
    }
    let (acknowledged, tried) = ledger.steps();
    if inserted < acknowledged || inserted > tried {
        violations.push(format!("{inserted} inserted, {acknowledged} acknowledged, {tried} tried"));
    }
    let by_session = |rows: &BTreeMap<(u64, u64), u64>| {
        let mut sessions: BTreeMap<u64, (BTreeSet<u64>, BTreeSet<u64>)> = BTreeMap::new();
        for ((session, k), shard) in rows {
            let entry = sessions.entry(*session).or_default();
            entry.0.insert(*k);
            entry.1.insert(*shard);
        }
        sessions
    };
    let (low_of, high_of) = (by_session(&low), by_session(&high));
    for session in
        low_of.keys().chain(high_of.keys()).filter(|session| !ledger.sessions.contains_key(session))
    {
        violations.push(format!("session {session} was written by nobody"));
    }
    let empty = Default::default();
    for (number, session) in &ledger.sessions {
        let ((low, shards), (high, high_shards)) =
            (low_of.get(number).unwrap_or(&empty), high_of.get(number).unwrap_or(&empty));
        if shards.union(high_shards).count() > 1 {
            violations.push(format!("session {number} is on several shards: {shards:?} {high_shards:?}"));
        }
        let stored = low.last().map_or(0, |last| last + 1);
        let first = low.first().copied().unwrap_or(0);
        if low.len() as u64 != stored - first || (evicted == 0 && first != 0) {
            violations.push(format!("session {number} has holes: {low:?}"));
        }
        if stored > session.tried() {
            violations
                .push(format!("session {number}: {stored} steps are stored, {} were tried", session.tried()));
        }
        if stored < session.acknowledged && evicted == 0 {
            violations.push(format!(
                "session {number} of writer {}: {} steps were acknowledged, {stored} are stored",
                session.writer, session.acknowledged
            ));
        }
        let closed: BTreeSet<u64> = (0..identity::closed_periods(*number, stored)).collect();
        if evicted == 0 && high_evicted == 0 && closed != *high {
            violations.push(format!("session {number} has {stored} steps, and the periods {high:?}"));
        }
        if evicted == 0 && !high.is_subset(&closed) {
            violations.push(format!("session {number} has {stored} steps, and the later periods {high:?}"));
        }
    }
    if evicted > 0 {
        violations.extend(evicted_out_of_order(ledger, &low));
    }
    if violations.is_empty() {
        Ok(Report { acknowledged, inserted, low: low_size, high: high_size, evicted })
    } else {
        Err(Violations(violations))
    }
}

/// Acknowledged rows that are missing although an older row of the same writer is still on the same shard.
fn evicted_out_of_order(ledger: &Ledger, low: &BTreeMap<(u64, u64), u64>) -> Vec<String> {
    let mut oldest: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut shard_of: BTreeMap<u64, u64> = BTreeMap::new();
    for ((number, t), shard) in low {
        let Some(session) = ledger.sessions.get(number) else { continue };
        let Some(place) = session.places.get(*t as usize) else { continue };
        shard_of.insert(*number, *shard);
        let entry = oldest.entry((session.writer, *shard)).or_insert(u64::MAX);
        *entry = (*entry).min(*place);
    }
    let mut violations = Vec::new();
    for (number, session) in &ledger.sessions {
        // Where nothing of a session is left, it may have been on any shard: the one that allows most counts.
        let bound = match shard_of.get(number) {
            Some(shard) => oldest.get(&(session.writer, *shard)).copied().unwrap_or(u64::MAX),
            None => {
                let of_writer = oldest.range((session.writer, 0)..=(session.writer, u64::MAX));
                of_writer.map(|(_, place)| *place).max().unwrap_or(u64::MAX)
            }
        };
        for t in (0..session.acknowledged).filter(|t| !low.contains_key(&(*number, *t))) {
            let place = session.places[t as usize];
            if place > bound {
                violations.push(format!(
                    "step {t} of session {number} (number {place} of writer {}) is missing, an older one \
                     ({bound}) is there",
                    session.writer
                ));
            }
        }
    }
    violations
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
