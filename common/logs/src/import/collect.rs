//! The sink of an import: keys to numbers, in the order of their first appearance.
//!
//! In: [`Record`]s with the data set's own keys; out: [`Event`]s of 48 bytes, and what is known of each item.

use std::collections::HashMap;

use common::Feedback;

use super::Progress;
use crate::{
    Error,
    source::{Record, Sink},
};

/// A record with numbers for keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) user: u32,
    /// The data set's own session; none where sessions are cut by time.
    pub(super) session: Option<u32>,
    pub(super) time_ms: i64,
    pub(super) position: Option<u32>,
    pub(super) item: u32,
    pub(super) feedback: Feedback,
    pub(super) propensity: Option<f32>,
}

/// What side files or rows say of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Attributes {
    pub(super) category: Option<u32>,
    pub(super) price: Option<f32>,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// In the order of the files.
    pub(super) events: Vec<Event>,
    /// `[n_items]` the data set's own keys.
    pub(super) item_keys: Vec<String>,
    /// `[n_items]`
    pub(super) items: Vec<Attributes>,
    pub(super) n_users: u64,
}

/// Numbers for keys.
#[derive(Debug, Default)]
struct Numbers(HashMap<Box<str>, u32>);

impl Numbers {
    fn of(&mut self, key: &str) -> Result<u32, Error> {
        if let Some(&number) = self.0.get(key) {
            return Ok(number);
        }
        let refuse =
            || Error::Record { key: key.to_owned(), problem: "more than 4294967295 keys of a kind".into() };
        let number = u32::try_from(self.0.len()).map_err(|_| refuse())?;
        self.0.insert(key.into(), number);
        Ok(number)
    }

    fn into_keys(self) -> Vec<String> {
        let mut keys = vec![String::new(); self.0.len()];
        for (key, number) in self.0 {
            keys[number as usize] = key.into();
        }
        keys
    }
}

/// Takes the records of one import.
pub(super) struct Collector<'a> {
    users: Numbers,
    sessions: Numbers,
    items: Numbers,
    categories: Numbers,
    collected: Collected,
    progress: &'a mut dyn FnMut(Progress),
}

/// Records between two reports of progress.
const REPORT_EVERY: usize = 1 << 16;

impl<'a> Collector<'a> {
    pub(super) fn new(progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            users: Numbers::default(),
            sessions: Numbers::default(),
            items: Numbers::default(),
            categories: Numbers::default(),
            collected: Collected::default(),
            progress,
        }
    }

    pub(super) fn finish(self) -> Collected {
        let n_users = self.users.0.len() as u64;
        Collected { item_keys: self.items.into_keys(), n_users, ..self.collected }
    }

    /// The number of an item, after noting what is said of it. The last word counts; saying nothing is no word.
    fn item_number(&mut self, key: &str, category: Option<&str>, price: Option<f32>) -> Result<u32, Error> {
        if let Some(price) = price
            && !(price.is_finite() && price >= 0.0)
        {
            let problem = format!("price {price}, expected a finite number from 0");
            return Err(Error::Record { key: key.to_owned(), problem });
        }
        let number = self.items.of(key)?;
        let category = category.map(|category| self.categories.of(category)).transpose()?;
        let items = &mut self.collected.items;
        if items.len() == number as usize {
            items.push(Attributes::default());
        }
        let item = &mut items[number as usize];
        item.category = category.or(item.category);
        item.price = price.or(item.price);
        Ok(number)
    }
}

impl Sink for Collector<'_> {
    fn record(&mut self, record: Record<'_>) -> Result<(), Error> {
        if let Some(propensity) = record.propensity
            && !(propensity > 0.0 && propensity <= 1.0)
        {
            let problem = format!("propensity {propensity}, expected a number in (0, 1]");
            return Err(Error::Record { key: record.item.to_owned(), problem });
        }
        let event = Event {
            user: self.users.of(record.user)?,
            session: record.session.map(|session| self.sessions.of(session)).transpose()?,
            time_ms: record.time_ms,
            position: record.position,
            item: self.item_number(record.item, record.category, record.price)?,
            feedback: record.feedback,
            propensity: record.propensity,
        };
        self.collected.events.push(event);
        if self.collected.events.len().is_multiple_of(REPORT_EVERY) {
            (self.progress)(Progress::Reading { records: self.collected.events.len() as u64 });
        }
        Ok(())
    }

    fn item(&mut self, item: &str, category: Option<&str>, price: Option<f32>) -> Result<(), Error> {
        self.item_number(item, category, price).map(drop)
    }
}
