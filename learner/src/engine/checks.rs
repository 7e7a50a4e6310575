//! What a batch may hold, whichever engine takes it. In: columns of ids and numbers; out: errors that name column and row.

use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
    transition::{HighBatch, LowBatch, NO_STEP, Shape},
};

use super::{Error, LowStates, ahead::Ahead};

/// The sizes that a batch must fit.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Of the records.
    pub shape: Shape,
    /// V.
    pub n_items: usize,
}

impl Checks {
    /// Refuses a high-level batch of at least one row that cannot be.
    pub fn high(&self, batch: &HighBatch) -> Result<(), Error> {
        let (n_rows, c) = (batch.len(), self.shape.n_steps);
        if self.shape.n_goals == 0 {
            return Err(Error::Length { column: "high".into(), found: n_rows, expected: 0 });
        }
        length("high.feedback", batch.feedback.len(), n_rows * c)?;
        for (i, &code) in batch.feedback.iter().enumerate().filter(|(_, code)| **code != NO_STEP) {
            feedback("high.feedback", i / c, code)?;
        }
        self.windows("high.windows", &batch.windows, n_rows)?;
        self.windows("high.next_windows", &batch.next_windows, n_rows)?;
        self.goals("high.goals", &batch.goals, n_rows)?;
        flags("high.terminated", &batch.terminated, n_rows)?;
        weights("high.weights", &batch.weights, n_rows)
    }

    /// Refuses a low-level batch of at least one row that cannot be. The steps ahead of its rows, if it has any.
    pub fn low(&self, batch: &LowBatch) -> Result<Option<Ahead>, Error> {
        let n_rows = batch.len();
        length("low.feedback", batch.feedback.len(), n_rows)?;
        self.items("low.items", &batch.items, 1)?;
        for (row, &code) in batch.feedback.iter().enumerate() {
            feedback("low.feedback", row, code)?;
        }
        self.positions("low.positions", &batch.positions, n_rows)?;
        self.windows("low.windows", &batch.windows, n_rows)?;
        self.windows("low.next_windows", &batch.next_windows, n_rows)?;
        self.goals("low.goals", &batch.goals, n_rows)?;
        flags("low.terminated", &batch.terminated, n_rows)?;
        weights("low.weights", &batch.weights, n_rows)?;
        Ahead::of(batch, self.shape.n_steps, self.n_items)
    }

    /// Refuses low-level decisions that cannot be.
    pub fn low_states(&self, states: LowStates<'_>) -> Result<(), Error> {
        let n_rows = states.positions.len();
        self.windows("windows", states.windows, n_rows)?;
        self.goals("goals", states.goals, n_rows)?;
        self.positions("positions", states.positions, n_rows)
    }

    /// Rows of windows `[B, 3, N]` of unknown number, checked.
    pub fn rows_of(&self, column: &str, windows: &[ItemId]) -> Result<usize, Error> {
        let n_rows = windows.len() / (N_WINDOWS * self.shape.window);
        self.windows(column, windows, n_rows).map(|()| n_rows)
    }

    /// Items a row, K, of items `[B, K]`, checked.
    pub fn items_a_row(&self, items: &[ItemId], n_rows: usize) -> Result<usize, Error> {
        let per_row = items.len() / n_rows.max(1);
        length("items", items.len(), per_row * n_rows)?;
        self.items("items", items, per_row.max(1)).map(|()| per_row)
    }

    /// Windows `[B, 3, N]`: padding on the left, then items of the table.
    pub fn windows(&self, column: &str, windows: &[ItemId], n_rows: usize) -> Result<(), Error> {
        let n = self.shape.window;
        length(column, windows.len(), n_rows * N_WINDOWS * n)?;
        for (i, window) in windows.chunks_exact(n).enumerate() {
            let row = i / N_WINDOWS;
            let (padding, items) = window.split_at(n - history::length(window));
            if padding.iter().any(|item| !item.is_padding()) {
                let problem = "an item stands before padding; windows are padded on the left".into();
                return Err(value(column, row, problem));
            }
            if let Some(item) = items.iter().find(|item| item.row() >= self.n_items) {
                return Err(value(column, row, format!("item {item} is none of the {} items", self.n_items)));
            }
        }
        Ok(())
    }

    /// Goals `[B, M, n]`: finite numbers.
    pub fn goals(&self, column: &str, goals: &[f32], n_rows: usize) -> Result<(), Error> {
        let size = self.shape.n_goals * self.shape.n_dims;
        length(column, goals.len(), n_rows * size)?;
        match goals.iter().position(|g| !g.is_finite()) {
            Some(i) => Err(value(column, i / size, format!("{} is not a finite number", goals[i]))),
            None => Ok(()),
        }
    }

    /// Ids of the table; a row of the batch has `per_row` of them.
    pub fn items(&self, column: &str, items: &[ItemId], per_row: usize) -> Result<(), Error> {
        match items.iter().position(|item| item.row() >= self.n_items) {
            Some(i) => {
                let problem = format!("item {} is none of the {} items", items[i], self.n_items);
                Err(value(column, i / per_row, problem))
            }
            None => Ok(()),
        }
    }

    /// Items that targets are mapped to.
    pub fn targets(&self, items: &[ItemId]) -> Result<(), Error> {
        if items.is_empty() {
            return Err(Error::Length { column: "mapping".into(), found: 0, expected: 1 });
        }
        self.items("mapping", items, 1)
    }

    fn positions(&self, column: &str, positions: &[u8], n_rows: usize) -> Result<(), Error> {
        length(column, positions.len(), n_rows)?;
        let c = self.shape.n_steps;
        match positions.iter().position(|&position| usize::from(position) >= c) {
            Some(row) => {
                Err(value(column, row, format!("{} lies outside a period of {c} steps", positions[row])))
            }
            None => Ok(()),
        }
    }
}

/// The reward of a checked code; that of no step is 0.
pub fn reward(code: u8) -> f32 {
    Feedback::from_code(code).map_or(0.0, Feedback::reward)
}

fn feedback(column: &str, row: usize, code: u8) -> Result<(), Error> {
    match Feedback::from_code(code) {
        Some(_) => Ok(()),
        None => Err(value(column, row, format!("{code} is no feedback"))),
    }
}

fn flags(column: &str, flags: &[u8], n_rows: usize) -> Result<(), Error> {
    length(column, flags.len(), n_rows)?;
    match flags.iter().position(|&flag| flag > 1) {
        Some(row) => Err(value(column, row, format!("{} is neither 0 nor 1", flags[row]))),
        None => Ok(()),
    }
}

/// None at all, or one a row.
fn weights(column: &str, weights: &[f32], n_rows: usize) -> Result<(), Error> {
    if weights.is_empty() {
        return Ok(());
    }
    length(column, weights.len(), n_rows)?;
    match weights.iter().position(|&weight| !(weight.is_finite() && weight >= 0.0)) {
        Some(row) => Err(value(column, row, format!("{} is no importance weight", weights[row]))),
        None => Ok(()),
    }
}

fn length(column: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { column: column.to_owned(), found, expected }) }
}

fn value(column: &str, row: usize, problem: String) -> Error {
    Error::Value { column: column.to_owned(), row, problem }
}
