//! `otto`: the OTTO recommender data set.
//!
//! In: `*.jsonl`, a line `{"session":n,"events":[{"aid":n,"ts":n,"type":"clicks"|"carts"|"orders"}]}`; out: actions
//! only. A "session" is weeks of one user, so it is the user's key and sessions are cut by gaps. `ts` is in
//! milliseconds, in some releases in seconds: told apart by magnitude (1e11 s is the year 5138, 1e11 ms is 1973).

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, UNLISTED, code, mapping};
use super::files;
use super::lines::{Line, each_line};
use super::reading::{Reading, record};
use crate::source::{Format, Impressions, Input, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["*.jsonl"];
const CODES: &[Code] = &[code("clicks", "", CLICK), code("carts", "", CLICK), code("orders", "", ORDER)];
/// Smaller times are seconds.
const LEAST_MS: u64 = 100_000_000_000;
/// The year 2100.
const MOST_MS: u64 = 4_102_444_800_000;

#[derive(Deserialize)]
struct Session<'a> {
    session: u64,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    aid: u64,
    ts: u64,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// See the module.
pub struct Otto;

impl Format for Otto {
    fn name(&self) -> &'static str {
        "otto"
    }

    fn about(&self) -> &'static str {
        "OTTO: *.jsonl, a line {\"session\":n,\"events\":[{\"aid\",\"ts\",\"type\":clicks|carts|orders}]}, ts in ms or s. \
         orders are orders, the rest are clicks; a session is weeks of one user, so sessions are cut by gaps; \
         impressions are sampled."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Sampled
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        files::find(path, FILES)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, UNLISTED, input)?;
        let mut reading = Reading::new(input, counts, sink);
        for path in self.files(&input.path)? {
            each_line(&path, &mut reading, |line, reading| {
                let session: Session<'_> = serde_json::from_str(line.text).map_err(|error| {
                    let problem = error.to_string();
                    // serde_json counts lines of its own text, which is this one line.
                    let problem = problem.split(" at line ").next().unwrap_or_default();
                    line.wrong(format!("{problem} (column {})", error.column()))
                })?;
                // Checked before anything is kept: a line is taken as a whole or not at all.
                let events: Vec<_> = session
                    .events
                    .iter()
                    .map(|event| check(event, &line, &actions))
                    .collect::<Result<_, _>>()?;
                let user = session.session.to_string();
                for (event, (meaning, time_ms)) in session.events.iter().zip(events) {
                    reading.event(meaning, record(&user, time_ms, &event.aid.to_string()))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn check(event: &Event<'_>, line: &Line<'_>, actions: &Actions) -> Result<(Meaning, i64), Error> {
    let meaning = actions.meaning(&event.kind);
    let meaning = meaning
        .ok_or_else(|| line.wrong(format!("`type` is {:?}, expected {}", event.kind, actions.expected())))?;
    let ms = if event.ts < LEAST_MS { event.ts * 1000 } else { event.ts };
    let time = i64::try_from(ms).ok().filter(|_| ms < MOST_MS);
    let wrong = || line.wrong(format!("`ts` is {}, expected unix time in ms or s", event.ts));
    Ok((meaning, time.ok_or_else(wrong)?))
}
