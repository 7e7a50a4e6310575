//! `jdata2019`: JD's 2019 competition log.
//!
//! In: `jdata_action.csv` (`user_id,sku_id,action_time,module_id,type`) and, for categories, `jdata_product.csv`
//! (`sku_id,brand,shop_id,cate,market_time`); out: actions only, sessions cut by gaps. Times are local (UTC+8).

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, ORDER, UNLISTED, code, mapping};
use super::clock::CHINA;
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Sink};
use crate::{Counts, Error};

const ACTIONS: &[&str] = &["jdata_action*.csv"];
const PRODUCTS: &[&str] = &["jdata_product.csv"];
/// JD's codes from 2018 on.
pub(super) const CODES: &[Code] = &[
    code("1", "browse", CLICK),
    code("2", "order", ORDER),
    code("3", "follow", CLICK),
    code("4", "comment", CLICK),
    code("5", "cart", CLICK),
];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[needed(&["user_id"]), needed(&["sku_id"]), needed(&["action_time"]), needed(&["type"])],
};
const USER: usize = 0;
const ITEM: usize = 1;
const TIME: usize = 2;
const TYPE: usize = 3;

const PRODUCT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[needed(&["sku_id"]), needed(&["cate"])],
};
const SKU: usize = 0;
const CATEGORY: usize = 1;

/// See the module.
pub struct Jdata2019;

impl Format for Jdata2019 {
    fn name(&self) -> &'static str {
        "jdata2019"
    }

    fn about(&self) -> &'static str {
        "JD competition of 2019: jdata_action.csv with header user_id,sku_id,action_time,module_id,type and \
         jdata_product.csv; type 1 browse 2 order 3 follow 4 comment 5 cart. 2 is an order, the rest are clicks; \
         impressions are sampled, sessions cut by gaps. Layout known from third-party code only."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Sampled
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut all = files::find_beside(path, PRODUCTS)?;
        all.extend(files::find(path, ACTIONS)?);
        Ok(all)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, UNLISTED, input)?;
        let mut reading = Reading::new(input, counts, sink);
        for path in files::find_beside(&input.path, PRODUCTS)? {
            each_row(&path, &PRODUCT, &mut reading, |row, reading| {
                reading.item(row.text(SKU)?, row.optional(CATEGORY), None)
            })?;
        }
        for path in files::find(&input.path, ACTIONS)? {
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                let time_ms = row.date(TIME, CHINA, "2020-05-06 00:10:20")?;
                let event = record(row.text(USER)?, time_ms, row.text(ITEM)?);
                reading.event(actions.of(row, TYPE)?, event)
            })?;
        }
        Ok(())
    }
}
