//! Parquet files with the columns of a [`Layout`]: the same rows as from text, batch by batch.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::reading::Reading;
use super::table::{Cells, Layout, Row, places};
use crate::Error;

/// What is called for each row.
type Each<'e> = dyn FnMut(&Row<'_>, &mut Reading<'_>) -> Result<(), Error> + 'e;

/// Calls `each` for every row; the line of an error is the number of the row, from 1. A file without rows is refused.
pub(super) fn each_row(
    path: &Path,
    layout: &'static Layout,
    reading: &mut Reading<'_>,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    let damaged = |error: &dyn std::error::Error| Error::format(path, format!("is damaged Parquet: {error}"));
    let file = File::open(path).map_err(Error::file("open", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
    let schema = builder.schema().clone();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let places = places(path, layout, &names)?;

    let options = FormatOptions::default().with_null("");
    let mut cells = vec![String::new(); names.len()];
    let mut line = 0;
    for batch in builder.build().map_err(|error| damaged(&error))? {
        let batch = batch.map_err(|error| damaged(&error))?;
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(&error))?;
        for at in 0..batch.num_rows() {
            line += 1;
            for (cell, column) in cells.iter_mut().zip(&columns) {
                cell.clear();
                write!(cell, "{}", column.value(at)).map_err(|error| damaged(&error))?;
            }
            let row = Row { path, line, layout, places: &places, cells: Cells::Parquet(&cells) };
            let outcome = each(&row, reading);
            reading.line(outcome)?;
        }
    }
    if line > 0 { Ok(()) } else { Err(Error::format(path, "has no data rows")) }
}
