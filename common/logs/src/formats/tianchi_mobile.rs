//! `tianchi-mobile`: Alibaba's mobile recommendation competition.
//!
//! In: `tianchi_*_train_user*.csv` (`user_id,item_id,behavior_type,user_geohash,item_category,time`, whole hours);
//! out: actions only, sessions cut by gaps. Times are local (UTC+8).

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, ORDER, UNLISTED, code, mapping};
use super::clock::CHINA;
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["tianchi_*_train_user*.csv"];
const CODES: &[Code] = &[
    code("1", "browse", CLICK),
    code("2", "favourite", CLICK),
    code("3", "cart", CLICK),
    code("4", "buy", ORDER),
];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[
        needed(&["user_id"]),
        needed(&["item_id"]),
        needed(&["behavior_type"]),
        needed(&["item_category"]),
        needed(&["time"]),
    ],
};
const USER: usize = 0;
const ITEM: usize = 1;
const TYPE: usize = 2;
const CATEGORY: usize = 3;
const TIME: usize = 4;

/// See the module.
pub struct TianchiMobile;

impl Format for TianchiMobile {
    fn name(&self) -> &'static str {
        "tianchi-mobile"
    }

    fn about(&self) -> &'static str {
        "Alibaba mobile recommendation (Tianchi): tianchi_*_train_user.csv with header user_id,item_id,behavior_type,\
         user_geohash,item_category,time (hours); 1 browse 2 favourite 3 cart 4 buy. 4 is an order, the rest are \
         clicks; impressions are sampled, sessions cut by gaps. Layout from memory: check the first import."
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
                let time_ms = row.date(TIME, CHINA, "2021-02-03 02")?;
                let event = record(row.text(USER)?, time_ms, row.text(ITEM)?);
                let category = Some(row.text(CATEGORY)?);
                reading.event(actions.of(row, TYPE)?, Record { category, ..event })
            })?;
        }
        Ok(())
    }
}
