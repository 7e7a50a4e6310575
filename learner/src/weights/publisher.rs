//! The current version of the weights. In: bytes, from the learner thread; out: a watch that every stream looks at.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Instant,
};

use bytes::Bytes;
use common::PolicyVersion;
use proto::v1::WeightsFormat;
use tokio::sync::watch;

/// Largest version that is published: 1 GiB, the limit of `WeightsFrame.total_bytes`.
pub const MAX_VERSION_BYTES: usize = 1 << 30;

/// Why a version was not published. Subscribers keep the one before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Versions only rise, restarts of the learner included.
    #[error("weights version {found} is not newer than version {current}, which is published")]
    NotNewer {
        /// The version given.
        found: PolicyVersion,
        /// The version published last.
        current: PolicyVersion,
    },
    /// No bytes, or too many.
    #[error("weights of {0} bytes cannot be published, 1 to {MAX_VERSION_BYTES} bytes can")]
    Size(usize),
}

/// Bytes as they are sent.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) data: Bytes,
    pub(super) crc32c: u32,
}

impl From<Vec<u8>> for Encoded {
    fn from(data: Vec<u8>) -> Self {
        Self { crc32c: crc32c::crc32c(&data), data: data.into() }
    }
}

/// One version.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) version: PolicyVersion,
    pub(super) learner_step: u64,
    pub(super) published_at: Instant,
    whole: Encoded,
    /// Rounded once, for the first subscriber that wants it so.
    rounded: OnceLock<Encoded>,
}

impl Published {
    /// The bytes in a form. What cannot be rounded is sent whole.
    pub(super) fn encoded(&self, format: WeightsFormat) -> &Encoded {
        match format {
            WeightsFormat::Bf16 => self.rounded.get_or_init(|| match agent::weights::to_bf16(&self.whole.data) {
                Ok(rounded) => rounded.into(),
                Err(error) => {
                    tracing::warn!(%error, version = self.version, "weights are sent as f32, not as bf16");
                    self.whole.clone()
                }
            }),
            _ => &self.whole,
        }
    }
}

/// What streams look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Current {
    pub(super) newest: Option<Arc<Published>>,
    /// No other will follow: the run is over.
    pub(super) finished: bool,
}

/// Publishes versions; never waits for a subscriber. Streams end when it is dropped, after its last version.
#[derive(Debug)]
pub struct Publisher {
    current: watch::Sender<Current>,
    /// Held by the stream of every actor.
    actors: Arc<()>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// A publisher without a version yet: subscribers wait.
    pub fn new() -> Self {
        Self { current: watch::Sender::default(), actors: Arc::default() }
    }

    /// Replaces the current version. `data` is one safetensors file; `learner_step` the updates done when it was made.
    pub fn publish(&self, version: PolicyVersion, learner_step: u64, data: Vec<u8>) -> Result<(), Error> {
        if data.is_empty() || data.len() > MAX_VERSION_BYTES {
            return Err(Error::Size(data.len()));
        }
        let current = self.version();
        if version <= current {
            return Err(Error::NotNewer { found: version, current });
        }
        let (whole, published_at) = (data.into(), Instant::now());
        let published = Published { version, learner_step, published_at, whole, rounded: OnceLock::new() };
        self.current.send_modify(|current| current.newest = Some(Arc::new(published)));
        Ok(())
    }

    /// Tells subscribers, also those to come, that the run is over.
    pub fn finish(&self) {
        self.current.send_modify(|current| current.finished = true);
    }

    /// The version published last; 0 before the first.
    pub fn version(&self) -> PolicyVersion {
        self.current.borrow().newest.as_ref().map_or(0, |published| published.version)
    }

    /// Streams that are open.
    pub fn n_subscribers(&self) -> usize {
        // The service itself looks on too, for streams to come.
        self.current.receiver_count().saturating_sub(1)
    }

    /// Streams of actors that are open: not those that only look on.
    pub fn n_actors(&self) -> usize {
        Arc::strong_count(&self.actors) - 1
    }

    /// To be held by the streams of actors.
    pub(super) fn actors(&self) -> Weak<()> {
        Arc::downgrade(&self.actors)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Current> {
        self.current.subscribe()
    }
}
