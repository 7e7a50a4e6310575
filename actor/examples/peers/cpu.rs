//! CPU and memory of processes, and children that end with the case that started them.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

/// A server that is killed when dropped.
pub(crate) struct Server {
    child: Child,
    args: Vec<String>,
}

impl Server {
    /// This program in another role.
    pub(crate) fn start(args: &[String]) -> Result<Self> {
        Ok(Self { child: spawn(args)?, args: args.to_vec() })
    }

    /// As kill -9 does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Begins once more, after [`Self::kill`].
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.args)?;
        Ok(())
    }

    /// CPU seconds so far.
    pub(crate) fn cpu_s(&self) -> f64 {
        process_s(&self.child.id().to_string())
    }

    /// Resident memory in MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        resident_mb(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(args: &[String]) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start this program as a server")
}

/// CPU seconds of this process so far.
pub(crate) fn own_s() -> f64 {
    process_s("self")
}

/// CPU seconds of this thread so far.
pub(crate) fn thread_s() -> f64 {
    task_s(Path::new("/proc/thread-self"))
}

/// Of all threads that live.
fn process_s(pid: &str) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task_s(&task.path())).sum()
}

/// Of a thread, 0 if it has ended.
fn task_s(task: &Path) -> f64 {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(0.0, |ns| 1e-9 * ns)
}

/// Resident memory of a process (`self`: this one) in MB.
pub(crate) fn resident_mb(pid: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kb: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
    Ok(kb * 1024.0 / 1e6)
}

/// An address of this machine that is free now.
pub(crate) fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
