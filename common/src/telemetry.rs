//! Logs: plain lines for people, JSON for machines.
//!
//! In: events of `tracing`; out: lines on standard error. A JSON line is one object with `timestamp`, `level`, `target`,
//! `fields` (`fields.message` first), and whatever the process says of itself (`run`, `role`, `pod`).

use std::{fmt, io::IsTerminal, sync::OnceLock};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format<'a> {
    /// For a terminal.
    Pretty,
    /// One JSON object a line, for pods; every one begins with these names and values.
    Json(&'a [(&'a str, &'a str)]),
}

static IS_JSON: OnceLock<bool> = OnceLock::new();

/// Whether this process's logs are for machines: then nothing but JSON should go to standard error.
pub fn is_json() -> bool {
    IS_JSON.get().copied().unwrap_or(false)
}

/// Starts logging to standard error. `RUST_LOG` sets the filter; without it, `default_filter` (e.g. `"info"`) does.
/// Later calls in one process change nothing.
pub fn init(format: Format<'_>, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An Err here means that a test or an embedding program has set up logging already: keep theirs.
    let _already_set = match format {
        Format::Pretty => builder.with_target(false).try_init(),
        Format::Json(said) => {
            IS_JSON.get_or_init(|| true);
            builder.fmt_fields(JsonFields::new()).event_format(Json::new(said)).try_init()
        }
    };
}

/// JSON lines that begin with what the process says of itself: threads and tasks have no span in common that could.
struct Json {
    line: format::Format<format::Json>,
    /// `{"run":"...","role":"...",`
    begin: String,
}

impl Json {
    fn new(said: &[(&str, &str)]) -> Self {
        let mut begin = String::from("{");
        for (name, value) in said {
            begin += &format!("{}:{},", quoted(name), quoted(value));
        }
        Self { line: format::format().json(), begin }
    }
}

/// A string as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&self.begin)?;
        writer.write_str(line.strip_prefix('{').unwrap_or(&line))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_says_whose_it_is_from_any_thread() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Json::new(&[("run", "a \"quoted\" one"), ("pod", "actor-7")]))
            .finish();
        let dispatch = tracing::Dispatch::new(subscriber);
        let logs = || tracing::info!(env_steps = 3, reward = 1.5, "trained");
        std::thread::spawn(move || tracing::dispatcher::with_default(&dispatch, logs)).join().unwrap();
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["run"], &line["pod"]), (&"a \"quoted\" one".into(), &"actor-7".into()));
        assert_eq!((&line["level"], &line["fields"]["message"]), (&"INFO".into(), &"trained".into()));
        assert_eq!(line["fields"]["reward"], 1.5);
        assert_eq!(text.matches('\n').count(), 1, "one line an event: {text}");
    }
}
