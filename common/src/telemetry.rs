//! Logs: plain lines for people, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Pretty,
    /// One JSON object a line, for pods.
    Json,
}

/// Starts logging to standard error. `RUST_LOG` sets the filter; without it, `default_filter` (e.g. `"info"`) does.
/// Later calls in one process change nothing.
pub fn init(format: Format, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An Err here means that a test or an embedding program has set up logging already: keep theirs.
    let _already_set = match format {
        Format::Pretty => builder.with_target(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
}
