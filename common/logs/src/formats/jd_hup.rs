//! `jd-hup`: JD's micro-behaviours, "Hierarchical User Profiling" (WSDM 2020).
//!
//! In: any file without header, a line a session of one unnamed user, events separated by spaces, each
//! `sku+type+category+interval+dwell` with seconds to the next event and seconds on the product; out: one record a
//! *visit*, a run of events on one product: an order or a click if any of its events is one, else a skip. What was
//! looked at stands for what was shown. There is no clock: line n starts n - 1 hours after 1970, and the intervals
//! count on from there, so that order in the file is order in time.

use std::path::{Path, PathBuf};

use common::Feedback;

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, SKIP, code, mapping};
use super::files;
use super::lines::{Line, each_line};
use super::reading::{Reading, record};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["*"];
const CODES: &[Code] = &[
    code("1", "home to product", SKIP),
    code("2", "shop list to product", SKIP),
    code("3", "sale to product", SKIP),
    code("4", "cart page to product", SKIP),
    code("5", "search list to product", SKIP),
    code("6", "comments", SKIP),
    code("7", "specification", SKIP),
    code("8", "bottom of the page", SKIP),
    code("9", "add to cart", CLICK),
    code("10", "order", ORDER),
];
/// Between the starts of two lines, ms.
const LINE_MS: i64 = 3_600_000;

/// An event of a line.
struct Event<'a> {
    item: &'a str,
    feedback: Feedback,
    category: &'a str,
    /// Until the next event.
    interval_s: u32,
}

/// See the module.
pub struct JdHup;

impl Format for JdHup {
    fn name(&self) -> &'static str {
        "jd-hup"
    }

    fn about(&self) -> &'static str {
        "JD micro-behaviours (WSDM 2020): any file without header, a line a session, events separated by spaces, each \
         sku+type+category+interval_s+dwell_s; types 1 home, 2 shop list, 3 sale, 4 cart page, 5 search list, 6 \
         comments, 7 specification, 8 bottom, 9 add to cart, 10 order. A visit is a run of events on one sku: an \
         order if it has a 10, a click if it has a 9, else a skip; impressions are a proxy."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Proxy
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        files::find(path, FILES)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, SKIP, input)?;
        let mut reading = Reading::new(input, counts, sink);
        let mut first_line = 0;
        for path in self.files(&input.path)? {
            let file = files::key(&input.path, &path);
            let mut last_line = 0;
            each_line(&path, &mut reading, |line, reading| {
                last_line = first_line + i64::try_from(line.number).unwrap_or(i64::MAX);
                let words = line.text.split(' ').filter(|word| !word.is_empty());
                let events: Vec<_> =
                    words.map(|word| event(word, &line, &actions)).collect::<Result<_, _>>()?;
                keep_visits(&events, &format!("{file}:{}", line.number), last_line - 1, reading)
            })?;
            first_line = last_line;
        }
        Ok(())
    }
}

/// Reads `sku+type+category+interval+dwell`.
fn event<'a>(word: &'a str, line: &Line<'_>, actions: &Actions) -> Result<Event<'a>, Error> {
    let wrong = |expected: &str| {
        let word: String = word.chars().take(80).collect();
        line.wrong(format!("event {word:?} has no {expected}"))
    };
    let fields: Vec<_> = word.split('+').collect();
    let [item, kind, category, interval, dwell] = fields.as_slice() else {
        return Err(wrong("five fields sku+type+category+interval+dwell"));
    };
    if item.is_empty() || category.is_empty() {
        return Err(wrong("sku or category"));
    }
    let Some(Meaning::Is(feedback)) = actions.meaning(kind) else {
        return Err(wrong(&format!("known type, {}", actions.expected())));
    };
    let interval_s = interval.parse().map_err(|_| wrong("interval in seconds"))?;
    let _dwell_s: u32 = dwell.parse().map_err(|_| wrong("dwell time in seconds"))?;
    Ok(Event { item, feedback, category, interval_s })
}

/// One record for each run of events on one item.
fn keep_visits(events: &[Event<'_>], user: &str, line: i64, reading: &mut Reading<'_>) -> Result<(), Error> {
    let mut time_ms = line * LINE_MS;
    for visit in events.chunk_by(|a, b| a.item == b.item) {
        let Some(first) = visit.first() else { continue };
        let feedback = visit.iter().map(|event| event.feedback).max().unwrap_or(Feedback::Skip);
        reading.keep(Record {
            session: Some(user),
            category: Some(first.category),
            feedback,
            ..record(user, time_ms, first.item)
        })?;
        reading.drop_rows(visit.len() as u64 - 1, "merged: further events of a visit");
        time_ms += visit.iter().map(|event| i64::from(event.interval_s) * 1000).sum::<i64>();
    }
    Ok(())
}
