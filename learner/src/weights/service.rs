//! `mahrl.v1.Weights`: one stream a subscriber, frames cut from the shared bytes.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use proto::{
    SCHEMA_VERSION,
    v1::{
        RunHeader, SubscribeRequest, WeightsFrame,
        weights_server::{Weights, WeightsServer},
    },
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::publisher::{Published, Publisher};

/// Bytes of a version in one frame, the limit of `WeightsFrame.data`.
const FRAME_BYTES: usize = 64 * 1024;
/// Longest subscriber name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Serves what a [`Publisher`] publishes.
#[derive(Clone, Debug)]
pub struct WeightsService {
    run_id: String,
    current: watch::Receiver<Option<Arc<Published>>>,
}

impl WeightsService {
    /// The service of a run.
    pub fn new(run_id: &str, publisher: &Publisher) -> Self {
        Self { run_id: run_id.to_owned(), current: publisher.watch() }
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
        let request = request.into_inner();
        self.check(&request)?;
        tracing::debug!(subscriber = request.subscriber, have = request.have_version, "weights subscribed");
        let mut current = self.current.clone();
        // The version that is current now has not been seen by this stream: it is sent at once.
        current.mark_changed();
        let cursor = Cursor {
            current,
            header: RunHeader::current(&self.run_id),
            sending: None,
            offset: 0,
            have_version: request.have_version,
        };
        Ok(Response::new(Box::pin(stream::unfold(cursor, Cursor::next))))
    }
}

/// Where a stream is.
struct Cursor {
    current: watch::Receiver<Option<Arc<Published>>>,
    header: RunHeader,
    /// The version being sent, to its last frame even when a newer one is out: frames of versions never mix.
    sending: Option<Arc<Published>>,
    offset: usize,
    have_version: u64,
}

impl Cursor {
    /// The next frame, once there is one; the end once the publisher is gone. Polled only when the subscriber can take
    /// a frame (HTTP/2 flow control), so that a slow one skips versions.
    async fn next(mut self) -> Option<(Result<WeightsFrame, Status>, Self)> {
        loop {
            if let Some(published) = &self.sending
                && self.offset < published.data.len()
            {
                let end = (self.offset + FRAME_BYTES).min(published.data.len());
                let frame = WeightsFrame {
                    run: Some(self.header.clone()),
                    version: published.version,
                    learner_step: published.learner_step,
                    total_bytes: published.data.len() as u64,
                    offset: self.offset as u64,
                    data: published.data.slice(self.offset..end),
                    crc32c: published.crc32c,
                    fence: 0,
                };
                self.offset = end;
                return Some((Ok(frame), self));
            }
            self.sending = None;
            // An error is the end of the publisher; a version not yet sent comes before it.
            self.current.changed().await.ok()?;
            let newest = self.current.borrow_and_update().clone();
            if let Some(newest) = newest.filter(|newest| newest.version > self.have_version) {
                self.have_version = newest.version;
                self.offset = 0;
                self.sending = Some(newest);
            }
        }
    }
}
