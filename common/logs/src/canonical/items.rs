//! The item table on disk.
//!
//! In: `items.parquet` or `items.csv`; out: [`Items`], by ascending id, without or with embeddings `[n_items, n]`. A
//! [`common::ItemTable`] is made of them once they are embedded.

use std::{path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
    types::{Float32Type, UInt32Type, UInt64Type},
};
use arrow_schema::{DataType, Field, Schema};
use common::ItemTable;

use super::{
    Form,
    table::{CHUNK_ROWS, Chunk, TableReader, row_error},
    writer::TableWriter,
};
use crate::Error;

/// Name of the table.
pub(crate) const TABLE: &str = "items";

const REQUIRED: [&str; 3] = ["item_id", "category", "price"];

/// What is known of each item, by ascending id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Items {
    /// Distinct, ascending.
    pub(crate) ids: Vec<u64>,
    /// The data set's own keys, where the table has them.
    pub(crate) keys: Option<Vec<String>>,
    /// Category codes; none where unknown.
    pub(crate) categories: Vec<Option<u32>>,
    /// Prices; none where unknown.
    pub(crate) prices: Vec<Option<f32>>,
    /// Size of an embedding; 0 without.
    pub(crate) n_dims: usize,
    /// `[n_items, n_dims]`, row-major.
    pub(crate) embeddings: Vec<f32>,
}

impl Items {
    /// Number of items.
    pub(crate) fn n_items(&self) -> usize {
        self.ids.len()
    }

    /// The row of an id. Imported logs number items 0.., so the id is tried as a row first.
    pub(crate) fn row(&self, id: u64) -> Option<u32> {
        let row = match usize::try_from(id).ok().filter(|&row| self.ids.get(row) == Some(&id)) {
            Some(row) => row,
            None => self.ids.binary_search(&id).ok()?,
        };
        Some(u32::try_from(row).expect("the number of items was checked when they were read"))
    }

    /// Reads and checks the table of a file; the embeddings only if `bound` is given, each in (-bound, bound).
    pub(crate) fn read(path: &Path, bound: Option<f32>) -> Result<Self, Error> {
        let mut reader = TableReader::open(path)?;
        let is_embedding = |name: &str| name.strip_prefix("e_").is_some_and(|k| k.parse::<usize>().is_ok());
        reader.check_columns(&REQUIRED, |name| name == "key" || is_embedding(name))?;
        let n_dims = count_dims(&reader)?;
        let n_dims = if bound.is_some() { n_dims } else { 0 };
        let has_keys = reader.columns().iter().any(|column| column == "key");
        let mut items = Self { n_dims, keys: has_keys.then(Vec::new), ..Self::default() };
        let mut lines = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            items.append(&chunk)?;
            lines.extend((0..chunk.n_rows()).map(|row| chunk.line(row)));
        }
        if items.ids.is_empty() {
            return Err(reader.error("no items"));
        }
        if u32::try_from(items.n_items()).is_err() {
            return Err(reader.error("more than 4294967295 items"));
        }
        if let Some(bound) = bound {
            check_embeddings(path, &lines, n_dims, &items.embeddings, bound)?;
        }
        items.sorted(path, &lines)
    }

    fn append(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let ids = chunk.numbers::<UInt64Type>("item_id")?;
        let categories = chunk.optional_numbers::<UInt32Type>("category")?;
        let prices = chunk.optional_numbers::<Float32Type>("price")?;
        let wrong = |price: Option<f32>| price.is_some_and(|price| !price.is_finite() || price < 0.0);
        if let Some(row) = prices.iter().position(wrong) {
            let price = prices.value(row);
            return Err(chunk.error(row, format_args!("`price` is {price}, expected a finite number from 0")));
        }
        if let Some(keys) = &mut self.keys {
            keys.extend(chunk.texts("key")?.iter().map(|key| key.unwrap_or_default().to_owned()));
        }
        let columns = chunk.embeddings(self.n_dims)?;
        for row in 0..chunk.n_rows() {
            self.embeddings.extend(columns.iter().map(|column| column.value(row)));
        }
        self.ids.extend(ids.values());
        self.categories.extend(categories.iter());
        self.prices.extend(prices.iter());
        Ok(())
    }

    /// By ascending id, each id once.
    fn sorted(self, path: &Path, lines: &[u64]) -> Result<Self, Error> {
        if self.ids.is_sorted_by(|a, b| a < b) {
            return Ok(self);
        }
        let mut order: Vec<usize> = (0..self.n_items()).collect();
        order.sort_by_key(|&row| self.ids[row]);
        if let Some(pair) = order.windows(2).find(|pair| self.ids[pair[0]] == self.ids[pair[1]]) {
            let problem =
                format!("`item_id` {} stands already in line {}", self.ids[pair[0]], lines[pair[0]]);
            return Err(row_error(path, lines[pair[1]], problem));
        }
        let n = self.n_dims;
        Ok(Self {
            ids: order.iter().map(|&row| self.ids[row]).collect(),
            keys: self.keys.map(|keys| order.iter().map(|&row| keys[row].clone()).collect()),
            categories: order.iter().map(|&row| self.categories[row]).collect(),
            prices: order.iter().map(|&row| self.prices[row]).collect(),
            n_dims: n,
            embeddings: order.iter().flat_map(|&row| &self.embeddings[row * n..][..n]).copied().collect(),
        })
    }

    /// The item table of all processes; none without embeddings. Items of unknown category share a code of their own,
    /// one past the largest.
    pub(crate) fn table(&self, bound: f32) -> Result<Option<Arc<ItemTable>>, Error> {
        if self.n_dims == 0 {
            return Ok(None);
        }
        let unknown = self.categories.iter().flatten().max().map_or(0, |&largest| largest.saturating_add(1));
        let categories = self.categories.iter().map(|category| category.unwrap_or(unknown)).collect();
        let prices = self.prices.iter().map(|price| price.unwrap_or(0.0)).collect();
        let table = ItemTable::new(self.n_dims, bound, self.embeddings.clone(), categories, prices)?;
        Ok(Some(Arc::new(table)))
    }

    /// Writes the table into a folder, replacing one of the same form.
    pub(crate) fn write(&self, folder: &Path, form: Form) -> Result<(), Error> {
        let mut fields = vec![
            Field::new("item_id", DataType::UInt64, false),
            Field::new("category", DataType::UInt32, true),
            Field::new("price", DataType::Float32, true),
        ];
        fields.extend(self.keys.as_ref().map(|_| Field::new("key", DataType::Utf8, false)));
        fields.extend((0..self.n_dims).map(|k| Field::new(format!("e_{k}"), DataType::Float32, false)));
        let schema = Arc::new(Schema::new(fields));
        let mut writer = TableWriter::create(folder, TABLE, form, schema.clone())?;
        let n = self.n_dims;
        for start in (0..self.n_items()).step_by(CHUNK_ROWS) {
            let rows = start..(start + CHUNK_ROWS).min(self.n_items());
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(UInt64Array::from(self.ids[rows.clone()].to_vec())),
                Arc::new(UInt32Array::from(self.categories[rows.clone()].to_vec())),
                Arc::new(Float32Array::from(self.prices[rows.clone()].to_vec())),
            ];
            if let Some(keys) = &self.keys {
                columns.push(Arc::new(StringArray::from_iter_values(&keys[rows.clone()])));
            }
            columns.extend((0..n).map(|k| {
                let component = rows.clone().map(|row| self.embeddings[row * n + k]);
                Arc::new(Float32Array::from_iter_values(component)) as ArrayRef
            }));
            let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema above");
            writer.write(&batch)?;
        }
        writer.finish()
    }
}

/// The n of the columns `e_0` .. `e_{n-1}`; a gap between them is an error.
pub(crate) fn count_dims(reader: &TableReader) -> Result<usize, Error> {
    let n_dims = reader.columns().iter().filter(|column| column.starts_with("e_")).count();
    let missing = (0..n_dims).find(|k| !reader.columns().contains(&format!("e_{k}")));
    match missing {
        Some(k) => {
            Err(reader.error(format_args!("column `e_{k}` is missing among {n_dims} columns e_0, e_1, ...")))
        }
        None => Ok(n_dims),
    }
}

/// Every component in (-bound, bound), no row all zero.
fn check_embeddings(
    path: &Path,
    lines: &[u64],
    n_dims: usize,
    embeddings: &[f32],
    bound: f32,
) -> Result<(), Error> {
    if n_dims == 0 {
        return Ok(());
    }
    for (embedding, &line) in embeddings.chunks_exact(n_dims).zip(lines) {
        if let Some(k) = embedding.iter().position(|value| value.abs() >= bound) {
            let value = embedding[k];
            let problem = format_args!("`e_{k}` is {value}, expected a number inside (-{bound}, {bound})");
            return Err(row_error(path, line, problem));
        }
        if embedding.iter().all(|&value| value == 0.0) {
            return Err(row_error(path, line, "the embedding is all zero: it has no direction"));
        }
    }
    Ok(())
}
