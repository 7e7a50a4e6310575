//! What an operator's tools ask of a program instead of its usual work: whether a process is ready, that it drains, and a
//! run's secrets.
//!
//! In: `PROGRAM health ...`, `PROGRAM drain ...`, `PROGRAM secrets ...`; out: exit code 0, or an error that says what to do. Kubernetes' probes
//! are such commands, since its own gRPC probes speak no TLS.
//!
//! | module | what it holds |
//! |---|---|
//! | `secrets` | token, certificates and password of a run: made, written, waited for |
//! | `kubernetes` | the Secret that holds them in a cluster |

mod kubernetes;
mod secrets;

use std::{
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

pub use secrets::NAMES as SECRET_FILES;

use crate::{Security, cli::Settings, health};

/// Between two looks at a process that drains.
const LOOK: Duration = Duration::from_millis(200);

/// To be flattened into a program's subcommands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Operate {
    /// Ask a process of the cluster whether it is ready (exit code 0), as probes do.
    Health(Health),
    /// Ask a process of this container to hand over what it holds, and wait until it has; SIGTERM ends it then. For
    /// Kubernetes' preStop.
    Drain(Drain),
    /// Make the token, the certificates and Redis's password of a run, or wait for them.
    #[command(subcommand)]
    Secrets(Secrets),
}

/// Arguments of `health`.
#[derive(Clone, Debug, clap::Args)]
pub struct Health {
    #[command(flatten)]
    settings: Settings,
    /// Where the process serves gRPC health; an unspecified host means this machine.
    #[arg(long, value_name = "HOST:PORT", env = "MAHRL_HEALTH_LISTEN")]
    address: String,
    /// Be content with any answer, also `not ready`: the process lives.
    #[arg(long)]
    live: bool,
    /// Longest wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    timeout: f64,
}

/// Arguments of `drain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Drain {
    /// Where it serves gRPC health: it has drained once it is not ready.
    #[command(flatten)]
    health: Health,
    /// Its process id: that of a container's program.
    #[arg(long, value_name = "PID", default_value_t = 1)]
    process: i32,
    /// Longest wait until it has drained.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    seconds: f64,
}

/// What can be done about secrets.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Secrets {
    /// Write fresh ones into a folder, for a cluster of your own machines or `kubectl create secret`.
    Files {
        /// The folder; it is made if need be, readable by you only. Files that are there are never replaced.
        folder: PathBuf,
        /// Host names of Redis that its certificate is good for, besides `redis` and this machine's loopback.
        #[arg(long = "redis", value_name = "HOST")]
        redis: Vec<String>,
    },
    /// Fill an empty Secret of the pod's own namespace, through the Kubernetes API; a filled one stays as it is.
    Kubernetes {
        /// Name of the Secret, which must exist.
        secret: String,
    },
    /// Look until a folder holds all of them; fail, saying what to do, when it does not in time.
    Wait {
        /// The folder.
        folder: PathBuf,
        /// Longest wait. Kubernetes brings a mounted Secret up to date when a container starts again, so that it should
        /// be short there.
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
        seconds: f64,
    },
}

/// Does it.
pub fn run(operate: &Operate) -> Result<()> {
    match operate {
        Operate::Health(arguments) => ask(arguments),
        Operate::Drain(arguments) => drain(arguments),
        Operate::Secrets(Secrets::Files { folder, redis }) => secrets::write(folder, redis),
        Operate::Secrets(Secrets::Kubernetes { secret }) => runtime()?.block_on(kubernetes::fill(secret)),
        Operate::Secrets(Secrets::Wait { folder, seconds }) => {
            secrets::wait(folder, Duration::try_from_secs_f64(*seconds).context("--seconds")?)
        }
    }
}

fn ask(arguments: &Health) -> Result<()> {
    let config = arguments.settings.load(&[])?;
    let security = Security::load(&config.cluster)?;
    let timeout = Duration::try_from_secs_f64(arguments.timeout).context("--timeout")?;
    let asked = async {
        if arguments.live {
            health::answers(&arguments.address, &security, timeout).await.map(drop)
        } else {
            health::ready(&arguments.address, &security, timeout).await
        }
    };
    Ok(runtime()?.block_on(asked)?)
}

fn drain(arguments: &Drain) -> Result<()> {
    let process = Pid::from_raw(arguments.process).context("--process 0 is none")?;
    let begun = Instant::now();
    kill_process(process, Signal::USR1)
        .with_context(|| format!("cannot signal process {}", arguments.process))?;
    while ask(&arguments.health).is_ok() {
        ensure!(
            begun.elapsed().as_secs_f64() < arguments.seconds,
            "process {} has not drained within {} s",
            arguments.process,
            arguments.seconds
        );
        sleep(LOOK);
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
