//! A minibatch drawn over shards.
//!
//! In: the shards that can be drawn from, each with its mass; rows, the key of the draw; out: [`Part`]s, whose union is
//! drawn in proportion to the mass. Where a shard does not answer its rows are drawn once more from the others, which
//! keeps the union in proportion to theirs.

use std::time::Duration;

use common::seed::Streams;
use futures::future::join_all;
use proto::v1;
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Response, Status};

use super::{
    Member, Sampler, millis, shard_error,
    split::{split, split_by_mass},
};
use crate::{
    Error,
    table::Level,
    wire::{self, columns},
};

/// How long a paced shard may take for an answer, and for each row of it beyond.
const ANSWER: (Duration, Duration) = (Duration::from_millis(300), Duration::from_micros(50));
/// Between two looks for a shard that answers.
const LOOK: Duration = Duration::from_millis(10);

/// A shard that can be drawn from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) member: Member,
    pub(super) mass: f64,
    /// Rows held.
    pub(super) size: u64,
}

/// Rows of one shard.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The shard.
    pub(super) uid: u64,
    /// Its share of the mass, by which it was chosen.
    pub(super) share: f64,
    pub(super) rows: v1::SampleResponse,
}

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) level: Level,
    pub(super) rows: usize,
    pub(super) key: u64,
    /// How many times rows of it had to be drawn once more.
    pub(super) round: u64,
}

impl Draw {
    /// Rows from each source.
    fn split(&self, sources: &[Source]) -> Vec<usize> {
        let key = match self.round {
            0 => self.key,
            round => Streams::new(self.key, "replay/redraw").at(round, 0).random(),
        };
        if sources.iter().all(|source| source.mass == source.size as f64) {
            // Whole numbers: exact.
            let sizes: Vec<u64> = sources.iter().map(|source| source.size).collect();
            return split(&sizes, self.rows, key);
        }
        split_by_mass(&sources.iter().map(|source| source.mass).collect::<Vec<_>>(), self.rows, key)
    }
}

pub(super) fn table(level: Level) -> v1::Table {
    match level {
        Level::Low => v1::Table::Low,
        Level::High => v1::Table::High,
    }
}

impl Sampler {
    /// A request's share of a minibatch: (source, rows, key).
    fn requests(&self, draw: Draw, sources: &[Source]) -> Vec<(usize, usize, u64)> {
        let fits = wire::MAX_SAMPLE_BYTES / columns::row_bytes(&self.shards.shape());
        let most = wire::MAX_SAMPLE_ROWS.min(fits);
        let streams = Streams::new(draw.key, "replay/request");
        let mut requests = Vec::new();
        for (k, mut rows) in draw.split(sources).into_iter().enumerate() {
            // Within a process by index, which does not change from run to run.
            let name = if self.shards.is_discovered() { sources[k].member.uid } else { k as u64 };
            let mut part = draw.round << 20;
            while rows > 0 {
                let now = rows.min(most);
                requests.push((k, now, streams.at(name, part).random()));
                (rows, part) = (rows - now, part + 1);
            }
        }
        requests
    }

    /// One draw where every shard must answer.
    pub(super) async fn draw(&self, draw: Draw, sources: &[Source]) -> Result<Vec<Part>, Error> {
        let (parts, _) = self.try_draw(draw, sources, self.wait, &|_| false).await?;
        Ok(parts)
    }

    /// One draw that waits at most until `deadline` for shards to answer; `draw.rows` are granted.
    pub(super) async fn draw_paced(
        &self,
        pacer: &super::Pacer,
        mut draw: Draw,
        mut sources: Vec<Source>,
        deadline: Instant,
    ) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        while draw.rows > 0 {
            if sources.is_empty() {
                if Instant::now() >= deadline {
                    let reason = format!("{} rows wait for a replay shard that answers", draw.rows);
                    return Err(Error::Deadline { waited: self.wait, reason });
                }
                sleep(LOOK).await;
                sources = pacer.sources(draw.level);
                continue;
            }
            let patience = ANSWER.0 + ANSWER.1 * draw.rows as u32;
            let suspect = |uid| {
                pacer.suspect(uid);
                true
            };
            let drawn = self.try_draw(draw, &sources, patience, &suspect).await;
            if let Err(error @ Error::Fenced(_)) = &drawn {
                pacer.fail(error.clone());
            }
            let (mut drawn, failed) = drawn?;
            parts.append(&mut drawn);
            draw = Draw { rows: failed, round: draw.round + 1, ..draw };
            if failed > 0 {
                sources = pacer.sources(draw.level);
            }
        }
        Ok(parts)
    }

    /// The parts that were drawn, and the rows that were not since shards did not answer, where `forgive` of them says
    /// that this is no error.
    async fn try_draw(
        &self,
        draw: Draw,
        sources: &[Source],
        patience: Duration,
        forgive: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<(Vec<Part>, usize), Error> {
        let total: f64 = sources.iter().map(|source| source.mass).sum();
        let requests = self.requests(draw, sources);
        let asked = requests
            .iter()
            .map(|(k, rows, key)| self.ask(&sources[*k].member, draw.level, (*rows, *key), patience));
        let (mut parts, mut failed) = (Vec::new(), 0);
        for ((k, rows, _), answer) in requests.iter().zip(join_all(asked).await) {
            let Source { member, mass, .. } = &sources[*k];
            match answer {
                Ok(rows) => parts.push(Part { uid: member.uid, share: mass / total, rows }),
                Err(error) if is_passing(&error) && forgive(member.uid) => {
                    tracing::warn!(%error, rows, "rows are drawn once more, from other shards");
                    failed += rows;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((parts, failed))
    }

    async fn ask(
        &self,
        member: &Member,
        level: Level,
        (rows, key): (usize, u64),
        patience: Duration,
    ) -> Result<v1::SampleResponse, Error> {
        let begun = Instant::now();
        let paced = self.pacer.is_some();
        let request = v1::SampleRequest {
            run: Some(self.shards.run()),
            table: table(level) as i32,
            rows: rows as u32,
            key,
            wait_ms: if paced { 0 } else { millis(patience) },
            fence: self.pacer.as_ref().map_or(0, super::Pacer::fence),
            whole_periods: self.whole_periods && level == Level::Low,
        };
        let asked = member.minibatches.ask(request.clone(), &self.shards.inner.runtime);
        let answer = match paced {
            true => {
                timeout(patience, asked).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
            }
            false => match asked.await {
                // The stream does not wait for the rate limiter, a call does.
                Err(status) if status.code() == Code::DeadlineExceeded => {
                    member.client.clone().sample(request).await.map(Response::into_inner)
                }
                answer => answer,
            },
        };
        let part = answer.map_err(|status| match status.code() {
            Code::FailedPrecondition if status.message().contains("learner") => {
                Error::Fenced(status.message().to_owned())
            }
            _ => shard_error(&member.address, begun, status),
        })?;
        if part.rows as usize != rows {
            let problem = format!("replay shard {} sent {} for {rows}", member.address, part.rows);
            return Err(Error::invalid("rows", problem));
        }
        Ok(part)
    }
}

/// Whether a shard may answer another time, or others instead of it.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Deadline { .. } => true,
        Error::Shard { code, .. } => !matches!(code, Code::InvalidArgument | Code::Unimplemented),
        _ => false,
    }
}
