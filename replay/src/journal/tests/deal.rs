//! Contents dealt out to another number of shards.

use std::fs;

use super::support::*;
use crate::{
    Settings,
    journal::{deal::deal, folder},
};

/// The first of three shards has some history, the last one nothing, the one between no folder.
fn without_the_second(settings: &Settings) -> tempfile::TempDir {
    let data_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(data_dir.path(), files(), settings).unwrap();
    go_on(&mut History::new(30), &home, &mut shard, 60);
    fs::create_dir(data_dir.path().join("shard-2")).unwrap();
    data_dir
}

#[test]
fn a_shard_without_a_folder_is_named_before_anything_is_changed() {
    let data_dir = without_the_second(&small());
    let listed = || {
        let mut files: Vec<_> =
            ["shard-0", "shard-2"].map(|shard| named(&data_dir.path().join(shard), "")).concat();
        files.extend(named(data_dir.path(), ""));
        files
    };
    let before = listed();
    let error = deal(&small(), data_dir.path(), 2).unwrap_err().to_string();
    for part in [
        "shard-1 is missing",
        "nothing was changed",
        "Put that shard's folder back",
        "make an empty one",
        "shard-2 holds nothing",
    ] {
        assert!(error.contains(part), "`{error}` lacks `{part}`");
    }
    assert_eq!(listed(), before);
    // Given up.
    let missing = data_dir.path().join("shard-1");
    fs::create_dir(&missing).unwrap();
    let dealt = deal(&small(), data_dir.path(), 2).unwrap();
    assert!(dealt.low > 0 && !data_dir.path().join("shard-2").exists());
    assert_eq!(named(&dealt.before, "shard-").len(), 3);
    assert_eq!(named(data_dir.path(), "shard-").len(), 2);
    // As many as it was dealt out to may go on there.
    folder::open(data_dir.path(), 1, 2).unwrap();
    let error = folder::open(data_dir.path(), 2, 3).err().unwrap().to_string();
    assert!(error.contains("shard-0 is one of 2 shards"), "{error}");
}
