//! The weights over sockets: a publisher behind a server, and subscribers that decode every version as an actor does, in this
//! process or in one of their own.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use actor::weights::{Feed, Subscription, Version};
use agent::Policy;
use anyhow::{Context, Result, ensure};
use common::{
    ItemTable, PolicyVersion,
    config::{Config, Preset},
};
use learner::{
    weights::{Publisher, WeightsService},
    world::World,
};
use node::{Limits, Security, Server, Shutdown, connect};
use tokio::{runtime::Runtime, task::JoinHandle};
use tonic::service::Routes;

/// First argument of the program where it is subscribers; their server's address and their number follow.
pub(crate) const ROLE: &str = "weights-subscribers";
const RUN: &str = "bench";

/// A publisher, and the server that its versions leave by.
pub(crate) struct Broadcast {
    pub(crate) runtime: Runtime,
    pub(crate) publisher: Publisher,
    pub(crate) address: String,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), node::Error>>,
}

impl Broadcast {
    pub(crate) fn start() -> Result<Self> {
        let (runtime, publisher, shutdown) = (Runtime::new()?, Publisher::new(), Shutdown::new());
        let server =
            runtime.block_on(Server::bind("127.0.0.1:0", &Security::default(), Limits::default()))?;
        let address = server.address().to_string();
        let routes = Routes::new(WeightsService::new(RUN, 0, &publisher).into_server());
        let serving = runtime.spawn(server.serve(routes, shutdown.clone(), Duration::from_secs(1)));
        Ok(Self { runtime, publisher, address, shutdown, serving })
    }

    pub(crate) fn end(self) -> Result<()> {
        self.shutdown.begin();
        self.runtime.block_on(self.serving)??;
        Ok(())
    }
}

/// Subscribers in this process, a connection each.
pub(crate) struct Subscribers {
    subscriptions: Vec<Subscription<PolicyVersion>>,
    feeds: Vec<Feed<PolicyVersion>>,
}

impl Subscribers {
    pub(crate) fn start(
        runtime: &Runtime,
        address: &str,
        count: usize,
        (config, items): (&Config, &Arc<ItemTable>),
    ) -> Result<Self> {
        let _guard = runtime.enter();
        let start = |k: usize| {
            let (model, items) = (config.model.clone(), Arc::clone(items));
            let decode = move |version: Version| {
                Policy::from_safetensors(&version.data, &model, Arc::clone(&items)).map(|_| version.version)
            };
            let connection = connect(address, &Security::default())?;
            let name = format!("actor-{k}");
            Ok(Subscription::start(runtime.handle(), connection, RUN, &name, decode))
        };
        let subscriptions = (0..count).map(start).collect::<Result<Vec<_>>>()?;
        let feeds = subscriptions.iter().map(Subscription::feed).collect();
        Ok(Self { subscriptions, feeds })
    }

    /// Waits until all of them use a version, or a newer one.
    pub(crate) async fn use_version(&mut self, version: PolicyVersion) -> Result<()> {
        for feed in &mut self.feeds {
            feed.wait_for(|newest| newest.as_deref() >= Some(&version)).await?;
        }
        Ok(())
    }

    pub(crate) fn stop(self) {
        self.subscriptions.into_iter().for_each(Subscription::stop);
    }
}

/// This program as subscribers, with the settings of the preset `tuned`. A version on a line of the standard input is
/// answered by itself once all of them use it.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let [address, count] = args else { anyhow::bail!("{ROLE} needs an address and a number") };
    let config = Config::preset(Preset::Tuned);
    let (world, runtime) = (World::open(&config)?, Runtime::new()?);
    let mut subscribers = Subscribers::start(&runtime, address, count.parse()?, (&config, world.items()))?;
    for line in std::io::stdin().lines() {
        let version = line?.parse()?;
        runtime.block_on(subscribers.use_version(version))?;
        println!("{version}");
    }
    subscribers.stop();
    Ok(())
}

/// Subscribers in a process of their own, which is killed when dropped.
pub(crate) struct Elsewhere {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Elsewhere {
    pub(crate) fn start(address: &str, count: usize) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([ROLE, address, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start this program as subscribers")?;
        let asks = process.stdin.take().context("the subscribers cannot be asked")?;
        let answers = BufReader::new(process.stdout.take().context("the subscribers cannot answer")?);
        Ok(Self { process, asks, answers })
    }

    /// Waits until all of them use a version, or a newer one.
    pub(crate) fn use_version(&mut self, version: PolicyVersion) -> Result<()> {
        writeln!(self.asks, "{version}").context("the subscribers have ended")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == version.to_string(), "the subscribers ended before version {version}");
        Ok(())
    }
}
