//! Logs of a few lines, written by hand.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;

use logs::{Error, Log};
use tempfile::TempDir;

pub(crate) const ITEMS: &str = "item_id,category,price,e_0,e_1\n7,0,1.5,1,0\n9,,,0,-1\n100,3,2,0.5,0.5\n";

pub(crate) const ROWS: &str = "user_id,session_id,position,timestamp,item_id,feedback,split\n\
    5,1,1,2000,9,1,train\n\
    5,1,0,1000,7,0,train\n\
    5,0,0,9000,100,2,test\n\
    2,0,0,3000,7,0,train\n";

/// A folder with the given files.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub(crate) fn log(rows: &str, items: &str) -> Result<Log, Error> {
    Log::open(folder(&[("log.csv", rows), ("items.csv", items)]).path())
}

/// Everything of a log that can be compared.
pub(crate) fn contents(log: &Log) -> (Vec<String>, Vec<u64>, String) {
    let sessions = log.sessions().map(|session| format!("{session:?}")).collect();
    (
        sessions,
        log.item_ids().to_vec(),
        format!("{:?} {:?} {:?}", log.categories(), log.item_keys(), log.items().ok()),
    )
}

/// The whole chain of an error on one line, without the test's own folder.
pub(crate) fn message(error: &Error, folder: &Path) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text.replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), "LOG")
}
