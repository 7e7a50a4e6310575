//! The item table: one row an item. It lives once in each process and is never sent.

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::{ItemId, files};

/// Why an item table was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No items, or embeddings of size 0.
    #[error("the item table is empty")]
    Empty,
    /// The sizes of the columns do not agree.
    #[error("column `{column}` holds {found} values, expected {expected}")]
    Length {
        /// Which column.
        column: &'static str,
        /// Values in it.
        found: usize,
        /// Values it should hold.
        expected: usize,
    },
    /// A component that is NaN or infinite.
    #[error("embedding of item {item}, component {component}: {value} is not a finite number")]
    NotFinite {
        /// Row.
        item: usize,
        /// Component, 0..n.
        component: usize,
        /// What stands there.
        value: f32,
    },
    /// A component outside (-B, B).
    #[error("embedding of item {item}, component {component}: {value} lies outside (-{bound}, {bound})")]
    OutOfBounds {
        /// Row.
        item: usize,
        /// Component, 0..n.
        component: usize,
        /// What stands there.
        value: f32,
        /// The bound B.
        bound: f32,
    },
    /// An embedding of length zero has no direction (Eqs 9, 11).
    #[error("embedding of item {item} is all zero: it has no direction for the action mapping")]
    Zero {
        /// Row.
        item: usize,
    },
    /// The file cannot be read or written.
    #[error("cannot access the item table {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no item table.
    #[error("{path} is no item table: {problem}")]
    Format {
        /// Which file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

/// Embeddings, categories and prices of a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemTable {
    n_dims: usize,
    bound: f32,
    embeddings: Vec<f32>,
    unit: Vec<f32>,
    categories: Vec<u32>,
    prices: Vec<f32>,
}

impl ItemTable {
    /// A table of `[n_items, n]` embeddings, every component finite and in (-B, B), no row zero; one category and
    /// one price (0 where unknown) an item.
    pub fn new(
        n_dims: usize,
        bound: f32,
        embeddings: Vec<f32>,
        categories: Vec<u32>,
        prices: Vec<f32>,
    ) -> Result<Self, Error> {
        if n_dims == 0 || embeddings.is_empty() {
            return Err(Error::Empty);
        }
        let n_items = embeddings.len() / n_dims;
        for (column, found, expected) in [
            ("embeddings", embeddings.len(), n_items * n_dims),
            ("categories", categories.len(), n_items),
            ("prices", prices.len(), n_items),
        ] {
            if found != expected {
                return Err(Error::Length { column, found, expected });
            }
        }
        let mut unit = Vec::with_capacity(embeddings.len());
        for (item, row) in embeddings.chunks_exact(n_dims).enumerate() {
            for (component, &value) in row.iter().enumerate() {
                if !value.is_finite() {
                    return Err(Error::NotFinite { item, component, value });
                }
                if value.abs() >= bound {
                    return Err(Error::OutOfBounds { item, component, value, bound });
                }
            }
            let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            if norm == 0.0 {
                return Err(Error::Zero { item });
            }
            unit.extend(row.iter().map(|&x| (f64::from(x) / norm) as f32));
        }
        Ok(Self { n_dims, bound, embeddings, unit, categories, prices })
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.categories.len()
    }

    /// Embedding size, n.
    pub fn n_dims(&self) -> usize {
        self.n_dims
    }

    /// Bound B of the embeddings.
    pub fn bound(&self) -> f32 {
        self.bound
    }

    /// `[n_items, n]`, row-major.
    pub fn embeddings(&self) -> &[f32] {
        &self.embeddings
    }

    /// `[n_items, n]`, every row divided by its length: what the action mapping compares with (Eq 9).
    pub fn unit_embeddings(&self) -> &[f32] {
        &self.unit
    }

    /// The embedding `[n]` of an item.
    pub fn embedding(&self, item: ItemId) -> &[f32] {
        &self.embeddings[item.row() * self.n_dims..][..self.n_dims]
    }

    /// The direction `[n]` of an item's embedding.
    pub fn unit_embedding(&self, item: ItemId) -> &[f32] {
        &self.unit[item.row() * self.n_dims..][..self.n_dims]
    }

    /// `[n_items]` category codes.
    pub fn categories(&self) -> &[u32] {
        &self.categories
    }

    /// `[n_items]` prices, 0 where unknown.
    pub fn prices(&self) -> &[f32] {
        &self.prices
    }

    /// Whether an id names a row of this table (padding does not).
    pub fn contains(&self, item: ItemId) -> bool {
        item.row() < self.n_items()
    }

    /// Writes the table as safetensors, atomically.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let shape = vec![self.n_items(), self.n_dims];
        let view = |dtype, shape, bytes| {
            TensorView::new(dtype, shape, bytes).expect("the shape was checked when the table was made")
        };
        let n = vec![self.n_items()];
        let tensors = BTreeMap::from([
            ("embeddings", view(Dtype::F32, shape, bytemuck::cast_slice(&self.embeddings))),
            ("categories", view(Dtype::U32, n.clone(), bytemuck::cast_slice(&self.categories))),
            ("prices", view(Dtype::F32, n, bytemuck::cast_slice(&self.prices))),
        ]);
        let metadata = [("bound".to_owned(), self.bound.to_string())].into();
        let file_error = |source| Error::File { path: path.display().to_string(), source };
        let bytes = safetensors::serialize(tensors, Some(metadata))
            .map_err(|e| Error::Format { path: path.display().to_string(), problem: e.to_string() })?;
        files::write_whole(path, &bytes).map_err(file_error)
    }

    /// SHA-256, in hex, of what a policy sees of the items: the box and the embeddings.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.n_dims as u64).to_le_bytes());
        hash.update(self.bound.to_le_bytes());
        hash.update(bytemuck::cast_slice::<f32, u8>(&self.embeddings));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`Self::save`] wrote, validating every row.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: name.clone(), source })?;
        let format = |problem: String| Error::Format { path: name.clone(), problem };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
        let bound = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get("bound"))
            .and_then(|b| b.parse().ok())
            .ok_or_else(|| format("metadata `bound` is missing".into()))?;
        let column = |column: &str, dtype: Dtype| {
            let tensor = tensors.tensor(column).map_err(|e| format(format!("tensor `{column}`: {e}")))?;
            if tensor.dtype() != dtype {
                return Err(format(format!("tensor `{column}` is {:?}, expected {dtype:?}", tensor.dtype())));
            }
            Ok(tensor)
        };
        let embeddings = column("embeddings", Dtype::F32)?;
        let &[_, n_dims] = embeddings.shape() else {
            return Err(format(format!("`embeddings` has shape {:?}, expected 2 axes", embeddings.shape())));
        };
        Self::new(
            n_dims,
            bound,
            bytemuck::pod_collect_to_vec(embeddings.data()),
            bytemuck::pod_collect_to_vec(column("categories", Dtype::U32)?.data()),
            bytemuck::pod_collect_to_vec(column("prices", Dtype::F32)?.data()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(embeddings: Vec<f32>) -> Result<ItemTable, Error> {
        let n = embeddings.len() / 2;
        ItemTable::new(2, 1.94, embeddings, vec![0; n], vec![0.0; n])
    }

    #[test]
    fn a_bad_embedding_is_refused_by_item_and_component() {
        let message = |embeddings| table(embeddings).unwrap_err().to_string();
        assert_eq!(
            message(vec![1.0, 0.0, 1.0, f32::NAN]),
            "embedding of item 1, component 1: NaN is not a finite number"
        );
        assert!(message(vec![1.94, 0.0]).contains("outside (-1.94, 1.94)"));
        assert!(message(vec![1.0, 0.0, 0.0, 0.0]).contains("item 1 is all zero"));
        assert!(matches!(table(vec![]), Err(Error::Empty)));
        assert!(matches!(table(vec![1.0, 0.0, 1.0]), Err(Error::Length { .. })));
    }

    #[test]
    fn a_saved_table_loads_equal_and_a_cut_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.safetensors");
        let items = table(vec![1.0, -1.0, 0.5, 0.25]).unwrap();
        items.save(&path).unwrap();
        assert_eq!(ItemTable::load(&path).unwrap(), items);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(ItemTable::load(&path).unwrap_err().to_string().contains("items.safetensors"));
    }
}
