//! `jdata2016`: JD's 2016 competition log.
//!
//! In: `JData_Action_2016MM.csv` (`user_id,sku_id,time,model_id,type,cate,brand`) and, for categories,
//! `JData_Product.csv`; out: actions only, sessions cut by gaps. Times are local (UTC+8). Some months write the user as
//! a float (`71.0`): the fraction is cut off, or users would fall into two.

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, UNLISTED, code, mapping};
use super::clock::CHINA;
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const ACTIONS: &[&str] = &["JData_Action_*.csv"];
const PRODUCTS: &[&str] = &["JData_Product.csv"];
const CODES: &[Code] = &[
    code("1", "browse", CLICK),
    code("2", "cart", CLICK),
    code("3", "uncart", Meaning::Dropped("taken out of the cart")),
    code("4", "order", ORDER),
    code("5", "follow", CLICK),
    code("6", "click", CLICK),
];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[
        needed(&["user_id"]),
        needed(&["sku_id"]),
        needed(&["time"]),
        needed(&["type"]),
        needed(&["cate"]),
    ],
};
const USER: usize = 0;
const ITEM: usize = 1;
const TIME: usize = 2;
const TYPE: usize = 3;
const CATEGORY: usize = 4;

const PRODUCT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[needed(&["sku_id"]), needed(&["cate"])],
};
const SKU: usize = 0;
const SKU_CATEGORY: usize = 1;

/// See the module.
pub struct Jdata2016;

impl Format for Jdata2016 {
    fn name(&self) -> &'static str {
        "jdata2016"
    }

    fn about(&self) -> &'static str {
        "JD competition of 2016: JData_Action_2016MM.csv with header user_id,sku_id,time,model_id,type,cate,brand and \
         JData_Product.csv; type 1 browse 2 cart 3 uncart 4 order 5 follow 6 click. 4 is an order, 3 is dropped, the \
         rest are clicks; impressions are sampled, sessions cut by gaps."
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
                reading.item(row.text(SKU)?, row.optional(SKU_CATEGORY), None)
            })?;
        }
        for path in files::find(&input.path, ACTIONS)? {
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                let user = row.text(USER)?;
                let user = user.strip_suffix(".0").unwrap_or(user);
                let time_ms = row.date(TIME, CHINA, "2021-05-06 07:08:09")?;
                let category = row.optional(CATEGORY);
                let event = Record { category, ..record(user, time_ms, row.text(ITEM)?) };
                reading.event(actions.of(row, TYPE)?, event)
            })?;
        }
        Ok(())
    }
}
