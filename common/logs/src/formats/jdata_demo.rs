//! `jdata-demo`: sessions of JD's 2018 log, as published with session-based recommenders.
//!
//! In: `train.csv` with header `action_time,user_id,sku_id,type,sessionId,index`; out: actions only, in the data set's
//! own sessions. Codes are those of [`jdata2019`](super::jdata2019). Times are local (UTC+8); `index` is the same time
//! again, taken for UTC, and is not read.

use std::path::{Path, PathBuf};

use super::actions::{Actions, UNLISTED, mapping};
use super::clock::CHINA;
use super::files;
use super::jdata2019::CODES;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["train.csv", "test.csv"];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[
        needed(&["action_time"]),
        needed(&["user_id"]),
        needed(&["sku_id"]),
        needed(&["type"]),
        needed(&["sessionId", "session_id"]),
    ],
};
const TIME: usize = 0;
const USER: usize = 1;
const ITEM: usize = 2;
const TYPE: usize = 3;
const SESSION: usize = 4;

/// See the module.
pub struct JdataDemo;

impl Format for JdataDemo {
    fn name(&self) -> &'static str {
        "jdata-demo"
    }

    fn about(&self) -> &'static str {
        "JD 2018 demo sessions: train.csv (and test.csv) with header action_time,user_id,sku_id,type,sessionId,index; \
         type 1 browse 2 order 3 follow 4 comment 5 cart. 2 is an order, the rest are clicks; impressions are \
         sampled, sessions are the data set's own."
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
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                let time_ms = row.date(TIME, CHINA, "2020-05-06 00:10:20")?;
                let event = record(row.text(USER)?, time_ms, row.text(ITEM)?);
                let session = Some(row.text(SESSION)?);
                reading.event(actions.of(row, TYPE)?, Record { session, ..event })
            })?;
        }
        Ok(())
    }
}
