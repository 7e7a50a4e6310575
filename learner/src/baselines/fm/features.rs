//! The fields of a row.
//!
//! In: a state and an item; out: features. Fields, one after the other in the index: user, item, skipped, clicked, ordered
//! ids of the windows (each 1 over their number), the embedding's direction. The first and the windows are the state's, the
//! others the item's.

use std::{collections::BTreeMap, sync::Arc};

use common::{ItemId, ItemTable, history::N_WINDOWS};

use super::model::Feature;

/// Where the fields lie.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    /// Rows of the users of the log.
    users: Arc<BTreeMap<u64, u32>>,
    items: Arc<ItemTable>,
}

impl Fields {
    /// Fields of a catalogue and these users.
    pub(super) fn new(users: impl IntoIterator<Item = u64>, items: Arc<ItemTable>) -> Self {
        let mut users: BTreeMap<u64, u32> = users.into_iter().map(|user| (user, 0)).collect();
        users.values_mut().zip(0..).for_each(|(row, k)| *row = k);
        Self { users: Arc::new(users), items }
    }

    /// Ids of the users, ascending.
    pub(super) fn users(&self) -> Vec<u64> {
        self.users.keys().copied().collect()
    }

    /// Number of features, F.
    pub(super) fn n_features(&self) -> usize {
        self.users.len() + (1 + N_WINDOWS) * self.items.n_items() + self.items.n_dims()
    }

    /// The item table.
    pub(super) fn items(&self) -> &ItemTable {
        &self.items
    }

    /// Appends what the state says, from its user and its windows `[3, N]`. A stranger has no feature.
    pub(super) fn of_state(&self, user: Option<u64>, windows: &[ItemId], out: &mut Vec<Feature>) {
        out.extend(user.and_then(|user| self.users.get(&user)).map(|&row| (row, 1.0)));
        let (n_users, n_items) = (self.users.len(), self.items.n_items());
        for (kind, window) in windows.chunks_exact(windows.len() / N_WINDOWS).enumerate() {
            let share = 1.0 / common::history::length(window).max(1) as f32;
            let base = n_users + (1 + kind) * n_items;
            let real = window.iter().filter(|item| !item.is_padding());
            out.extend(real.map(|item| ((base + item.row()) as u32, share)));
        }
    }

    /// Appends what an item says.
    pub(super) fn of_item(&self, item: ItemId, out: &mut Vec<Feature>) {
        out.push(((self.users.len() + item.row()) as u32, 1.0));
        let base = (self.users.len() + (1 + N_WINDOWS) * self.items.n_items()) as u32;
        out.extend((base..).zip(self.items.unit_embedding(item).iter().copied()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_place() {
        let items = ItemTable::new(2, 9.0, vec![3.0, 4.0, 0.0, -5.0], vec![0; 2], vec![0.0; 2]).unwrap();
        let fields = Fields::new([70, 50, 70], Arc::new(items));
        assert_eq!((fields.n_features(), fields.users()), (12, vec![50, 70]));
        let pad = ItemId::PADDING;
        let windows = [ItemId(0), ItemId(1), pad, ItemId(0), pad, pad];
        let mut features = Vec::new();
        fields.of_state(Some(70), &windows, &mut features);
        assert_eq!(features, [(1, 1.0), (4, 0.5), (5, 0.5), (6, 1.0)]);
        features.clear();
        fields.of_state(Some(60), &[pad; 6], &mut features);
        assert_eq!(features, []);
        fields.of_item(ItemId(1), &mut features);
        assert_eq!(features, [(3, 1.0), (10, 0.0), (11, -1.0)]);
    }
}
