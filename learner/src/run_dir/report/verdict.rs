//! What a final table says, in words; as plain about a defeat as about a success.

use crate::{
    baselines::history_greedy,
    evaluation::{Comparison, Estimate, comparison::Row},
};

/// Name of the trained policy in tables.
pub const AGENT: &str = "MaHRL";

/// How the trained policy compares with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the whole interval lies on one side of the other's.
    pub side: Side,
    /// One sentence.
    pub text: String,
}

/// Where an interval lies beside another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Wholly above.
    Above,
    /// They meet.
    Level,
    /// Wholly below.
    Below,
}

impl Side {
    fn of(this: Estimate, other: Estimate) -> Self {
        if this.low > other.high {
            Self::Above
        } else if this.high < other.low {
            Self::Below
        } else {
            Self::Level
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Above => "is above",
            Self::Level => "cannot be told from",
            Self::Below => "is below",
        }
    }
}

/// The trained policy beside the logging policy and beside history-greedy, as far as the table has them.
pub fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    let Some(agent) = comparison.row(AGENT) else { return Vec::new() };
    let others = ["logging", history_greedy::NAME].into_iter().filter_map(|name| comparison.row(name));
    others.map(|other| beside(agent, other)).collect()
}

fn beside(agent: &Row, other: &Row) -> Verdict {
    let (ours, theirs) = (agent.result.total, other.result.total);
    let side = Side::of(ours, theirs);
    let range = |e: Estimate| format!("{:.2} ({:.2} to {:.2})", e.value, e.low, e.high);
    let text =
        format!("{AGENT} {} {}: {} against {}", side.words(), other.result.name, range(ours), range(theirs));
    Verdict { side, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_meet_decide_nothing() {
        let estimate = |low, high| Estimate { value: (low + high) / 2.0, low, high };
        let other = estimate(4.0, 5.0);
        for (low, high, side) in [
            (5.1, 6.0, Side::Above),
            (4.9, 6.0, Side::Level),
            (5.0, 6.0, Side::Level),
            (3.0, 3.9, Side::Below),
        ] {
            assert_eq!(Side::of(estimate(low, high), other), side, "{low} to {high}");
        }
    }
}
