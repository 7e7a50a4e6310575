//! Files of delimited columns: streamed, columns found by name, every row's width checked.
//!
//! In: a path (text, gzip or Parquet with the same columns) and a [`Layout`]; out: [`Row`]s that know their file and
//! line, so that every refusal names file, line, column and value.

use std::path::Path;
use std::str::FromStr;

use csv::{ErrorKind, StringRecord};

use super::reading::Reading;
use super::{clock, files, parquet};
use crate::Error;

/// How a data set writes its rows.
pub(super) struct Layout {
    pub(super) delimiter: u8,
    /// Whether a field may be in double quotes.
    pub(super) quoted: bool,
    /// Whether the first line names the columns. Without it the columns are exactly `columns`, in this order.
    pub(super) header: bool,
    /// The columns that are read.
    pub(super) columns: &'static [Column],
}

/// A column that a format reads.
pub(super) struct Column {
    /// The names it goes by, the usual one first.
    pub(super) names: &'static [&'static str],
    needed: bool,
}

/// A column that must be there.
pub(super) const fn needed(names: &'static [&'static str]) -> Column {
    Column { names, needed: true }
}

/// A column that may be missing.
pub(super) const fn optional(names: &'static [&'static str]) -> Column {
    Column { names, needed: false }
}

/// One row. Columns are indices into the layout's `columns`.
pub(super) struct Row<'a> {
    pub(super) path: &'a Path,
    /// From 1, the header included.
    pub(super) line: u64,
    pub(super) layout: &'static Layout,
    /// Where each column of the layout is in `cells`.
    pub(super) places: &'a [Option<usize>],
    pub(super) cells: Cells<'a>,
}

/// Fields of a row.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    Text(&'a StringRecord),
    Parquet(&'a [String]),
}

impl<'a> Row<'a> {
    /// The field, which must not be empty.
    pub(super) fn text(&self, column: usize) -> Result<&'a str, Error> {
        match self.field(column) {
            "" => Err(self.refused(format!("column {} is empty", self.name(column)))),
            field => Ok(field),
        }
    }

    /// The field; none where the column is missing, empty or `NA`.
    pub(super) fn optional(&self, column: usize) -> Option<&'a str> {
        Some(self.field(column)).filter(|field| !matches!(*field, "" | "NA"))
    }

    /// A number; `expected` says of what kind.
    pub(super) fn number<T: FromStr>(&self, column: usize, expected: &str) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|_| self.wrong(column, expected))
    }

    /// A non-negative finite number; none where the field is.
    pub(super) fn price(&self, column: usize) -> Result<Option<f32>, Error> {
        let parse = |field: &str| field.parse().ok().filter(|price: &f32| price.is_finite() && *price >= 0.0);
        let wrong = || self.wrong(column, "a price");
        self.optional(column).map(|field| parse(field).ok_or_else(wrong)).transpose()
    }

    /// Unix time in units of `unit_ms`, as ms.
    pub(super) fn unix(&self, column: usize, unit_ms: i64) -> Result<i64, Error> {
        // Up to the year 2100; a file of another unit lands beyond it.
        let expected = if unit_ms == 1 { "unix time in milliseconds" } else { "unix time in seconds" };
        let time: i64 = self.number(column, expected)?;
        let ms = time.checked_mul(unit_ms).filter(|ms| (0..4_102_444_800_000).contains(ms));
        ms.ok_or_else(|| self.wrong(column, expected))
    }

    /// A date, as ms since 1970-01-01 UTC.
    pub(super) fn date(&self, column: usize, zone: i64, form: &str) -> Result<i64, Error> {
        let time = clock::parse(self.text(column)?, zone);
        time.ok_or_else(|| self.wrong(column, format!("a time like {form}")))
    }

    /// A field that is not what it should be.
    pub(super) fn wrong(&self, column: usize, expected: impl std::fmt::Display) -> Error {
        let value: String = self.field(column).chars().take(80).collect();
        self.refused(format!("column {} is {value:?}, expected {expected}", self.name(column)))
    }

    /// A row that is wrong as a whole.
    pub(super) fn refused(&self, problem: impl std::fmt::Display) -> Error {
        Error::row(self.path, self.line, problem)
    }

    fn field(&self, column: usize) -> &'a str {
        let place = self.places.get(column).copied().flatten();
        let field = place.and_then(|place| match self.cells {
            Cells::Text(record) => record.get(place),
            Cells::Parquet(cells) => cells.get(place).map(String::as_str),
        });
        field.unwrap_or_default().trim()
    }

    fn name(&self, column: usize) -> String {
        let names = self.layout.columns.get(column).map(|column| column.names);
        names.and_then(<[_]>::first).map_or_else(|| column.to_string(), |name| format!("`{name}`"))
    }
}

/// Calls `each` for every row of a file. A file without rows is refused.
pub(super) fn each_row(
    path: &Path,
    layout: &'static Layout,
    reading: &mut Reading<'_>,
    mut each: impl FnMut(&Row<'_>, &mut Reading<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if files::is_parquet(path)? {
        return parquet::each_row(path, layout, reading, &mut each);
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(layout.delimiter)
        .quoting(layout.quoted)
        .has_headers(layout.header)
        .flexible(true) // widths are checked below, to say more
        .from_reader(files::open(path)?);
    let (places, width) = if layout.header {
        let header = reader.headers().map_err(|error| refused(path, error))?;
        (places(path, layout, &header.iter().collect::<Vec<_>>())?, header.len())
    } else {
        ((0..layout.columns.len()).map(Some).collect(), layout.columns.len())
    };
    let mut record = StringRecord::new();
    let mut any = false;
    loop {
        let outcome = match reader.read_record(&mut record) {
            Ok(false) => break,
            Err(error) => Err(refused(path, error)),
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                let row = Row { path, line, layout, places: &places, cells: Cells::Text(&record) };
                if record.len() == width {
                    each(&row, reading)
                } else {
                    Err(row.refused(format!("has {} fields, expected {width}", record.len())))
                }
            }
        };
        any = true;
        reading.line(outcome)?;
    }
    if any { Ok(()) } else { Err(Error::format(path, "has no data rows")) }
}

/// Where each column of the layout is among the names found. Missing ones are refused, with what is there instead.
pub(super) fn places(path: &Path, layout: &Layout, found: &[&str]) -> Result<Vec<Option<usize>>, Error> {
    let place = |column: &Column| found.iter().position(|name| column.names.contains(&name.trim()));
    let places: Vec<_> = layout.columns.iter().map(place).collect();
    let quoted = |names: &[&str], or: &str| {
        names.iter().map(|name| format!("`{}`", name.trim())).collect::<Vec<_>>().join(or)
    };
    let missing: Vec<_> = layout
        .columns
        .iter()
        .zip(&places)
        .filter(|(column, place)| column.needed && place.is_none())
        .map(|(column, _)| quoted(column.names, " or "))
        .collect();
    if missing.is_empty() {
        return Ok(places);
    }
    let found: String = quoted(found, ", ").chars().take(400).collect();
    Err(Error::format(path, format!("has no column {}; its header has {found}", missing.join(", "))))
}

fn refused(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        ErrorKind::Io(source) => Error::file("read", path)(source),
        ErrorKind::Utf8 { pos, err } => {
            let line = pos.map_or(1, |pos| pos.line());
            Error::row(path, line, format!("field {} is not UTF-8", err.field() + 1))
        }
        other => Error::format(path, format!("cannot be split into columns: {other:?}")),
    }
}
