//! `obd`: ZOZO's Open Bandit data.
//!
//! In: `{bts,random}/{all,men,women}/{all,men,women}.csv` (`timestamp,item_id,position,click,propensity_score,...`),
//! one of these folders or files; out: true impressions with the logging policy's probability. There are no orders.
//!
//! Users and sessions are unknown. User features are profiles that thousands share, and keying by them would mix
//! strangers' histories; so each row is a session of its own by a user of its own, which is what off-policy estimates
//! assume. Items of the campaigns (`all`, `men`, `women`) are numbered apart, so their keys say which: `all/21`.
//! `item_context.csv` is hashed and says not which feature is the category: not read.

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, SKIP, code, mapping};
use super::clock::UTC;
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const FILES: &[&str] = &["all.csv", "men.csv", "women.csv"];
const CODES: &[Code] = &[code("0", "not clicked", SKIP), code("1", "clicked", CLICK)];
/// Places on the page.
const POSITIONS: std::ops::RangeInclusive<u32> = 1..=3;

const LAYOUT: Layout = Layout {
    delimiter: b',',
    quoted: true,
    header: true,
    columns: &[
        needed(&["timestamp"]),
        needed(&["item_id"]),
        needed(&["position"]),
        needed(&["click"]),
        needed(&["propensity_score"]),
    ],
};
const TIME: usize = 0;
const ITEM: usize = 1;
const POSITION: usize = 2;
const CLICKED: usize = 3;
const PROPENSITY: usize = 4;

/// See the module.
pub struct Obd;

impl Format for Obd {
    fn name(&self) -> &'static str {
        "obd"
    }

    fn about(&self) -> &'static str {
        "Open Bandit (ZOZO): {bts,random}/{all,men,women}/*.csv with header timestamp,item_id,position,click,\
         propensity_score,...; true impressions with propensities for off-policy estimates, clicks only. Each row is \
         a session of its own: users are unknown."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Logged
    }

    fn mapping(&self) -> Vec<(String, String)> {
        mapping(CODES)
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        files::find_below(path, FILES, 2)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, SKIP, input)?;
        let mut reading = Reading::new(input, counts, sink);
        for path in self.files(&input.path)? {
            let file = files::key(&input.path, &path);
            let campaign = files::stem(&path);
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                let user = format!("{file}:{}", row.line);
                let item = format!("{campaign}/{}", row.text(ITEM)?);
                let position: u32 = row.number(POSITION, "1, 2 or 3")?;
                if !POSITIONS.contains(&position) {
                    return Err(row.wrong(POSITION, "1, 2 or 3"));
                }
                let chance: f32 = row.number(PROPENSITY, "a probability")?;
                if !(chance > 0.0 && chance <= 1.0) {
                    return Err(row.wrong(PROPENSITY, "a probability above 0 and up to 1"));
                }
                let time_ms = row.date(TIME, UTC, "2021-02-03 04:05:06.789012+00:00")?;
                let shown = Record {
                    session: Some(&user),
                    position: Some(position - 1),
                    propensity: Some(chance),
                    ..record(&user, time_ms, &item)
                };
                reading.event(actions.of(row, CLICKED)?, shown)
            })?;
        }
        Ok(())
    }
}
