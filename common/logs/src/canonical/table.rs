//! Tables on disk as record batches.
//!
//! In: a Parquet or CSV file; out: [`Chunk`]s of at most [`CHUNK_ROWS`] rows that know their lines. Columns of a CSV
//! file are text (empty = null) until [`super::columns`] reads them as what they should be.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader, builder::StringBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::Form;
use crate::Error;

/// Rows that are in memory at once.
pub(crate) const CHUNK_ROWS: usize = 65_536;

/// Some rows of a table.
pub(crate) struct Chunk {
    pub(super) path: PathBuf,
    pub(super) batch: RecordBatch,
    lines: Lines,
}

/// How to tell a reader of an error where a row is.
enum Lines {
    /// Line of each row in a text file, from 1.
    Text(Vec<u64>),
    /// Rows of a Parquet file before this chunk.
    Before(u64),
}

impl Chunk {
    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Line (CSV) or row (Parquet) of a row of this chunk, from 1.
    pub(crate) fn line(&self, row: usize) -> u64 {
        match &self.lines {
            Lines::Text(lines) => lines[row],
            Lines::Before(rows) => rows + row as u64 + 1,
        }
    }

    /// What is wrong with a row of this chunk.
    pub(crate) fn error(&self, row: usize, problem: impl std::fmt::Display) -> Error {
        row_error(&self.path, self.line(row), problem)
    }
}

/// What is wrong with a row: its line in a text file, its number in a Parquet file, both from 1.
pub(crate) fn row_error(path: &Path, line: u64, problem: impl std::fmt::Display) -> Error {
    match Form::of(path) {
        Ok(Form::Parquet) => Error::format(path, format_args!("row {line}: {problem}")),
        _ => Error::row(path, line, problem),
    }
}

/// Reads a table from its first row to its last.
pub(crate) struct TableReader {
    path: PathBuf,
    columns: Vec<String>,
    source: Source,
}

enum Source {
    Csv { reader: csv::Reader<BufReader<File>>, schema: SchemaRef },
    Parquet { reader: ParquetRecordBatchReader, rows: u64 },
}

impl TableReader {
    /// Opens a table; the name's ending says which form it has.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let form = Form::of(path)?;
        let file = File::open(path).map_err(Error::file("open", path))?;
        let (source, columns): (_, Vec<String>) = match form {
            Form::Csv => {
                let mut reader = csv::ReaderBuilder::new()
                    .trim(csv::Trim::All)
                    .from_reader(BufReader::with_capacity(1 << 20, file));
                let header = reader.headers().map_err(|error| csv_error(path, &error))?;
                let columns: Vec<String> = header.iter().map(ToOwned::to_owned).collect();
                let fields: Vec<Field> =
                    columns.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
                (Source::Csv { reader, schema: Arc::new(Schema::new(fields)) }, columns)
            }
            Form::Parquet => {
                let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                    .and_then(|builder| builder.with_batch_size(CHUNK_ROWS).build())
                    .map_err(|error| Error::format(path, format_args!("no Parquet file: {error}")))?;
                let schema = RecordBatchReader::schema(&reader);
                let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
                (Source::Parquet { reader, rows: 0 }, columns)
            }
        };
        let reader = Self { path: path.to_owned(), columns, source };
        if let Some(twice) =
            (1..reader.columns.len()).find(|&c| reader.columns[..c].contains(&reader.columns[c]))
        {
            return Err(reader.error(format_args!("column `{}` stands twice", reader.columns[twice])));
        }
        Ok(reader)
    }

    /// Names of the columns, in the file's order.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What is wrong with the file.
    pub(crate) fn error(&self, problem: impl std::fmt::Display) -> Error {
        Error::format(&self.path, problem)
    }

    /// Refuses a table that lacks a required column or has one that is neither required nor `allowed`: a misspelt
    /// optional column must not go unread in silence.
    pub(crate) fn check_columns(
        &self,
        required: &[&str],
        allowed: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let there = self.columns.join(", ");
        if let Some(missing) = required.iter().find(|name| !self.columns.iter().any(|column| column == *name))
        {
            return Err(self.error(format_args!("column `{missing}` is missing; the columns are {there}")));
        }
        let known = |name: &String| required.contains(&name.as_str()) || allowed(name);
        if let Some(unknown) = self.columns.iter().find(|name| !known(name)) {
            let required = required.join(", ");
            return Err(self.error(format_args!("unknown column `{unknown}` beside {required}")));
        }
        Ok(())
    }

    /// The next rows; none at the end.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk>, Error> {
        let path = self.path.clone();
        match &mut self.source {
            Source::Csv { reader, schema } => csv_chunk(path, reader, schema),
            Source::Parquet { reader, rows } => {
                let Some(batch) = reader.next() else { return Ok(None) };
                let batch =
                    batch.map_err(|error| Error::format(&path, format_args!("no Parquet file: {error}")))?;
                let lines = Lines::Before(*rows);
                *rows += batch.num_rows() as u64;
                Ok(Some(Chunk { path, batch, lines }))
            }
        }
    }
}

fn csv_chunk(
    path: PathBuf,
    reader: &mut csv::Reader<BufReader<File>>,
    schema: &SchemaRef,
) -> Result<Option<Chunk>, Error> {
    let mut builders: Vec<StringBuilder> = schema.fields().iter().map(|_| StringBuilder::new()).collect();
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    while lines.len() < CHUNK_ROWS
        && reader.read_record(&mut record).map_err(|error| csv_error(&path, &error))?
    {
        lines.push(record.position().map_or(0, csv::Position::line));
        for (builder, field) in builders.iter_mut().zip(&record) {
            builder.append_option((!field.is_empty()).then_some(field));
        }
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let columns = builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns)
        .expect("every record has as many fields as the header, the CSV reader checks");
    Ok(Some(Chunk { path, batch, lines: Lines::Text(lines) }))
}

/// A record that is no CSV, by its line.
fn csv_error(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::row(path, line, format_args!("{len} fields, the header has {expected_len}"))
        }
        csv::ErrorKind::Utf8 { .. } => Error::row(path, line, "the text is not UTF-8"),
        _ => Error::row(path, line, error),
    }
}
