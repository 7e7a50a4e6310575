//! The command line of `replay`.
//!
//! In: arguments, settings, signals; out: one shard that serves until a signal comes; or the contents of all shards, dealt
//! out anew.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use common::config::Config;
use control::{Control, ShardEntry};
use node::{Limits, Security, Server, Shutdown, metrics};

use crate::{Error, Recovery, Settings, ShardServer, journal::deal, server::Figures};

/// Longest time that streams have to end, and a quarter of the grace at most.
const STREAMS: Duration = Duration::from_secs(2);
/// Share of the grace by which the snapshot is to be written; the rest is for the way out.
const SNAPSHOT: f64 = 0.8;
/// Between two looks at the figures for operators.
const REPORT: Duration = Duration::from_secs(1);

/// Serves one shard of a run's replay: actors append, the learner samples.
///
/// What is acknowledged is in the journal of the shard's folder (replay.data_dir) and survives kill -9; without a data
/// directory it is kept in memory only. A shard is ready once it has read back what it had. Writers wait until the learner
/// allows them to store. It ends within cluster.grace_seconds of SIGTERM or Ctrl-C, with a snapshot.
#[derive(Debug, clap::Parser)]
#[command(name = "replay", version = node::VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    settings: node::cli::Settings,
    /// Number of the shard, below replay.shards, or a name that ends in it (`replay-3`): names its folder, shares out the
    /// capacity.
    #[arg(long, value_name = "K", default_value = "0", env = "MAHRL_SHARD", value_parser = shard_number)]
    shard: usize,
    /// Where it listens (cluster.replay_listen).
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where it keeps what it acknowledged, in the folder shard-K (replay.data_dir).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Serve Prometheus's /metrics here (cluster.metrics_listen).
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// `3` or `replay-3`, the name of a pod of a StatefulSet.
fn shard_number(text: &str) -> Result<usize, String> {
    let number = text.rsplit('-').next().unwrap_or_default();
    number.parse().map_err(|_| format!("`{text}` is neither a number nor a name that ends in -NUMBER"))
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Deal the contents of all shards of a data directory out to another number of shards. No shard may be running.
    /// Rows stay, the oldest still the first to give way; sessions in progress end, their writers begin others.
    Reshard(Reshard),
    #[command(flatten)]
    Operate(node::operate::Operate),
}

#[derive(Debug, clap::Args)]
struct Reshard {
    #[command(flatten)]
    settings: node::cli::Settings,
    /// The data directory (replay.data_dir).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Shards from now on (replay.shards).
    #[arg(long, value_name = "N")]
    shards: i64,
}

fn begin(settings: &node::cli::Settings, flags: [(&str, Option<toml::Value>); 3]) -> Result<Config> {
    let flags: Vec<(&str, toml::Value)> =
        flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    Ok(settings.begin("replay", &flags)?)
}

/// Serves until a signal comes, or does what the subcommand says.
pub fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Some(Command::Reshard(args)) => return reshard(args),
        Some(Command::Operate(operate)) => return node::operate::run(operate),
        None => {}
    }
    let text = |value: &Option<String>| value.clone().map(toml::Value::from);
    let config = begin(
        &cli.settings,
        [
            ("cluster.replay_listen", text(&cli.listen)),
            ("replay.data_dir", text(&cli.data_dir)),
            ("cluster.metrics_listen", text(&cli.metrics)),
        ],
    )?;
    anyhow::ensure!(
        cli.shard < config.replay.shards,
        "--shard {} is not below replay.shards = {}",
        cli.shard,
        config.replay.shards
    );
    let security = Security::load(&config.cluster)?;
    let reshard = reshard_command(&cli.settings, &config);
    if !config.cluster.metrics_listen.is_empty() {
        metrics::serve(&config.cluster.metrics_listen, "replay")?;
    }
    // A shard's work is done under one lock. With more threads than one they spend their time waking each other: who has more
    // cores gives them more shards.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("replay")
        .enable_all()
        .build()
        .context("cannot start the service's threads")?;
    let shutdown = Shutdown::on_signals(grace(&config))?;
    let served = runtime.block_on(serve(cli.shard, &config, &reshard, &security, shutdown));
    // What a stuck disk holds must not hold the process.
    runtime.shutdown_timeout(grace(&config).mul_f64(1.0 - SNAPSHOT) / 2);
    served
}

/// From a signal to the end of the process.
fn grace(config: &Config) -> Duration {
    Duration::from_secs_f64(config.cluster.grace_seconds)
}

async fn serve(
    shard: usize,
    config: &Config,
    reshard: &str,
    security: &Security,
    shutdown: Shutdown,
) -> Result<()> {
    // Bound first: who cannot listen need not read its journal.
    let server = Server::bind(&config.cluster.replay_listen, security, Limits::default()).await?;
    let begun = Instant::now();
    let (server_of_shard, recovery) = open(shard, config, reshard)?;
    tracing::info!(
        shard,
        address = advertised(&server, config)?,
        data_dir = config.replay.data_dir,
        low = recovery.low,
        high = recovery.high,
        operations = recovery.operations,
        seconds = begun.elapsed().as_secs_f64(),
        "ready"
    );
    attend(server, server_of_shard, config, shutdown).await
}

fn advertised(server: &Server, config: &Config) -> Result<String, node::Error> {
    server.advertised(&config.cluster, config.cluster.shards.iter().any(|shard| shard == "redis"))
}

/// Serves a shard until a signal comes, the server fails, or the shard is damaged.
async fn attend(
    server: Server,
    server_of_shard: ShardServer,
    config: &Config,
    shutdown: Shutdown,
) -> Result<()> {
    let control = Control::open(&config.cluster)?;
    let entry = ShardEntry { uid: server_of_shard.uid(), address: advertised(&server, config)? };
    let health = server.health();
    let routes = server_of_shard.routes();
    let mut serving = tokio::spawn(server.serve(routes, shutdown.clone(), STREAMS.min(grace(config) / 4)));
    health.set_ready(true);
    let lease = Duration::from_secs_f64(config.cluster.lease_seconds);
    let registration = control.register_shard(entry, lease);
    let ended = tokio::select! {
        ended = &mut serving => Some(ended),
        () = shutdown.wait() => None,
        // As after kill -9: no snapshot of what cannot be trusted, and it will be back under its name.
        damage = server_of_shard.keep_house() => return Err(damage.into()),
        () = report(&server_of_shard, config) => None,
    };
    let begun = Instant::now();
    health.set_ready(false);
    // Redis may be away: the entry runs out by itself.
    let _late = tokio::time::timeout(STREAMS.min(grace(config) / 4), registration.deregister()).await;
    server_of_shard.stop();
    let ended = match ended {
        Some(ended) => ended,
        None => serving.await,
    };
    finish(server_of_shard, grace(config).mul_f64(SNAPSHOT).saturating_sub(begun.elapsed())).await;
    ended.context("the server's task failed")?.context("the server failed")
}

/// A snapshot within the time that is left, so that the next start is quick; without it the journal says the same.
async fn finish(shard: ShardServer, left: Duration) {
    let written = tokio::task::spawn_blocking(move || shard.snapshot());
    match tokio::time::timeout(left, written).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "no snapshot was written; the journal has everything"),
        Ok(Err(error)) => tracing::error!(%error, "the snapshot failed"),
        Err(_) => tracing::warn!("no time for a snapshot; the journal has everything"),
    }
}

/// The command that deals the contents out to the number of shards that is set, under the settings of this process.
fn reshard_command(settings: &node::cli::Settings, config: &Config) -> String {
    let mut command = "replay reshard".to_owned();
    let mut add = |flag: &str, value: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
        let value = match value.chars().all(is_plain) && !value.is_empty() {
            true => value.to_owned(),
            false => format!("'{}'", value.replace('\'', "'\\''")),
        };
        command.extend([" ", flag, " ", &value]);
    };
    if let Some(file) = &settings.config {
        add("--config", &file.display().to_string());
    }
    // These are named below as they are.
    let named = ["cluster.run", "replay.shards", "replay.data_dir"];
    let is_named = |set: &str| set.split_once('=').is_some_and(|(key, _)| named.contains(&key.trim()));
    settings.settings.iter().filter(|set| !is_named(set)).for_each(|set| add("--set", set));
    add("--set", &format!("cluster.run={}", config.cluster.run));
    add("--shards", &config.replay.shards.to_string());
    add("--data-dir", &config.replay.data_dir);
    command
}

/// `reshard`: see [`reshard_command`].
fn open(shard: usize, config: &Config, reshard: &str) -> Result<(ShardServer, Recovery)> {
    // The catalogue is not known here: the first writer says how large it is.
    let settings = Settings::from_config(config, &config.cluster.run, 0);
    let of = (shard, config.replay.shards);
    if config.replay.data_dir.is_empty() {
        tracing::warn!("no replay.data_dir: what this shard holds is gone when it ends");
        return Ok((ShardServer::in_memory(&settings, of.0, of.1)?, Recovery::default()));
    }
    let opened = ShardServer::open(&settings, of, Path::new(&config.replay.data_dir), config.replay.sync);
    let (server, recovery) = opened
        .map_err(|error| match &error {
            Error::Journal(why) if why.asks_to_deal() => anyhow::anyhow!("{error}: {reshard}"),
            _ => error.into(),
        })
        .context("cannot open the shard's data directory")?;
    for damage in &recovery.damage {
        tracing::warn!("{damage}");
    }
    Ok((server, recovery))
}

/// Figures for operators, until it is dropped.
async fn report(shard: &ShardServer, config: &Config) {
    let mut counted = None;
    loop {
        if let Some(figures) = shard.figures() {
            let new = counts_since(&mut counted, &figures);
            metrics::REPLAY_BYTES.set(figures.bytes as f64, []);
            metrics::REPLAY_CAPACITY_BYTES.set((config.replay.memory_mib << 20) as f64, []);
            metrics::REPLAY_WRITERS.set(figures.writers as f64, []);
            metrics::REPLAY_WAITING_WRITERS.set(figures.waiting_writers as f64, []);
            for (k, name) in ["low", "high"].into_iter().enumerate() {
                metrics::REPLAY_SIZE.set(figures.tables[k].size as f64, [name]);
                metrics::REPLAY_CAPACITY.set(figures.tables[k].capacity as f64, [name]);
                let [inserted, sampled, evicted] = new[k];
                metrics::REPLAY_INSERTED.increment(inserted, [name]);
                metrics::REPLAY_SAMPLED.increment(sampled, [name]);
                metrics::REPLAY_EVICTED.increment(evicted, [name]);
            }
        }
        tokio::time::sleep(REPORT).await;
    }
}

/// Rows inserted, sampled and evicted, of the low and the high level.
type TableCounts = [[u64; 3]; 2];

/// What is new since the figures before. In the first it is nothing: counters are the process's, and what the shard had
/// done before it started was counted by those that served it then.
fn counts_since(counted: &mut Option<TableCounts>, figures: &Figures) -> TableCounts {
    let now = figures.tables.map(|table| [table.inserted, table.sampled, table.evicted]);
    let before = counted.replace(now).unwrap_or(now);
    [0, 1].map(|table| [0, 1, 2].map(|k| now[table][k].saturating_sub(before[table][k])))
}

fn reshard(args: &Reshard) -> Result<()> {
    let config = begin(
        &args.settings,
        [
            ("replay.data_dir", args.data_dir.clone().map(toml::Value::from)),
            ("replay.shards", Some(args.shards.into())),
            ("", None),
        ],
    )?;
    anyhow::ensure!(
        !config.replay.data_dir.is_empty(),
        "replay.data_dir is empty: nothing is kept, nothing to deal out"
    );
    let data_dir = PathBuf::from(&config.replay.data_dir);
    let settings = Settings::from_config(&config, &config.cluster.run, 0);
    let dealt = deal::deal(&settings, &data_dir, config.replay.shards)?;
    println!(
        "{} shards were dealt out to {} shards with {} low-level and {} high-level transitions; what was there before is in {}",
        dealt.shards,
        config.replay.shards,
        dealt.low,
        dealt.high,
        dealt.before.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::TableFigures;

    #[test]
    fn a_shard_is_named_by_a_number_or_by_its_pod() {
        for (text, number) in [("3", Some(3)), ("replay-12", Some(12)), ("my-replay-0", Some(0))] {
            assert_eq!(shard_number(text).ok(), number);
        }
        for text in ["", "replay", "replay-", "replay-x", "-1x"] {
            assert!(shard_number(text).unwrap_err().contains("-NUMBER"), "{text}");
        }
    }

    /// What a shard of a number says that cannot be opened with these arguments.
    fn refusal(arguments: &[&str]) -> String {
        let arguments = std::iter::once(&"replay").chain(arguments);
        let cli = <Cli as clap::Parser>::try_parse_from(arguments).unwrap();
        let config = cli.settings.load(&[]).unwrap();
        let opened = open(cli.shard, &config, &reshard_command(&cli.settings, &config));
        format!("{:#}", opened.err().unwrap())
    }

    #[test]
    fn the_command_that_is_advised_deals_the_contents_out_as_it_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, "[model]\nwindow = 7\n[replay]\nshards = 2\n").unwrap();
        let data_dir = folder.path().join("it's data");
        let mut settings = Config::load(Some(file.as_path()), &[]).unwrap();
        settings.cluster.run = "another".into();
        let settings = Settings::from_config(&settings, "another", 100);
        for shard in 0..3 {
            let open = ShardServer::open(&settings, (shard, 3), &data_dir, common::config::Sync::System);
            let (server, _) = open.unwrap();
            // Something that the settings must fit.
            server.service().note_fence(1);
            server.snapshot().unwrap();
        }
        let data = format!("replay.data_dir=\"{}\"", data_dir.display());
        let config = file.to_str().unwrap();
        let said = refusal(&["--config", config, "--set=cluster.run=another", "--set", &data]);
        let (problem, command) = said.split_once("`: replay ").unwrap();
        assert!(problem.contains("holds 3 shards, replay.shards is 2"), "{problem}");
        let words =
            std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output();
        let words = String::from_utf8(words.unwrap().stdout).unwrap();
        let cli = <Cli as clap::Parser>::try_parse_from(["replay"].into_iter().chain(words.lines())).unwrap();
        let Some(Command::Reshard(args)) = cli.command else { panic!("{command}") };
        reshard(&args).unwrap();
        assert!(!data_dir.join("shard-2").exists());
    }

    #[test]
    fn counters_begin_with_the_process_not_with_the_shard() {
        let figures = |inserted| {
            let table =
                TableFigures { inserted, sampled: 3 * inserted, evicted: 7, ..TableFigures::default() };
            Figures { tables: [table; 2], ..Figures::default() }
        };
        let mut counted = None;
        assert_eq!(counts_since(&mut counted, &figures(1_000)), [[0; 3]; 2]);
        assert_eq!(counts_since(&mut counted, &figures(1_010)), [[10, 30, 0]; 2]);
        assert_eq!(counts_since(&mut counted, &figures(1_010)), [[0; 3]; 2]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_in_a_shard_ends_its_process_with_an_error_so_that_it_is_started_again() {
        let mut config = Config::default();
        config.cluster.replay_listen = "127.0.0.1:0".into();
        let settings = Settings::from_config(&config, "test", 0);
        let shard = ShardServer::in_memory(&settings, 0, 1).unwrap();
        let server = Server::bind("127.0.0.1:0", &Security::default(), Limits::default()).await.unwrap();
        let health = server.health();
        let attended = tokio::spawn({
            let (shard, config) = (shard.clone(), config.clone());
            async move { attend(server, shard, &config, Shutdown::new()).await }
        });
        tokio::time::sleep(2 * REPORT).await;
        assert!(!attended.is_finished() && health.is_ready());
        shard.service().panic_within();
        let ended = tokio::time::timeout(Duration::from_secs(10), attended).await.unwrap().unwrap();
        assert!(ended.unwrap_err().to_string().contains("panic"));
    }
}
