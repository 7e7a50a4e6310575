//! Cells over the cores: each a process, as many at once as asked for.
//!
//! In: cells, a folder, a number of jobs; out: the results in the order of the cells. One that is there is not run again.
//! Owner of the processes it starts: they are ended whenever this ends.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Cell, CellResult};
use crate::{run_dir::write_whole, train::Interrupt};

/// Between two looks at the processes.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// A process at work on a cell.
struct Job {
    process: Child,
    folder: PathBuf,
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of a cell.
pub fn folder(out: &Path, cell: &Cell) -> PathBuf {
    out.join("cells").join(cell.name())
}

/// Cells of a list that have no result in `out`, each once.
pub fn missing(out: &Path, cells: &[Cell]) -> Vec<Cell> {
    let mut missing: Vec<Cell> = Vec::new();
    for cell in cells {
        if !missing.contains(cell) && CellResult::read(&folder(out, cell), cell).is_none() {
            missing.push(cell.clone());
        }
    }
    missing
}

/// Runs what is missing of `cells`; `progress` is told how many are done. False if interrupted.
///
/// # Errors
/// A cell that failed: the error names its log.
pub fn run(
    out: &Path,
    cells: &[Cell],
    jobs: usize,
    interrupt: &Interrupt,
    progress: impl Fn(usize),
) -> Result<bool> {
    let mut waiting: VecDeque<Cell> = missing(out, cells).into();
    let mut at_work: Vec<Job> = Vec::new();
    let mut done = 0;
    loop {
        if interrupt.raised() {
            return Ok(false);
        }
        while at_work.len() < jobs {
            let Some(cell) = waiting.pop_front() else { break };
            at_work.push(start(out, &cell)?);
        }
        if at_work.is_empty() {
            return Ok(true);
        }
        std::thread::sleep(LOOK_AROUND);
        let mut still = Vec::new();
        for mut job in at_work {
            match job.process.try_wait().context("cannot ask after a process")? {
                None => still.push(job),
                Some(status) if status.success() => {
                    done += 1;
                    progress(done);
                }
                Some(status) => {
                    let log = log(&job.folder);
                    let text = fs::read_to_string(&log).unwrap_or_default();
                    let last = text.lines().last().unwrap_or("it said nothing");
                    bail!("a cell ended with {status}: {last} (its log: {})", log.display());
                }
            }
        }
        at_work = still;
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log.txt")
}

fn start(out: &Path, cell: &Cell) -> Result<Job> {
    let folder = folder(out, cell);
    if folder.exists() {
        // What did not end, or was another cell's.
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let json = serde_json::to_vec_pretty(cell).context("a cell is no JSON")?;
    write_whole(&folder.join("cell.json"), &json)?;
    let path = log(&folder);
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let process = Command::new(std::env::current_exe().context("cannot find this program's own file")?)
        .arg("cell")
        .arg(&folder)
        .env(node::shutdown::PARENT, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .context("cannot start this program for a cell")?;
    Ok(Job { process, folder })
}

/// What the process of a cell does.
///
/// # Errors
/// Whatever stops the cell.
pub fn work(folder: &Path) -> Result<()> {
    node::shutdown::end_with_parent();
    let path = folder.join("cell.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let cell: Cell = serde_json::from_str(&text).with_context(|| format!("{} is no cell", path.display()))?;
    cell.run(folder)?.write(folder)
}
