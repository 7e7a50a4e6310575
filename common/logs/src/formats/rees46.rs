//! `rees46`: the REES46 multi-category and cosmetics shops' logs.
//!
//! In: `YYYY-Mon.csv` (`event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session`,
//! UTC); out: actions only, in the shop's own sessions. Rows without a session are dropped.

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, UNLISTED, code, mapping};
use super::clock::UTC;
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["20*-*.csv"];
const CODES: &[Code] = &[
    code("view", "", CLICK),
    code("cart", "", CLICK),
    code("remove_from_cart", "", Meaning::Dropped("taken out of the cart")),
    code("purchase", "", ORDER),
];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[
        needed(&["event_time"]),
        needed(&["event_type"]),
        needed(&["product_id"]),
        needed(&["category_id"]),
        needed(&["price"]),
        needed(&["user_id"]),
        needed(&["user_session"]),
    ],
};
const TIME: usize = 0;
const TYPE: usize = 1;
const ITEM: usize = 2;
const CATEGORY: usize = 3;
const PRICE: usize = 4;
const USER: usize = 5;
const SESSION: usize = 6;

/// See the module.
pub struct Rees46;

impl Format for Rees46 {
    fn name(&self) -> &'static str {
        "rees46"
    }

    fn about(&self) -> &'static str {
        "REES46 shops: YYYY-Mon.csv with header event_time,event_type,product_id,category_id,category_code,brand,\
         price,user_id,user_session; event_type view, cart, remove_from_cart, purchase. purchase is an order, \
         remove_from_cart is dropped, the rest are clicks; impressions are sampled, sessions are the shop's own. \
         Layout known from third-party code only."
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
                let time_ms = row.date(TIME, UTC, "2021-02-03 04:05:06 UTC")?;
                let event = record(row.text(USER)?, time_ms, row.text(ITEM)?);
                let meaning = actions.of(row, TYPE)?;
                // Refunds have prices below zero in these files: no price then.
                let price: Option<f32> =
                    row.optional(PRICE).map(|_| row.number(PRICE, "a price")).transpose()?;
                let price = price.filter(|price| price.is_finite() && *price >= 0.0);
                let Some(session) = row.optional(SESSION) else {
                    reading.drop_rows(1, "no user_session");
                    return Ok(());
                };
                let category = row.optional(CATEGORY);
                reading.event(meaning, Record { session: Some(session), category, price, ..event })
            })?;
        }
        Ok(())
    }
}
