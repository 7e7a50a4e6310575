//! Minibatches ahead of the learner.
//!
//! In: what minibatch k asks for; out: minibatches in order, at most `depth` ahead. A task of the runtime samples; the
//! learner thread takes.

use std::{sync::Arc, time::Duration};

use common::{
    config::Batch,
    transition::{HighBatch, LowBatch},
};
use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use futures::{StreamExt, stream::FuturesOrdered};
use tokio::{sync::Semaphore, task::JoinHandle};

use super::{Sampler, Sizes};
use crate::Error;

/// What one minibatch asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// Low-level rows; a share is of what the table holds then.
    pub low: Option<Batch>,
    /// High-level rows.
    pub high: Option<Batch>,
    /// Key of the draw.
    pub key: u64,
}

/// The minibatch of one update.
#[derive(Clone, Debug, PartialEq)]
pub struct Minibatch {
    /// Number of the update.
    pub number: u64,
    /// Empty if not asked for.
    pub low: LowBatch,
    /// Empty if not asked for.
    pub high: HighBatch,
}

/// Minibatches to come. Dropping it ends the task.
pub struct Prefetch {
    receiver: Receiver<Result<Minibatch, Error>>,
    /// Free places of the channel. The task takes one before it samples: no more than `depth` are drawn ahead.
    places: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Sampler {
    /// The minibatch of one request: both levels at once.
    pub async fn minibatch(&self, number: u64, request: Request) -> Result<Minibatch, Error> {
        let is_share = |batch: Option<Batch>| matches!(batch, Some(Batch::Share(_)));
        let sizes = match is_share(request.low) || is_share(request.high) {
            true => self.sizes().await?,
            false => Sizes::default(),
        };
        let low = async {
            match request.low {
                Some(batch) => self.sample_low(batch.rows(sizes.low as usize), request.key).await,
                None => Ok(LowBatch::default()),
            }
        };
        let high = async {
            match request.high {
                Some(batch) => self.sample_high(batch.rows(sizes.high as usize), request.key).await,
                None => Ok(HighBatch::default()),
            }
        };
        let (low, high) = futures::try_join!(low, high)?;
        Ok(Minibatch { number, low, high })
    }

    /// Samples minibatches `first`, `first + 1`, ... ahead: `depth` (at least 1) of them are under way or wait to be taken.
    /// After an error has been taken the same minibatch is tried again. The sampler's own wait should be long: where a part
    /// of a minibatch comes too late, what the other shards have granted counts as sampled, and nobody learns from it.
    pub fn prefetch(
        self,
        first: u64,
        depth: usize,
        request: impl Fn(u64) -> Request + Send + 'static,
    ) -> Prefetch {
        let (sender, receiver) = bounded(depth.max(1));
        let places = Arc::new(Semaphore::new(depth.max(1)));
        let free = Arc::clone(&places);
        let runtime = self.runtime();
        let task = runtime.spawn(async move {
            let draw = move |number| {
                let (sampler, asked) = (self.clone(), request(number));
                async move { (number, sampler.minibatch(number, asked).await) }
            };
            let (mut under_way, mut next, mut again) = (FuturesOrdered::new(), first, None);
            loop {
                tokio::select! {
                    place = free.acquire() => {
                        let Ok(place) = place else { return };
                        place.forget();
                        match again.take() {
                            Some(number) => under_way.push_front(draw(number)),
                            None => {
                                under_way.push_back(draw(next));
                                next += 1;
                            }
                        }
                    }
                    // Those behind one that failed wait for it to be tried again.
                    Some((number, minibatch)) = under_way.next(), if again.is_none() => {
                        again = minibatch.is_err().then_some(number);
                        if sender.try_send(minibatch).is_err() {
                            // Never full: it has a place. The learner is gone.
                            return;
                        }
                    }
                }
            }
        });
        Prefetch { receiver, places, task }
    }
}

impl Prefetch {
    /// The next minibatch; [`Error::Deadline`] if none comes within `wait`, and then it is still to come. Blocks: not from
    /// async code.
    pub fn take(&mut self, wait: Duration) -> Result<Minibatch, Error> {
        match self.receiver.recv_timeout(wait) {
            Ok(minibatch) => {
                self.places.add_permits(1);
                minibatch
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::Deadline { waited: wait, reason: "no minibatch came".into() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::Closed("the prefetch".into())),
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
