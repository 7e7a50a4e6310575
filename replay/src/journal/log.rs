//! The journal of a running shard: operations in the order in which they were applied, made durable in groups.
//!
//! In: operations, from whoever holds the shard's lock; out: files, and how far they are durable. One thread writes: all
//! that has gathered in one write and, with `replay.sync = "disk"`, one fdatasync. Positions are bytes of frames since
//! the shard began. Invariants: nothing is called durable that is not; where there is no room the file is cut back to its
//! last whole group before it is tried again; after any other failed write, or a failed fsync, nothing more is written
//! (what of the file reached the disk is unknown then), nor after a panic of the thread.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use common::{config::Sync, files};
use node::metrics;
use proto::SCHEMA_VERSION;
use tokio::sync::watch;

use super::{
    disk::{Append, Disk},
    frame,
    operation::{FORM, FileHeader, MAGIC, Operation},
};

/// Bytes that may wait to be written: writers wait beyond.
const MOST_PENDING: usize = 16 << 20;
/// Memory that is kept for the next frames.
const MOST_SPARE: usize = 1 << 20;
/// Before a write is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Between two fdatasyncs with `replay.sync = "system"`.
const LAZY_SYNC: Duration = Duration::from_secs(1);

/// What all files of a shard have in common.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) run_id: String,
    pub(crate) uid: u64,
}

impl Identity {
    /// The header of a file that begins at a position.
    pub(crate) fn header(&self, position: u64) -> FileHeader {
        FileHeader {
            magic: MAGIC,
            form: FORM,
            schema_version: SCHEMA_VERSION,
            run_id: self.run_id.clone(),
            shard_uid: self.uid,
            position,
        }
    }
}

/// How far the journal is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Everything before is durable.
    pub(crate) durable: u64,
    /// Why nothing can be written at the moment.
    pub(crate) failure: Option<String>,
    /// Nothing will be written any more: only a restart helps.
    pub(crate) is_broken: bool,
    /// The thread that writes panicked.
    pub(crate) has_panicked: bool,
}

/// What waits for the thread.
enum Item {
    Frames(Vec<u8>),
    /// The next frame begins a new file, at this position.
    Rotate(u64),
}

struct State {
    items: Vec<Item>,
    pending: usize,
    /// Where the next operation begins.
    appended: u64,
    closing: bool,
    /// Memory of frames that were written, for the next ones.
    spare: Vec<u8>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Changed by whole frames: an operation that cannot be encoded leaves nothing behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct Log {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// Name of the file that begins at a position.
pub(crate) fn segment_path(folder: &Path, position: u64) -> PathBuf {
    folder.join(format!("journal-{position:020}.log"))
}

impl Log {
    /// Goes on at a position, in a new file.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        folder: &Path,
        identity: Identity,
        position: u64,
        sync: Sync,
    ) -> io::Result<Self> {
        let (sender, progress) = watch::channel(Progress { durable: position, ..Progress::default() });
        let state =
            State { items: Vec::new(), pending: 0, appended: position, closing: false, spare: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), progress: sender });
        let mut writer = Writer {
            file: Segment::create(&*disk, folder, &identity, position)?,
            disk,
            folder: folder.to_owned(),
            identity,
            sync,
            shared: Arc::clone(&shared),
            written: position,
            synced: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run())?;
        Ok(Self { shared, progress, thread: Some(thread) })
    }

    /// Takes an operation, in order; the position behind it. Call it under the lock of the shard that it is applied to.
    pub(crate) fn append(&self, operation: &Operation) -> u64 {
        let mut state = self.shared.state();
        if self.progress.borrow().is_broken {
            // Nobody takes it any more: a position that is never reached, and no memory that is never given back.
            state.appended += 1;
            return state.appended;
        }
        if !matches!(state.items.last(), Some(Item::Frames(_))) {
            let frames = std::mem::take(&mut state.spare);
            state.items.push(Item::Frames(frames));
        }
        let Some(Item::Frames(frames)) = state.items.last_mut() else { unreachable!("it was pushed") };
        let length = frame::put(frames, operation).expect("operations are small plain values");
        state.pending += length;
        state.appended += length as u64;
        let position = state.appended;
        drop(state);
        self.shared.wake.notify_one();
        position
    }

    /// The next operation begins a new file; its position. Call it under the lock of the shard.
    pub(crate) fn rotate(&self) -> u64 {
        let mut state = self.shared.state();
        let position = state.appended;
        state.items.push(Item::Rotate(position));
        drop(state);
        self.shared.wake.notify_one();
        position
    }

    /// Where the next operation begins.
    pub(crate) fn appended(&self) -> u64 {
        self.shared.state().appended
    }

    /// Bytes that wait to be written.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        let bytes = |item: &Item| if let Item::Frames(frames) = item { frames.len() } else { 0 };
        self.shared.state().items.iter().map(bytes).sum()
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until everything before a position is durable; `Err` says why that cannot be.
    pub(crate) async fn durable(&self, position: u64) -> Result<(), String> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|p| p.durable >= position || p.is_broken).await;
        match reached {
            Ok(progress) if progress.durable >= position => Ok(()),
            Ok(progress) => Err(progress.failure.clone().unwrap_or_default()),
            Err(_) => Err("the journal has ended".to_owned()),
        }
    }

    /// Waits until there is room for more operations.
    pub(crate) async fn room(&self) {
        let mut progress = self.progress.clone();
        while self.shared.state().pending > MOST_PENDING && !self.progress.borrow().is_broken {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes what has gathered, and ends the thread; what cannot be written stays unwritten.
    pub(crate) fn close(&mut self) {
        self.shared.state().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

/// The file that is written to.
struct Segment {
    path: PathBuf,
    file: Box<dyn Append>,
    /// Bytes that are whole.
    length: u64,
}

impl Segment {
    fn create(disk: &dyn Disk, folder: &Path, identity: &Identity, position: u64) -> io::Result<Self> {
        let path = segment_path(folder, position);
        let mut header = Vec::new();
        frame::put(&mut header, &identity.header(position)).map_err(io::Error::other)?;
        let mut file = disk.create(&path)?;
        file.append(&header)?;
        file.sync()?;
        Ok(Self { path, file, length: header.len() as u64 })
    }
}

/// The thread's own.
struct Writer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    identity: Identity,
    sync: Sync,
    shared: Arc<Shared>,
    file: Segment,
    /// Position up to which frames are in files.
    written: u64,
    synced: Instant,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.progress.send_modify(|progress| {
                progress.failure = Some("the journal's thread panicked; only a restart helps".to_owned());
                (progress.is_broken, progress.has_panicked) = (true, true);
            });
        }
    }
}

impl Writer {
    fn run(&mut self) {
        loop {
            let (items, closing) = self.gather();
            if items.is_empty() && closing {
                let synced = self.file.file.sync();
                return self.note_failure("sync", synced, true);
            }
            for item in items {
                if !self.work(item) {
                    return;
                }
            }
            if self.sync == Sync::System && self.synced.elapsed() >= LAZY_SYNC {
                let synced = self.file.file.sync();
                if synced.is_err() {
                    return self.note_failure("sync", synced, true);
                }
                self.synced = Instant::now();
            }
        }
    }

    /// What waits, as soon as there is something.
    fn gather(&self) -> (Vec<Item>, bool) {
        let mut state = self.shared.state();
        if state.items.is_empty() && !state.closing {
            let waited = self.shared.wake.wait_timeout(state, LAZY_SYNC);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (std::mem::take(&mut state.items), state.closing)
    }

    /// Writes one item, trying again as long as it must; false once nothing can be written any more.
    fn work(&mut self, item: Item) -> bool {
        match item {
            Item::Frames(mut frames) => {
                while let Err(error) = self.file.file.append(&frames) {
                    let cut = self.file.file.cut(self.file.length);
                    let broken = cut.is_err() || !files::is_want_of_room(&error);
                    self.note_failure("write", Err(error), broken);
                    if broken || self.gives_up() {
                        return false;
                    }
                    std::thread::sleep(RETRY);
                }
                if self.sync == Sync::Disk {
                    let begun = Instant::now();
                    let synced = self.file.file.sync();
                    if synced.is_err() {
                        self.note_failure("sync", synced, true);
                        return false;
                    }
                    metrics::REPLAY_SYNC_SECONDS.record(begun.elapsed().as_secs_f64(), []);
                }
                self.file.length += frames.len() as u64;
                self.written += frames.len() as u64;
                metrics::REPLAY_JOURNAL_BYTES.increment(frames.len() as u64, []);
                {
                    let mut state = self.shared.state();
                    state.pending -= frames.len();
                    if frames.capacity() <= MOST_SPARE {
                        frames.clear();
                        state.spare = frames;
                    }
                }
                let durable = self.written;
                self.shared.progress.send_modify(|progress| {
                    if progress.failure.take().is_some() {
                        tracing::info!("the journal is written again");
                    }
                    progress.durable = durable;
                });
                true
            }
            Item::Rotate(position) => {
                let synced = self.file.file.sync();
                if synced.is_err() {
                    self.note_failure("sync", synced, true);
                    return false;
                }
                loop {
                    match Segment::create(&*self.disk, &self.folder, &self.identity, position) {
                        Ok(file) => {
                            self.file = file;
                            return true;
                        }
                        Err(error) => {
                            let broken = !files::is_want_of_room(&error);
                            self.note_failure("create", Err(error), broken);
                            if broken || self.gives_up() {
                                return false;
                            }
                            std::thread::sleep(RETRY);
                        }
                    }
                }
            }
        }
    }

    /// A shard that ends cannot wait for a disk.
    fn gives_up(&self) -> bool {
        self.shared.state().closing
    }

    fn note_failure(&self, operation: &'static str, result: io::Result<()>, is_broken: bool) {
        let Err(error) = result else { return };
        metrics::REPLAY_JOURNAL_FAILURES.increment(1, [operation]);
        let path = self.file.path.display();
        let failure = match is_broken {
            true => format!("cannot {operation} {path}: {error}; nothing more is stored until a restart"),
            false => format!("cannot {operation} {path}: {error}; tried again every second"),
        };
        self.shared.progress.send_modify(|progress| {
            if progress.failure.as_ref() != Some(&failure) {
                tracing::error!("{failure}");
            }
            (progress.failure, progress.is_broken) = (Some(failure), is_broken);
        });
    }
}
