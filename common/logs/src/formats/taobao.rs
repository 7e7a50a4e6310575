//! `taobao`: Alibaba's UserBehavior log.
//!
//! In: `UserBehavior.csv`, no header, `user,item,category,behaviour,unix seconds`; out: actions only, sessions cut by
//! gaps. The seconds are true Unix time; the days of the data set (2017-11-25 to 12-03) are those of UTC+8. Some rows
//! of the published file lie months before them: they are kept, as they are what the file says.

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, ORDER, UNLISTED, code, mapping};
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["UserBehavior*.csv"];
const CODES: &[Code] =
    &[code("pv", "", CLICK), code("cart", "", CLICK), code("fav", "", CLICK), code("buy", "", ORDER)];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: false,
    header: false,
    columns: &[
        needed(&["user"]),
        needed(&["item"]),
        needed(&["category"]),
        needed(&["behaviour"]),
        needed(&["timestamp"]),
    ],
};
const USER: usize = 0;
const ITEM: usize = 1;
const CATEGORY: usize = 2;
const BEHAVIOUR: usize = 3;
const TIME: usize = 4;

/// See the module.
pub struct Taobao;

impl Format for Taobao {
    fn name(&self) -> &'static str {
        "taobao"
    }

    fn about(&self) -> &'static str {
        "Alibaba UserBehavior (Tianchi): UserBehavior.csv without header, user,item,category,{pv,buy,cart,fav},unix \
         seconds. buy is an order, the rest are clicks; impressions are sampled, sessions cut by gaps."
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
                let event = record(row.text(USER)?, row.unix(TIME, 1000)?, row.text(ITEM)?);
                let category = Some(row.text(CATEGORY)?);
                reading.event(actions.of(row, BEHAVIOUR)?, Record { category, ..event })
            })?;
        }
        Ok(())
    }
}
