//! `jdsearch`: JD's personalised product search.
//!
//! In: `user_behavior_data*.txt`, tab-separated with a header, a line the last search of one unnamed user, lists joined
//! by `_`; and for categories `product_meta_data*.txt` (third level, `cate_id_3`); out: the candidates, which are what
//! was shown: true impressions, a session a line.
//!
//! Labels: 0 none, 1 click, 1.5 or 2 cart, above 2 purchase. The lists are not in the order shown: clicked candidates
//! come first, so positions are unknown and the candidates are kept in order of their (random) ids, or the order would
//! give the labels away.
//!
//! The history lists are dropped, and counted: they are actions without the lists they were made on, and as records
//! they would pass for impressions that were all clicked. There is no clock either (the history has intervals only):
//! line n is at n - 1 hours after 1970.

use std::path::{Path, PathBuf};

use super::actions::{Actions, CLICK, Code, Meaning, ORDER, SKIP, code, mapping};
use super::files;
use super::reading::{Reading, record};
use super::table::{Layout, Row, each_row, needed};
use crate::source::{Format, Impressions, Input, Record, Sink};
use crate::{Counts, Error};

const BEHAVIOUR: &[&str] = &["user_behavior_data*.txt", "release_data*.txt"];
const PRODUCTS: &[&str] = &["product_meta_data*.txt", "product_data*.txt"];
const CODES: &[Code] = &[
    code("0", "none", SKIP),
    code("1", "click", CLICK),
    code("2", "cart", CLICK),
    code("3", "purchase", ORDER),
];
/// Between two lines, ms.
const LINE_MS: i64 = 3_600_000;
const HISTORY: &str = "history: actions without the lists they were made on";

const LAYOUT: Layout = Layout {
    delimiter: b'\t',
    quoted: false,
    header: true,
    columns: &[
        needed(&["candidate_wid_list"]),
        needed(&["candidate_label_list"]),
        needed(&["history_wid_list"]),
        needed(&["history_type_list"]),
    ],
};
const CANDIDATES: usize = 0;
const LABELS: usize = 1;
const PAST_ITEMS: usize = 2;
const PAST_TYPES: usize = 3;

const PRODUCT: Layout = Layout {
    delimiter: b'\t',
    quoted: false,
    header: true,
    columns: &[needed(&["wid"]), needed(&["cate_id_3"])],
};
const WID: usize = 0;
const CATEGORY: usize = 1;

/// See the module.
pub struct JdSearch;

impl Format for JdSearch {
    fn name(&self) -> &'static str {
        "jdsearch"
    }

    fn about(&self) -> &'static str {
        "JDsearch: user_behavior_data*.txt, tab-separated with header query, candidate_wid_list, \
         candidate_label_list, history_*_list, lists joined by _, and product_meta_data*.txt. The candidates are \
         true impressions, a session a line: label 0 skip, 1 click, 2 cart (a click), 3 purchase (an order). \
         Histories are dropped: they are not impressions."
    }

    fn impressions(&self) -> Impressions {
        Impressions::Logged
    }

    fn mapping(&self) -> Vec<(String, String)> {
        let mut mapping = mapping(CODES);
        mapping.push(("history_wid_list".to_owned(), format!("dropped: {HISTORY}")));
        mapping
    }

    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut all = files::find_beside(path, PRODUCTS)?;
        all.extend(files::find(path, BEHAVIOUR)?);
        Ok(all)
    }

    fn read(&self, input: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        let actions = Actions::new(CODES, SKIP, input)?;
        let mut reading = Reading::new(input, counts, sink);
        let behaviour = files::find(&input.path, BEHAVIOUR)?;
        for path in files::find_beside(&input.path, PRODUCTS)? {
            each_row(&path, &PRODUCT, &mut reading, |row, reading| {
                reading.item(row.text(WID)?, row.optional(CATEGORY), None)
            })?;
        }
        let mut line = 0;
        for path in behaviour {
            let file = files::key(&input.path, &path);
            each_row(&path, &LAYOUT, &mut reading, |row, reading| {
                line += 1;
                let shown = candidates(row, &actions)?;
                let past = history(row)?;
                let user = format!("{file}:{}", row.line);
                for (item, meaning) in shown {
                    let event = record(&user, (line - 1) * LINE_MS, item);
                    reading.event(meaning, Record { session: Some(&user), ..event })?;
                }
                reading.drop_rows(past, HISTORY);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The list shown, in order of the items' ids.
fn candidates<'a>(row: &Row<'a>, actions: &Actions) -> Result<Vec<(&'a str, Meaning)>, Error> {
    let items: Vec<_> = row.text(CANDIDATES)?.split('_').collect();
    let labels: Vec<_> = row.text(LABELS)?.split('_').collect();
    if items.len() != labels.len() {
        let (items, labels) = (items.len(), labels.len());
        return Err(
            row.refused(format!("`candidate_wid_list` has {items} entries, `candidate_label_list` {labels}"))
        );
    }
    let mut shown = Vec::with_capacity(items.len());
    for (item, label) in items.into_iter().zip(labels) {
        if item.is_empty() {
            return Err(row.refused("`candidate_wid_list` has an empty entry"));
        }
        let known = code_of(label).and_then(|code| actions.meaning(code));
        let wrong = || {
            let expected = "0, 1, 1.5, 2 or above 2";
            row.refused(format!("`candidate_label_list` has {label:?}, expected {expected}"))
        };
        shown.push((item, known.ok_or_else(wrong)?));
    }
    shown.sort_by_key(|(item, _)| *item);
    Ok(shown)
}

/// The code of a label written as a float. The authors' README has 1.5 for carts and "larger than 2" for purchases,
/// other descriptions 2 and 3: no value means two things.
fn code_of(label: &str) -> Option<&'static str> {
    let label: f32 = label.parse().ok().filter(|label: &f32| label.is_finite())?;
    match label {
        0.0 => Some("0"),
        1.0 => Some("1"),
        1.5 | 2.0 => Some("2"),
        _ if label > 2.0 => Some("3"),
        _ => None,
    }
}

/// Entries of the history, whose lists must be of one length.
fn history(row: &Row<'_>) -> Result<u64, Error> {
    let entries = |column| row.optional(column).map_or(0, |list| list.split('_').count());
    let (items, types) = (entries(PAST_ITEMS), entries(PAST_TYPES));
    if items != types {
        return Err(
            row.refused(format!("`history_wid_list` has {items} entries, `history_type_list` {types}"))
        );
    }
    Ok(items as u64)
}
