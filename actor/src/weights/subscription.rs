//! A task that reads the stream. In: the learner's connection; out: the newest decoded version. Owner: a tokio task; the
//! rollout threads only look at the watch.
//!
//! Within a process the stream's end is the run's ([`Subscription::start`]); in a cluster the learner may go and come back,
//! also elsewhere, and the task subscribes again ([`Subscription::keep`]).

use std::{fmt::Display, sync::Arc, time::Duration};

use common::config::WeightsForm;
use node::{Connection, Peer, metrics};
use proto::v1::{RunHeader, SubscribeRequest, WeightsFormat, WeightsFrame, weights_client::WeightsClient};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Assembler, Error, Frame, Freshness, Known, Version};

/// The newest version, `None` before the first. Cheap to clone: one for each rollout thread.
pub type Feed<P> = watch::Receiver<Option<Arc<P>>>;

/// Silence after which a stream counts as broken; the learner gives a sign of life every second.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two tries to subscribe.
const PAUSE: Duration = Duration::from_millis(200);
/// Time after which the weights are subscribed anew: how fresh they are is reckoned by the learner's clock from the
/// beginning of the stream, and two clocks drift apart.
const STREAM: Duration = Duration::from_secs(3600);
/// Failures between two lines of the log, about ten seconds.
const FAILURES_A_LINE: u32 = 50;

/// Where the learner is, and how to ask it.
#[derive(Clone, Debug)]
pub struct Learner {
    /// Whoever leads now; `None`: nobody is known.
    pub peer: watch::Receiver<Option<Peer>>,
    /// Name of the run.
    pub run_id: String,
    /// Name of the subscriber, for people.
    pub subscriber: String,
    /// Numbers of the weights on the wire.
    pub form: WeightsForm,
    /// Whether the subscriber only looks on: it is not counted among the actors.
    pub observes: bool,
    /// SHA-256 of the item embeddings that the weights will be used with; empty: not said.
    pub items_sha256: String,
}

/// A subscription that runs until the run is over or something fails for good.
#[derive(Debug)]
pub struct Subscription<P> {
    feed: Feed<P>,
    freshness: Freshness,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl<P: Send + Sync + 'static> Subscription<P> {
    /// Subscribes once, on `runtime`. `decode` makes a policy of a version's bytes; it runs on the subscription's task,
    /// once a version.
    pub fn start<E: Display + 'static>(
        runtime: &tokio::runtime::Handle,
        connection: Connection,
        run_id: &str,
        subscriber: &str,
        decode: impl Fn(Version) -> Result<P, E> + Send + 'static,
    ) -> Self {
        let (newest, feed) = watch::channel(None);
        let mut reader = Reader::new(run_id, subscriber, WeightsForm::F32, decode, newest);
        let freshness = reader.freshness.clone();
        let task = runtime.spawn(async move { reader.read(connection).await.map(drop) });
        Self { feed, freshness, task }
    }

    /// Subscribes on `runtime` to whoever leads, again and again until the run is over or refuses this subscriber.
    pub fn keep<E: Display + 'static>(
        runtime: &tokio::runtime::Handle,
        learner: Learner,
        decode: impl Fn(Version) -> Result<P, E> + Send + 'static,
    ) -> Self {
        let (newest, feed) = watch::channel(None);
        let mut reader = Reader::new(&learner.run_id, &learner.subscriber, learner.form, decode, newest);
        reader.request.observer = learner.observes;
        reader.request.items_sha256 = learner.items_sha256;
        let freshness = reader.freshness.clone();
        Self { feed, freshness, task: runtime.spawn(keep(reader, learner.peer)) }
    }

    /// The newest version.
    pub fn feed(&self) -> Feed<P> {
        self.feed.clone()
    }

    /// How old the newest version here may be.
    pub fn freshness(&self) -> Freshness {
        self.freshness.clone()
    }

    /// Whether it has ended. [`Self::end`] says why.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the first version; `None` if the stream ended before it, for the reason that [`Self::end`] gives.
    pub async fn first(&mut self) -> Option<Arc<P>> {
        self.feed.wait_for(Option::is_some).await.ok().and_then(|newest| newest.clone())
    }

    /// Waits for the end of the stream: `Ok` if the learner ended it, or the run is over.
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

async fn keep<P, E: Display>(
    mut reader: Reader<P, impl Fn(Version) -> Result<P, E>>,
    mut peer: watch::Receiver<Option<Peer>>,
) -> Result<(), Error> {
    let mut failures = 0_u32;
    loop {
        let now = peer.borrow_and_update().clone();
        if let Some(now) = now {
            let begun = Instant::now();
            // Whoever leads from now on is asked at once.
            let ended = tokio::select! {
                ended = reader.read(now.connection.clone()) => Some(ended),
                Ok(()) = peer.changed() => None,
                () = sleep(STREAM) => None,
            };
            match ended {
                Some(Ok(true)) => return Ok(()),
                Some(Err(error)) if !error.is_passing() => return Err(error),
                Some(Err(error)) => {
                    metrics::ACTOR_RECONNECTS.increment(1, ["learner"]);
                    if begun.elapsed() > SILENCE {
                        failures = 0;
                    }
                    if failures.is_multiple_of(FAILURES_A_LINE) {
                        let error = now.explain(&error.to_string()).await;
                        tracing::warn!(error, "no weights come; subscribing again until they do");
                    }
                    failures += 1;
                }
                Some(Ok(false)) => {
                    failures = 0;
                    tracing::info!("the learner ended the weights stream; subscribing again");
                }
                None => continue,
            }
        }
        // Not at once: a learner that refuses or restarts would be asked without end.
        let _new_leader = timeout(PAUSE, peer.changed()).await;
    }
}

/// What outlives a stream.
struct Reader<P, D> {
    request: SubscribeRequest,
    assembler: Assembler,
    decode: D,
    newest: watch::Sender<Option<Arc<P>>>,
    freshness: Freshness,
}

impl<P, E: Display, D: Fn(Version) -> Result<P, E>> Reader<P, D> {
    fn new(
        run_id: &str,
        subscriber: &str,
        form: WeightsForm,
        decode: D,
        newest: watch::Sender<Option<Arc<P>>>,
    ) -> Self {
        let format = match form {
            WeightsForm::F32 => WeightsFormat::F32,
            WeightsForm::Bf16 => WeightsFormat::Bf16,
        };
        let request = SubscribeRequest {
            run: Some(RunHeader::current(run_id)),
            subscriber: subscriber.to_owned(),
            have_version: 0,
            format: format.into(),
            ..SubscribeRequest::default()
        };
        Self { request, assembler: Assembler::default(), decode, newest, freshness: Freshness::default() }
    }

    /// Reads one stream to its end; true if the run is over.
    async fn read(&mut self, connection: Connection) -> Result<bool, Error> {
        let stream_error = |status: tonic::Status| Error::Stream {
            code: status.code(),
            message: status.message().to_owned(),
        };
        self.request.have_version = self.assembler.newest();
        self.assembler.begin_stream();
        let mut client = WeightsClient::new(connection);
        let asked = Instant::now();
        let answer = timeout(SILENCE, client.subscribe(self.request.clone())).await.map_err(|_| silent())?;
        let mut frames = answer.map_err(stream_error)?.into_inner();
        while let Some(frame) =
            timeout(SILENCE, frames.message()).await.map_err(|_| silent())?.map_err(stream_error)?
        {
            match self.assembler.push(&frame)? {
                Frame::Piece => {}
                Frame::Alive { finished: true, .. } => return Ok(true),
                Frame::Alive { newest, .. } => {
                    if newest == self.assembler.newest() {
                        self.freshness.renew(known(&frame, asked));
                    }
                }
                Frame::Whole(whole) => {
                    let (version, learner_step) = (whole.version, whole.learner_step);
                    let policy = (self.decode)(whole)
                        .map_err(|e| Error::Decode { version, problem: e.to_string() })?;
                    // First: whoever takes the policy finds out how old it is.
                    self.freshness.renew(known(&frame, asked));
                    self.newest.send_replace(Some(Arc::new(policy)));
                    tracing::debug!(version, learner_step, "weights applied");
                }
            }
        }
        Ok(false)
    }
}

/// What a frame says of its version, in a stream that was asked for then: the request cannot have come before.
fn known(frame: &WeightsFrame, asked: Instant) -> Known {
    let now = Instant::now();
    let newest_at = asked.checked_add(Duration::from_millis(frame.newest_at_ms)).unwrap_or(now).min(now);
    let before = Duration::from_millis(frame.published_before_ms);
    let published_at = newest_at.checked_sub(before).unwrap_or(newest_at);
    Known { version: frame.version, newest_at: newest_at.into_std(), published_at: published_at.into_std() }
}

/// No word of the learner, not even a sign of life.
fn silent() -> Error {
    let message = format!("no sign of life for {} s", SILENCE.as_secs());
    Error::Stream { code: tonic::Code::DeadlineExceeded, message }
}
