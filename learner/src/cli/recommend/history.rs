//! What users saw and did. In: CSV with `user_id`, `item_id` or `key`, and `feedback`; out: windows as item rows.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow, bail, ensure};
use common::{Feedback, ItemId, history};
use serde::Deserialize;

/// What items are called outside.
pub(super) struct Names<'a> {
    /// `[V]` ids of the log.
    ids: Vec<u64>,
    /// `[V]` the log's own keys, where it has them.
    keys: Option<&'a [String]>,
    rows_of_ids: HashMap<u64, usize>,
    /// `None`: several items have that key.
    rows_of_keys: HashMap<&'a str, Option<usize>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(ids: Vec<u64>, keys: Option<&'a [String]>) -> Self {
        let rows_of_ids = ids.iter().enumerate().map(|(row, &id)| (id, row)).collect();
        let mut rows_of_keys = HashMap::new();
        for (row, key) in keys.into_iter().flatten().enumerate() {
            rows_of_keys.entry(key.as_str()).and_modify(|row| *row = None).or_insert(Some(row));
        }
        Self { ids, keys, rows_of_ids, rows_of_keys }
    }

    pub(super) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    pub(super) fn id(&self, row: usize) -> u64 {
        self.ids[row]
    }

    pub(super) fn key(&self, row: usize) -> Option<&'a str> {
        self.keys.map(|keys| keys[row].as_str())
    }

    /// The row of an item.
    fn find(&self, event: &Event) -> Result<usize> {
        match (&event.item_id, &event.key) {
            (Some(id), _) => {
                let hint = if self.has_keys() { "; keys go into a column `key`" } else { "" };
                let id: u64 = id
                    .parse()
                    .with_context(|| format!("`item_id` is {id:?}, expected a whole number{hint}"))?;
                let row = self.rows_of_ids.get(&id);
                row.copied().with_context(|| format!("item {id} is not in the catalogue of the run"))
            }
            (None, Some(_)) if !self.has_keys() => bail!("the items of the run have no keys, use `item_id`"),
            (None, Some(key)) => match self.rows_of_keys.get(key.as_str()) {
                Some(Some(row)) => Ok(*row),
                Some(None) => bail!("several items have the key {key:?}, use `item_id`"),
                None => bail!("the key {key:?} is not in the catalogue of the run"),
            },
            (None, None) if self.has_keys() => bail!("there is neither an `item_id` nor a `key`"),
            (None, None) => bail!("there is no `item_id`"),
        }
    }
}

/// A row of the history; other columns are passed over.
#[derive(Debug, Deserialize)]
struct Event {
    user_id: String,
    item_id: Option<String>,
    key: Option<String>,
    feedback: String,
}

/// A user's past.
pub(super) struct Past {
    pub(super) user: String,
    /// `[3, N]`
    pub(super) windows: Vec<ItemId>,
    pub(super) seen: Vec<ItemId>,
}

/// The users of a history, in the order of their first rows.
pub(super) fn read(path: &Path, window: usize, names: &Names<'_>) -> Result<Vec<Past>> {
    let mut pasts: Vec<Past> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let header = reader.headers().map_err(|error| refusal(path, &error))?.clone();
    if let Some(missing) =
        ["user_id", "feedback"].into_iter().find(|name| header.iter().all(|of| of != *name))
    {
        bail!("{}, line 1: column `{missing}` is missing", path.display());
    }
    for record in reader.records() {
        let record = record.map_err(|error| refusal(path, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let at = || format!("{}, line {line}", path.display());
        let event: Event = record.deserialize(Some(&header)).with_context(at)?;
        ensure!(!event.user_id.is_empty(), "{}: `user_id` is empty", at());
        let item = ItemId(names.find(&event).with_context(at)? as u32);
        let Event { user_id, feedback, .. } = event;
        let code = feedback.parse().ok().and_then(Feedback::from_code);
        let feedback = code.with_context(|| {
            format!("{}: `feedback` is {feedback:?}, expected 0 (skip), 1 (click) or 2 (order)", at())
        })?;
        let place = *places.entry(user_id.clone()).or_insert_with(|| {
            let windows = vec![ItemId::PADDING; history::N_WINDOWS * window];
            pasts.push(Past { user: user_id, windows, seen: Vec::new() });
            pasts.len() - 1
        });
        history::push(&mut pasts[place].windows, item, feedback);
        pasts[place].seen.push(item);
    }
    if pasts.is_empty() {
        bail!("{} holds no row", path.display());
    }
    Ok(pasts)
}

/// What is wrong with a file, and in which line, without the words of the library.
fn refusal(path: &Path, error: &csv::Error) -> anyhow::Error {
    let path = path.display();
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            anyhow!("{path}, line {line}: {len} cells, the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => anyhow!("{path}, line {line}: not UTF-8"),
        _ => anyhow!("{path}, line {line}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each user saw, or why not.
    fn seen(text: &str, keys: Option<&[String]>) -> Result<Vec<(String, Vec<u32>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        std::fs::write(&path, text).unwrap();
        let pasts = read(&path, 3, &Names::new(vec![100, 101, 205, 330], keys));
        let said = |error: anyhow::Error| format!("{error:#}").split_once(", ").unwrap().1.to_owned();
        let of_user = |past: Past| (past.user, past.seen.iter().map(|item| item.0).collect());
        Ok(pasts.map_err(said)?.into_iter().map(of_user).collect())
    }

    fn keys() -> Vec<String> {
        ["red", "blue", "kettle", "blue"].map(str::to_owned).into()
    }

    #[test]
    fn items_go_by_their_ids_or_by_the_keys_of_the_log() {
        let keys = keys();
        let expected = [("7".to_owned(), vec![2, 0]), ("anna".to_owned(), vec![0])];
        let by_id = "user_id,item_id,feedback\n7,205,0\nanna,100,2\n7,100,1\n";
        let by_key = "user_id,key,feedback\n7,kettle,0\nanna,red,2\n7,red,1\n";
        // An id says more than a key.
        let by_both = "user_id,key,item_id,feedback\n7,blue,205,0\nanna,,100,2\n7,red,,1\n";
        for text in [by_id, by_key, by_both] {
            assert_eq!(seen(text, Some(&keys)).unwrap(), expected, "{text}");
        }
        assert_eq!(seen(by_id, None).unwrap(), expected);
    }

    #[test]
    fn a_file_of_another_form_is_refused_with_the_line() {
        let header = "user_id,item_id,feedback\n";
        for (text, problem) in [
            ("user,item_id,feedback\n7,100,1\n".to_owned(), "line 1: column `user_id` is missing"),
            ("user_id,item_id\n7,100\n".to_owned(), "line 1: column `feedback` is missing"),
            (format!("{header}7,100,1\n7,100\n"), "line 3: 2 cells, the header has 3"),
            (format!("{header}7,100,1,9\n"), "line 2: 4 cells, the header has 3"),
            (format!("{header}7,100,1\n,100,1\n"), "line 3: `user_id` is empty"),
            (format!("{header}7,100,3\n"), "line 2: `feedback` is \"3\""),
        ] {
            assert!(seen(&text, None).unwrap_err().starts_with(problem), "{text}");
        }
        // As spreadsheets write it.
        let text = "\u{feff}user_id,item_id,feedback,note\r\n7,205,0,\"a, b\"\r\n";
        assert_eq!(seen(text, None).unwrap(), [("7".to_owned(), vec![2])]);
    }

    #[test]
    fn what_names_no_item_is_refused_with_the_line() {
        let keys = keys();
        for (text, keys, problem) in [
            ("item_id\n99", None, "item 99 is not in the catalogue of the run"),
            ("item_id\nred", None, "`item_id` is \"red\", expected a whole number"),
            ("item_id\nred", Some(&keys), "expected a whole number; keys go into a column `key`"),
            ("key\nred", None, "the items of the run have no keys, use `item_id`"),
            ("key\ngreen", Some(&keys), "the key \"green\" is not in the catalogue of the run"),
            ("key\nblue", Some(&keys), "several items have the key \"blue\", use `item_id`"),
            ("sku\nred", Some(&keys), "there is neither an `item_id` nor a `key`"),
            ("sku\nred", None, "there is no `item_id`"),
        ] {
            let text = text.replace('\n', ",user_id,feedback\n") + ",7,1\n";
            let said = seen(&text, keys.map(Vec::as_slice)).unwrap_err();
            assert!(said.starts_with("line 2: ") && said.contains(problem), "{text} gave: {said}");
        }
    }
}
