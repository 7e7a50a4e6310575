//! What an imported log and its simulators hold, in a few bytes: a cell is kept for that, not for their path.

use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use logs::canonical::MANIFEST_FILE;
use sha2::{Digest, Sha256};

use crate::simulator::REPORT_FILE;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Of a log's folder; nothing of the built-in world. A file that is not there is none: what a cell cannot do without is said when
/// it is opened.
pub(super) fn of(env: &str) -> Vec<u8> {
    let folder = Path::new(env);
    let reports = ["train", "test"].map(|which| sim::simulator_path(folder, which).join(REPORT_FILE));
    let table = |name: &str| ["parquet", "csv"].map(|form| folder.join(format!("{name}.{form}")));
    let tables = ["log", "items"].map(table).into_iter().flatten();
    reports.into_iter().chain(tables).chain([folder.join(MANIFEST_FILE)]).flat_map(digest).collect()
}

/// The digest of a file. Cells are many and a log may be large, so that a file is read once, until it is another one.
fn digest(path: PathBuf) -> Vec<u8> {
    type Known = BTreeMap<(PathBuf, u64, Option<SystemTime>), Vec<u8>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let Ok(file) = File::open(&path) else { return Vec::new() };
    let metadata = file.metadata().ok();
    let key = (path, metadata.as_ref().map_or(0, Metadata::len), metadata.and_then(|of| of.modified().ok()));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(key).or_insert_with(|| read(file)).clone()
}

fn read(mut file: File) -> Vec<u8> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return hash.finalize().to_vec(),
            Ok(n) => hash.update(&piece[..n]),
            Err(_) => return Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_whose_simulators_were_fitted_again_is_another_world() {
        let log = tempfile::tempdir().unwrap();
        let env = log.path().display().to_string();
        let report = sim::simulator_path(log.path(), "train").join(REPORT_FILE);
        fs::create_dir_all(report.parent().unwrap()).unwrap();
        let mut found = vec![of(&env)];
        for (path, text) in [
            (&report, "refused"),
            (&report, "accepted"),
            (&log.path().join(MANIFEST_FILE), "{}"),
            (&log.path().join("items.csv"), "item_id"),
            (&log.path().join("log.csv"), "user_id"),
        ] {
            fs::write(path, text).unwrap();
            found.push(of(&env));
        }
        assert_eq!(of(&env), found[5]);
        found.sort_unstable();
        found.dedup();
        assert_eq!((found.len(), of("shopworld").len()), (6, 0));
    }
}
