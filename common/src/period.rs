//! Periods: the high-level agent acts every `c` steps and sets `M` goals, one for each sub-period.
//!
//! Position in the period `p = t mod c`; sub-period `i = p / L` with `L = floor(c / M)`. Positions `p >= M L` (c not
//! divisible by M) are the remainder.

use serde::{Deserialize, Serialize};

/// Who owns the steps that are left over when c is not divisible by M.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remainder {
    /// They belong to the last goal.
    Last,
    /// The paper's formulas taken literally: no goal, no internal reward, outside every phi.
    Drop,
}

/// The division of a period into sub-periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodLayout {
    /// Goals per period, M; 0: nobody sets any.
    pub n_goals: usize,
    /// Steps per period, c.
    pub n_steps: usize,
    /// Who owns the remainder.
    pub remainder: Remainder,
}

impl PeriodLayout {
    /// Length of a sub-period, `L = floor(c / M)`. At least 1 in a validated configuration (M <= c). Needs a goal.
    pub fn sub_period_length(&self) -> usize {
        self.n_steps / self.n_goals
    }

    /// Index `0..M` of the goal that guides position `p` of a period (`p < c`); `None` where none does.
    pub fn sub_period(&self, position: usize) -> Option<usize> {
        assert!(position < self.n_steps, "position {position} is outside a period of {} steps", self.n_steps);
        if self.n_goals == 0 {
            return None;
        }
        let length = self.sub_period_length();
        if position < self.n_goals * length {
            return Some(position / length);
        }
        match self.remainder {
            Remainder::Last => Some(self.n_goals - 1),
            Remainder::Drop => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goals(n_goals: usize, n_steps: usize, remainder: Remainder) -> Vec<i32> {
        let layout = PeriodLayout { n_goals, n_steps, remainder };
        (0..n_steps).map(|p| layout.sub_period(p).map_or(-1, |i| i as i32)).collect()
    }

    #[test]
    fn golden_table_of_sub_periods() {
        use Remainder::{Drop, Last};
        for remainder in [Last, Drop] {
            assert_eq!(goals(0, 10, remainder), [-1; 10]);
            assert_eq!(goals(1, 10, remainder), [0; 10]);
            assert_eq!(goals(2, 10, remainder), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
            assert_eq!(goals(3, 12, remainder), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        }
        assert_eq!(goals(3, 10, Last), [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]);
        assert_eq!(goals(3, 10, Drop), [0, 0, 0, 1, 1, 1, 2, 2, 2, -1]);
        assert_eq!(goals(4, 10, Last), [0, 0, 1, 1, 2, 2, 3, 3, 3, 3]);
        assert_eq!(goals(4, 10, Drop), [0, 0, 1, 1, 2, 2, 3, 3, -1, -1]);
    }
}
