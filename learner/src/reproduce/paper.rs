//! What the paper claims of Figs 6 to 9, and whether it holds here.
//!
//! In: summaries; out: a sentence a claim. The paper's rewards are of another world than ours, so only signs and relative
//! gains are held side by side.

use serde::Serialize;

use super::{Summary, methods::SUBJECT, summary::Reward};

/// Relative gains of the order reward over DEERS that the paper reports: sessions of the first and the second length of a
/// budget (short, long).
const ORDER_GAIN_OVER_DEERS: [f64; 2] = [0.306, 0.229];

/// A claim held against the results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What the paper says.
    pub paper: String,
    /// What was found here.
    pub ours: String,
    /// `None`: nothing here decides it, e.g. since an interval covers zero.
    pub holds: Option<bool>,
}

impl Claim {
    /// A cell of a table.
    pub fn verdict(&self) -> &'static str {
        match self.holds {
            Some(true) => "holds here",
            Some(false) => "does not hold here",
            None => "undecided",
        }
    }
}

/// The claims about online rewards: the subject against every other method that learns, in sessions of all lengths.
pub fn online(summaries: &[Summary], lengths: &[usize]) -> Vec<Claim> {
    let Some(subject) = summaries.iter().find(|summary| summary.method == SUBJECT) else { return Vec::new() };
    let mut claims = Vec::new();
    for (k, length) in lengths.iter().enumerate() {
        for other in summaries.iter().filter(|other| is_rival(other)) {
            for (reward, what) in [(Reward::Total, "total"), (Reward::Order, "order")] {
                let difference = subject.minus(other, k, reward);
                let base = other.mean(k, reward).value;
                let gain = gain(difference.value, base);
                let of_paper = (other.method == "deers" && reward == Reward::Order)
                    .then(|| ORDER_GAIN_OVER_DEERS.get(k))
                    .flatten()
                    .map_or_else(String::new, |gain| format!(", by {:.1}%", 100.0 * gain));
                claims.push(Claim {
                    paper: format!(
                        "{} has more {what} reward than {} in sessions of {length}{of_paper}",
                        subject.name, other.name
                    ),
                    ours: format!(
                        "{gain}: {:+.2} ({:+.2} to {:+.2}) a session",
                        difference.value, difference.low, difference.high
                    ),
                    holds: sign(difference.low, difference.high),
                });
            }
        }
    }
    claims
}

/// The references that read the users' minds are no rivals, nor is the same method under other settings.
fn is_rival(summary: &Summary) -> bool {
    !matches!(summary.method.as_str(), SUBJECT | "lookahead")
}

fn gain(difference: f64, base: f64) -> String {
    if base > 0.0 { format!("{:+.1}%", 100.0 * difference / base) } else { "no base".to_owned() }
}

/// Whether all of an interval is above zero, or below; `None` where it covers zero.
fn sign(low: f64, high: f64) -> Option<bool> {
    match (low > 0.0, high < 0.0) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_over_zero_decides_nothing() {
        assert_eq!(sign(0.1, 0.3), Some(true));
        assert_eq!(sign(-0.3, -0.1), Some(false));
        assert_eq!(sign(-0.1, 0.3), None);
        assert_eq!((gain(1.0, 4.0), gain(1.0, 0.0)), ("+25.0%".to_owned(), "no base".to_owned()));
    }
}
