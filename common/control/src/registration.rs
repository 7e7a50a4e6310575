//! A shard's place in the directory, held by heartbeats.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{Control, ShardEntry};

/// Registered for as long as this lives; dropped, the entry is taken out, or runs out with its lease where that fails.
#[derive(Debug)]
pub struct Registration {
    control: Control,
    entry: ShardEntry,
    written: watch::Receiver<bool>,
    heart: JoinHandle<()>,
}

impl Control {
    /// Puts a shard into the directory, and again three times a lease, from a background task. In: a lease above 0. Does
    /// not wait: a shard serves while the store is away, too.
    pub fn register_shard(&self, entry: ShardEntry, lease: Duration) -> Registration {
        let (sender, written) = watch::channel(false);
        let heart = tokio::spawn(beat(self.clone(), entry.clone(), lease, sender));
        Registration { control: self.clone(), entry, written, heart }
    }
}

impl Registration {
    /// Whether the last heartbeat was written.
    pub fn is_written(&self) -> bool {
        *self.written.borrow()
    }

    /// Waits until a heartbeat was written.
    pub async fn written(&mut self) {
        // Its sender lives as long as the task, which ends with us.
        let _ = self.written.wait_for(|written| *written).await;
    }

    /// Takes the entry out and waits for it, as far as the store answers.
    pub async fn deregister(self) {
        self.heart.abort();
        if let Err(error) = self.control.remove_shard(&self.entry).await {
            tracing::debug!(%error, "the shard's entry runs out by itself");
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.heart.abort();
        let (control, entry) = (self.control.clone(), self.entry.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Repeated after `deregister`, which changes nothing.
            runtime.spawn(async move { control.remove_shard(&entry).await });
        }
    }
}

async fn beat(control: Control, entry: ShardEntry, lease: Duration, written: watch::Sender<bool>) {
    let mut missed = 0_u64;
    loop {
        let start = Instant::now();
        let result = match control.put_shard(&entry, lease).await {
            Ok(()) => control.publish_counters().await,
            failed => failed,
        };
        match &result {
            Ok(()) if missed > 0 => tracing::info!(uid = entry.uid, missed, "the shard is registered again"),
            Err(error) if missed == 0 => {
                tracing::warn!(%error, uid = entry.uid, "the shard is not registered")
            }
            _ => {}
        }
        missed = if result.is_ok() { 0 } else { missed + 1 };
        written.send_replace(result.is_ok());
        sleep(crate::pause(lease, result.is_ok()).saturating_sub(start.elapsed())).await;
    }
}
