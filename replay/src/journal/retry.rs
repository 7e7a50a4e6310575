//! When a snapshot that failed is tried again: what it failed for, mostly a full disk, does not pass within seconds, and
//! every try fills what room the journal has left.
//!
//! In: how tries ended; out: whether the next one is due. Pure.

use std::time::{Duration, Instant};

/// After the first failure; doubled with each that follows it.
const FIRST: Duration = Duration::from_secs(60);
/// At most.
const LONGEST: Duration = Duration::from_secs(3_600);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// Of the last try, if it failed, and how long the next one waits from there.
    failed: Option<(Instant, Duration)>,
}

impl Retry {
    /// A try failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        let wait = self.failed.map_or(FIRST, |(_, wait)| LONGEST.min(2 * wait));
        self.failed = Some((now, wait));
    }

    /// One succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failed = None;
    }

    /// Whether the next may begin.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.failed.is_none_or(|(at, wait)| now.saturating_duration_since(at) >= wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_after_a_minute_then_ever_later_up_to_an_hour_until_one_succeeds() {
        let mut retry = Retry::default();
        let mut now = Instant::now();
        assert!(retry.is_due(now));
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            retry.failed(now);
            let wait = Duration::from_secs(60 * minutes);
            assert!(!retry.is_due(now + wait - Duration::from_secs(1)), "{minutes}");
            now += wait;
            assert!(retry.is_due(now), "{minutes}");
        }
        retry.succeeded();
        assert!(retry.is_due(now));
        retry.failed(now);
        assert!(retry.is_due(now + FIRST));
    }
}
