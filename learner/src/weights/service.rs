//! `mahrl.v1.Weights`: one stream a subscriber, frames cut from the shared bytes, a sign of life where nothing else is
//! sent.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures::{Stream, stream};
use node::metrics;
use proto::{
    SCHEMA_VERSION,
    v1::{
        RunHeader, SubscribeRequest, WeightsFormat, WeightsFrame,
        weights_server::{Weights, WeightsServer},
    },
};
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Response, Status};

use super::publisher::{Current, Encoded, Published, Publisher};

/// Bytes of a version in one frame, the limit of `WeightsFrame.data`.
const FRAME_BYTES: usize = 64 * 1024;
/// Longest subscriber name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a process has whose items are others than the run's.
pub(crate) const ITEMS: &str = "table of item embeddings";

/// Why a process is refused that has something of its own where the run has its.
pub(crate) fn other_files(who: &str, what: &str) -> String {
    format!("`{who}` has another {what} than the run: give it the learner's files under environment.name")
}

/// Serves what a [`Publisher`] publishes.
#[derive(Clone, Debug)]
pub struct WeightsService {
    run_id: String,
    fence: u64,
    /// What subscribers' items are held against, if anything.
    items_sha256: String,
    current: watch::Receiver<Current>,
    actors: Weak<()>,
}

impl WeightsService {
    /// The service of a run, led under fencing token `fence` (0: within one process, where nobody else can lead).
    pub fn new(run_id: &str, fence: u64, publisher: &Publisher) -> Self {
        let (run_id, items_sha256) = (run_id.to_owned(), String::new());
        Self { run_id, fence, items_sha256, current: publisher.watch(), actors: publisher.actors() }
    }

    /// That refuses subscribers with other item embeddings than these (their SHA-256).
    pub fn of_items(self, items_sha256: String) -> Self {
        Self { items_sha256, ..self }
    }

    /// For `tonic`'s router.
    pub fn into_server(self) -> WeightsServer<Self> {
        WeightsServer::new(self)
    }

    fn check(&self, request: &SubscribeRequest) -> Result<(), Status> {
        let run = request.run.as_ref().ok_or_else(|| Status::invalid_argument("run: missing"))?;
        if run.schema_version != SCHEMA_VERSION {
            let found = run.schema_version;
            return Err(Status::invalid_argument(format!(
                "run.schema_version: {found}, this learner speaks {SCHEMA_VERSION}"
            )));
        }
        if run.run_id != self.run_id {
            let (found, ours) = (&run.run_id, &self.run_id);
            return Err(Status::invalid_argument(format!("run.run_id: `{found}`, this run is `{ours}`")));
        }
        if request.subscriber.len() > MAX_NAME_BYTES {
            return Err(Status::invalid_argument(format!("subscriber: longer than {MAX_NAME_BYTES} bytes")));
        }
        let (ours, theirs) = (&self.items_sha256, &request.items_sha256);
        if ![ours, theirs].iter().any(|said| said.is_empty()) && ours != theirs {
            return Err(Status::invalid_argument(other_files(&request.subscriber, ITEMS)));
        }
        if WeightsFormat::try_from(request.format).is_err() {
            return Err(Status::invalid_argument(format!("format: {} is none of f32, bf16", request.format)));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Weights for WeightsService {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<WeightsFrame, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let begun = Instant::now();
        let request = request.into_inner();
        self.check(&request)?;
        tracing::debug!(subscriber = request.subscriber, have = request.have_version, "weights subscribed");
        let mut current = self.current.clone();
        // The version that is current now has not been seen by this stream: it is sent at once.
        current.mark_changed();
        let cursor = Cursor {
            current,
            begun,
            header: RunHeader::current(&self.run_id),
            fence: self.fence,
            format: request.format(),
            sending: None,
            have_version: request.have_version,
            _actor: self.actors.upgrade().filter(|_| !request.observer),
        };
        Ok(Response::new(Box::pin(stream::unfold(cursor, Cursor::next))))
    }
}

/// A version on its way.
struct Sending {
    version: u64,
    learner_step: u64,
    encoded: Encoded,
    offset: usize,
    times: Times,
}

/// `newest_at_ms` and `published_before_ms` of a frame.
#[derive(Clone, Copy, Default)]
struct Times {
    newest_at_ms: u64,
    published_before_ms: u64,
}

/// Where a stream is.
struct Cursor {
    current: watch::Receiver<Current>,
    /// When the subscription arrived.
    begun: Instant,
    header: RunHeader,
    fence: u64,
    format: WeightsFormat,
    /// The version being sent, to its last frame even when a newer one is out: frames of versions never mix.
    sending: Option<Sending>,
    have_version: u64,
    /// Counts the stream of an actor for as long as it is open.
    _actor: Option<Arc<()>>,
}

impl Cursor {
    /// The next frame, once there is one; the end once the publisher is gone. Polled only when the subscriber can take
    /// a frame (HTTP/2 flow control), so that a slow one skips versions.
    async fn next(mut self) -> Option<(Result<WeightsFrame, Status>, Self)> {
        loop {
            if let Some(frame) = self.piece() {
                return Some((Ok(frame), self));
            }
            // Err: nothing new for a while. Ok(Err): the end of the publisher; a version not yet sent comes before it.
            match timeout(HEARTBEAT, self.current.changed()).await {
                Err(_) => return Some((Ok(self.sign_of_life()), self)),
                Ok(changed) => changed.ok()?,
            }
            let now = Instant::now();
            let Current { newest, finished } = self.current.borrow_and_update().clone();
            if let Some(newest) = newest.filter(|newest| newest.version > self.have_version) {
                self.have_version = newest.version;
                self.sending = Some(Sending {
                    version: newest.version,
                    learner_step: newest.learner_step,
                    encoded: newest.encoded(self.format).clone(),
                    offset: 0,
                    times: self.times(&newest, now),
                });
            } else if finished {
                return Some((Ok(self.sign_of_life()), self));
            }
        }
    }

    /// Of a version that is the newest after `now`, and so at `now` as far as a subscriber need know.
    fn times(&self, newest: &Published, now: Instant) -> Times {
        let millis = |since: Instant| now.saturating_duration_since(since).as_millis() as u64;
        Times { newest_at_ms: millis(self.begun), published_before_ms: millis(newest.published_at) }
    }

    /// The next piece of the version being sent, if one is.
    fn piece(&mut self) -> Option<WeightsFrame> {
        let Sending { version, learner_step, encoded, offset, times } = self.sending.as_mut()?;
        let end = (*offset + FRAME_BYTES).min(encoded.data.len());
        let frame = WeightsFrame {
            run: Some(self.header.clone()),
            version: *version,
            learner_step: *learner_step,
            total_bytes: encoded.data.len() as u64,
            offset: *offset as u64,
            data: encoded.data.slice(*offset..end),
            crc32c: encoded.crc32c,
            fence: self.fence,
            finished: false,
            newest_at_ms: times.newest_at_ms,
            published_before_ms: times.published_before_ms,
        };
        metrics::WEIGHTS_SENT_BYTES.increment((end - *offset) as u64, []);
        *offset = end;
        if end == encoded.data.len() {
            self.sending = None;
        }
        Some(frame)
    }

    fn sign_of_life(&self) -> WeightsFrame {
        let now = Instant::now();
        let Current { newest, finished } = self.current.borrow().clone();
        let times = newest.as_ref().map_or_else(Times::default, |newest| self.times(newest, now));
        WeightsFrame {
            run: Some(self.header.clone()),
            version: newest.as_ref().map_or(0, |newest| newest.version),
            learner_step: newest.as_ref().map_or(0, |newest| newest.learner_step),
            fence: self.fence,
            finished,
            newest_at_ms: times.newest_at_ms,
            published_before_ms: times.published_before_ms,
            ..WeightsFrame::default()
        }
    }
}
