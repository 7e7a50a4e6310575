//! The contents of all shards of a data directory, dealt out to another number of shards.
//!
//! In: folders that no process serves; out: as many folders as asked for, each with a snapshot, and those of before put
//! aside in `before-reshard-K`. The new folders are written in full before the old ones are moved; after a crash on the way
//! no shard starts until somebody has looked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Error, disk::Files, folder, log::Identity, recover, snapshot};
use crate::{
    Settings,
    server::draw_uid,
    shard::{Shard, reshard::deal_out},
};

/// What was dealt out.
#[derive(Debug)]
pub(crate) struct Dealt {
    /// Shards that were there.
    pub(crate) shards: usize,
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// Where the folders of before are.
    pub(crate) before: PathBuf,
}

/// See the module. Of `settings` run, shape and capacities count.
pub(crate) fn deal(settings: &Settings, data_dir: &Path, n_shards: usize) -> Result<Dealt, crate::Error> {
    settings.validate_shards(n_shards)?;
    let staged = folder::staged(data_dir)?;
    let found = folder::shards(data_dir)?;
    let Some(&last) = found.last() else {
        let problem = format!("{} holds no shard", data_dir.display());
        return Err(crate::Error::invalid("replay.data_dir", problem));
    };
    // Opening a shard makes its folder: its rows would be lost without a word, and the folder in the way further down.
    if let Some(&missing) = folder::missing(&found).first() {
        let empty = folder::empty(data_dir, &found[missing..])?;
        return Err(Error::Missing { folder: folder::of(data_dir, missing), empty }.into());
    }
    let (mut old, mut locks) = (Vec::new(), Vec::new());
    for shard in 0..=last {
        let (folder, lock) = folder::lock(data_dir, shard)?;
        let mut contents = Shard::new(settings, shard, last + 1);
        let recovered = recover::recover(&folder, &settings.run_id, &mut contents)?;
        locks.push((recovered.uid, lock));
        old.push(contents);
    }
    let mut new = deal_out(settings, &old, n_shards);
    let [mut low, mut high] = [0, 0];
    fs::create_dir_all(&staged).map_err(Error::file("create", &staged))?;
    for (shard, contents) in new.iter_mut().enumerate() {
        let folder = folder::of(&staged, shard);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let identity = Identity { run_id: settings.run_id.clone(), uid: draw_uid() };
        folder::say(&folder, n_shards)?;
        // Not at 0: a journal that begins there would have no snapshot.
        snapshot::write(&Files, &folder, &identity, 1, contents.image())
            .map_err(Error::file("write", &folder))?;
        let totals = contents.totals();
        (low, high) = (low + totals[0].size, high + totals[1].size);
    }
    let before = (1..).map(|k| data_dir.join(format!("before-reshard-{k}"))).find(|path| !path.exists());
    let before = before.expect("some number is free");
    fs::create_dir(&before).map_err(Error::file("create", &before))?;
    for shard in 0..=last {
        let (from, to) = (folder::of(data_dir, shard), folder::of(&before, shard));
        fs::rename(&from, &to).map_err(Error::file("move", &from))?;
    }
    for shard in 0..n_shards {
        let (from, to) = (folder::of(&staged, shard), folder::of(data_dir, shard));
        fs::rename(&from, &to).map_err(Error::file("move", &from))?;
    }
    fs::remove_dir(&staged).map_err(Error::file("remove", &staged))?;
    Ok(Dealt { shards: last + 1, low, high, before })
}
