//! Writes an import: items, manifest, and last the log.

use std::path::Path;

use common::ItemId;

use super::{
    Progress,
    collect::{Collected, Event},
    negatives::Negatives,
    sessions::{Visit, merge},
};
use crate::{
    Error, Impression, Manifest,
    canonical::{
        Form, folder,
        items::Items,
        rows::{Row, RowWriter},
    },
    source::Impressions,
};

/// Sessions between two reports of progress.
const REPORT_EVERY: u64 = 1 << 12;

/// Writes everything and completes the manifest. Users, sessions and items are numbered from 0.
pub(super) fn write(
    collected: &Collected,
    visits: &[Visit],
    mut manifest: Manifest,
    form: Form,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, Error> {
    let (items, rows_of_items) = shown_items(collected);
    manifest.n_users = collected.n_users;
    manifest.n_sessions = visits.len() as u64;
    manifest.n_items = items.n_items() as u64;
    manifest.n_items_never_shown = (collected.items.len() - items.n_items()) as u64;
    folder::create_empty(output)?;
    items.write(output, form)?;
    let with_propensity = collected.events.iter().any(|event| event.propensity.is_some());
    let mut writer = RowWriter::create(output, form, &items.ids, with_propensity)?;
    let merges = manifest.impressions != Impressions::Logged;
    let mut negatives =
        manifest.negatives.map(|note| Negatives::new(&collected.events, &collected.items, note));
    let (mut merged, mut interleaved) = (Vec::new(), Vec::new());
    for (session, visit) in (0..).zip(visits) {
        let mut shown: &[Event] = &collected.events[visit.events.clone()];
        if merges {
            merge(shown, &mut merged);
            manifest.n_merged += (shown.len() - merged.len()) as u64;
            shown = &merged;
        }
        if let Some(negatives) = &mut negatives {
            negatives.interleave(session, shown, &mut interleaved);
            shown = &interleaved;
        }
        for (position, event) in (0..).zip(shown) {
            let impression = Impression {
                item: ItemId(rows_of_items[event.item as usize]),
                feedback: event.feedback,
                time_ms: event.time_ms,
                propensity: event.propensity,
            };
            let user = u64::from(visit.user);
            writer.push(Row { user, session, line: 0, position, split: visit.split, impression })?;
        }
        manifest.n_impressions += shown.len() as u64;
        if session % REPORT_EVERY == 0 || session + 1 == manifest.n_sessions {
            progress(Progress::Writing { sessions: session + 1, of: manifest.n_sessions });
        }
    }
    manifest.negatives = negatives.map(|negatives| negatives.note);
    manifest.save(output)?;
    writer.finish()?;
    Ok(manifest)
}

/// The items of the log, and the row of each collected item in them (meaningless for one that is never shown).
fn shown_items(collected: &Collected) -> (Items, Vec<u32>) {
    let mut is_shown = vec![false; collected.items.len()];
    for event in &collected.events {
        is_shown[event.item as usize] = true;
    }
    let mut items = Items::default();
    let mut rows = vec![u32::MAX; collected.items.len()];
    let mut keys = Vec::new();
    for (number, item) in collected.items.iter().enumerate().filter(|(number, _)| is_shown[*number]) {
        rows[number] = u32::try_from(items.n_items()).expect("items are numbered by u32");
        items.ids.push(items.ids.len() as u64);
        items.categories.push(item.category);
        items.prices.push(item.price);
        keys.push(collected.item_keys[number].clone());
    }
    items.keys = Some(keys);
    (items, rows)
}
