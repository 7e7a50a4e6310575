//! Which shards there are.
//!
//! In: addresses as they are discovered, a way to connect to one; out: the shards that have said who they are, by the
//! name (uid) of their contents. A shard that comes back at another address under the same uid is the same shard; one
//! that comes back at the same address under another uid is another one. Owner: a task, which ends with the last
//! handle. Invariants: one member a uid; members ascend by uid.
//!
//! A shard leaves when its address is no longer listed and it still answers there (at once, or some seconds later if it was
//! held up: it could not renew its lease), or when another uid answers there; one that does not answer, when another uid
//! answers in its place (by the number of the shard: it was started again without its contents, or they were dealt out), or
//! when it has been silent for [`GONE_AFTER`] (listed or not: its address may have changed).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use node::{Dialer, connection::Connection};
use proto::v1::{self, replay_client::ReplayClient};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::minibatches::Minibatches;
use crate::{
    agreement::{self, Agreed},
    wire,
};

/// How long a shard that does not answer stays a member.
pub const GONE_AFTER: Duration = Duration::from_secs(30);
/// Between two questions to a shard that answers.
const PERIOD: Duration = Duration::from_secs(1);
/// ... to one that does not: doubled from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// A shard that last answered longer ago was held up.
const HELD_UP: Duration = Duration::from_millis(1_500);
/// How long a listed shard may be silent from the beginning before that is said, and between two times that it is said.
const SILENT_SINCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// How long one that was held up may take to be listed again.
const LISTED_AGAIN: Duration = Duration::from_secs(5);

/// A shard as a client knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name of its contents; within a process its position, from 1.
    pub uid: u64,
    /// `HOST:PORT`; within a process its index.
    pub address: String,
    /// Whether it answered when it was last asked.
    pub up: bool,
    pub(crate) client: ReplayClient<Connection>,
    pub(super) minibatches: Minibatches,
}

impl Member {
    /// A shard that has just answered through a client.
    fn new(uid: u64, address: String, client: ReplayClient<Connection>) -> Self {
        Self { uid, address, up: true, minibatches: Minibatches::of(client.clone()), client }
    }
}

/// All members, ascending by uid. Cheap to clone.
pub(crate) type Members = watch::Receiver<Arc<[Member]>>;

/// The client of one connection, with its limits on message sizes.
pub(super) fn client(connection: Connection) -> ReplayClient<Connection> {
    ReplayClient::new(connection)
        .max_decoding_message_size(wire::MAX_SAMPLE_BYTES + (1 << 10))
        .max_encoding_message_size(wire::MAX_MESSAGE_BYTES)
}

/// The shards of a process: always these, always up.
pub(super) fn fixed(connections: Vec<Connection>) -> Members {
    let member = |(k, connection): (usize, _)| Member::new(k as u64 + 1, k.to_string(), client(connection));
    watch::channel(connections.into_iter().enumerate().map(member).collect()).1
}

/// Ends a task with the last handle.
#[derive(Debug)]
pub(super) struct AbortOnDrop(pub(super) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the tasks of a discovery share.
pub(super) struct Directory {
    run: v1::RunHeader,
    /// What shards must have set like this process.
    agreed: Agreed,
    dialer: Dialer,
    books: Mutex<Books>,
    members: watch::Sender<Arc<[Member]>>,
}

#[derive(Default)]
struct Books {
    /// By uid.
    shards: BTreeMap<u64, Entry>,
    /// Listed addresses that have not said who they are, and why not.
    missing: BTreeMap<String, String>,
}

/// How a shard says who it is.
#[derive(Clone, Copy, Debug)]
struct Name {
    uid: u64,
    /// Its number, from 1, and how many there are; 0: not said.
    place: (u32, u32),
}

impl Name {
    /// Whether this shard stands where another one stood.
    fn replaces(&self, other: u32) -> bool {
        let (place, places) = self.place;
        place != 0 && other != 0 && (other == place || other > places)
    }
}

/// Hears of what changes from now on; of what has changed before, whoever asks now is told anyway.
pub(super) fn from_now_on(members: &Members) -> Members {
    let mut members = members.clone();
    // The shared one is only looked at: to it every change is new, for ever.
    members.mark_unchanged();
    members
}

struct Entry {
    member: Member,
    /// Its number, from 1; 0: not said.
    place: u32,
    /// When it last answered.
    answered: Instant,
    listed: bool,
}

impl Directory {
    /// Follows `addresses` on the current runtime.
    pub(super) fn follow(
        mut addresses: watch::Receiver<Vec<String>>,
        dialer: Dialer,
        (run, agreed): (v1::RunHeader, Agreed),
    ) -> (Arc<Self>, Members, AbortOnDrop) {
        let (members, receiver) = watch::channel(Vec::new().into());
        let directory = Arc::new(Self { run, agreed, dialer, books: Mutex::default(), members });
        let ours = Arc::clone(&directory);
        let task = tokio::spawn(async move {
            let mut probes: BTreeMap<String, AbortOnDrop> = BTreeMap::new();
            let mut last_questions = JoinSet::new();
            loop {
                let listed = addresses.borrow_and_update().clone();
                for (address, _) in probes.extract_if(.., |address, _| !listed.contains(address)) {
                    if let Some((client, silence)) = ours.unlisted(&address) {
                        last_questions.spawn(Arc::clone(&ours).ask_once_more(address, client, silence));
                    }
                }
                while last_questions.try_join_next().is_some() {}
                for address in listed {
                    probes
                        .entry(address.clone())
                        .or_insert_with(|| AbortOnDrop(tokio::spawn(Arc::clone(&ours).probe(address))));
                }
                // A list that no longer changes still loses its silent members.
                while !matches!(timeout(PERIOD, addresses.changed()).await, Ok(Ok(()))) {
                    ours.forget_silent();
                    if addresses.has_changed().is_err() {
                        sleep(PERIOD).await;
                    }
                }
            }
        });
        (directory, receiver, AbortOnDrop(task))
    }

    /// Listed addresses that have not said who they are, each with the reason.
    pub(super) fn missing(&self) -> Vec<String> {
        self.books().missing.iter().map(|(address, why)| format!("{address} ({why})")).collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Changed by single insertions and removals: whole after a panic elsewhere.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the shard at an address for its name, again and again.
    async fn probe(self: Arc<Self>, address: String) {
        self.books().missing.insert(address.clone(), "not asked yet".into());
        let mut client = None;
        let mut pause = RETRY.0;
        let mut say_at = Instant::now() + SILENT_SINCE.0;
        loop {
            match self.ask(&address, &mut client).await {
                Ok((name, client)) => {
                    self.answered(&address, name, client);
                    pause = RETRY.0;
                    sleep(PERIOD).await;
                }
                Err(why) => {
                    if !self.goes_silent(&address, &why) {
                        let why = self.dialer.explain(&address, &why).await;
                        if Instant::now() >= say_at {
                            tracing::warn!(address, why, "a replay shard that is listed is not to be had");
                            say_at = Instant::now() + SILENT_SINCE.1;
                        }
                        self.books().missing.insert(address.clone(), why);
                    }
                    sleep(pause).await;
                    pause = (2 * pause).min(RETRY.1);
                }
            }
        }
    }

    async fn ask(
        &self,
        address: &str,
        kept: &mut Option<ReplayClient<Connection>>,
    ) -> Result<(Name, ReplayClient<Connection>), String> {
        if kept.is_none() {
            *kept = Some(client(self.dialer.connect(address)?));
        }
        let client = kept.clone().ok_or("no connection")?;
        let request =
            v1::InfoRequest { run: Some(self.run.clone()), ready: v1::Table::Unspecified as i32, wait_ms: 0 };
        let answer = timeout(ANSWER, client.clone().info(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {ANSWER:?}"))?;
        match answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?.into_inner() {
            v1::InfoResponse { shard_uid: 0, .. } => Err("it does not say its name".into()),
            v1::InfoResponse { shard_uid: uid, place, places, settings, .. } => {
                match agreement::difference(&self.agreed, &settings.into_iter().collect()) {
                    Some(difference) => Err(difference),
                    None => Ok((Name { uid, place: (place, places) }, client)),
                }
            }
        }
    }

    fn answered(&self, address: &str, name: Name, client: ReplayClient<Connection>) {
        let uid = name.uid;
        let mut books = self.books();
        books.missing.remove(address);
        let before = books.shards.len();
        books.shards.retain(|known, entry| {
            let replaced = entry.member.address == address || !entry.member.up && name.replaces(entry.place);
            let stays = *known == uid || !replaced;
            if !stays {
                tracing::warn!(uid = *known, by = uid, address, "a replay shard was replaced");
            }
            stays
        });
        let mut changed = books.shards.len() != before;
        let now = Instant::now();
        match books.shards.get_mut(&uid) {
            // Listed twice: the first address stays while it answers.
            Some(entry) if entry.member.address != address && entry.listed && entry.member.up => {}
            Some(entry) => {
                let moved = entry.member.address != address;
                changed |= moved || !entry.member.up;
                if moved {
                    tracing::info!(
                        uid,
                        from = entry.member.address,
                        to = address,
                        "a replay shard has moved"
                    );
                    entry.member = Member::new(uid, address.to_owned(), client);
                }
                (entry.member.up, entry.answered, entry.listed) = (true, now, true);
            }
            None => {
                let (place, of) = name.place;
                tracing::info!(uid, address, shard = place.saturating_sub(1), of, "a replay shard joins");
                let member = Member::new(uid, address.to_owned(), client);
                books.shards.insert(uid, Entry { member, place: name.place.0, answered: now, listed: true });
                changed = true;
            }
        }
        if changed {
            self.publish(&books);
        }
    }

    /// An address does not answer: if it is that of a shard (true), that is not up any more.
    fn goes_silent(&self, address: &str, why: &str) -> bool {
        let mut books = self.books();
        let known = books.shards.values_mut().find(|entry| entry.member.address == address);
        let Some(entry) = known else { return false };
        if std::mem::replace(&mut entry.member.up, false) {
            tracing::warn!(uid = entry.member.uid, address, why, "a replay shard does not answer");
            self.publish(&books);
        }
        true
    }

    /// An address is not listed any more. The client of its shard and how long ago that answered, if it counts as up.
    fn unlisted(&self, address: &str) -> Option<(ReplayClient<Connection>, Duration)> {
        let mut books = self.books();
        books.missing.remove(address);
        let entry = books.shards.values_mut().find(|entry| entry.member.address == address)?;
        entry.listed = false;
        entry.member.up.then(|| (entry.member.client.clone(), entry.answered.elapsed()))
    }

    /// A shard that is not listed any more leaves if it answers, unless it was held up and is listed again.
    async fn ask_once_more(
        self: Arc<Self>,
        address: String,
        client: ReplayClient<Connection>,
        silence: Duration,
    ) {
        let answer = self.ask(&address, &mut Some(client)).await;
        if answer.is_ok() && silence > HELD_UP {
            sleep(LISTED_AGAIN).await;
        }
        let mut books = self.books();
        let is_it = |entry: &Entry| entry.member.address == address && !entry.listed;
        // Else it was listed again meanwhile, or is elsewhere.
        let Some(uid) = books.shards.iter().find(|(_, entry)| is_it(entry)).map(|(uid, _)| *uid) else {
            return;
        };
        match answer {
            Ok(_) => {
                tracing::info!(uid, address, "a replay shard leaves");
                books.shards.remove(&uid);
                self.publish(&books);
            }
            Err(why) => {
                drop(books);
                self.goes_silent(&address, &why);
            }
        }
    }

    fn forget_silent(&self) {
        let mut books = self.books();
        let before = books.shards.len();
        books.shards.retain(|uid, entry| {
            let stays = entry.member.up || entry.answered.elapsed() < GONE_AFTER;
            if !stays {
                tracing::warn!(uid, address = entry.member.address, "a replay shard is given up");
            }
            stays
        });
        if books.shards.len() != before {
            self.publish(&books);
        }
    }

    fn publish(&self, books: &Books) {
        self.members.send_replace(books.shards.values().map(|entry| entry.member.clone()).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_before_somebody_listens_does_not_wake_him() {
        // Looked at and never marked as seen, as that of all shards.
        let (publish, shared) = watch::channel::<Arc<[Member]>>(Vec::new().into());
        publish.send(Vec::new().into()).unwrap();
        assert!(shared.clone().has_changed().unwrap());
        let listener = from_now_on(&shared);
        assert!(!listener.has_changed().unwrap());
        publish.send(Vec::new().into()).unwrap();
        assert!(listener.has_changed().unwrap());
    }
}
