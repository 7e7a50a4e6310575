//! Minibatches ahead of the learner.
//!
//! In: what minibatch k asks for; out: minibatches in order, at most `depth` ahead. A task of the runtime samples; the
//! learner thread takes.

use common::{
    config::Batch,
    transition::{HighBatch, LowBatch},
};
use tokio::sync::mpsc;

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
    receiver: mpsc::Receiver<Result<Minibatch, Error>>,
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

    /// Samples minibatches `first`, `first + 1`, ... ahead, until `depth` (at least 1) wait to be taken. After an
    /// error has been taken the same minibatch is tried again.
    pub fn prefetch(
        self,
        first: u64,
        depth: usize,
        request: impl Fn(u64) -> Request + Send + 'static,
    ) -> Prefetch {
        let (sender, receiver) = mpsc::channel(depth.max(1));
        let runtime = self.runtime();
        runtime.spawn(async move {
            let mut number = first;
            // A place first, then the rows: no more than `depth` are drawn ahead.
            while let Ok(place) = sender.reserve().await {
                let minibatch = tokio::select! {
                    () = sender.closed() => return,
                    minibatch = self.minibatch(number, request(number)) => minibatch,
                };
                number += u64::from(minibatch.is_ok());
                place.send(minibatch);
            }
        });
        Prefetch { receiver }
    }
}

impl Prefetch {
    /// The next minibatch, waiting for it. Not from async code.
    pub fn take(&mut self) -> Result<Minibatch, Error> {
        self.receiver.blocking_recv().unwrap_or_else(|| Err(Error::Closed("the prefetch".into())))
    }

    /// The next minibatch, in async code.
    pub async fn take_async(&mut self) -> Result<Minibatch, Error> {
        self.receiver.recv().await.unwrap_or_else(|| Err(Error::Closed("the prefetch".into())))
    }
}
