//! The rows of a log on disk.
//!
//! In: `log.parquet` or `log.csv` in any order; out: [`Row`]s by (user, session, position), each checked. And back.

use std::{path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray, UInt8Array, UInt32Array,
    UInt64Array,
    types::{Float32Type, Int64Type, UInt32Type, UInt64Type},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use common::{Feedback, ItemId};

use super::{
    Form, Impression, Split,
    items::Items,
    table::{CHUNK_ROWS, Chunk, TableReader, row_error},
    writer::TableWriter,
};
use crate::Error;

/// Name of the table.
pub(crate) const TABLE: &str = "log";

const REQUIRED: [&str; 7] =
    ["user_id", "session_id", "position", "timestamp", "item_id", "feedback", "split"];

/// One row, its item already a row of the item table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) user: u64,
    pub(crate) session: u64,
    /// Line of the file, for errors that take two rows to see.
    pub(crate) line: u64,
    pub(crate) position: u32,
    pub(crate) split: Split,
    pub(crate) impression: Impression,
}

/// Reads and checks a log. `items` is the table that it must agree with.
pub(crate) fn read(path: &Path, items: &Items) -> Result<Vec<Row>, Error> {
    let mut reader = TableReader::open(path)?;
    reader.check_columns(&REQUIRED, |name| name == "propensity")?;
    let has_propensity = reader.columns().iter().any(|column| column == "propensity");
    let mut rows = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        append(&chunk, items, has_propensity, &mut rows)?;
    }
    if rows.is_empty() {
        return Err(reader.error("no rows"));
    }
    let key = |row: &Row| (row.user, row.session, row.position);
    if !rows.is_sorted_by_key(key) {
        rows.sort_by_key(key);
    }
    for pair in rows.windows(2) {
        check_neighbours(path, &pair[0], &pair[1])?;
    }
    Ok(rows)
}

fn append(chunk: &Chunk, items: &Items, has_propensity: bool, rows: &mut Vec<Row>) -> Result<(), Error> {
    let users = chunk.numbers::<UInt64Type>("user_id")?;
    let sessions = chunk.numbers::<UInt64Type>("session_id")?;
    let positions = chunk.numbers::<UInt32Type>("position")?;
    let times = chunk.numbers::<Int64Type>("timestamp")?;
    let ids = chunk.numbers::<UInt64Type>("item_id")?;
    let codes = chunk.numbers::<Int64Type>("feedback")?;
    let splits = chunk.texts("split")?;
    let propensities =
        if has_propensity { Some(chunk.optional_numbers::<Float32Type>("propensity")?) } else { None };
    rows.reserve(chunk.n_rows());
    for row in 0..chunk.n_rows() {
        let refuse = |problem: String| Err(chunk.error(row, problem));
        let Some(item) = items.row(ids.value(row)) else {
            return refuse(format!("`item_id` {} is not in the item table", ids.value(row)));
        };
        let code = codes.value(row);
        let Some(feedback) = u8::try_from(code).ok().and_then(Feedback::from_code) else {
            return refuse(format!("`feedback` is {code}, expected 0 (skip), 1 (click) or 2 (order)"));
        };
        let Some(split) = Split::from_name(splits.value(row)) else {
            return refuse(format!("`split` is {:?}, expected train or test", splits.value(row)));
        };
        let propensity =
            propensities.as_ref().and_then(|column| column.is_valid(row).then(|| column.value(row)));
        if let Some(propensity) = propensity
            && !(propensity > 0.0 && propensity <= 1.0)
        {
            return refuse(format!("`propensity` is {propensity}, expected a number in (0, 1]"));
        }
        rows.push(Row {
            user: users.value(row),
            session: sessions.value(row),
            line: chunk.line(row),
            position: positions.value(row),
            split,
            impression: Impression { item: ItemId(item), feedback, time_ms: times.value(row), propensity },
        });
    }
    Ok(())
}

/// Two rows that follow one another: no position twice in a session, no session in both splits.
fn check_neighbours(path: &Path, first: &Row, second: &Row) -> Result<(), Error> {
    let Row { user, session, position, line, .. } = *second;
    if (first.user, first.session) != (user, session) {
        return Ok(());
    }
    let place = format!("session {session} of user {user}");
    if first.position == position {
        let problem = format!("position {position} of {place} stands already in line {}", first.line);
        return Err(row_error(path, line, problem));
    }
    if first.split != second.split {
        let (split, other) = (second.split.name(), first.split.name());
        let problem = format!("`split` of {place} is {split} here and {other} in line {}", first.line);
        return Err(row_error(path, line, problem));
    }
    Ok(())
}

/// Writes a log row by row.
pub(crate) struct RowWriter<'a> {
    writer: TableWriter,
    item_ids: &'a [u64],
    schema: SchemaRef,
    with_propensity: bool,
    buffer: Vec<Row>,
}

impl<'a> RowWriter<'a> {
    /// A log in a folder, with or without the column `propensity`; `item_ids` of the rows of its item table.
    pub(crate) fn create(
        folder: &Path,
        form: Form,
        item_ids: &'a [u64],
        with_propensity: bool,
    ) -> Result<Self, Error> {
        let types = [
            DataType::UInt64,
            DataType::UInt64,
            DataType::UInt32,
            DataType::Int64,
            DataType::UInt64,
            DataType::UInt8,
            DataType::Utf8,
        ];
        let mut fields: Vec<Field> =
            REQUIRED.into_iter().zip(types).map(|(name, of)| Field::new(name, of, false)).collect();
        fields.extend(with_propensity.then(|| Field::new("propensity", DataType::Float32, true)));
        let schema = Arc::new(Schema::new(fields));
        let writer = TableWriter::create(folder, TABLE, form, schema.clone())?;
        Ok(Self { writer, item_ids, schema, with_propensity, buffer: Vec::with_capacity(CHUNK_ROWS) })
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, row: Row) -> Result<(), Error> {
        self.buffer.push(row);
        if self.buffer.len() == CHUNK_ROWS { self.flush() } else { Ok(()) }
    }

    /// Completes the log and puts it in its place.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.writer.finish()
    }

    fn flush(&mut self) -> Result<(), Error> {
        let rows = &self.buffer;
        let shown = || rows.iter().map(|row| &row.impression);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.user))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.session))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.position))),
            Arc::new(Int64Array::from_iter_values(shown().map(|shown| shown.time_ms))),
            Arc::new(UInt64Array::from_iter_values(shown().map(|shown| self.item_ids[shown.item.row()]))),
            Arc::new(UInt8Array::from_iter_values(shown().map(|shown| shown.feedback.code()))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.split.name()))),
        ];
        if self.with_propensity {
            columns.push(Arc::new(Float32Array::from_iter(shown().map(|shown| shown.propensity))));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema above");
        self.writer.write(&batch)?;
        self.buffer.clear();
        Ok(())
    }
}
