//! Embeddings from a user's file. In: `item_id` (or `key`) and `e_0` .. `e_{n-1}`; out: `[n_items, n]` for a log's items.

use std::{collections::HashMap, path::Path};

use arrow_array::{Array, types::UInt64Type};

use crate::{
    Error,
    canonical::{
        items::{Items, count_dims},
        table::{Chunk, TableReader, row_error},
    },
};

/// Largest component as a share of the bound, once all are scaled.
const SHARE_OF_BOUND: f32 = 0.999;

/// An item whose largest component is so many times that of the median item is a mistake: one factor for all would leave nothing
/// of the others.
const FAR_BEYOND: f32 = 1_000.0;

/// What a file says of the items of a log.
pub(super) struct Taken {
    pub(super) n_dims: usize,
    /// `[n_items, n_dims]`
    pub(super) embeddings: Vec<f32>,
    /// Rows whose items are not in the log.
    pub(super) n_unused: u64,
    /// Factor applied to all so that they fit the bound; 1 where they did.
    pub(super) scale: f32,
}

/// Reads and checks a file: every item of the log once, every value finite, no embedding zero.
pub(super) fn read(path: &Path, items: &Items, bound: f32) -> Result<Taken, Error> {
    let mut reader = TableReader::open(path)?;
    let names = Names::of(&reader, items)?;
    reader.check_columns(&[names.column()], |name| name.starts_with("e_"))?;
    let n_dims = count_dims(&reader)?;
    if n_dims == 0 {
        return Err(reader.error("columns e_0, e_1, ... are missing"));
    }
    let mut embeddings = vec![0.0; items.n_items() * n_dims];
    let mut lines: Vec<Option<u64>> = vec![None; items.n_items()];
    let mut n_unused = 0;
    while let Some(chunk) = reader.next_chunk()? {
        let rows = names.rows(&chunk, items)?;
        let columns = chunk.embeddings(n_dims)?;
        for (row, item) in rows.into_iter().enumerate() {
            let Some(item) = item else {
                n_unused += 1;
                continue;
            };
            if let Some(line) = lines[item] {
                let problem = format!("item {} stands already in line {line}", names.name(item, items));
                return Err(chunk.error(row, problem));
            }
            lines[item] = Some(chunk.line(row));
            let embedding = &mut embeddings[item * n_dims..][..n_dims];
            embedding.iter_mut().zip(&columns).for_each(|(value, column)| *value = column.value(row));
            if embedding.iter().all(|&value| value == 0.0) {
                return Err(chunk.error(row, "the embedding is all zero: it has no direction"));
            }
        }
    }
    if let Some(first) = lines.iter().position(Option::is_none) {
        let n_missing = lines.iter().filter(|line| line.is_none()).count();
        let problem =
            format!("{n_missing} items of the log are missing, the first is {}", names.name(first, items));
        return Err(reader.error(problem));
    }
    let largest_of = |embedding: &[f32]| embedding.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let largest: Vec<f32> = embeddings.chunks_exact(n_dims).map(largest_of).collect();
    let (item, most) =
        largest.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or((0, 0.0), |of| (of.0, *of.1));
    let scale = if most < bound { 1.0 } else { SHARE_OF_BOUND * bound / most };
    let usual = median(largest);
    if scale < 1.0 && most > FAR_BEYOND * usual {
        let problem = format!(
            "item {} has a component of size {most:e}, half of the items none above {usual:e}: scaled by one factor, the others \
             would vanish; correct it, or leave the item out of the log",
            names.name(item, items)
        );
        return Err(row_error(path, lines[item].unwrap_or_default(), problem));
    }
    if scale < 1.0 {
        embeddings.iter_mut().for_each(|value| *value *= scale);
    }
    Ok(Taken { n_dims, embeddings, n_unused, scale })
}

/// The value in the middle; 0 of none.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

/// How the file names items.
enum Names {
    /// By `item_id`.
    Ids,
    /// By `key`: rows of the item table.
    Keys(HashMap<String, usize>),
}

impl Names {
    fn of(reader: &TableReader, items: &Items) -> Result<Self, Error> {
        let has = |name: &str| reader.columns().iter().any(|column| column == name);
        match (has("item_id"), has("key"), &items.keys) {
            (true, true, _) => Err(reader.error("both `item_id` and `key` are there, one is expected")),
            (_, false, _) => Ok(Self::Ids),
            (false, true, None) => {
                Err(reader.error("column `key`: the items of the log have no keys, use `item_id`"))
            }
            (false, true, Some(keys)) => {
                let mut rows = HashMap::with_capacity(keys.len());
                match keys.iter().enumerate().find(|(row, key)| rows.insert((*key).clone(), *row).is_some()) {
                    Some((_, key)) => {
                        let problem = format!(
                            "column `key`: several items of the log have the key `{key}`, use `item_id`"
                        );
                        Err(reader.error(problem))
                    }
                    None => Ok(Self::Keys(rows)),
                }
            }
        }
    }

    fn column(&self) -> &'static str {
        match self {
            Self::Ids => "item_id",
            Self::Keys(_) => "key",
        }
    }

    /// The row of the item table for each row of a chunk; none where the log does not have the item.
    fn rows(&self, chunk: &Chunk, items: &Items) -> Result<Vec<Option<usize>>, Error> {
        match self {
            Self::Ids => {
                let ids = chunk.numbers::<UInt64Type>("item_id")?;
                Ok(ids.values().iter().map(|&id| items.row(id).map(|row| row as usize)).collect())
            }
            Self::Keys(rows) => {
                let keys = chunk.texts("key")?;
                Ok((0..keys.len()).map(|row| rows.get(keys.value(row)).copied()).collect())
            }
        }
    }

    fn name(&self, item: usize, items: &Items) -> String {
        match (self, &items.keys) {
            (Self::Keys(_), Some(keys)) => format!("`{}`", keys[item]),
            _ => items.ids[item].to_string(),
        }
    }
}
