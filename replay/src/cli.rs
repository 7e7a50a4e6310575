//! The command line of `replay`.

use std::time::Duration;

use anyhow::{Context, Result};
use node::{Limits, Security, Server, Shutdown};

use crate::{Settings, server::ShardServer};

/// Serves one shard of the replay service.
#[derive(Debug, clap::Parser)]
#[command(name = "replay", version)]
pub struct Cli {
    #[command(flatten)]
    settings: node::cli::Settings,
    /// Which shard.
    #[arg(long, value_name = "K", default_value_t = 0)]
    shard: usize,
    /// Where it listens (cluster.replay_listen).
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

/// Serves until a signal comes.
pub fn run(cli: &Cli) -> Result<()> {
    cli.settings.start_logs();
    let mut flags: Vec<(&str, toml::Value)> = Vec::new();
    flags.extend(cli.listen.clone().map(|address| ("cluster.replay_listen", address.into())));
    let config = cli.settings.load(&flags)?;
    let security = Security::load(&config.cluster)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shutdown = Shutdown::on_signals()?;
    runtime.block_on(async {
        let control = control::Control::open(&config.cluster)?;
        let settings = Settings::from_config(&config, &config.cluster.run, 0);
        let shard = ShardServer::in_memory(&settings, cli.shard, config.replay.shards)?;
        let server = Server::bind(&config.cluster.replay_listen, &security, Limits::default()).await?;
        let address = server.address().to_string();
        eprintln!("replay shard {} at {address}", cli.shard);
        server.health().set_ready(true);
        let entry = control::ShardEntry { uid: shard.uid(), address };
        let _registration =
            control.register_shard(entry, Duration::from_secs_f64(config.cluster.lease_seconds));
        let stop = shard.clone();
        let waits = shutdown.clone();
        tokio::spawn(async move {
            waits.wait().await;
            stop.stop();
        });
        server.serve(shard.routes(), shutdown, Duration::from_secs(2)).await.context("serve")
    })
}
