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

/// The bar or the lines. Written to standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    started: Instant,
    /// Where this process began: a resumed run does not count what came before.
    first: Status,
    last_line: Instant,
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
        Self { bar, total, started: now, first, last_line: now }
    }

    /// Shows the figures of the moment.
    pub(super) fn show(&mut self, status: &Status) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(status));
            bar.set_position(status.env_steps.min(self.total));
        } else if self.last_line.elapsed().as_secs_f64() >= LINE_SECONDS {
            self.last_line = Instant::now();
            self.line(status);
        }
    }

    /// Prints the figures as a plain line, beside a bar where there is one.
    pub(super) fn line(&mut self, status: &Status) {
        if telemetry::is_json() {
            return self.event(status);
        }
        let line = format!("{:>9} / {} steps  {}", status.env_steps, self.total, self.message(status));
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

    /// Environment steps and updates a second, of this process.
    fn rates(&self, status: &Status) -> (f64, f64) {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        (rate(status.env_steps, self.first.env_steps), rate(status.updates, self.first.updates))
    }

    fn event(&self, status: &Status) {
        let (steps_per_second, updates_per_second) = self.rates(status);
        let Status { env_steps, updates, mean_q, reward } = *status;
        tracing::info!(env_steps, updates, steps_per_second, updates_per_second, mean_q, reward, "training");
    }

    fn message(&self, status: &Status) -> String {
        let (steps, updates) = self.rates(status);
        let mut message = format!("{steps:.0} steps/s  {updates:.1} updates/s");
        if let Some(q) = status.mean_q {
            message += &format!("  Q {q:.2}");
        }
        if let Some(reward) = status.reward {
            message += &format!("  reward {reward:.2}");
        }
        message
    }
}
