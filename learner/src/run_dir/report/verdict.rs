//! What a final table says, in words; as plain about a defeat as about a success.

use sim::Reference;

use crate::{
    baselines::history_greedy,
    evaluation::{Comparison, Estimate, comparison::Row},
};

/// How the trained policy compares with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which is better, session by session.
    pub side: Side,
    /// One sentence.
    pub text: String,
}

/// Largest p-value that decides.
const LEVEL: f64 = 0.05;

/// Where an interval of paired differences lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Wholly above zero.
    Above,
    /// It holds zero, or would if all comparisons of the table are to hold together (Holm).
    Level,
    /// Wholly below zero.
    Below,
}

impl Side {
    /// `p_value` is corrected for the number of comparisons; tables written before there was one have none.
    fn of(difference: Estimate, p_value: Option<f64>) -> Self {
        if p_value.is_some_and(|p| p >= LEVEL) {
            Self::Level
        } else if difference.low > 0.0 {
            Self::Above
        } else if difference.high < 0.0 {
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

/// The trained policy beside the logging policy, the best of the other plain references where that is better, and
/// history-greedy, as far as the table has them.
pub fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    let Some(agent) = comparison.subject() else { return Vec::new() };
    let row = |name: &str| comparison.row(name);
    let total = |row: &Row| row.result.total.value;
    let logging = row(Reference::Logging.name());
    let plain = [Reference::Random, Reference::Popularity].into_iter().filter_map(|plain| row(plain.name()));
    let best = plain
        .max_by(|a, b| total(a).total_cmp(&total(b)))
        .filter(|best| logging.is_none_or(|logging| total(best) > total(logging)));
    let others = [logging, best, row(history_greedy::NAME)].into_iter().flatten();
    others.filter_map(|other| beside(agent, other)).collect()
}

/// Sessions are paired: both played the same users with the same luck.
fn beside(agent: &Row, other: &Row) -> Option<Verdict> {
    let lead = other.lead?;
    let side = Side::of(lead, other.lead_p);
    let (ours, theirs) = (agent.result.total, other.result.total);
    let range = |e: Estimate| format!("{:.2} ({:.2} to {:.2})", e.value, e.low, e.high);
    let apart = if ours.low > theirs.high || ours.high < theirs.low { ", intervals apart" } else { "" };
    // What decides, where the interval, which is for itself, does not.
    let undecided = other.lead_p.filter(|_| side == Side::Level && (lead.low > 0.0 || lead.high < 0.0));
    let undecided = undecided.map_or_else(String::new, |p| format!(", p = {p:.2} among all rows (Holm)"));
    let text = format!(
        "{} {} {}: {} against {}{apart}; session by session {:+.2} ({:+.2} to {:+.2}){undecided}",
        agent.result.name,
        side.words(),
        other.result.name,
        range(ours),
        range(theirs),
        lead.value,
        lead.low,
        lead.high
    );
    Some(Verdict { side, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_holds_zero_decides_nothing() {
        for (low, high, side) in [
            (0.1, 0.4, Side::Above),
            (-0.1, 0.4, Side::Level),
            (0.0, 0.4, Side::Level),
            (-0.4, -0.1, Side::Below),
        ] {
            let difference = Estimate { value: (low + high) / 2.0, low, high };
            assert_eq!(Side::of(difference, None), side, "{low} to {high}");
            assert_eq!(Side::of(difference, Some(0.001)), side, "{low} to {high}");
            assert_eq!(Side::of(difference, Some(0.2)), Side::Level, "not among so many comparisons");
        }
    }
}
