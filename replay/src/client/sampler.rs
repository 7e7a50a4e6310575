//! The sampler of a learner.
//!
//! In: rows and the key of a draw; out: a minibatch, uniform with replacement over the union of all shards. The same
//! contents and key yield the same minibatch. Within one, rows are in the order of the shards.

use std::time::Duration;

use common::{
    seed::Streams,
    transition::{HighBatch, LowBatch},
};
use futures::future::try_join_all;
use proto::v1;
use rand::RngExt;
use tokio::{runtime::Handle, time::Instant};

use super::{Shards, millis, shard_error, split::split};
use crate::{
    Error,
    wire::{self, columns},
};

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
    shards: Shards,
    wait: Duration,
}

impl Shards {
    /// A sampler whose calls wait at most `wait`, each time they wait, for the rate limiter.
    pub fn sampler(&self, wait: Duration) -> Sampler {
        Sampler { shards: self.clone(), wait }
    }
}

impl Sampler {
    pub(super) fn runtime(&self) -> Handle {
        self.shards.inner.runtime.clone()
    }

    /// What the tables hold now.
    pub async fn sizes(&self) -> Result<Sizes, Error> {
        let add = |sizes: Sizes, info: v1::InfoResponse| Sizes {
            low: sizes.low + info.low.map_or(0, |table| table.size),
            high: sizes.high + info.high.map_or(0, |table| table.size),
        };
        Ok(self.shards.info().await?.into_iter().fold(Sizes::default(), add))
    }

    /// A minibatch of low-level transitions.
    pub async fn sample_low(&self, rows: usize, key: u64) -> Result<LowBatch, Error> {
        let (mut batch, shape) = (LowBatch::default(), self.shards.inner.shape);
        for part in self.sample(v1::Table::Low, rows, key).await? {
            columns::extend_low(&mut batch, &part, &shape)?;
        }
        Ok(batch)
    }

    /// A minibatch of high-level transitions.
    pub async fn sample_high(&self, rows: usize, key: u64) -> Result<HighBatch, Error> {
        let (mut batch, shape) = (HighBatch::default(), self.shards.inner.shape);
        for part in self.sample(v1::Table::High, rows, key).await? {
            columns::extend_high(&mut batch, &part, &shape)?;
        }
        Ok(batch)
    }

    async fn sample(
        &self,
        table: v1::Table,
        rows: usize,
        key: u64,
    ) -> Result<Vec<v1::SampleResponse>, Error> {
        // One shard needs no sizes.
        let counts = match self.shards.n_shards() {
            1 => vec![rows],
            _ => split(&self.ready_sizes(table).await?, rows, key),
        };
        let fits = wire::MAX_SAMPLE_BYTES / columns::row_bytes(&self.shards.inner.shape);
        let most = wire::MAX_SAMPLE_ROWS.min(fits);
        let streams = Streams::new(key, "replay/request");
        let mut parts = Vec::new();
        for (shard, mut rows) in counts.into_iter().enumerate() {
            for part in 0.. {
                if rows == 0 {
                    break;
                }
                let now = rows.min(most);
                parts.push(self.sample_part(shard, table, now, streams.at(shard as u64, part).random()));
                rows -= now;
            }
        }
        try_join_all(parts).await
    }

    /// Transitions of a table in every shard, once it may be sampled.
    async fn ready_sizes(&self, table: v1::Table) -> Result<Vec<u64>, Error> {
        let ready =
            v1::InfoRequest { run: Some(self.shards.run()), ready: table as i32, wait_ms: millis(self.wait) };
        let infos = (0..self.shards.n_shards()).map(|shard| self.shards.info_of(shard, ready.clone()));
        let size = |info: v1::InfoResponse| {
            let table = if table == v1::Table::Low { info.low } else { info.high };
            table.map_or(0, |table| table.size)
        };
        Ok(try_join_all(infos).await?.into_iter().map(size).collect())
    }

    async fn sample_part(
        &self,
        shard: usize,
        table: v1::Table,
        rows: usize,
        key: u64,
    ) -> Result<v1::SampleResponse, Error> {
        let begun = Instant::now();
        let request = v1::SampleRequest {
            run: Some(self.shards.run()),
            table: table as i32,
            rows: rows as u32,
            key,
            wait_ms: millis(self.wait),
            fence: 0,
        };
        let response = self.shards.client(shard).sample(request).await;
        let part = response.map_err(|status| shard_error(shard, begun, status))?.into_inner();
        if part.rows as usize != rows {
            return Err(Error::invalid(
                "rows",
                format!("replay shard {shard} sent {} for {rows}", part.rows),
            ));
        }
        Ok(part)
    }
}
