//! `retailrocket`: the RetailRocket e-commerce log.
//!
//! In: `events.csv` (`timestamp,visitorid,event,itemid,transactionid`, ms, unsorted) and, for categories,
//! `item_properties_part{1,2}.csv` (`timestamp,itemid,property,value`, weekly snapshots); out: actions only, sessions
//! cut by gaps. Held in memory: each item's latest category, as the snapshots are in no order. `category_tree.csv` is
//! not read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, ORDER, UNLISTED, code, mapping};
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Sink};
use crate::{Counts, Error};

const EVENTS: &[&str] = &["events.csv"];
const PROPERTIES: &[&str] = &["item_properties*.csv"];
const CODES: &[Code] =
    &[code("view", "", CLICK), code("addtocart", "", CLICK), code("transaction", "", ORDER)];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[needed(&["timestamp"]), needed(&["visitorid"]), needed(&["event"]), needed(&["itemid"])],
};
const TIME: usize = 0;
const USER: usize = 1;
const EVENT: usize = 2;
const ITEM: usize = 3;

const PROPERTY: Layout = Layout {
    delimiter: b',',
    quoted: false,
    header: true,
    columns: &[needed(&["timestamp"]), needed(&["itemid"]), needed(&["property"]), needed(&["value"])],
};
const SNAPSHOT: usize = 0;
const OF_ITEM: usize = 1;
const NAME: usize = 2;
const VALUE: usize = 3;

/// See the module.
pub struct RetailRocket;

impl Format for RetailRocket {
    fn name(&self) -> &'static str {
        "retailrocket"
    }

    fn about(&self) -> &'static str {
        "RetailRocket: events.csv with header timestamp,visitorid,event,itemid,transactionid (ms, in any order), \
         event one of view, addtocart, transaction, and item_properties_part{1,2}.csv for categories. transaction is \
         an order, the rest are clicks; impressions are sampled, sessions cut by gaps. Layout known from third-party \
         code only."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Sampled
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut all = files::find_beside(path, PROPERTIES)?;
        all.extend(files::find(path, EVENTS)?);
        Ok(all)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, UNLISTED, input)?;
        let mut reading = Reading::new(input, counts, sink);
        let events = files::find(&input.path, EVENTS)?;

        let mut latest: BTreeMap<String, (i64, String)> = BTreeMap::new();
        for path in files::find_beside(&input.path, PROPERTIES)? {
            each_row(&path, &PROPERTY, &mut reading, |row, _| {
                let (time_ms, item) = (row.unix(SNAPSHOT, 1)?, row.text(OF_ITEM)?);
                if row.text(NAME)? == "categoryid" {
                    let category = row.text(VALUE)?;
                    if latest.get(item).is_none_or(|(known, _)| *known <= time_ms) {
                        latest.insert(item.to_owned(), (time_ms, category.to_owned()));
                    }
                }
                Ok(())
            })?;
        }
        for (item, (_, category)) in &latest {
            reading.item(item, Some(category), None)?;
        }

        for path in events {
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                let event = record(row.text(USER)?, row.unix(TIME, 1)?, row.text(ITEM)?);
                reading.event(actions.of(row, EVENT)?, event)
            })?;
        }
        Ok(())
    }
}
