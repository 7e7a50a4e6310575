//! What a run leaves on disk.
//!
//! | file | holds |
//! |---|---|
//! | `config.toml` | every setting, written out |
//! | `metrics.jsonl` | one JSON object a line, see [`metrics`] and docs/metrics.md; equal runs in lockstep give equal bytes |
//! | `timing.jsonl` | what depends on the machine: rates and shares of time |
//! | `events/` | the same for TensorBoard |
//! | `checkpoints/` | see [`crate::checkpoint`] |
//! | `numbers.json` | cluster: numbers that no process of the run may use again |
//! | `policy.safetensors` | the newest weights of all four online networks |
//! | `history_greedy.safetensors` | the supervised reference, once trained |
//! | `evaluation.json` | the final table |
//! | `ranking-{static,sequential}.{json,csv}` | logged sessions ranked anew, once `learner rank` was asked |
//! | `report.html` | plots and the table in one file |

mod lines;
pub mod metrics;
pub mod report;
pub mod tensorboard;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{ItemTable, config::Config, files};
pub use lines::{JsonLines, read_lines};

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be accessed.
    #[error("cannot {action} {path}")]
    File {
        /// E.g. `read`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A new run would mix with what is there.
    #[error("{path} is not empty; choose another --run-dir, or go on with that run by --resume")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that is no run.
    #[error("{path} is no run directory: {missing} is missing")]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What a run directory has.
        missing: &'static str,
    },
    /// The world's items are no longer those that the run has learned with.
    #[error("{path} has learned with other embeddings than `{world}` holds: put those back, or train anew")]
    OtherItems {
        /// The folder.
        path: PathBuf,
        /// The run's world.
        world: String,
    },
    /// Another process trains in it.
    #[error("{path} is in use: another learner trains there")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file that lost what it held when a checkpoint was written.
    #[error("{path} has {found} bytes, but had {expected} at the checkpoint: it was changed since")]
    Short {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// Its length at the checkpoint.
        expected: u64,
    },
    /// A line that is no record.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// A run directory on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

const CONFIG: &str = "config.toml";
const ITEMS: &str = "items.sha256";

/// The default of `--run-dir`: `runs/<env>-<preset>-<seed>`, with `-2`, `-3`, ... where that is taken.
pub fn default_path(config: &Config) -> PathBuf {
    let preset = config.preset.name();
    let world = world_name(&config.environment.name);
    let base = format!("{world}-{preset}-{}", config.seed);
    let name = |k: u32| Path::new("runs").join(if k == 1 { base.clone() } else { format!("{base}-{k}") });
    (1..).map(name).find(|path| !path.exists()).expect("some number is free")
}

/// A world as part of a file name: of a log, its folder's name, however its path is written.
fn world_name(name: &str) -> String {
    let path = Path::new(name);
    let resolved = if path.is_dir() { path.canonicalize().ok() } else { None };
    let folder = resolved.as_deref().unwrap_or(path).file_name();
    folder.map_or_else(|| "log".to_owned(), |folder| folder.to_string_lossy().replace(':', "-"))
}

impl RunDir {
    /// A new run in a new or empty folder; writes its settings.
    pub fn create(path: &Path, config: &Config) -> Result<Self, Error> {
        // But for what a process left that was killed before it had a name.
        let is_whole = |entry: fs::DirEntry| !files::is_partial(&entry.path());
        let occupied = fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(is_whole));
        if occupied {
            return Err(Error::NotEmpty { path: path.to_owned() });
        }
        let run_dir = Self { path: path.to_owned() };
        // The settings first: whoever is killed behind them has left a run that can be opened.
        fs::create_dir_all(path).map_err(file_error("create", path))?;
        write_whole(&run_dir.config_path(), config.to_toml().as_bytes())?;
        run_dir.make_folders()?;
        Ok(run_dir)
    }

    /// A run that is there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let run_dir = Self { path: path.to_owned() };
        if !path.is_dir() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such folder");
            return Err(Error::File { action: "open the run directory", path: path.to_owned(), source });
        }
        if !run_dir.config_path().is_file() {
            return Err(Error::NoRun { path: path.to_owned(), missing: CONFIG });
        }
        Ok(run_dir)
    }

    /// A run that is there and will go on.
    pub fn resume(path: &Path) -> Result<Self, Error> {
        let run_dir = Self::open(path)?;
        run_dir.make_folders()?;
        files::remove_abandoned(path).map_err(file_error("clear", path))?;
        Ok(run_dir)
    }

    fn make_folders(&self) -> Result<(), Error> {
        for folder in [self.checkpoints_path(), self.events_path()] {
            fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
        }
        Ok(())
    }

    /// Notes the items that the run learns with, see [`Self::check_items`]; whether it had noted them before.
    pub fn keep_items(&self, items: &ItemTable, world: &str) -> Result<bool, Error> {
        let noted = self.check_items(items, world)?;
        write_whole(&self.path.join(ITEMS), items.fingerprint().as_bytes()).map(|()| noted)
    }

    /// Refuses items that the run has not learned with; `world` is where they are from. A run that has noted none takes all: false.
    pub fn check_items(&self, items: &ItemTable, world: &str) -> Result<bool, Error> {
        let path = self.path.join(ITEMS);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(file_error("read", &path)(error)),
            Ok(noted) if noted == items.fingerprint() => Ok(true),
            Ok(_) => Err(Error::OtherItems { path: self.path.clone(), world: world.to_owned() }),
        }
    }

    /// Where the numbers of a cluster's run are.
    pub fn numbers_of(path: &Path) -> PathBuf {
        path.join("numbers.json")
    }

    /// Whether a folder holds a run.
    pub fn holds_run(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// Keeps other processes from training in it until what it returns is dropped. The folder itself is locked: its files
    /// are replaced now and then.
    pub fn lock(&self) -> Result<fs::File, Error> {
        let file = fs::File::open(&self.path).map_err(file_error("open", &self.path))?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: self.path.clone() }),
            // A file system without locks: go on without.
            Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(file),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// `checkpoints/`.
    pub fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// `events/`.
    pub fn events_path(&self) -> PathBuf {
        self.path.join("events")
    }

    /// `metrics.jsonl`.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `timing.jsonl`.
    pub fn timing_path(&self) -> PathBuf {
        self.path.join("timing.jsonl")
    }

    /// `policy.safetensors`.
    pub fn policy_path(&self) -> PathBuf {
        self.path.join("policy.safetensors")
    }

    /// `history_greedy.safetensors`.
    pub fn history_greedy_path(&self) -> PathBuf {
        self.path.join("history_greedy.safetensors")
    }

    /// `evaluation.json`.
    pub fn evaluation_path(&self) -> PathBuf {
        self.path.join("evaluation.json")
    }

    /// `report.html`.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

/// Writes a file that is whole or absent: beside, synced, renamed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write_whole(path, bytes).map_err(file_error("write", path))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_run_refuses_a_folder_that_holds_something() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        RunDir::create(&path, &Config::default()).unwrap();
        let error = RunDir::create(&path, &Config::default()).unwrap_err();
        assert!(matches!(error, Error::NotEmpty { .. }) && error.to_string().contains("--resume"));
        assert_eq!(
            Config::load_run(&RunDir::open(&path).unwrap().config_path(), &[]).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_run_whose_process_was_killed_as_it_began_can_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.partial"), "preset").unwrap();
        let run_dir = RunDir::create(&path, &Config::default()).unwrap();
        fs::remove_dir(run_dir.checkpoints_path()).unwrap();
        assert!(RunDir::holds_run(&path));
        assert!(RunDir::resume(&path).unwrap().checkpoints_path().is_dir());
    }

    #[test]
    fn a_run_is_named_after_its_world_however_the_path_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("taobao");
        fs::create_dir(&log).unwrap();
        let name = |suffix: &str| world_name(&format!("{}{suffix}", log.display()));
        assert_eq!([name(""), name("/"), name("/."), name("/../taobao")], ["taobao"; 4]);
        assert_eq!(
            [world_name("shopworld"), world_name("shopworld:dense")],
            ["shopworld", "shopworld-dense"]
        );
    }

    #[test]
    fn a_folder_that_is_no_run_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is no run directory: config.toml is missing"), "{error}");
        assert!(RunDir::open(&folder.path().join("nowhere")).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn a_run_directory_is_locked_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(&folder.path().join("run"), &Config::default()).unwrap();
        let lock = run_dir.lock().unwrap();
        write_whole(&run_dir.config_path(), b"").unwrap();
        assert!(matches!(run_dir.lock(), Err(Error::InUse { .. })));
        drop(lock);
        run_dir.lock().unwrap();
    }

    #[test]
    fn lines_behind_a_checkpoint_are_cut_off_and_a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        let mut lines = JsonLines::append_behind(&path, 0).unwrap();
        lines.push(&1).unwrap();
        let keep = lines.bytes();
        lines.push(&2).unwrap();
        let mut lines = JsonLines::append_behind(&path, keep).unwrap();
        lines.push(&3).unwrap();
        assert_eq!(read_lines::<i32>(&path).unwrap(), [1, 3]);
        let error = JsonLines::append_behind(&path, 5).unwrap_err().to_string();
        assert!(error.contains("has 4 bytes, but had 5"), "{error}");
        fs::write(&path, "1\nx\n").unwrap();
        assert!(read_lines::<i32>(&path).unwrap_err().to_string().contains("line 2"));
    }
}
