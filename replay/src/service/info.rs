//! How a shard is: sizes, counters, who waits for what.

use std::time::Duration;

use proto::v1;
use tonic::Status;

use super::{Ask, Inner, gate::SideInfo};
use crate::{
    journal::home::Home,
    shard::{Feedbacks, Shard},
    table::limiter::{Level, Limiter},
    wire,
};

/// Answers at once, or once a table may be sampled.
pub(super) async fn serve(inner: &Inner, request: v1::InfoRequest) -> Result<v1::InfoResponse, Status> {
    wire::check_run(request.run.as_ref(), &inner.run_id)?;
    if request.ready != v1::Table::Unspecified as i32 {
        let ask = Ask::Sample { level: Inner::level(request.ready)?, rows: 0 };
        inner.gate.admit(ask, Duration::from_millis(request.wait_ms.into())).await?;
    }
    of(inner).map(|(info, _)| info)
}

/// How the shard is now, and how many of the rows that its tables (low, high) count as inserted were dealt out to it.
pub(super) fn of(inner: &Inner) -> Result<(v1::InfoResponse, [u64; 2]), Status> {
    let (limiter, [inserting, low, high]) = inner.gate.info();
    let shard = inner.shard()?;
    let dealt = [Level::Low, Level::High].map(|level| shard.table(level).dealt());
    let info = v1::InfoResponse {
        low: Some(table(&shard, &limiter, Level::Low, inserting, low)),
        high: Some(table(&shard, &limiter, Level::High, SideInfo::default(), high)),
        periods: shard.periods().n_held() as u64,
        period_slots: shard.periods().n_slots() as u64,
        bytes: shard.bytes() as u64,
        writers: shard.n_writers() as u64,
        shard_uid: shard.uid(),
        feedback: Some(feedback(shard.feedbacks())),
        fence: shard.fence(),
        journal: inner.home.as_ref().map(Home::info),
        place: inner.place.0,
        places: inner.place.1,
        settings: inner.agreed.clone().into_iter().collect(),
    };
    Ok((info, dealt))
}

fn table(
    shard: &Shard,
    limiter: &Limiter,
    level: Level,
    inserting: SideInfo,
    sampling: SideInfo,
) -> v1::TableInfo {
    let (table, totals) = (shard.table(level), limiter.totals(level));
    let ratio = limiter.ratio().filter(|_| level == Level::Low);
    v1::TableInfo {
        size: table.len() as u64,
        capacity: table.capacity() as u64,
        // All that it has had: what is held and what was evicted.
        inserted: table.dealt() + table.counts().inserted,
        sampled: table.counts().sampled,
        evicted: table.counts().evicted,
        limiter: Some(v1::LimiterInfo {
            samples_per_insert: ratio.map(|ratio| ratio.samples_per_insert),
            min_size: limiter.min_size(level),
            error_window: ratio.map_or(0.0, |ratio| ratio.error_window),
            balance: ratio.map_or(0.0, |_| limiter.balance()),
            size: totals.size,
            inserted: totals.inserted,
            sampled: totals.sampled,
            inserting: Some(waiting(inserting)),
            sampling: Some(waiting(sampling)),
        }),
        mass: table.mass(),
    }
}

fn feedback(counts: Feedbacks) -> v1::FeedbackCounts {
    let Feedbacks { clicks, orders, sessions, left } = counts;
    v1::FeedbackCounts { clicks, orders, sessions, left }
}

fn waiting(side: SideInfo) -> v1::Waiting {
    v1::Waiting {
        waiting: side.waiting as u32,
        longest_ms: side.longest.as_millis() as u64,
        waits: side.waits,
        total_ms: side.total.as_millis() as u64,
        bound: side.bound,
    }
}
