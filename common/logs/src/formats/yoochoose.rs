//! `yoochoose`: the RecSys Challenge 2015 log.
//!
//! In: `yoochoose-clicks.dat` (`session,ISO time,item,category`) and `yoochoose-buys.dat`
//! (`session,time,item,price,quantity`), no headers; out: actions only. Users are unknown: the session stands for the
//! user, and joins clicks with buys. Categories are kept where the click's context was one (1 to 12); `0` (missing),
//! `S` (special offer) and brands are not categories. A price of 0 is a missing one.

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, UNLISTED, code, mapping};
use super::clock::UTC;
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, Row, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const CLICKS: &[&str] = &["yoochoose-clicks*.dat"];
const BUYS: &[&str] = &["yoochoose-buys*.dat"];
/// The files are the codes.
const CODES: &[Code] = &[code("clicks", "", CLICK), code("buys", "", ORDER)];

const CLICK_ROW: Layout = Layout {
    delimiter: b',',
    quoted: false,
    header: false,
    columns: &[needed(&["session"]), needed(&["timestamp"]), needed(&["item"]), needed(&["category"])],
};
const BUY_ROW: Layout = Layout {
    delimiter: b',',
    quoted: false,
    header: false,
    columns: &[
        needed(&["session"]),
        needed(&["timestamp"]),
        needed(&["item"]),
        needed(&["price"]),
        needed(&["quantity"]),
    ],
};
const SESSION: usize = 0;
const TIME: usize = 1;
const ITEM: usize = 2;
const CATEGORY: usize = 3;
const PRICE: usize = 3;
const QUANTITY: usize = 4;

/// See the module.
pub struct Yoochoose;

impl Format for Yoochoose {
    fn name(&self) -> &'static str {
        "yoochoose"
    }

    fn about(&self) -> &'static str {
        "RecSys Challenge 2015: yoochoose-clicks.dat (session,ISO time,item,category) and yoochoose-buys.dat \
         (session,time,item,price,quantity), without headers, joined on the session. Buys are orders, clicks clicks; \
         impressions are sampled. Layout known from third-party code only."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Sampled
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut all = files::find(path, CLICKS)?;
        all.extend(files::find_beside(path, BUYS)?);
        Ok(all)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, UNLISTED, input)?;
        let meaning = |code| actions.meaning(code).unwrap_or(Meaning::Dropped("no such file"));
        let mut reading = Reading::new(input, counts, sink);
        for path in files::find(&input.path, CLICKS)? {
            each_row(&path, &CLICK_ROW, &mut reading, |row, reading| {
                let category = row.text(CATEGORY)?;
                let category = Some(category).filter(|category| {
                    category.parse::<u64>().is_ok_and(|number| (1..=12).contains(&number))
                });
                reading.event(meaning("clicks"), Record { category, ..event(row)? })
            })?;
        }
        for path in files::find_beside(&input.path, BUYS)? {
            each_row(&path, &BUY_ROW, &mut reading, |row, reading| {
                let price = row.price(PRICE)?.filter(|price| *price > 0.0);
                let _quantity: u32 = row.number(QUANTITY, "a number of items")?;
                reading.event(meaning("buys"), Record { price, ..event(row)? })
            })?;
        }
        Ok(())
    }
}

/// What both files have.
fn event<'a>(row: &Row<'a>) -> Result<Record<'a>, Error> {
    let session = row.text(SESSION)?;
    let time_ms = row.date(TIME, UTC, "2020-05-06T07:08:09.123Z")?;
    Ok(Record { session: Some(session), ..record(session, time_ms, row.text(ITEM)?) })
}
