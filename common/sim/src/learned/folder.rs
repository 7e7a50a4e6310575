//! The folder of a learned simulator.

use std::{path::Path, sync::Arc};

use common::ItemTable;
use sha2::{Digest, Sha256};

use super::{LearnedModel, LogStatistics, Tensors};
use crate::Error;

/// The catalogue's file.
pub const ITEMS_FILE: &str = "items.safetensors";
/// The networks' file.
pub const MODEL_FILE: &str = "model.safetensors";
/// The log statistics' file.
pub const LOG_FILE: &str = "log.safetensors";
const MODEL_FORMAT: &str = "mahrl.simulator.1";
const LOG_FORMAT: &str = "mahrl.simulator.log.1";

/// Writes a simulator into a folder that exists; nothing is written if the tensors are no model of this catalogue.
/// Each file appears whole.
pub fn save(
    folder: &Path,
    items: &Arc<ItemTable>,
    model: &Tensors,
    log: &LogStatistics,
) -> Result<(), Error> {
    LearnedModel::new(items.clone(), model)?;
    let log = log.tensors()?;
    LogStatistics::from_tensors(items, &log)?;
    items.save(&folder.join(ITEMS_FILE)).map_err(items_error)?;
    model.write(&folder.join(MODEL_FILE), MODEL_FORMAT)?;
    log.write(&folder.join(LOG_FILE), LOG_FORMAT)
}

/// Reads what [`save`] wrote; every value is checked, and an error names the file.
pub fn load(folder: &Path) -> Result<(Arc<LearnedModel>, Arc<LogStatistics>), Error> {
    load_networks(folder, Arc::new(items(folder)?))
}

/// SHA-256, in hex, of what a simulator's networks and log statistics are, as files.
pub fn fingerprint(folder: &Path) -> Result<String, Error> {
    let mut hash = Sha256::new();
    for path in [MODEL_FILE, LOG_FILE].map(|file| folder.join(file)) {
        let bytes = std::fs::read(&path)
            .map_err(|source| Error::File { path: path.display().to_string(), source })?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The catalogue of a simulator.
pub fn items(folder: &Path) -> Result<ItemTable, Error> {
    ItemTable::load(&folder.join(ITEMS_FILE)).map_err(items_error)
}

/// The same for a simulator over a catalogue that is there already, of which no second copy is kept. Refused where the
/// folder holds another catalogue: item ids would name other items.
pub fn load_over(
    folder: &Path,
    items: &Arc<ItemTable>,
) -> Result<(Arc<LearnedModel>, Arc<LogStatistics>), Error> {
    if self::items(folder)? != **items {
        return Err(Error::Build(format!(
            "{} holds other items than the simulator beside it: fit both",
            folder.join(ITEMS_FILE).display()
        )));
    }
    load_networks(folder, items.clone())
}

fn load_networks(
    folder: &Path,
    items: Arc<ItemTable>,
) -> Result<(Arc<LearnedModel>, Arc<LogStatistics>), Error> {
    let in_file = |file: &str, error: Error| match error {
        Error::Build(problem) => Error::Build(format!("{}: {problem}", folder.join(file).display())),
        other => other,
    };
    let model = Tensors::read(&folder.join(MODEL_FILE), MODEL_FORMAT)?;
    let model = LearnedModel::new(items.clone(), &model).map_err(|error| in_file(MODEL_FILE, error))?;
    let log = Tensors::read(&folder.join(LOG_FILE), LOG_FORMAT)?;
    let log = LogStatistics::from_tensors(&items, &log).map_err(|error| in_file(LOG_FILE, error))?;
    Ok((Arc::new(model), Arc::new(log)))
}

fn items_error(error: common::items::Error) -> Error {
    match error {
        common::items::Error::File { path, source } => Error::File { path, source },
        other => Error::Build(other.to_string()),
    }
}
