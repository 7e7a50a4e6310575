//! A log in memory.
//!
//! In: a folder of the canonical form; out: sessions by (user, time), their impressions by position. One array holds
//! the impressions of all sessions (24 bytes each), a second one where each session begins and ends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{Feedback, ItemId, ItemTable};

use super::{
    Form, Manifest, folder,
    items::{self, Items},
    rows::{self, Row, RowWriter},
};
use crate::{DEFAULT_BOUND, Error};

/// Which part of a log a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Earlier: what is learned from.
    Train,
    /// Later: what is tested on.
    Test,
}

impl Split {
    /// Both, in the order of time.
    pub const ALL: [Self; 2] = [Self::Train, Self::Test];

    /// As in the column `split`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    /// The split of a name; none for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}

/// One item shown to one user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impression {
    /// Row of the item table.
    pub item: ItemId,
    /// What the user did.
    pub feedback: Feedback,
    /// Milliseconds since 1970-01-01 UTC, or a count where the data has no clock.
    pub time_ms: i64,
    /// Probability that the logging policy showed it, in (0, 1], where known.
    pub propensity: Option<f32>,
}

/// One visit of one user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Session<'a> {
    /// Id of the user.
    pub user: u64,
    /// Id of the session, unique within the user.
    pub id: u64,
    /// The part of the log it belongs to.
    pub split: Split,
    /// What was shown, by position. Never empty.
    pub impressions: &'a [Impression],
}

impl Session<'_> {
    /// Whether anything was clicked. The paper drops sessions without a click.
    pub fn has_click(&self) -> bool {
        self.impressions.iter().any(|shown| shown.feedback.clicked())
    }
}

/// A log, checked row by row when it was opened.
#[derive(Clone, Debug)]
pub struct Log {
    folder: PathBuf,
    manifest: Manifest,
    items: Items,
    table: Option<Arc<ItemTable>>,
    impressions: Vec<Impression>,
    /// By (user, time of the earliest impression, id).
    sessions: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    user: u64,
    id: u64,
    split: Split,
    start: usize,
    end: usize,
}

impl Log {
    /// Reads and checks a log; with embeddings, where its item table has them. An error names the file, the row and
    /// what is wrong with it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::read(folder, true)
    }

    /// As [`Log::open`], but leaves the embeddings unread: for work that needs none, or replaces them.
    pub fn open_without_embeddings(folder: &Path) -> Result<Self, Error> {
        Self::read(folder, false)
    }

    /// The item table of a log, as [`Log::items`], without its rows.
    pub fn read_items(folder: &Path) -> Result<Arc<ItemTable>, Error> {
        let (_, _, table) = Self::read_table(folder, true)?;
        table.ok_or_else(|| Error::NotEmbedded { folder: folder.to_owned() })
    }

    fn read_table(
        folder: &Path,
        with_embeddings: bool,
    ) -> Result<(Manifest, Items, Option<Arc<ItemTable>>), Error> {
        let items_path = folder::find(folder, items::TABLE)?;
        let manifest = Manifest::load(folder)?;
        let bound = manifest.embedding.as_ref().map_or(DEFAULT_BOUND, |embedding| embedding.bound);
        let items = Items::read(&items_path, with_embeddings.then_some(bound))?;
        let table = items.table(bound)?;
        Ok((manifest, items, table))
    }

    fn read(folder: &Path, with_embeddings: bool) -> Result<Self, Error> {
        let log_path = folder::find(folder, rows::TABLE)?;
        let (manifest, items, table) = Self::read_table(folder, with_embeddings)?;
        let (impressions, sessions) = in_time(&rows::read(&log_path, &items)?);
        Ok(Self { folder: folder.to_owned(), manifest, items, table, impressions, sessions })
    }

    /// Where it was read from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is from; the default manifest for a log without one.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The item table; an error that says what to run while the log has no embeddings.
    pub fn items(&self) -> Result<Arc<ItemTable>, Error> {
        self.table.clone().ok_or_else(|| Error::NotEmbedded { folder: self.folder.clone() })
    }

    /// Number of items, embedded or not.
    pub fn n_items(&self) -> usize {
        self.items.n_items()
    }

    /// `[n_items]` the `item_id` of each row of the item table, ascending.
    pub fn item_ids(&self) -> &[u64] {
        &self.items.ids
    }

    /// `[n_items]` the data set's own key of each item, where the log has them.
    pub fn item_keys(&self) -> Option<&[String]> {
        self.items.keys.as_deref()
    }

    /// `[n_items]` the category of each item; none where unknown.
    pub fn categories(&self) -> &[Option<u32>] {
        &self.items.categories
    }

    /// Number of sessions of both splits.
    pub fn n_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Number of impressions of all sessions.
    pub fn n_impressions(&self) -> usize {
        self.impressions.len()
    }

    /// All sessions by (user, time).
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = Session<'_>> + Clone {
        self.sessions.iter().map(|span| Session {
            user: span.user,
            id: span.id,
            split: span.split,
            impressions: &self.impressions[span.start..span.end],
        })
    }

    /// Writes the log into an empty or new folder, in either form: a way from CSV to Parquet and back.
    pub fn write(&self, folder: &Path, form: Form) -> Result<(), Error> {
        folder::create_empty(folder)?;
        self.items.write(folder, form)?;
        self.manifest.save(folder)?;
        let with_propensity = self.impressions.iter().any(|shown| shown.propensity.is_some());
        let mut writer = RowWriter::create(folder, form, &self.items.ids, with_propensity)?;
        for session in self.sessions() {
            for (position, &impression) in (0..).zip(session.impressions) {
                let Session { user, id, split, .. } = session;
                writer.push(Row { user, session: id, line: 0, position, split, impression })?;
            }
        }
        writer.finish()
    }

    pub(crate) fn into_items(self) -> Items {
        self.items
    }

    pub(crate) fn item_rows(&self) -> &Items {
        &self.items
    }
}

/// Rows by (user, session, position) to sessions by (user, time).
fn in_time(rows: &[Row]) -> (Vec<Impression>, Vec<Span>) {
    let mut timed: Vec<(i64, &[Row])> = rows
        .chunk_by(|a, b| (a.user, a.session) == (b.user, b.session))
        .map(|session| (session.iter().map(|row| row.impression.time_ms).min().unwrap_or(0), session))
        .collect();
    timed.sort_by_key(|(start, session)| (session[0].user, *start, session[0].session));
    let mut impressions = Vec::with_capacity(rows.len());
    let mut sessions = Vec::with_capacity(timed.len());
    for (_, session) in timed {
        let Row { user, session: id, split, .. } = session[0];
        let start = impressions.len();
        impressions.extend(session.iter().map(|row| row.impression));
        sessions.push(Span { user, id, split, start, end: impressions.len() });
    }
    (impressions, sessions)
}
