//! A trained policy as files that other programs read: without this project, without Rust.
//!
//! In: a run's weights, settings and items; out: a folder (docs/export.md):
//!
//! | file | holds |
//! |---|---|
//! | `policy.json` | settings, shapes, the inputs and outputs of the modules, see [`Description`] |
//! | `policy.safetensors` | the four networks, f32 |
//! | `items.safetensors` | embeddings, categories and prices of the catalogue |
//! | `items.csv` | the row of each item: its id, and the data set's own key where there is one |
//! | `goals.pt` | TorchScript: windows in, goals of the period out |
//! | `policy.pt` | TorchScript: windows and goals in, cosines of the virtual action with all items out |
//! | `critic.pt` | TorchScript: windows, goals and items in, Q values out |
//!
//! A build without libtorch leaves the three modules out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`script`] | the networks as traceable torch operations |
//! | [`description`] | `policy.json` |

pub mod description;
#[cfg(feature = "torch")]
pub mod script;

use std::path::{Path, PathBuf};

use agent::Weights;
use common::{ItemTable, config::Config};
use logs::Log;

pub use description::Description;

use crate::run_dir;

/// All files of an export.
const FILES: [&str; 7] = [
    "policy.json",
    "policy.safetensors",
    "items.safetensors",
    "items.csv",
    "goals.pt",
    "policy.pt",
    "critic.pt",
];

/// Why a policy cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is ever overwritten.
    #[error("{path} is not empty; name a new folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error("cannot create {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] run_dir::Error),
    /// The items cannot be written.
    #[error(transparent)]
    Items(#[from] common::items::Error),
    /// The weights are not those of the settings.
    #[error("the weights do not fit the run's settings")]
    Weights(#[from] agent::Error),
    /// Torch refuses to trace or to write a module.
    #[cfg(feature = "torch")]
    #[error("cannot write the TorchScript module {path}")]
    Script {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: tch::TchError,
    },
}

/// Writes the files into a new or empty folder, all or, after an error, none. `log` names the items where the run learned with one.
pub fn export(
    folder: &Path,
    config: &Config,
    weights: &Weights<'_>,
    items: &ItemTable,
    log: Option<&Log>,
) -> Result<(), Error> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::NotEmpty { path: folder.to_owned() });
    }
    // Before anything is written: weights that do not fit are refused here.
    #[cfg(feature = "torch")]
    let networks = script::Networks::new(weights, &config.model, items)?;
    #[cfg(not(feature = "torch"))]
    agent::Policy::new(weights, &config.model, std::sync::Arc::new(items.clone()))?;
    let failed = |source| Error::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let written = write_tables(folder, weights, (items, log));
    #[cfg(feature = "torch")]
    let written = written.and_then(|()| write_modules(&networks, folder));
    // Last: where it is, the others are.
    let description = Description::new(config, weights, items).to_json();
    let written =
        written.and_then(|()| Ok(run_dir::write_whole(&folder.join("policy.json"), description.as_bytes())?));
    if written.is_err() {
        // A folder that is not empty would be refused when the same is tried again.
        for name in FILES {
            let _absent = std::fs::remove_file(folder.join(name));
        }
    }
    written
}

/// Weights and items.
fn write_tables(
    folder: &Path,
    weights: &Weights<'_>,
    (items, log): (&ItemTable, Option<&Log>),
) -> Result<(), Error> {
    run_dir::write_whole(&folder.join("policy.safetensors"), &weights.to_safetensors())?;
    items.save(&folder.join("items.safetensors"))?;
    Ok(run_dir::write_whole(&folder.join("items.csv"), names(items, log).as_bytes())?)
}

/// The TorchScript modules.
#[cfg(feature = "torch")]
fn write_modules(networks: &script::Networks, folder: &Path) -> Result<(), Error> {
    for (name, module) in [
        ("goals.pt", networks.trace_goals()),
        ("policy.pt", networks.trace_policy()),
        ("critic.pt", networks.trace_critic()),
    ] {
        let path = folder.join(name);
        let written = module.and_then(|module| module.save(&path));
        written.map_err(|source| Error::Script { path, source })?;
    }
    Ok(())
}

/// `row,item_id,category,key`: what a row of the item table is in the log. In the built-in world an item's id is its row.
fn names(items: &ItemTable, log: Option<&Log>) -> String {
    let mut text = "row,item_id,category,key\n".to_owned();
    for row in 0..items.n_items() {
        let id = log.map_or(row as u64, |log| log.item_ids()[row]);
        let key = log.and_then(Log::item_keys).map_or("", |keys| &keys[row]);
        // The table has a number for unknown ones, too.
        let category = log.map_or(Some(items.categories()[row]), |log| log.categories()[row]);
        let category = category.map_or_else(String::new, |category| category.to_string());
        text += &format!("{row},{id},{category},{}\n", quoted(key));
    }
    text
}

/// A cell of CSV.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
