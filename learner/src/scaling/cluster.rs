//! A real cluster on this machine, for one run; without an actor the single node that clusters are held against.
//!
//! In: settings, numbers of actors and shards, a folder; out: a finished run directory and the [`CpuUse`] of its processes.
//! The programs `replay` and `actor` lie beside this one, which is the learner. Owner of all processes it starts:
//! they are ended by their ids whenever this ends, by an error or Ctrl-C too (they are in a process group of their own, so
//! that Ctrl-C on the terminal reaches them through here only).

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use common::config::Config;

use super::{
    cpu::{CpuSample, CpuUse, process_s},
    study::SINGLE_NODE,
};
use crate::{
    run_dir::{RunDir, metrics::TimingRecord, read_lines},
    train::Interrupt,
};

/// Between two looks at the processes.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    learner: PathBuf,
    actor: PathBuf,
    replay: PathBuf,
}

impl Programs {
    /// Those beside this program.
    ///
    /// # Errors
    /// One is missing: the error says how to build it.
    pub fn find() -> Result<Self> {
        let learner = std::env::current_exe().context("cannot find this program's own file")?;
        let folder = learner.parent().context("this program's file lies in no folder")?.to_owned();
        Self::beside(learner, &folder)
    }

    fn beside(learner: PathBuf, folder: &Path) -> Result<Self> {
        let find = |name: &str| {
            let path = folder.join(name);
            if !path.is_file() {
                bail!(
                    "the program `{name}` is not in {}; build all of them: cargo build --workspace --bins (with \
                     --release for the release ones)",
                    folder.display()
                );
            }
            Ok(path)
        };
        Ok(Self { actor: find("actor")?, replay: find("replay")?, learner })
    }
}

/// Processes that end with this.
#[derive(Debug, Default)]
struct Processes {
    learner: Option<Child>,
    actors: Vec<Child>,
    shards: Vec<Child>,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.learner.iter_mut().chain(&mut self.actors).chain(&mut self.shards) {
            // Whoever has ended by itself cannot be ended any more.
            let _gone = child.kill();
            let _waited = child.wait();
        }
    }
}

impl Processes {
    fn cpu(&self, begun: Instant, record: &TimingRecord) -> Option<CpuSample> {
        let all = |children: &[Child]| -> Option<f64> {
            children.iter().map(|child| process_s(child.id()).map(|(first, others)| first + others)).sum()
        };
        let (learner_thread_s, learner_others_s) = process_s(self.learner.as_ref()?.id())?;
        Some(CpuSample {
            env_steps: record.env_steps,
            updates: record.updates,
            seconds: begun.elapsed().as_secs_f64(),
            actors_s: all(&self.actors)?,
            shards_s: all(&self.shards)?,
            learner_thread_s,
            learner_others_s,
        })
    }

    /// The first actor or shard that has ended although the run has not.
    fn ended(&mut self) -> Option<String> {
        let named = |name: &'static str| {
            move |(k, child): (usize, &mut Child)| (format!("{name}-{k}"), child.id(), child.try_wait())
        };
        let shards = self.shards.iter_mut().enumerate().map(named("replay"));
        let actors = self.actors.iter_mut().enumerate().map(named("actor"));
        shards.chain(actors).find_map(|(name, id, status)| match status {
            Ok(Some(status)) if !status.success() => {
                Some(format!("{name} (process {id}) ended with {status}"))
            }
            _ => None,
        })
    }
}

/// What is run.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Settings; addresses are filled in.
    pub config: &'a Config,
    /// Actor processes, or [`SINGLE_NODE`].
    pub actors: u64,
    /// A new folder.
    pub folder: &'a Path,
}

impl Order<'_> {
    /// The run directory.
    pub fn run_path(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Runs to the end; `progress` is told environment steps. `None` if interrupted.
    ///
    /// # Errors
    /// A process that cannot be started or ended too early; the error names its log.
    pub fn run(
        &self,
        programs: &Programs,
        interrupt: &Interrupt,
        progress: impl Fn(u64),
    ) -> Result<Option<Option<CpuUse>>> {
        let logs = self.folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let (settings, listen) = self.settings()?;
        let begun = Instant::now();
        let mut processes = Processes::default();
        let single_node = self.actors == SINGLE_NODE;
        let shards = if single_node { &[] } else { listen.as_slice() };
        for (k, address) in shards.iter().enumerate() {
            let listen = format!("cluster.replay_listen={address}");
            let shard = k.to_string();
            let arguments = ["--config", text(&settings)?, "--shard", &shard, "--set", &listen];
            processes.shards.push(start(
                &programs.replay,
                &arguments,
                &logs.join(format!("replay-{k}.log")),
            )?);
        }
        for k in 0..self.actors {
            let name = format!("actor-{k}");
            let arguments = ["--config", text(&settings)?, "--name", &name];
            processes.actors.push(start(&programs.actor, &arguments, &logs.join(format!("{name}.log")))?);
        }
        let run_path = self.run_path();
        let mut arguments =
            vec!["train", "--no-table", "--config", text(&settings)?, "--run-dir", text(&run_path)?];
        arguments.extend((!single_node).then_some("--cluster"));
        processes.learner = Some(start(&programs.learner, &arguments, &logs.join("learner.log"))?);
        self.watch(processes, (begun, &logs), interrupt, progress)
    }

    fn watch(
        &self,
        mut processes: Processes,
        (begun, logs): (Instant, &Path),
        interrupt: &Interrupt,
        progress: impl Fn(u64),
    ) -> Result<Option<Option<CpuUse>>> {
        let timing = self.run_path().join("timing.jsonl");
        let (mut cpu, mut seen) = (None, 0);
        loop {
            if interrupt.raised() {
                return Ok(None);
            }
            // A line that is being written is whole at the next look.
            let records: Vec<TimingRecord> = read_lines(&timing).unwrap_or_default();
            if !RunDir::holds_run(&self.run_path()) {
                // Nothing is stored before: this is what starting costs.
                cpu = processes
                    .cpu(begun, &TimingRecord::default())
                    .map(|sample| CpuUse::followed_by(None, sample));
            }
            if let Some(record) = records.last().filter(|_| records.len() > seen) {
                seen = records.len();
                progress(record.env_steps);
                cpu = processes.cpu(begun, record).map(|sample| CpuUse::followed_by(cpu, sample)).or(cpu);
            }
            let learner = processes.learner.as_mut().context("the learner was started")?;
            if let Some(status) = learner.try_wait().context("cannot ask after the learner")? {
                if status.success() {
                    return Ok(Some(cpu));
                }
                bail!("the learner ended with {status}: {}", last_line(&logs.join("learner.log")));
            }
            if let Some(ended) = processes.ended() {
                bail!("{ended}; its log is in {}", logs.display());
            }
            std::thread::sleep(LOOK_AROUND);
        }
    }

    /// Writes the settings with free addresses of this machine; the file and where the shards are to listen.
    fn settings(&self) -> Result<(PathBuf, Vec<String>)> {
        let mut config = self.config.clone();
        let mut addresses = free_addresses(config.replay.shards + 1)?;
        let learner = addresses.pop().context("one address more than shards")?;
        config.cluster.learner.clone_from(&learner);
        config.cluster.learner_listen = learner;
        config.cluster.shards.clone_from(&addresses);
        config.cluster.redis.clear();
        config.cluster.metrics_listen.clear();
        config.cluster.advertise.clear();
        let path = self.folder.join("cluster.toml");
        fs::write(&path, config.to_toml()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok((path, addresses))
    }
}

/// Addresses that were free a moment ago. All are held at once, so that they differ.
fn free_addresses(n: usize) -> Result<Vec<String>> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1");
    let listeners: Vec<TcpListener> = (0..n).map(bind).collect::<Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text; choose another --out", path.display()))
}

fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Child> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    // The settings are all in the file.
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("MAHRL_")) {
            command.env_remove(key);
        }
    }
    // Killed, the study takes them with it: they would run on beside the next one.
    command.env(node::shutdown::PARENT, std::process::id().to_string());
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word");
    format!("{line} ({})", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_the_command_that_builds_it() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("actor")).unwrap();
        let message = Programs::beside(folder.path().join("learner"), folder.path()).unwrap_err().to_string();
        assert!(message.contains("`replay` is not in") && message.contains("cargo build --workspace --bins"));
    }

    #[test]
    fn addresses_differ_and_the_settings_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.replay.shards = 3;
        let order = Order { config: &config, actors: 1, folder: folder.path() };
        let (path, shards) = order.settings().unwrap();
        let written = Config::load_run(&path, &[]).unwrap();
        assert_eq!(written.cluster.shards, shards);
        assert_eq!(shards.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        assert!(!shards.contains(&written.cluster.learner));
    }

    #[test]
    fn processes_end_with_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let child = start(Path::new("/bin/sleep"), &["600"], &log).unwrap();
        let id = child.id();
        drop(Processes { learner: None, actors: vec![child], shards: Vec::new() });
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
