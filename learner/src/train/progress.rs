//! What is seen while a run goes on: a bar on a terminal, plain lines otherwise, events where the logs are for machines.

use std::{io::IsTerminal, time::Instant};

use common::telemetry;
use indicatif::{ProgressBar, ProgressStyle};

/// Figures of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Status {
    /// Environment steps so far.
    pub(super) env_steps: u64,
    /// Updates of both levels so far.
    pub(super) updates: u64,
    /// Mean low-level Q of the last minibatches.
    pub(super) mean_q: Option<f64>,
    /// Mean total reward a session of the last evaluation.
    pub(super) reward: Option<f64>,
}

/// Seconds between plain lines.
const LINE_SECONDS: f64 = 10.0;
/// Lines that follow each other faster say the rates of the one before.
const LEAST_SECONDS: f64 = 1.0;

/// How fast a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    steps_per_second: f64,
    updates_per_second: f64,
}

impl Rates {
    fn between(before: &Status, now: &Status, seconds: f64) -> Self {
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Self {
            steps_per_second: rate(now.env_steps, before.env_steps),
            updates_per_second: rate(now.updates, before.updates),
        }
    }
}

/// The bar or the lines. Written to standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    started: Instant,
    /// Where this process began: a resumed run does not count what came before.
    first: Status,
    last_line: Instant,
    /// The line from which on rates of the next one count, and its own.
    measured: (Instant, Status, Rates),
}

impl Progress {
    /// Progress of a run of `total` environment steps that begins (or goes on) at `first`.
    pub(super) fn new(total: u64, first: Status) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:12.cyan/dim} {percent:>3}% {msg}  eta {eta}")
                .expect("the template is a constant");
            ProgressBar::new(total).with_style(style).with_position(first.env_steps)
        });
        let now = Instant::now();
        Self { bar, total, started: now, first, last_line: now, measured: (now, first, Rates::default()) }
    }

    /// Shows the figures of the moment.
    pub(super) fn show(&mut self, status: &Status) {
        if let Some(bar) = &self.bar {
            let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(message(status, Rates::between(&self.first, status, seconds)));
            bar.set_position(status.env_steps.min(self.total));
        } else if self.last_line.elapsed().as_secs_f64() >= LINE_SECONDS {
            self.line(status);
        }
    }

    /// Prints the figures as a plain line, beside a bar where there is one.
    pub(super) fn line(&mut self, status: &Status) {
        self.last_line = Instant::now();
        let rates = self.rates(status);
        if telemetry::is_json() {
            return event(status, rates);
        }
        let line = format!("{:>9} / {} steps  {}", status.env_steps, self.total, message(status, rates));
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Ends the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Since the line before: what changes on the way, as with the number of actors, is seen at once.
    fn rates(&mut self, status: &Status) -> Rates {
        let (since, before, rates) = &mut self.measured;
        let seconds = since.elapsed().as_secs_f64();
        if seconds >= LEAST_SECONDS || *rates == Rates::default() {
            *rates = Rates::between(before, status, seconds.max(1e-3));
            (*since, *before) = (Instant::now(), *status);
        }
        *rates
    }
}

fn event(status: &Status, Rates { steps_per_second, updates_per_second }: Rates) {
    let Status { env_steps, updates, mean_q, reward } = *status;
    tracing::info!(env_steps, updates, steps_per_second, updates_per_second, mean_q, reward, "training");
}

fn message(status: &Status, rates: Rates) -> String {
    let mut message =
        format!("{:.0} steps/s  {:.1} updates/s", rates.steps_per_second, rates.updates_per_second);
    if let Some(q) = status.mean_q {
        message += &format!("  Q {q:.2}");
    }
    if let Some(reward) = status.reward {
        message += &format!("  reward {reward:.2}");
    }
    message
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_those_since_the_line_before() {
        let at = |env_steps, updates| Status { env_steps, updates, ..Status::default() };
        let mut progress = Progress::new(1_000_000, at(100_000, 50));
        // As if so much time had passed.
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        progress.measured.0 = ago(10);
        let first = progress.rates(&at(110_000, 60));
        assert!((first.steps_per_second - 1_000.0).abs() < 10.0, "{first:?}");
        assert!((first.updates_per_second - 1.0).abs() < 0.01, "{first:?}");
        assert_eq!(progress.rates(&at(110_001, 61)), first, "too soon to say");
        progress.measured.0 = ago(10);
        let faster = progress.rates(&at(150_000, 100));
        assert!((faster.steps_per_second - 4_000.0).abs() < 40.0, "{faster:?}");
    }
}
