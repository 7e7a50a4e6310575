//! A control plane under test: in memory with paused time, or in a Redis of its own.

use std::time::Duration;

use common::config::ClusterConfig;
use control::{Control, Memory};
use tokio::time::{Instant, sleep, timeout};

use crate::server::{Server, Wire};

/// Longest wait for what must happen; in memory, it costs no time.
const DEADLINE: Duration = Duration::from_secs(30);

/// The store.
pub(crate) enum World {
    Memory(Memory),
    Redis(Server),
}

/// A process: its handle, and its way to the store.
pub(crate) struct Process {
    pub(crate) control: Control,
    way: Way,
}

enum Way {
    Memory(Memory),
    Redis(Wire),
}

impl World {
    pub(crate) fn memory() -> Option<Self> {
        Some(Self::Memory(Memory::new()))
    }

    pub(crate) fn redis() -> Option<Self> {
        Server::start(&[]).map(Self::Redis)
    }

    /// Leases in this world: short where time is real, long against the pauses of a busy machine.
    pub(crate) fn lease(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::from_secs(6),
            Self::Redis(_) => Duration::from_millis(900),
        }
    }

    /// What may pass beside the leases themselves.
    pub(crate) fn slack(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::from_millis(1_600),
            Self::Redis(_) => Duration::from_millis(1_500),
        }
    }

    pub(crate) fn config(&self, port: u16) -> ClusterConfig {
        ClusterConfig {
            redis: format!("redis://127.0.0.1:{port}"),
            lease_seconds: self.lease().as_secs_f64(),
            learner: "redis".into(),
            shards: vec!["redis".into()],
            ..ClusterConfig::default()
        }
    }

    /// A process with a way of its own.
    pub(crate) async fn process(&self) -> Process {
        match self {
            Self::Memory(memory) => {
                let way = memory.another();
                Process { control: Control::in_memory(&way), way: Way::Memory(way) }
            }
            Self::Redis(server) => {
                let wire = Wire::to(server.port).await;
                let control = Control::open(&self.config(wire.port)).unwrap();
                Process { control, way: Way::Redis(wire) }
            }
        }
    }

    /// Loses all contents.
    pub(crate) fn wipe(&self) {
        match self {
            Self::Memory(memory) => memory.clear(),
            Self::Redis(server) => assert!(server.command("FLUSHALL").starts_with("+OK")),
        }
    }

    /// Dies: kill -9 of Redis. In memory: loses all, and nobody of `processes` reaches it.
    pub(crate) fn die(&mut self, processes: &[&Process]) {
        match self {
            Self::Memory(memory) => {
                memory.clear();
                processes.iter().for_each(|process| process.cut());
            }
            Self::Redis(server) => server.kill(),
        }
    }

    /// Comes back, empty.
    pub(crate) fn come_back(&mut self, processes: &[&Process]) {
        match self {
            Self::Memory(_) => processes.iter().for_each(|process| process.heal()),
            Self::Redis(server) => server.start_again(),
        }
    }
}

impl Process {
    pub(crate) fn cut(&self) {
        self.set(false);
    }

    pub(crate) fn heal(&self) {
        self.set(true);
    }

    fn set(&self, open: bool) {
        match &self.way {
            Way::Memory(memory) => memory.set_reachable(open),
            Way::Redis(wire) => wire.set_open(open),
        }
    }
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The result of something that must end.
pub(crate) async fn ends<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("did not end: {what}"))
}
