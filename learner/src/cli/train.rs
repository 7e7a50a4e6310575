//! `learner [train]`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use common::config::{Config, Precision};

use super::{Outcome, count::count, say};
use crate::{
    engine::choice,
    run_dir::{self, RunDir, report},
    train::{self, Asked, Interrupt},
};

/// Arguments of a training run. What is not given comes from the preset.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// Settings to start from: `best` (if nothing is said), `tuned`, `paper`, or a variant (`ddpg+`, `ddpg-o`, `hrl-i`, `hrl-s`, `hrl-g`).
    #[arg(long, value_name = "P")]
    preset: Option<String>,
    /// `shopworld`, `shopworld:VARIANT`, or the folder of an imported log with a fitted simulator.
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Environment steps of the run.
    #[arg(long, value_name = "N", value_parser = count::<i64>)]
    steps: Option<i64>,
    /// Rollout threads.
    #[arg(long, value_name = "N", value_parser = count::<i64>)]
    actors: Option<i64>,
    /// Shards of the replay service.
    #[arg(long, value_name = "N", value_parser = count::<i64>)]
    shards: Option<i64>,
    /// Seed of every random stream.
    #[arg(long, value_name = "S")]
    seed: Option<i64>,
    /// Steps of a session.
    #[arg(long, value_name = "T", value_parser = count::<i64>)]
    length: Option<i64>,
    /// `async` (fast) or `lockstep` (Algorithm 1 serially, bitwise reproducible from the seed).
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// `auto`, `cpu` or `cuda:N`.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// `auto` (native on a CPU), `native` or `torch`.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Where the run leaves its files [default: a new folder under runs/].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in --run-dir, from its newest whole checkpoint. --steps, --device and --engine may
    /// change, and --env where a log has moved; without lockstep --actors and --shards too.
    #[arg(long, requires = "run_dir", conflicts_with = "config")]
    resume: bool,
    /// Lead a cluster: serve weights to `actor` processes and learn from `replay` processes (docs/cluster.md). The run goes
    /// on by itself if --run-dir [default: runs/NAME, by cluster.run] holds one.
    #[arg(long, conflicts_with = "resume")]
    cluster: bool,
    /// How log lines look: `pretty`, or `json`, also for what is said of the run's course. RUST_LOG sets what is logged.
    #[arg(long, value_name = "FORM", value_enum, default_value_t, env = "MAHRL_LOG")]
    log: node::cli::Log,
    /// With --cluster: serve gRPC health here, for probes, from the start; ready once this learner leads.
    #[arg(long, value_name = "HOST:PORT", env = "MAHRL_HEALTH_LISTEN")]
    health: Option<String>,
    /// With --cluster: when the run is over, wait for SIGTERM instead of ending; whoever comes meanwhile gets the last
    /// weights.
    #[arg(long, requires = "cluster")]
    stay: bool,
    /// A TOML file of settings (docs/configuration.md) [env: MAHRL_CONFIG, but for a run that goes on].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One more setting, e.g. `algorithm.discount=0.9`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Leave the final table out (references, history-greedy, test users): only the policy is wanted.
    #[arg(long)]
    no_table: bool,
    /// Print all settings as they would be taken, and end: a file for `--config` of every role of a cluster.
    #[arg(long, conflicts_with = "resume")]
    print_config: bool,
}

impl Args {
    /// Whether it leads a cluster: then [`run`] starts the logs, of which an operator wants more than who looks at a
    /// progress bar.
    pub(super) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// Starts the logs of a run that leads no cluster: who looks at a progress bar wants warnings only.
    pub(super) fn start_logs(&self) {
        let level = match self.log {
            node::cli::Log::Pretty => "warn",
            node::cli::Log::Json => "info",
        };
        self.log.start_at(level, "learner", "");
    }

    /// The file of settings: not an `env` of clap's, with which `--resume` would conflict.
    fn config(&self) -> Option<PathBuf> {
        let named = || std::env::var_os("MAHRL_CONFIG").filter(|path| !path.is_empty());
        self.config.clone().or_else(|| named().map(PathBuf::from))
    }

    /// The flags as dotted settings.
    fn flags(&self) -> Result<Vec<(String, toml::Value)>> {
        let mut flags = node::cli::parse_set(&self.settings)?;
        let mut flag = |key: &str, value: Option<toml::Value>| {
            if let Some(value) = value {
                flags.push((key.to_owned(), value));
            }
        };
        flag("preset", self.preset.clone().map(Into::into));
        flag("environment.name", self.env.clone().map(Into::into));
        flag("environment.session_length", self.length.map(Into::into));
        flag("train.mode", self.mode.clone().map(Into::into));
        flag("train.device", self.device.clone().map(Into::into));
        flag("train.engine", self.engine.clone().map(Into::into));
        flag("train.steps", self.steps.map(Into::into));
        flag("actor.actors", self.actors.map(Into::into));
        flag("replay.shards", self.shards.map(Into::into));
        flag("seed", self.seed.map(Into::into));
        Ok(flags)
    }
}

/// Trains, then prints the table and where the report lies.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let flags = args.flags()?;
    let flags: Vec<_> = flags.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    if args.print_config {
        super::print_lines(Config::load(args.config().as_deref(), &flags)?.to_toml().trim_end());
        return Ok(Outcome::Done);
    }
    if args.health.is_some() && !args.cluster {
        bail!(
            "--health (MAHRL_HEALTH_LISTEN) is for probes of a cluster's learner: leave it out, or add --cluster"
        );
    }
    if args.cluster {
        let loaded = Config::load(args.config().as_deref(), &flags);
        args.log.start("learner", loaded.as_ref().map_or("", |config| &config.cluster.run));
        node::cli::warn_of_unread_variables();
        return lead(args, &loaded?);
    }
    let (config, world, run_dir, _lock) = if args.resume {
        let path = args.run_dir.as_deref().context("--resume needs --run-dir")?;
        let run_dir = RunDir::resume(path)?;
        let lock = run_dir.lock()?;
        let config = resumed_config(&run_dir, &flags)?;
        let world = train::prepare(&config)?;
        (config, world, run_dir, lock)
    } else {
        let config = Config::load(args.config().as_deref(), &flags)?;
        // Before anything is written: a run that cannot begin leaves no folder.
        let world = train::prepare(&config)?;
        let path = args.run_dir.clone().unwrap_or_else(|| run_dir::default_path(&config));
        let run_dir = RunDir::create(&path, &config)?;
        let lock = run_dir.lock()?;
        (config, world, run_dir, lock)
    };
    say(&introduction(&config, &run_dir, args.resume));
    if let Some(note) = too_short(&config) {
        say(&note);
    }
    let interrupt = interrupt(None, run_dir.path());
    let finished = train::run(&config, &world, &run_dir, args.resume, &interrupt)?;
    let go_on = format!("learner --run-dir {} --resume", run_dir.path().display());
    conclude(args, (&config, &run_dir), finished, &interrupt, &go_on)
}

/// Leads a cluster.
fn lead(args: &Args, config: &Config) -> Result<Outcome> {
    let world = train::prepare(config)?;
    if !config.cluster.metrics_listen.is_empty() {
        node::metrics::serve(&config.cluster.metrics_listen, "learner")?;
    }
    let security = node::Security::load(&config.cluster)?;
    let probes = args.health.as_deref().map(|listen| {
        // Answers as long as the process lives, the final table included.
        node::health::serve(listen, &security, &node::Shutdown::new())
    });
    let path = args.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(&config.cluster.run));
    let interrupt = interrupt(Some(Duration::from_secs_f64(config.cluster.grace_seconds)), &path);
    let ended = train::run_cluster(config, &world, &path, &interrupt, probes.transpose()?)?;
    let train::Ended { run_dir, finished } = ended;
    let Some(run_dir) = run_dir else { return Ok(Outcome::Interrupted) };
    let is_finished = finished.is_some();
    // With --stay the run is served on, the final table's time included; without, it is over.
    let served = finished.filter(|_| args.stay);
    let outcome = conclude(args, (config, &run_dir), is_finished, &interrupt, "the same command")?;
    if served.is_some() && outcome == Outcome::Done {
        tracing::info!("waiting for SIGTERM, as --stay says");
        interrupt.over();
        // Nothing is left to save: the signal ends the process, and the lease runs out.
        loop {
            std::thread::park();
        }
    }
    Ok(outcome)
}

fn interrupt(grace: Option<Duration>, run: &Path) -> Interrupt {
    let table = without_table(run);
    Interrupt::within(grace, move |asked| match asked {
        Asked::ToEnd => say("\nending with a checkpoint; once more ends at once, without"),
        Asked::BehindTheEnd => say(&format!("\n{table}")),
    })
}

/// How to come by the table of a run that was done but for it.
fn without_table(run: &Path) -> String {
    format!("interrupted behind the last step; the table: learner evaluate {}", run.display())
}

/// The table and the report of a run that has ended.
fn conclude(
    args: &Args,
    (config, run_dir): (&Config, &RunDir),
    finished: bool,
    interrupt: &Interrupt,
    go_on: &str,
) -> Result<Outcome> {
    // From here on Ctrl-C ends the process at once: the run is on disk.
    let asked_to_end = interrupt.nothing_to_save();
    let report_without_table = || -> Result<()> {
        super::print_lines(&format!("report  {}", report::write(run_dir, config, None)?.display()));
        Ok(())
    };
    if !finished {
        report_without_table()?;
        say(&format!("interrupted; go on with: {go_on}"));
        return Ok(Outcome::Interrupted);
    }
    if asked_to_end {
        report_without_table()?;
        say(&without_table(run_dir.path()));
        return Ok(Outcome::Interrupted);
    }
    if args.no_table {
        report_without_table()?;
    } else {
        let comparison =
            super::evaluate::compare(config, run_dir, &super::evaluate::Scope::final_table(config))?;
        super::evaluate::show(&comparison);
        super::print_lines(&format!(
            "report  {}",
            super::evaluate::keep(config, run_dir, &comparison)?.display()
        ));
    }
    super::print_lines(&format!("policy  {}", run_dir.policy_path().display()));
    Ok(Outcome::Done)
}

/// What is about to be done, and where it goes.
fn introduction(config: &Config, run_dir: &RunDir, resume: bool) -> String {
    let Config { preset, seed, environment, actor, train, .. } = config;
    format!(
        "{} {}: {} steps in {}, preset {}, seed {seed}, {} x {} sessions, device {}, engine {}{}\nrandom items for the first {} \
         steps, no updates before {} transitions",
        if resume { "going on in" } else { "training in" },
        run_dir.path().display(),
        train.steps,
        environment.name,
        preset.name(),
        actor.actors,
        actor.sessions,
        train.device,
        choice::choose(config).unwrap_or(train.engine).name(),
        if train.precision == Precision::Bf16 { " in bf16" } else { "" },
        config.exploration.random_steps,
        config.replay.low.min_size,
    )
}

/// Says so if a good part of the steps comes before anything is learned: shares of a preset are those of its own steps.
fn too_short(config: &Config) -> Option<String> {
    let (steps, before) = (config.train.steps, train::steps_before_learning(config));
    if steps >= 3 * before {
        return None;
    }
    let least = (steps / 10).max(1);
    let period = config.model.high_steps().max(1) as u64;
    let (replay, sessions) = (&config.replay, (config.actor.actors * config.actor.sessions) as u64);
    let mut smaller = Vec::new();
    let mut offer = |key: &str, now: u64, then: u64| {
        if then < now {
            smaller.push(format!("--set {key}={then}"));
        }
    };
    offer("replay.low.min_size", replay.low.min_size as u64, least);
    offer("replay.high.min_size", replay.high.min_size as u64, (least / period).max(1));
    offer("exploration.random_steps", config.exploration.random_steps, least);
    if sessions * period > least {
        let each = (least / period / config.actor.actors as u64).max(1);
        offer("actor.sessions", config.actor.sessions as u64, each);
    }
    let or = if smaller.is_empty() { String::new() } else { format!(", or e.g. {}", smaller.join(" ")) };
    Some(format!(
        "note: {steps} steps are few for these settings: nothing is learned in the first {}, and items are random in the first {}; \
         take more steps{or}",
        before.min(steps),
        config.exploration.random_steps.min(steps),
    ))
}

/// The settings of a run that goes on: its own, but for what may change on the way.
fn resumed_config(run_dir: &RunDir, flags: &[(&str, toml::Value)]) -> Result<Config> {
    let path = run_dir.config_path();
    let kept = Config::load_run(&path, &[])?;
    let is_moved = |key: &str, value: &toml::Value| {
        let now = value.as_str().unwrap_or_default();
        key == "environment.name" && train::may_move(&kept.environment.name, now)
    };
    let is_fixed = |(key, value): &&(&str, toml::Value)| {
        !train::may_change(kept.train.mode, key) && !is_moved(key, value)
    };
    if let Some((key, _)) = flags.iter().find(is_fixed) {
        bail!("--resume keeps the settings of {}: `{key}` cannot be changed", run_dir.path().display());
    }
    Ok(Config::load_run(&path, flags)?)
}
