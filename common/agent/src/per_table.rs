//! What is made once of an item table for all threads of a process. In: a table; out: what was made of it, as long as it lives.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use common::ItemTable;

/// What was made of the tables that live.
pub(crate) struct PerTable<T>(Mutex<Vec<(Weak<ItemTable>, Arc<T>)>>);

impl<T> PerTable<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// What belongs to a table. Whoever asks first makes it, the others wait.
    pub(crate) fn get(&self, items: &Arc<ItemTable>, make: impl FnOnce() -> T) -> Arc<T> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|(table, _)| table.strong_count() > 0);
        let same = |table: &Weak<ItemTable>| std::ptr::eq(table.as_ptr(), Arc::as_ptr(items));
        if let Some((_, made)) = made.iter().find(|(table, _)| same(table)) {
            return Arc::clone(made);
        }
        let new = Arc::new(make());
        made.push((Arc::downgrade(items), Arc::clone(&new)));
        new
    }
}
