//! Readers of public data sets in their published form, one file a data set.
//!
//! In: a file or a folder, plain or gzip; out: [`Record`](crate::source::Record)s, and [`Counts`](crate::Counts) of
//! what was read, kept and dropped. Everything streams; a format that must join or sort says so in its doc.
//!
//! A *row* is what could become one record: an event, or one entry of a list shown (a line of `otto` or `jdsearch` is
//! many rows). Always read = kept + the sum of dropped: a row that changes another one instead of becoming a record
//! (a click joined onto the list it was made on) counts as dropped, with a reason that starts with `merged`. Side
//! files about items are not rows, but a malformed line of them counts as one that was read and dropped.
//!
//! Shared by all: `files` finds and opens, `table` and `lines` split and check, `actions` says what codes mean,
//! `clock` reads dates, `reading` keeps the counts.

mod actions;
mod clock;
mod files;
mod lines;
mod parquet;
mod reading;
mod table;

pub mod diginetica;
pub mod jd_hup;
pub mod jdata2016;
pub mod jdata2019;
pub mod jdata_demo;
pub mod jdsearch;
pub mod obd;
pub mod otto;
pub mod rees46;
pub mod retailrocket;
pub mod taobao;
pub mod tianchi_mobile;
pub mod trivago;
pub mod yoochoose;

use crate::source::Format;

/// Every format that can be imported, by name.
pub const ALL: &[&dyn Format] = &[
    &diginetica::Diginetica,
    &jd_hup::JdHup,
    &jdata_demo::JdataDemo,
    &jdata2016::Jdata2016,
    &jdata2019::Jdata2019,
    &jdsearch::JdSearch,
    &obd::Obd,
    &otto::Otto,
    &rees46::Rees46,
    &retailrocket::RetailRocket,
    &taobao::Taobao,
    &tianchi_mobile::TianchiMobile,
    &trivago::Trivago,
    &yoochoose::Yoochoose,
];

/// The format called `name` in `--format`, e.g. `jdata-demo`.
pub fn by_name(name: &str) -> Option<&'static dyn Format> {
    ALL.iter().copied().find(|format| format.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name_and_names_are_sorted_and_unique() {
        let names: Vec<_> = ALL.iter().map(|format| format.name()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for name in names {
            assert_eq!(by_name(name).map(|format| format.name()), Some(name));
        }
        assert!(by_name("netflix").is_none());
    }

    #[test]
    fn every_format_describes_itself() {
        for format in ALL {
            assert!(format.about().len() > 80, "{}", format.name());
            let mapping = format.mapping();
            assert!(mapping.iter().any(|(_, to)| to == "click"), "{}", format.name());
            for (code, to) in mapping {
                let known = ["skip", "click", "order"].contains(&to.as_str()) || to.starts_with("dropped: ");
                assert!(known && !code.is_empty(), "{} {code} {to}", format.name());
            }
        }
    }
}
