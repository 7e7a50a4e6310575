//! Tables to disk: written beside their place, synced, renamed into it. A reader never meets half a table.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::SchemaRef;
use common::files;
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

use super::Form;
use crate::Error;

/// Writes one table. Dropped before [`TableWriter::finish`], it leaves nothing behind.
pub(crate) struct TableWriter {
    partial: Partial,
    sink: Sink,
}

enum Sink {
    Parquet(Box<ArrowWriter<File>>),
    Csv(csv::Writer<BufWriter<File>>),
}

impl TableWriter {
    /// A table `name` in a folder; one that is there stays until this one is whole.
    pub(crate) fn create(folder: &Path, name: &str, form: Form, schema: SchemaRef) -> Result<Self, Error> {
        let (partial, file) = Partial::create(&form.path(folder, name))?;
        let sink = match form {
            Form::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(Default::default()))
                    .build();
                let writer = ArrowWriter::try_new(file, schema, Some(properties));
                Sink::Parquet(Box::new(writer.map_err(|error| partial.error(error))?))
            }
            Form::Csv => {
                let mut writer = csv::Writer::from_writer(BufWriter::with_capacity(1 << 20, file));
                let names = schema.fields().iter().map(|field| field.name());
                writer.write_record(names).map_err(|error| partial.error(error))?;
                Sink::Csv(writer)
            }
        };
        Ok(Self { partial, sink })
    }

    /// Appends rows of the table's schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write(batch).map_err(|error| self.partial.error(error)),
            Sink::Csv(writer) => {
                write_csv(writer, batch).map_err(|problem| Error::format(&self.partial.target, problem))
            }
        }
    }

    /// Completes the table and puts it in its place.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let file = match self.sink {
            Sink::Parquet(writer) => writer.into_inner().map_err(|error| self.partial.error(error))?,
            Sink::Csv(writer) => writer
                .into_inner()
                .map_err(|error| self.partial.error(error.error()))?
                .into_inner()
                .map_err(|error| self.partial.error(error.error()))?,
        };
        self.partial.finish(file)
    }
}

fn write_csv(writer: &mut csv::Writer<BufWriter<File>>, batch: &RecordBatch) -> Result<(), String> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        for column in &columns {
            text.clear();
            column.value(row).write(&mut text).map_err(|error| error.to_string())?;
            writer.write_field(&text).map_err(|error| error.to_string())?;
        }
        writer.write_record(None::<&[u8]>).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes a small file whole.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write_whole(path, bytes).map_err(Error::file("write", path))
}

/// A file on its way to its place; removed again unless it gets there.
struct Partial {
    target: PathBuf,
    path: PathBuf,
}

impl Partial {
    fn create(target: &Path) -> Result<(Self, File), Error> {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        Ok((Self { target: target.to_owned(), path }, file))
    }

    fn error(&self, problem: impl std::fmt::Display) -> Error {
        Error::format(&self.target, format_args!("cannot write: {problem}"))
    }

    fn finish(self, file: File) -> Result<(), Error> {
        file.sync_all().map_err(Error::file("write", &self.target))?;
        drop(file);
        std::fs::rename(&self.path, &self.target).map_err(Error::file("replace", &self.target))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `finish` there is nothing left to remove; otherwise the error that led here is the one to report.
        let _ = std::fs::remove_file(&self.path);
    }
}
