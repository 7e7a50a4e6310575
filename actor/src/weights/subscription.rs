//! A task that reads the stream. In: a channel to the learner; out: the newest decoded version. Owner: a tokio task; the
//! rollout threads only look at the watch.

use std::{fmt::Display, sync::Arc};

use proto::v1::{RunHeader, SubscribeRequest, weights_client::WeightsClient};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::{Assembler, Error, Version};

/// The newest version, `None` before the first. Cheap to clone: one for each rollout thread.
pub type Feed<P> = watch::Receiver<Option<Arc<P>>>;

/// A subscription that runs until the learner ends the stream or something fails.
#[derive(Debug)]
pub struct Subscription<P> {
    feed: Feed<P>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl<P: Send + Sync + 'static> Subscription<P> {
    /// Subscribes on `runtime`. `decode` makes a policy of a version's bytes; it runs on the subscription's task, once a
    /// version.
    pub fn start<E: Display + 'static>(
        runtime: &tokio::runtime::Handle,
        channel: Channel,
        run_id: &str,
        subscriber: &str,
        decode: impl Fn(Version) -> Result<P, E> + Send + 'static,
    ) -> Self {
        let (newest, feed) = watch::channel(None);
        let request = SubscribeRequest {
            run: Some(RunHeader::current(run_id)),
            subscriber: subscriber.to_owned(),
            have_version: 0,
            format: 0,
        };
        Self { feed, task: runtime.spawn(read(channel, request, decode, newest)) }
    }

    /// The newest version.
    pub fn feed(&self) -> Feed<P> {
        self.feed.clone()
    }

    /// Waits for the first version; `None` if the stream ended before it, for the reason that [`Self::end`] gives.
    pub async fn first(&mut self) -> Option<Arc<P>> {
        self.feed.wait_for(Option::is_some).await.ok().and_then(|newest| newest.clone())
    }

    /// Waits for the end of the stream: `Ok` if the learner ended it.
    pub async fn end(self) -> Result<(), Error> {
        self.task.await.unwrap_or_else(|failed| {
            let message = format!("the subscription's task failed: {failed}");
            Err(Error::Stream { code: tonic::Code::Internal, message })
        })
    }

    /// Leaves.
    pub fn stop(self) {
        self.task.abort();
    }
}

async fn read<P, E: Display>(
    channel: Channel,
    request: SubscribeRequest,
    decode: impl Fn(Version) -> Result<P, E>,
    newest: watch::Sender<Option<Arc<P>>>,
) -> Result<(), Error> {
    let stream_error =
        |status: tonic::Status| Error::Stream { code: status.code(), message: status.message().to_owned() };
    let mut frames = WeightsClient::new(channel).subscribe(request).await.map_err(stream_error)?.into_inner();
    let mut assembler = Assembler::default();
    while let Some(frame) = frames.message().await.map_err(stream_error)? {
        if let Some(whole) = assembler.push(&frame)? {
            let (version, learner_step) = (whole.version, whole.learner_step);
            let policy = decode(whole).map_err(|e| Error::Decode { version, problem: e.to_string() })?;
            newest.send_replace(Some(Arc::new(policy)));
            tracing::debug!(version, learner_step, "weights applied");
        }
    }
    Ok(())
}
