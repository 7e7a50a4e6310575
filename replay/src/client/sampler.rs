//! The sampler of a learner.
//!
//! In: rows and the key of a draw; out: a minibatch, drawn with replacement over the union of all shards in proportion
//! to their mass (uniform, where shards sample uniformly). The same contents and key yield the same minibatch. Within
//! one, rows are in the order of the shards. Within a process the shards' own gate grants draws; in a cluster the
//! [`Pacer`]'s, and shards that do not answer are left out.

use std::{collections::BTreeMap, time::Duration};

use common::transition::{HighBatch, LowBatch, RowKey};
use futures::future::join_all;
use proto::v1;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{
    Pacer, Shards,
    draw::{Draw, Part, Source, table},
    importance, millis, shard_error,
};
use crate::{
    Error,
    table::Level,
    wire::{self, columns},
};

/// How long a shard may take to note priorities.
const NOTE: Duration = Duration::from_secs(1);

/// Transitions held over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Low-level.
    pub low: u64,
    /// High-level.
    pub high: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Sampler {
    pub(super) shards: Shards,
    pub(super) wait: Duration,
    pub(super) pacer: Option<Pacer>,
    /// Power of the importance weights, beta.
    importance_exponent: f64,
    /// Whether low-level rows come with the steps of their periods.
    pub(super) whole_periods: bool,
}

impl Shards {
    /// A sampler whose calls wait at most `wait`, each time they wait, for the shards' rate limiter. Importance weights
    /// are those of the power 1.
    pub fn sampler(&self, wait: Duration) -> Sampler {
        Sampler { shards: self.clone(), wait, pacer: None, importance_exponent: 1.0, whole_periods: false }
    }
}

/// Rows that a pacer has granted: given back unless they were drawn.
struct Grant<'a> {
    pacer: &'a Pacer,
    level: Level,
    rows: u64,
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        if self.rows > 0 {
            self.pacer.undo_sample(self.level, self.rows);
        }
    }
}

impl Sampler {
    pub(super) fn paced(shards: Shards, wait: Duration, importance_exponent: f64, pacer: Pacer) -> Self {
        Self { shards, wait, pacer: Some(pacer), importance_exponent, whole_periods: false }
    }

    /// The same with another power of the importance weights.
    pub fn with_importance_exponent(self, importance_exponent: f64) -> Self {
        Self { importance_exponent, ..self }
    }

    /// The same; low-level rows come with the steps of their whole periods, if asked for.
    pub fn with_whole_periods(self, whole_periods: bool) -> Self {
        Self { whole_periods, ..self }
    }

    pub(super) fn runtime(&self) -> Handle {
        self.shards.inner.runtime.clone()
    }

    /// What the tables hold now; in a cluster, as far as the learner knows.
    pub async fn sizes(&self) -> Result<Sizes, Error> {
        if let Some(pacer) = &self.pacer {
            return Ok(pacer.totals().sizes);
        }
        let add = |sizes: Sizes, info: v1::InfoResponse| Sizes {
            low: sizes.low + info.low.map_or(0, |table| table.size),
            high: sizes.high + info.high.map_or(0, |table| table.size),
        };
        Ok(self.shards.info().await?.into_iter().fold(Sizes::default(), add))
    }

    /// A minibatch of low-level transitions.
    pub async fn sample_low(&self, rows: usize, key: u64) -> Result<LowBatch, Error> {
        let shape = self.shards.shape();
        let (parts, n_rows) = self.sample(Level::Low, rows, key).await?;
        let mut batch = columns::low_of(rows, &shape);
        for part in &parts {
            columns::extend_low(&mut batch, &part.rows, &shape)?;
            if self.whole_periods {
                columns::extend_periods(&mut batch.periods, &part.rows, &shape)?;
            }
        }
        (batch.keys, batch.weights) = importance::of(&parts, n_rows, self.importance_exponent)?;
        Ok(batch)
    }

    /// A minibatch of high-level transitions.
    pub async fn sample_high(&self, rows: usize, key: u64) -> Result<HighBatch, Error> {
        let shape = self.shards.shape();
        let (parts, n_rows) = self.sample(Level::High, rows, key).await?;
        let mut batch = columns::high_of(rows, &shape);
        for part in &parts {
            columns::extend_high(&mut batch, &part.rows, &shape)?;
        }
        (batch.keys, batch.weights) = importance::of(&parts, n_rows, self.importance_exponent)?;
        Ok(batch)
    }

    /// The parts of a minibatch, and how many rows they were drawn from.
    async fn sample(&self, level: Level, rows: usize, key: u64) -> Result<(Vec<Part>, u64), Error> {
        let draw = Draw { level, rows, key, round: 0 };
        let held = |sources: &[Source], parts: &[Part]| {
            let mut sizes: BTreeMap<u64, u64> =
                sources.iter().map(|source| (source.member.uid, source.size)).collect();
            sizes.extend(parts.iter().map(|part| (part.uid, part.rows.size)));
            sizes.values().sum()
        };
        let Some(pacer) = &self.pacer else {
            let sources = self.sources(level).await?;
            let parts = self.draw(draw, &sources).await?;
            let n_rows = held(&sources, &parts);
            return Ok((parts, n_rows));
        };
        let begun = Instant::now();
        let sources = pacer.admit_sample(level, rows as u64, self.wait).await?;
        let mut grant = Grant { pacer, level, rows: rows as u64 };
        let parts = self.draw_paced(pacer, draw, sources.clone(), begun + self.wait).await?;
        grant.rows = 0;
        let n_rows = held(&sources, &parts);
        Ok((parts, n_rows))
    }

    /// What can be drawn from, once the shards' own limiter lets a table be sampled.
    async fn sources(&self, level: Level) -> Result<Vec<Source>, Error> {
        let members = self.shards.members();
        if let [member] = &*members {
            // One shard needs no sizes.
            return Ok(vec![Source { member: member.clone(), mass: 1.0, size: 1 }]);
        }
        let infos = self.shards.info_when(table(level), millis(self.wait)).await?;
        let source = |(member, info): (super::Member, v1::InfoResponse)| {
            let table = if level == Level::Low { info.low } else { info.high }.unwrap_or_default();
            Source { member, mass: table.mass, size: table.size }
        };
        let sources: Vec<_> = infos.into_iter().map(source).collect();
        match sources.iter().any(|source| source.mass > 0.0) {
            true => Ok(sources),
            false => Err(Error::Closed("every replay shard that can be sampled".into())),
        }
    }

    /// Sets the priorities of rows that were sampled; how many of them were still there. Shards that do not answer are
    /// left out: their rows keep their priorities.
    ///
    /// # Errors
    /// [`Error::Invalid`] for priorities that are none; [`Error::Fenced`].
    pub async fn update_priorities(
        &self,
        level: Level,
        keys: &[RowKey],
        priorities: &[f64],
    ) -> Result<u64, Error> {
        if keys.len() != priorities.len() {
            let problem = format!("{} are not {}, a row each", priorities.len(), keys.len());
            return Err(Error::invalid("priorities", problem));
        }
        if let Some(bad) = priorities.iter().find(|priority| !(priority.is_finite() && **priority >= 0.0)) {
            return Err(Error::invalid("priorities", format!("{bad} is no finite number of at least 0")));
        }
        let mut by_shard: BTreeMap<u64, (Vec<u64>, Vec<f64>)> = BTreeMap::new();
        for (key, priority) in keys.iter().zip(priorities) {
            let (keys, priorities) = by_shard.entry(key.shard).or_default();
            keys.push(key.key);
            priorities.push(*priority);
        }
        let members = self.shards.members();
        let mut calls = Vec::new();
        for (uid, (keys, priorities)) in &by_shard {
            let Some(member) = members.iter().find(|member| member.uid == *uid) else {
                continue;
            };
            let most = wire::MAX_SAMPLE_ROWS;
            for (keys, priorities) in keys.chunks(most).zip(priorities.chunks(most)) {
                let request = v1::UpdatePrioritiesRequest {
                    run: Some(self.shards.run()),
                    table: table(level) as i32,
                    keys: bytemuck::cast_slice(keys).to_vec().into(),
                    priorities: bytemuck::cast_slice(priorities).to_vec().into(),
                    fence: self.pacer.as_ref().map_or(0, Pacer::fence),
                };
                let mut client = member.client.clone();
                calls.push(async move {
                    let answer = timeout(NOTE, client.update_priorities(request)).await;
                    (member, answer)
                });
            }
        }
        let (begun, mut updated) = (Instant::now(), 0);
        for (member, answer) in join_all(calls).await {
            match answer {
                Ok(Ok(answer)) => updated += u64::from(answer.into_inner().updated),
                Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                    return Err(Error::Fenced(status.message().to_owned()));
                }
                Ok(Err(status)) if status.code() == tonic::Code::InvalidArgument => {
                    return Err(shard_error(&member.address, begun, status));
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::debug!(shard = member.address, "priorities could not be set");
                }
            }
        }
        Ok(updated)
    }
}
