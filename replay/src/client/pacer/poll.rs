//! The pacer's tasks: one follows the membership, one a shard asks it again and again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::{Inner, REPORT, Standing};
use crate::{
    Error,
    client::members::{AbortOnDrop, GONE_AFTER},
};

/// How long a shard may keep an answer back when nothing changes.
const POLL: Duration = Duration::from_millis(50);
/// How long an answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two requests to a shard.
const PERIOD: Duration = Duration::from_millis(2);
/// ... to one whose writers are far from what they may store, while nobody waits: each question costs as much as hundreds of
/// rows.
const CALM: Duration = Duration::from_millis(10);
/// ... to one that does not answer: doubled from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Follows the membership: a task for each member; those that have left are gone.
pub(super) async fn follow(inner: Arc<Inner>) {
    let mut members = inner.shards.inner.members.clone();
    let mut tasks: BTreeMap<u64, AbortOnDrop> = BTreeMap::new();
    let begun = Instant::now();
    loop {
        let now = members.borrow_and_update().clone();
        let is_member = |uid: &u64| now.iter().any(|member| member.uid == *uid);
        tasks.retain(|uid, _| is_member(uid));
        {
            let mut state = inner.state();
            for member in now.iter() {
                state.picture.joined(member.uid);
                state.addresses.insert(member.uid, member.address.clone());
            }
            let left: Vec<u64> = state.picture.shards.keys().copied().filter(|uid| !is_member(uid)).collect();
            for uid in left {
                let shard = &state.picture.shards[&uid];
                // Those of a checkpoint have their time to come back.
                let from_checkpoint = !state.addresses.contains_key(&uid);
                if shard.standing != Standing::Gone && (!from_checkpoint || begun.elapsed() >= GONE_AFTER) {
                    tracing::warn!(
                        uid,
                        granted = shard.granted,
                        "a replay shard is gone: what it was granted counts"
                    );
                    state.picture.gone(uid);
                }
            }
        }
        inner.changed.notify_waiters();
        for member in now.iter() {
            let ours = &inner;
            tasks
                .entry(member.uid)
                .or_insert_with(|| AbortOnDrop(tokio::spawn(pace(Arc::clone(ours), member.uid))));
        }
        if let Ok(Err(_)) = timeout(REPORT, members.changed()).await {
            // A set that does not change.
            sleep(REPORT).await;
        }
    }
}

/// Asks one shard again and again.
async fn pace(inner: Arc<Inner>, uid: u64) {
    let (mut pause, mut may_interrupt) = (RETRY.0, true);
    let mut last: Option<(Instant, u64)> = None;
    loop {
        let member = inner.shards.members().iter().find(|member| member.uid == uid).cloned();
        let Some(mut member) = member else {
            return;
        };
        // One that interrupts another is answered at once, so that there is an answer between two interruptions.
        let request = inner.request(uid, if may_interrupt { POLL } else { Duration::ZERO });
        let answer = timeout(POLL + ANSWER, member.client.pace(request));
        let answer = tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))),
            () = inner.urgent(uid), if may_interrupt => {
                may_interrupt = false;
                sleep(PERIOD).await;
                continue;
            }
        };
        may_interrupt = true;
        match answer.map(tonic::Response::into_inner) {
            // Another one at its address: the membership will say so.
            Ok(answer) if inner.shards.is_discovered() && answer.shard_uid != uid => {
                inner.state().picture.silent(uid);
                sleep(pause).await;
            }
            Ok(answer) => {
                inner.state().picture.answered(uid, &answer);
                pause = RETRY.0;
                inner.changed.notify_waiters();
                sleep(PERIOD).await;
                let (now, inserted) = (Instant::now(), answer.low.as_ref().map_or(0, |low| low.inserted));
                let is_far = last.is_some_and(|(then, before)| {
                    let calms = CALM.as_secs_f64() / (now - then).as_secs_f64().max(1e-6);
                    let to_come = calms * inserted.saturating_sub(before) as f64;
                    answer.insert_until.saturating_sub(inserted) as f64 > 4.0 * to_come
                });
                last = Some((now, inserted));
                if is_far && answer.waiting_steps == 0 {
                    // Ends early where its counts are waited for.
                    let _calm = timeout(CALM, inner.wanted(uid)).await;
                }
            }
            Err(status) if status.code() == Code::FailedPrecondition => {
                tracing::error!(reason = status.message(), "a newer learner leads: this one must end");
                inner.fail(Error::Fenced(status.message().to_owned()));
                return;
            }
            Err(status) => {
                tracing::debug!(uid, code = ?status.code(), reason = status.message(), "a shard cannot be paced");
                inner.state().picture.silent(uid);
                inner.changed.notify_waiters();
                sleep(pause).await;
                pause = (2 * pause).min(RETRY.1);
            }
        }
    }
}
