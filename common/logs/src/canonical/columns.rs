//! Typed columns of a chunk. In: whatever type a file has; out: the type a table needs, or which cell is wrong.

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, StringArray, cast::AsArray, types::Float32Type,
};
use arrow_cast::{CastOptions, cast_with_options, display::array_value_to_string};
use arrow_schema::{DataType, TimeUnit};

use super::table::Chunk;
use crate::Error;

impl Chunk {
    /// A column of numbers in which every row has one.
    pub(crate) fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<PrimitiveArray<T>, Error> {
        let column = self.optional_numbers(name)?;
        self.refuse_nulls(name, &column)?;
        Ok(column)
    }

    /// A column of numbers with nulls.
    pub(crate) fn optional_numbers<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<PrimitiveArray<T>, Error> {
        let found = self.column(name)?;
        let fits = match found.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => T::DATA_TYPE.is_floating(),
            DataType::Timestamp(..) => T::DATA_TYPE == DataType::Int64,
            other => other.is_integer(),
        };
        if !fits {
            return Err(self.wrong_type(name, &found, expected(&T::DATA_TYPE)));
        }
        let found = match found.data_type() {
            DataType::Timestamp(_, zone) => {
                self.cast(name, &found, &DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))?
            }
            _ => found,
        };
        let column = self.cast(name, &found, &T::DATA_TYPE)?;
        Ok(column.as_primitive::<T>().clone())
    }

    /// A column of texts in which every row has one.
    pub(crate) fn texts(&self, name: &str) -> Result<StringArray, Error> {
        let found = self.column(name)?;
        let is_text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let fits = match found.data_type() {
            DataType::Dictionary(_, of) => is_text(of),
            of => is_text(of) || of.is_integer(),
        };
        if !fits {
            return Err(self.wrong_type(name, &found, "text"));
        }
        let column = self.cast(name, &found, &DataType::Utf8)?;
        self.refuse_nulls(name, &column)?;
        Ok(column.as_string::<i32>().clone())
    }

    /// The columns `e_0` .. `e_{n-1}`, every cell a finite number.
    pub(crate) fn embeddings(&self, n_dims: usize) -> Result<Vec<PrimitiveArray<Float32Type>>, Error> {
        let mut columns = Vec::with_capacity(n_dims);
        for component in 0..n_dims {
            let name = format!("e_{component}");
            let column = self.numbers::<Float32Type>(&name)?;
            if let Some(row) = column.values().iter().position(|value| !value.is_finite()) {
                let value = column.value(row);
                return Err(self.error(row, format_args!("`{name}` is {value}, expected a finite number")));
            }
            columns.push(column);
        }
        Ok(columns)
    }

    fn column(&self, name: &str) -> Result<ArrayRef, Error> {
        let found = self.batch.column_by_name(name);
        found.cloned().ok_or_else(|| Error::format(&self.path, format_args!("column `{name}` is missing")))
    }

    /// Cells that do not fit become null in the cast: the first such cell is the error.
    fn cast(&self, name: &str, found: &ArrayRef, to: &DataType) -> Result<ArrayRef, Error> {
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let column = cast_with_options(found, to, &options)
            .map_err(|error| Error::format(&self.path, format_args!("column `{name}`: {error}")))?;
        if column.null_count() > found.null_count()
            && let Some(row) = (0..column.len()).find(|&row| column.is_null(row) && !found.is_null(row))
        {
            let value = array_value_to_string(found, row).unwrap_or_else(|error| error.to_string());
            return Err(self.error(row, format_args!("`{name}` is {value:?}, expected {}", expected(to))));
        }
        Ok(column)
    }

    fn refuse_nulls(&self, name: &str, column: &dyn Array) -> Result<(), Error> {
        match (0..column.len()).find(|&row| column.null_count() > 0 && column.is_null(row)) {
            Some(row) => Err(self.error(row, format_args!("`{name}` is empty"))),
            None => Ok(()),
        }
    }

    fn wrong_type(&self, name: &str, found: &ArrayRef, expected: &str) -> Error {
        Error::format(
            &self.path,
            format_args!("column `{name}` is {}, expected {expected}", found.data_type()),
        )
    }
}

fn expected(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::UInt64 => "an integer from 0",
        DataType::UInt32 => "an integer from 0 to 4294967295",
        DataType::Int64 => "an integer",
        DataType::Float32 => "a number",
        _ => "text",
    }
}
