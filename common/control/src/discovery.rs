//! Where the shards and the learner are, as lists that follow the cluster.
//!
//! In: `cluster.shards`, `cluster.learner`; out: watched values. Owner: a task each, which ends when nobody watches any more.
//! A question without an answer, or an empty answer, keeps the last list. An address that is missing from an answer leaves
//! the list once it was missing for a whole lease, in which it could have been renewed: time without answers does not
//! count. A Redis that came back empty, or a name server between two states, must not look like a cluster without shards.

use std::{collections::BTreeMap, time::Duration};

use common::config::ClusterConfig;
use tokio::{
    net::lookup_host,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{Control, Leader};

/// Longest time between two questions.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest time for a name server's answer.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the lists.
#[derive(Clone, Copy, Debug)]
pub struct Discovery;

impl Discovery {
    /// Addresses of the shards, `HOST:PORT` each, sorted, without repetition; empty until some are known.
    pub fn start(config: &ClusterConfig, control: &Control) -> watch::Receiver<Vec<String>> {
        let mut fixed = config.shards.clone();
        fixed.sort();
        fixed.dedup();
        let source = match config.shards.as_slice() {
            [only] if only == "redis" => Source::Directory(control.clone()),
            [only] => match only.strip_prefix("dns:") {
                Some(host) => Source::Dns(host.to_owned()),
                None => return watch::channel(fixed).1,
            },
            _ => return watch::channel(fixed).1,
        };
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(follow_shards(source, Duration::from_secs_f64(config.lease_seconds), sender));
        receiver
    }

    /// Where the learner is: a setting, with fence 0, or whoever holds its lease. Never goes back to a lower token.
    pub fn learner(config: &ClusterConfig, control: &Control) -> watch::Receiver<Option<Leader>> {
        if config.learner != "redis" {
            return watch::channel(Some(Leader { address: config.learner.clone(), fence: 0 })).1;
        }
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(follow_learner(control.clone(), period(config.lease_seconds), sender));
        receiver
    }
}

fn period(lease_seconds: f64) -> Duration {
    Duration::from_secs_f64(lease_seconds / 5.0).min(PERIOD)
}

/// Whom to ask.
enum Source {
    Dns(String),
    Directory(Control),
}

impl Source {
    async fn ask(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Dns(host) => match timeout(DNS_TIMEOUT, lookup_host(host)).await {
                Ok(Ok(found)) => Ok(found.map(|address| address.to_string()).collect()),
                Ok(Err(error)) => Err(format!("{host}: {error}")),
                Err(_) => Err(format!("{host}: no answer within {DNS_TIMEOUT:?}")),
            },
            Self::Directory(control) => match control.shards().await {
                Ok(found) => Ok(found.into_iter().map(|shard| shard.address).collect()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

async fn follow_shards(source: Source, lease: Duration, out: watch::Sender<Vec<String>>) {
    let mut list = List::default();
    let mut failing = false;
    loop {
        let problem = match source.ask().await {
            Ok(found) if found.is_empty() => Some("no shard is listed".to_owned()),
            Ok(found) => {
                if failing {
                    list.renew(Instant::now());
                }
                let now = list.update(found, Instant::now(), lease);
                out.send_if_modified(|before| {
                    let changed = *before != now;
                    if changed {
                        tracing::info!(shards = ?now, "the list of shards");
                        *before = now;
                    }
                    changed
                });
                None
            }
            Err(reason) => Some(reason),
        };
        if let Some(reason) = problem.as_ref().filter(|_| !failing) {
            tracing::warn!(reason, "the list of shards stays as it was");
        }
        failing = problem.is_some();
        if waited_in_vain(&out, period(lease.as_secs_f64())).await {
            return;
        }
    }
}

async fn follow_learner(control: Control, period: Duration, out: watch::Sender<Option<Leader>>) {
    let mut failing = false;
    loop {
        match control.leader().await {
            Ok(Some(found)) => {
                failing = false;
                out.send_if_modified(|before| {
                    let newer = before.as_ref().is_none_or(|b| *b != found && b.fence <= found.fence);
                    if newer {
                        tracing::info!(address = %found.address, fence = found.fence, "the learner");
                        *before = Some(found);
                    }
                    newer
                });
            }
            Ok(None) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the learner's address stays as it was");
                }
                failing = true;
            }
        }
        if waited_in_vain(&out, period).await {
            return;
        }
    }
}

/// Waits; whether nobody watches any more.
async fn waited_in_vain<T>(out: &watch::Sender<T>, period: Duration) -> bool {
    tokio::select! {
        () = out.closed() => true,
        () = sleep(period) => false,
    }
}

/// Addresses, and when each was last in an answer.
#[derive(Debug, Default)]
struct List(BTreeMap<String, Instant>);

impl List {
    /// Answers come again: every address has a whole lease from now on.
    fn renew(&mut self, now: Instant) {
        self.0.values_mut().for_each(|seen| *seen = now);
    }

    /// The list after an answer that is not empty.
    fn update(&mut self, found: Vec<String>, now: Instant, linger: Duration) -> Vec<String> {
        self.0.extend(found.into_iter().map(|address| (address, now)));
        self.0.retain(|_, seen| now - *seen < linger);
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, ShardEntry};

    #[test]
    fn an_address_leaves_the_list_once_it_is_missing_for_a_lease() {
        let (mut list, start, lease) = (List::default(), Instant::now(), Duration::from_secs(5));
        let at = |seconds| start + Duration::from_secs(seconds);
        let both = vec!["a:1".to_owned(), "b:1".to_owned()];
        assert_eq!(list.update(vec!["b:1".into(), "a:1".into(), "b:1".into()], at(0), lease), both);
        assert_eq!(list.update(vec!["a:1".into()], at(4), lease), both);
        assert_eq!(list.update(vec!["a:1".into()], at(5), lease), ["a:1"]);
        assert_eq!(list.update(vec!["c:1".into()], at(6), lease), ["a:1", "c:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_was_away_and_comes_back_empty_has_a_lease_to_list_all_again() {
        let memory = Memory::new();
        let (control, shards) = (Control::in_memory(&memory.another()), Control::in_memory(&memory));
        let lease = Duration::from_secs(5);
        let put = async |uid| {
            let entry = ShardEntry { uid, address: format!("shard-{uid}:1") };
            shards.put_shard(&entry, Duration::from_secs(3600)).await.expect("the store is there");
        };
        for uid in [1, 2, 3] {
            put(uid).await;
        }
        let (sender, mut list) = watch::channel(Vec::new());
        tokio::spawn(follow_shards(Source::Directory(control), lease, sender));
        list.wait_for(|list| list.len() == 3).await.expect("the list is followed");
        // Empty is as good as away. Longer than a lease.
        memory.clear();
        sleep(3 * lease).await;
        put(1).await;
        sleep(lease * 3 / 5).await;
        put(2).await;
        sleep(lease / 5).await;
        assert!(!list.has_changed().expect("the list is followed"), "{:?}", list.borrow());
        // The third does not come back.
        list.changed().await.expect("the list is followed");
        assert_eq!(*list.borrow(), ["shard-1:1", "shard-2:1"]);
    }
}
