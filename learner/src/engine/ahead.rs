//! The steps behind a row's own that count towards its return (D26), checked and taken apart; plain memory, for every engine.
//!
//! With rewards r_0 of the row's own step and r_1 .. r_k of those ahead, y = Σ_j gamma^j r_j + gamma^(k+1) (1 - terminated)
//! Q(s', pi(s')): Eq 17 where k = 0. s' is the state after the last of them, r_in part of every reward.

use common::{
    Feedback, ItemId,
    transition::{LowBatch, NO_STEP},
};

use super::Error;

/// One step ahead of every row that has it. B rows.
#[derive(Clone, Debug, PartialEq)]
pub struct StepAhead {
    /// `[B]` the item shown; item 0 where there is no such step.
    pub items: Vec<ItemId>,
    /// `[B]` r_ex; 0 where there is no such step.
    pub rewards: Vec<f32>,
    /// `[B]` 1 where there is such a step, else 0.
    pub taken: Vec<f32>,
    /// `[B]` position in the period; that of the row's last step where there is no such step.
    pub positions: Vec<usize>,
}

/// All steps ahead. B rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// The first step ahead, the second, ...
    pub steps: Vec<StepAhead>,
    /// `[B]` how many of them a row has.
    pub n_taken: Vec<usize>,
    /// `[B]` position in the period of the last step that a row's return takes in.
    pub last_positions: Vec<usize>,
}

impl Ahead {
    /// Of a batch whose other columns were checked; `None` where it has no column for steps ahead. c steps a period.
    ///
    /// # Errors
    /// Columns of other lengths, unknown items or feedback, steps behind the end of a period.
    pub fn of(batch: &LowBatch, period_steps: usize, n_items: usize) -> Result<Option<Self>, Error> {
        let n_rows = batch.len();
        if batch.ahead_items.is_empty() && batch.ahead_feedback.is_empty() || n_rows == 0 {
            return Ok(None);
        }
        let width = batch.ahead_items.len() / n_rows;
        for (name, found) in
            [("low.ahead_items", batch.ahead_items.len()), ("low.ahead_feedback", batch.ahead_feedback.len())]
        {
            if found != width * n_rows {
                return Err(Error::Length { column: name.into(), found, expected: width * n_rows });
            }
        }
        let mut ahead = Self { steps: Vec::new(), n_taken: Vec::new(), last_positions: Vec::new() };
        for row in 0..n_rows {
            let codes = &batch.ahead_feedback[row * width..][..width];
            let taken = codes.iter().take_while(|&&code| code != NO_STEP).count();
            let last = usize::from(batch.positions[row]) + taken;
            let refuse =
                |problem: String| Err(Error::Value { column: "low.ahead_feedback".into(), row, problem });
            if codes[taken..].iter().any(|&code| code != NO_STEP) {
                return refuse("a step stands behind a missing one".into());
            }
            if last >= period_steps {
                return refuse(format!("{taken} steps ahead cross the end of a period of {period_steps}"));
            }
            ahead.n_taken.push(taken);
            ahead.last_positions.push(last);
        }
        for k in 0..width {
            let step = (0..n_rows).map(|row| ahead.step(batch, row, k, (width, n_items)));
            let step: Vec<(ItemId, f32, f32, usize)> = step.collect::<Result<_, Error>>()?;
            ahead.steps.push(StepAhead {
                items: step.iter().map(|step| step.0).collect(),
                rewards: step.iter().map(|step| step.1).collect(),
                taken: step.iter().map(|step| step.2).collect(),
                positions: step.iter().map(|step| step.3).collect(),
            });
        }
        Ok(Some(ahead))
    }

    /// (item, r_ex, taken, position) of step k ahead of a row.
    fn step(
        &self,
        batch: &LowBatch,
        row: usize,
        k: usize,
        (width, n_items): (usize, usize),
    ) -> Result<(ItemId, f32, f32, usize), Error> {
        if k >= self.n_taken[row] {
            return Ok((ItemId(0), 0.0, 0.0, self.last_positions[row]));
        }
        let (item, code) = (batch.ahead_items[row * width + k], batch.ahead_feedback[row * width + k]);
        let refuse = |column: &str, problem| Err(Error::Value { column: column.into(), row, problem });
        if item.row() >= n_items {
            return refuse("low.ahead_items", format!("item {item} is none of the {n_items} items"));
        }
        match Feedback::from_code(code) {
            Some(feedback) => Ok((item, feedback.reward(), 1.0, usize::from(batch.positions[row]) + k + 1)),
            None => refuse("low.ahead_feedback", format!("{code} is no feedback")),
        }
    }

    /// `[B]` gamma^k of the k steps ahead: what the value behind them is discounted by besides gamma.
    pub fn discounts(&self, gamma: f64) -> Vec<f64> {
        self.n_taken.iter().map(|&taken| gamma.powi(taken as i32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(items: &[u32], feedback: &[u8]) -> LowBatch {
        LowBatch {
            items: vec![ItemId(1), ItemId(2)],
            feedback: vec![0, 1],
            positions: vec![0, 2],
            ahead_items: items.iter().map(|&item| ItemId(item)).collect(),
            ahead_feedback: feedback.to_vec(),
            ..LowBatch::default()
        }
    }

    #[test]
    fn steps_ahead_are_taken_apart_one_after_the_other() {
        let pad = ItemId::PADDING.0;
        let ahead = Ahead::of(&batch(&[5, 6, 7, pad], &[2, 0, 1, NO_STEP]), 4, 9).unwrap().unwrap();
        assert_eq!((ahead.n_taken.as_slice(), ahead.last_positions.as_slice()), (&[2, 1][..], &[2, 3][..]));
        let [first, second] = ahead.steps.as_slice() else { panic!("two steps") };
        assert_eq!(
            (first.items.as_slice(), first.rewards.as_slice()),
            (&[ItemId(5), ItemId(7)][..], &[5.0, 1.0][..])
        );
        assert_eq!((second.taken.as_slice(), second.rewards.as_slice()), (&[1.0, 0.0][..], &[0.0, 0.0][..]));
        assert_eq!((first.positions.as_slice(), second.positions.as_slice()), (&[1, 3][..], &[2, 3][..]));
        assert_eq!(ahead.discounts(0.5), [0.25, 0.5]);
        assert_eq!(Ahead::of(&batch(&[], &[]), 4, 9).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let error = |items: &[u32], feedback: &[u8]| {
            Ahead::of(&batch(items, feedback), 4, 9).unwrap_err().to_string()
        };
        let none = NO_STEP;
        assert!(error(&[5, 6], &[0]).contains("`low.ahead_feedback` holds 1 values, expected 2"));
        assert!(error(&[9, 1], &[0, 0]).contains("`low.ahead_items`, row 0: item 9 is none of the 9 items"));
        assert!(error(&[1, 1], &[0, 7]).contains("`low.ahead_feedback`, row 1: 7 is no feedback"));
        assert!(
            error(&[1, 1, 1, 1], &[0, 0, 0, 0])
                .contains("row 1: 2 steps ahead cross the end of a period of 4")
        );
        assert!(
            error(&[1, 1, 1, 1], &[none, 0, 0, none]).contains("row 0: a step stands behind a missing one")
        );
    }
}
