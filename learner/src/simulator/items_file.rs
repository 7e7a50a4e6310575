//! The item table that a simulator was fitted to, as a file of the log: its bytes tell whether it is still the same.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use logs::{Log, canonical::Form};
use sha2::{Digest, Sha256};
use sim::learned;

use super::{AcceptanceReport, Error};

/// The item table of a log, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemsFile {
    pub(crate) path: PathBuf,
    /// Of its bytes, in hex.
    pub(crate) sha256: String,
}

/// The item table of a log, if its embeddings are others than those that the simulator in `folder` was fitted to.
pub(crate) fn other_items(
    log: &Path,
    folder: &Path,
    report: &AcceptanceReport,
) -> Result<Option<PathBuf>, Error> {
    // Where the simulators are all that was kept of the log, there is nothing they could disagree with.
    let Some(items) = log_items(log)?.filter(|items| items.sha256 != report.items_sha256) else {
        return Ok(None);
    };
    // Of the file other columns may have changed since, or its form.
    let now = Log::read_items(log)?;
    let fitted = learned::items(folder)?;
    Ok((now.fingerprint() != fitted.fingerprint()).then_some(items.path))
}

/// Tells whether a log's items are still those that a simulator was fitted to, without reading the log; `None` where
/// the folder holds no item table.
pub(crate) fn log_items(log: &Path) -> Result<Option<ItemsFile>, Error> {
    for form in [Form::Parquet, Form::Csv] {
        let path = log.join(format!("items.{}", form.extension()));
        match std::fs::read(&path) {
            Ok(bytes) => {
                let mut sha256 = String::new();
                for byte in Sha256::digest(&bytes) {
                    write!(sha256, "{byte:02x}").expect("a string takes all that is written");
                }
                return Ok(Some(ItemsFile { path, sha256 }));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file(&path, error)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_table_is_found_in_either_form_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(log_items(folder.path()).unwrap(), None);
        let path = folder.path().join("items.csv");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(log_items(folder.path()).unwrap(), Some(ItemsFile { path, sha256 }));
    }
}
