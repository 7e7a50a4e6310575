//! `diginetica`: the CIKM Cup 2016 log.
//!
//! In: a folder with `train-queries.csv` and `train-clicks.csv`, and where present `train-purchases.csv`,
//! `train-item-views.csv`, `products.csv` and `product-categories.csv`, all `;`-separated, `NA` for none, columns
//! named `sessionId` or `session_id`; out: the lists shown for queries: true impressions with positions.
//!
//! A click joins the list of its query. A purchase names its session only: it joins a list of that session that showed
//! the item before the purchase, best one on which it was clicked, else the latest. Page views are no part of a list
//! and dropped, as are queries marked `is.test`, whose clicks are withheld. Time is the event's date plus the
//! milliseconds since the session's first query.
//!
//! Held in memory: clicks, purchases and the items' categories; queries are
//! streamed, twice where there are purchases.

mod join;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::Feedback;

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, SKIP, code, mapping};
use super::clock::UTC;
use super::files;
use super::reading::{Nowhere, Reading, record};
use super::table::{Column, Layout, Row, each_row, needed, optional};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};
use join::{Clicks, Purchases};

const QUERIES: &[&str] = &["train-queries.csv"];
const CLICKS: &[&str] = &["train-clicks.csv"];
const PURCHASES: &[&str] = &["train-purchases.csv"];
const VIEWS: &[&str] = &["train-item-views.csv"];
const PRODUCTS: &[&str] = &["products.csv"];
const CATEGORIES: &[&str] = &["product-categories.csv"];

const PAGE_VIEW: &str = "page view: no part of a list shown";
/// The files are the codes.
const CODES: &[Code] = &[
    code("click", "", CLICK),
    code("purchase", "", ORDER),
    code("item of a list, neither", "", SKIP),
    code("item view", "", Meaning::Dropped(PAGE_VIEW)),
];

const fn semicolons(columns: &'static [Column]) -> Layout {
    Layout { delimiter: b';', quoted: false, header: true, columns }
}

const SESSION_NAMES: Column = needed(&["sessionId", "session_id"]);
const ITEM_NAMES: Column = needed(&["itemId", "item_id"]);
const QUERY_NAMES: Column = needed(&["queryId", "query_id"]);

const QUERY_ROW: Layout = semicolons(&[
    QUERY_NAMES,
    SESSION_NAMES,
    needed(&["userId", "user_id"]),
    needed(&["timeframe"]),
    needed(&["eventdate"]),
    needed(&["items"]),
    optional(&["is.test", "is_test"]),
]);
const QUERY: usize = 0;
const SESSION: usize = 1;
const USER: usize = 2;
const FRAME: usize = 3;
const DATE: usize = 4;
const LIST: usize = 5;
const TEST: usize = 6;

const CLICK_ROW: Layout = semicolons(&[QUERY_NAMES, ITEM_NAMES]);
const CLICKED_QUERY: usize = 0;
const CLICKED_ITEM: usize = 1;

const PURCHASE_ROW: Layout = semicolons(&[SESSION_NAMES, needed(&["timeframe"]), ITEM_NAMES]);
const BOUGHT_SESSION: usize = 0;
const BOUGHT_FRAME: usize = 1;
const BOUGHT_ITEM: usize = 2;

const VIEW_ROW: Layout = semicolons(&[SESSION_NAMES, ITEM_NAMES]);
const VIEWED_SESSION: usize = 0;
const VIEWED_ITEM: usize = 1;

const CATEGORY_ROW: Layout = semicolons(&[ITEM_NAMES, needed(&["categoryId", "category_id"])]);
const PRODUCT_ROW: Layout = semicolons(&[ITEM_NAMES, needed(&["pricelog2"])]);
const PRODUCT: usize = 0;
const PRODUCT_CATEGORY: usize = 1;
const PRODUCT_PRICE: usize = 1;

/// See the module.
pub struct Diginetica;

impl Format for Diginetica {
    fn name(&self) -> &'static str {
        "diginetica"
    }

    fn about(&self) -> &'static str {
        "CIKM Cup 2016: a folder with train-queries.csv and train-clicks.csv, and where present train-purchases.csv, \
         train-item-views.csv, products.csv, product-categories.csv; ;-separated, NA null, columns sessionId or \
         session_id. The items of a query are true impressions; clicks join by query, purchases by session; page \
         views are dropped. Layout partly known from third-party code only."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Logged
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        if path.is_file() {
            return Err(Error::format(path, "diginetica is several files: give the folder that has them"));
        }
        let mut all = files::find_beside(path, CATEGORIES)?;
        all.extend(files::find_beside(path, PRODUCTS)?);
        all.extend(files::find(path, CLICKS)?);
        all.extend(files::find_beside(path, PURCHASES)?);
        all.extend(files::find(path, QUERIES)?);
        all.extend(files::find_beside(path, VIEWS)?);
        Ok(all)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        self.files(&input.path)?;
        let actions = Actions::new(CODES, SKIP, input)?;
        let feedback = |code| match actions.meaning(code) {
            Some(Meaning::Is(feedback)) => feedback,
            Some(Meaning::Dropped(_)) | None => Feedback::Skip,
        };
        let (clicked, bought) = (feedback("click"), feedback("purchase"));
        let mut reading = Reading::new(input, counts, sink);

        read_items(&mut reading)?;
        let clicks = read_clicks(&mut reading)?;
        let purchases = read_purchases(&clicks, &mut reading)?;
        for path in files::find(&input.path, QUERIES)? {
            each_row(&path, &QUERY_ROW, &mut reading, |row, reading| {
                let shown = Shown::of(row)?;
                if shown.test || shown.items.is_empty() {
                    let reason = if shown.test { "list of a test query" } else { "query without a list" };
                    reading.drop_rows(shown.items.len().max(1) as u64, reason);
                    return Ok(());
                }
                let stranger;
                let user = match row.optional(USER) {
                    Some(user) => user,
                    None => {
                        stranger = format!("session {}", shown.session);
                        &stranger
                    }
                };
                let base = Record { session: Some(shown.session), ..record(user, shown.time_ms, "") };
                for (position, &item) in (0..).zip(&shown.items) {
                    let was_clicked = clicks.has(shown.query, item);
                    let feedback = if purchases.joined(shown.session, item, shown.query) {
                        bought
                    } else if was_clicked {
                        clicked
                    } else {
                        Feedback::Skip
                    };
                    reading.keep(Record { item, position: Some(position), feedback, ..base })?;
                }
                clicks.used(shown.query, &shown.items);
                Ok(())
            })?;
        }
        clicks.count(&mut reading);
        purchases.count(&mut reading);
        for path in files::find_beside(&input.path, VIEWS)? {
            each_row(&path, &VIEW_ROW, &mut reading, |row, reading| {
                row.text(VIEWED_SESSION)?;
                row.text(VIEWED_ITEM)?;
                reading.drop_rows(1, PAGE_VIEW);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A row of the queries.
struct Shown<'a> {
    query: &'a str,
    session: &'a str,
    time_ms: i64,
    /// Since the session's first query.
    frame_ms: i64,
    items: Vec<&'a str>,
    test: bool,
}

impl<'a> Shown<'a> {
    fn of(row: &Row<'a>) -> Result<Self, Error> {
        let test = match row.optional(TEST) {
            None | Some("FALSE" | "False" | "false" | "0") => false,
            Some("TRUE" | "True" | "true" | "1") => true,
            Some(_) => return Err(row.wrong(TEST, "TRUE or FALSE")),
        };
        let items: Vec<_> = row.optional(LIST).map_or_else(Vec::new, |list| list.split(',').collect());
        if items.contains(&"") {
            return Err(row.wrong(LIST, "items joined by ,"));
        }
        let frame_ms: i64 = row.number(FRAME, "milliseconds since the session's first query")?;
        let time_ms = row.date(DATE, UTC, "2020-02-03")? + frame_ms;
        Ok(Self { query: row.text(QUERY)?, session: row.text(SESSION)?, time_ms, frame_ms, items, test })
    }
}

/// Tells the sink categories and prices.
fn read_items(reading: &mut Reading<'_>) -> Result<(), Error> {
    let mut categories: BTreeMap<String, String> = BTreeMap::new();
    for path in files::find_beside(&reading.input.path, CATEGORIES)? {
        each_row(&path, &CATEGORY_ROW, reading, |row, _| {
            categories.insert(row.text(PRODUCT)?.to_owned(), row.text(PRODUCT_CATEGORY)?.to_owned());
            Ok(())
        })?;
    }
    for path in files::find_beside(&reading.input.path, PRODUCTS)? {
        each_row(&path, &PRODUCT_ROW, reading, |row, reading| {
            let item = row.text(PRODUCT)?;
            // The files have log2 of the price, rounded; 0 is a missing price.
            let log2: f32 = row.number(PRODUCT_PRICE, "the logarithm of a price")?;
            let price = Some(log2.exp2()).filter(|price| log2 != 0.0 && price.is_finite());
            reading.item(item, categories.remove(item).as_deref(), price)
        })?;
    }
    for (item, category) in &categories {
        reading.item(item, Some(category), None)?;
    }
    Ok(())
}

fn read_clicks(reading: &mut Reading<'_>) -> Result<Clicks, Error> {
    let mut clicks = Clicks::default();
    for path in files::find(&reading.input.path, CLICKS)? {
        each_row(&path, &CLICK_ROW, reading, |row, _| {
            clicks.add(row.text(CLICKED_QUERY)?, row.text(CLICKED_ITEM)?);
            Ok(())
        })?;
    }
    Ok(clicks)
}

/// Reads the purchases, and the queries for the first time, to find the list each one joins.
fn read_purchases(clicks: &Clicks, reading: &mut Reading<'_>) -> Result<Purchases, Error> {
    let mut purchases = Purchases::default();
    for path in files::find_beside(&reading.input.path, PURCHASES)? {
        each_row(&path, &PURCHASE_ROW, reading, |row, _| {
            let frame_ms = row.number(BOUGHT_FRAME, "milliseconds since the session's first query")?;
            purchases.add(row.text(BOUGHT_SESSION)?, row.text(BOUGHT_ITEM)?, frame_ms);
            Ok(())
        })?;
    }
    if purchases.is_empty() {
        return Ok(purchases);
    }
    let (mut counts, mut nowhere) = (Counts::default(), Nowhere);
    let input = reading.input;
    for path in files::find(&input.path, QUERIES)? {
        let mut first = Reading::new(input, &mut counts, &mut nowhere);
        each_row(&path, &QUERY_ROW, &mut first, |row, _| {
            let shown = Shown::of(row)?;
            if !shown.test {
                purchases.offer(&shown, |item| clicks.has(shown.query, item));
            }
            Ok(())
        })?;
    }
    Ok(purchases)
}
