//! How long a shard has been away, and when to look for it again.

use std::time::Duration;

use tokio::time::Instant;

/// Pause before the stream is opened again, at least and at most: [`PAUSE_SHARE`] of how long the shard has been away, and
/// shortened at random by up to half, so that a thousand writers do not come back at once. One that is back soon is found
/// soon: some fifteen attempts in the first second, four in the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// See [`PAUSE`].
const PAUSE_SHARE: f64 = 0.25;

/// Since when a shard has been away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    /// When its stream was opened last.
    opened: Instant,
    /// `None`: it is there, or was a moment ago.
    since: Option<Instant>,
}

impl Absence {
    pub(super) fn none() -> Self {
        Self { opened: Instant::now(), since: None }
    }

    /// The stream was opened.
    pub(super) fn opened(&mut self) {
        self.opened = Instant::now();
    }

    /// Something was acknowledged, on the stream or as it was opened.
    pub(super) fn is_over(&mut self) {
        self.since = None;
    }

    /// The stream broke. One that breaks as soon as it is opened was never there.
    pub(super) fn broke(&mut self) {
        if self.opened.elapsed() > PAUSE.1 {
            self.since = None;
        }
        self.since.get_or_insert_with(Instant::now);
    }

    /// The pause before the next attempt, `part` of it.
    pub(super) fn pause(&self, part: f64) -> Duration {
        let away = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        away.mul_f64(PAUSE_SHARE).clamp(PAUSE.0, PAUSE.1).mul_f64(part)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pause_grows_with_the_absence_and_begins_anew_once_a_stream_has_lasted() {
        let mut absence = Absence::none();
        absence.broke();
        assert_eq!(absence.pause(1.0), PAUSE.0);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(absence.pause(1.0), Duration::from_secs(1));
        assert_eq!(absence.pause(0.5), Duration::from_millis(500));
        // Opened, and broken at once: it is still the same absence.
        absence.opened();
        sleep(Duration::from_secs(1)).await;
        absence.broke();
        assert_eq!(absence.pause(1.0), Duration::from_millis(1_250));
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(absence.pause(1.0), PAUSE.1);
        // Open for a while, with nothing to acknowledge.
        absence.opened();
        sleep(Duration::from_secs(10)).await;
        absence.broke();
        assert_eq!(absence.pause(1.0), PAUSE.0);
    }
}
