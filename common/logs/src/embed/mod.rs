//! Item embeddings of a log.
//!
//! In: a canonical log; out: its item table with `e_0` .. `e_{n-1}` and a note in the manifest. Either from the sessions
//! of the training days (`cooccurrence`: which items are met together; `factorise`: PPMI matrix to vectors; `place`: items too
//! rare, and into the box (-B, B)), or from a file (`from_file`). Both replace what was there.
//!
//! Embeddings from sessions have seen *all* training sessions, also those that a later step (a simulator's validation, an
//! evaluation on training users) keeps aside to judge by. Whoever judges something on training users must know that the
//! embeddings have seen their sessions, and that new users may fare worse. Only the test days are unseen.
//!
//! PPMI with a truncated SVD is skip-gram with negative sampling in closed form (Levy and Goldberg 2014; the square root of
//! the singular values is their symmetric variant), and the same for the same seed.

mod cooccurrence;
mod factorise;
mod from_file;
mod place;
mod tall;

use std::path::Path;

use crate::{
    DEFAULT_BOUND, Error, Log, Manifest,
    canonical::{EmbeddingNote, Form, folder, items},
};

/// How sessions become embeddings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Size n of an embedding.
    pub n_dims: usize,
    /// Every component lies in (-B, B).
    pub bound: f32,
    /// Two items of a session are met together if at most so many interactions apart.
    pub window: usize,
    /// Seed of the factorisation.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { n_dims: 50, bound: DEFAULT_BOUND, window: 5, seed: 0 }
    }
}

impl Options {
    fn validate(&self) -> Result<(), Error> {
        let refuse = |key, value: String, expected: &str| {
            Err(Error::Option { key, value, expected: expected.to_owned() })
        };
        if !(1..=1024).contains(&self.n_dims) {
            return refuse("dims", self.n_dims.to_string(), "1 to 1024");
        }
        if !(1..=100).contains(&self.window) {
            return refuse("window", self.window.to_string(), "1 to 100");
        }
        if !(self.bound.is_finite() && self.bound > 0.0) {
            return refuse("bound", self.bound.to_string(), "a finite number above 0");
        }
        Ok(())
    }
}

/// How far an embedding is: rounds of the factorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So far.
    pub rounds: usize,
    /// Of so many.
    pub of: usize,
}

/// Embeds the items of a log by the sessions of its training days: all of them, none is kept aside.
pub fn embed(
    log_folder: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<EmbeddingNote, Error> {
    options.validate()?;
    let log = Log::open_without_embeddings(log_folder)?;
    let ppmi = cooccurrence::ppmi(&log, options.window);
    if ppmi.rows.is_empty() {
        let problem = "no two items are met together in the training sessions often enough to embed any; \
                       give embeddings with --from";
        return Err(Error::format(log_folder, problem));
    }
    let vectors = factorise::factorise(&ppmi.matrix, options.n_dims, options.seed, progress);
    let known = place::Known { rows: &ppmi.rows, categories: log.categories() };
    let placed = place::place(&vectors, &known, options);
    let note = EmbeddingNote {
        method: "ppmi-svd".into(),
        n_dims: options.n_dims,
        bound: options.bound,
        seed: Some(options.seed),
        window: Some(options.window),
        n_embedded: placed.n_embedded,
        n_category_centroid: placed.n_category_centroid,
        n_global_mean: placed.n_global_mean,
        n_unused: 0,
        scale: placed.scale,
    };
    save(log, placed.embeddings, &note)?;
    Ok(note)
}

/// Takes the embeddings of a log's items from a CSV or Parquet file with the columns `item_id` (or `key`, the data set's
/// own) and `e_0` .. `e_{n-1}`. Values that do not fit (-bound, bound) are scaled, all by one factor.
pub fn embed_from_file(log_folder: &Path, file: &Path, bound: f32) -> Result<EmbeddingNote, Error> {
    Options { bound, ..Options::default() }.validate()?;
    let log = Log::open_without_embeddings(log_folder)?;
    let taken = from_file::read(file, log.item_rows(), bound)?;
    let note = EmbeddingNote {
        method: "file".into(),
        n_dims: taken.n_dims,
        bound,
        seed: None,
        window: None,
        n_embedded: log.n_items() as u64,
        n_category_centroid: 0,
        n_global_mean: 0,
        n_unused: taken.n_unused,
        scale: taken.scale,
    };
    save(log, taken.embeddings, &note)?;
    Ok(note)
}

/// Writes the item table anew, in the form it has, and then the manifest.
fn save(log: Log, embeddings: Vec<f32>, note: &EmbeddingNote) -> Result<(), Error> {
    let folder = log.folder().to_owned();
    let form = Form::of(&folder::find(&folder, items::TABLE)?)?;
    let manifest = Manifest { embedding: Some(note.clone()), ..log.manifest().clone() };
    let items = items::Items { n_dims: note.n_dims, embeddings, ..log.into_items() };
    items.write(&folder, form)?;
    manifest.save(&folder)
}
