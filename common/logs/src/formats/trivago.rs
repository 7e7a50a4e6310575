//! `trivago`: the RecSys Challenge 2019 log of hotel searches.
//!
//! In: `train.csv`, `test.csv` or Parquet files of the same columns (`user_id,session_id,timestamp,step,action_type,
//! reference,...,impressions,prices`, seconds, a session's rows together and in order); out: the lists that
//! "clickout item" rows carry: true impressions with positions and prices.
//!
//! On a list, the item clicked out is the order, items that the user interacted with since the session's previous list
//! are clicks, the rest skips. An item clicked out that is not on its list was shown all the same, at an unknown
//! position. Clickouts without a reference (withheld from test.csv) are dropped. Held in memory: the interactions of
//! one session.

use std::path::{Path, PathBuf};

use common::Feedback;

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, UNLISTED, code, mapping};
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, Row, each_row, needed, optional};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["train.csv", "test.csv", "*.parquet"];
const CLICKOUT: &str = "clickout item";
const NOT_ON_A_LIST: Meaning = Meaning::Dropped("action on no item of a list");
const CODES: &[Code] = &[
    code(CLICKOUT, "", ORDER),
    code("interaction item rating", "", CLICK),
    code("interaction item info", "", CLICK),
    code("interaction item image", "", CLICK),
    code("interaction item deals", "", CLICK),
    code("search for item", "", NOT_ON_A_LIST),
    code("search for destination", "", NOT_ON_A_LIST),
    code("search for poi", "", NOT_ON_A_LIST),
    code("change of sort order", "", NOT_ON_A_LIST),
    code("filter selection", "", NOT_ON_A_LIST),
];

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[
        needed(&["user_id"]),
        needed(&["session_id"]),
        needed(&["timestamp"]),
        needed(&["action_type"]),
        needed(&["reference"]),
        needed(&["impressions"]),
        optional(&["prices"]),
    ],
};
const USER: usize = 0;
const SESSION: usize = 1;
const TIME: usize = 2;
const ACTION: usize = 3;
const REFERENCE: usize = 4;
const LIST: usize = 5;
const PRICES: usize = 6;

/// See the module.
pub struct Trivago;

impl Format for Trivago {
    fn name(&self) -> &'static str {
        "trivago"
    }

    fn about(&self) -> &'static str {
        "RecSys Challenge 2019: train.csv, test.csv or Parquet of the same columns, header user_id,session_id,\
         timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices. The lists of \
         \"clickout item\" rows are true impressions: the item clicked out is the order, items interacted with \
         before it are clicks, the rest skips."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Logged
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
            let mut session = Session::default();
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                session.row(row, actions.of(row, ACTION)?, reading)
            })?;
            session.forget(&mut reading);
        }
        Ok(())
    }
}

/// What the session at hand did since its last list.
#[derive(Default)]
struct Session {
    user: String,
    id: String,
    interactions: Vec<String>,
}

impl Session {
    fn row(&mut self, row: &Row<'_>, meaning: Meaning, reading: &mut Reading<'_>) -> Result<(), Error> {
        let (user, id) = (row.text(USER)?, row.text(SESSION)?);
        let time_ms = row.unix(TIME, 1000)?;
        if self.user != user || self.id != id {
            self.forget(reading);
            user.clone_into(&mut self.user);
            id.clone_into(&mut self.id);
        }
        match meaning {
            Meaning::Dropped(reason) => reading.drop_rows(1, reason),
            Meaning::Is(feedback) if row.text(ACTION)? == CLICKOUT => {
                self.list(row, time_ms, feedback, reading)?;
            }
            Meaning::Is(_) => self.interactions.push(row.text(REFERENCE)?.to_owned()),
        }
        Ok(())
    }

    /// A clickout: every item of its list is a record.
    fn list(
        &mut self,
        row: &Row<'_>,
        time_ms: i64,
        clickout: Feedback,
        reading: &mut Reading<'_>,
    ) -> Result<(), Error> {
        let items: Vec<_> = row.text(LIST)?.split('|').collect();
        let prices = prices(row, items.len())?;
        if items.contains(&"") {
            return Err(row.wrong(LIST, "items joined by |"));
        }
        let Some(chosen) = row.optional(REFERENCE) else {
            reading.drop_rows(items.len() as u64, "list whose clickout is withheld");
            return Ok(());
        };
        let base = Record { session: Some(&self.id), ..record(&self.user, time_ms, chosen) };
        for ((position, &item), price) in (0..).zip(&items).zip(prices) {
            let feedback = if item == chosen {
                clickout
            } else if self.interactions.iter().any(|touched| touched == item) {
                Feedback::Click
            } else {
                Feedback::Skip
            };
            reading.keep(Record { item, position: Some(position), price, feedback, ..base })?;
        }
        if !items.contains(&chosen) {
            reading.keep(Record { feedback: clickout, ..base })?;
        }
        for touched in self.interactions.drain(..) {
            let merged = items.contains(&touched.as_str()) || touched == chosen;
            let reason = if merged {
                "merged: interaction with an item of the list"
            } else {
                "interaction with an item that is not on the next list"
            };
            reading.drop_rows(1, reason);
        }
        Ok(())
    }

    /// Ends the session.
    fn forget(&mut self, reading: &mut Reading<'_>) {
        reading.drop_rows(self.interactions.len() as u64, "interaction with no list after it in its session");
        self.interactions.clear();
    }
}

/// A price for each item of the list.
fn prices(row: &Row<'_>, n_items: usize) -> Result<Vec<Option<f32>>, Error> {
    let Some(list) = row.optional(PRICES) else { return Ok(vec![None; n_items]) };
    let parse = |price: &str| price.parse().ok().filter(|price: &f32| price.is_finite() && *price >= 0.0);
    let prices: Vec<_> = list.split('|').map(parse).collect();
    if prices.len() != n_items || prices.contains(&None) {
        return Err(row.wrong(PRICES, format!("{n_items} prices joined by |, one for each impression")));
    }
    Ok(prices)
}
