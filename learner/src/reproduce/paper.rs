//! What is known here of the paper's own numbers, and how ours stand beside them.
//!
//! In: summaries, logged sessions; out: ranks, sentences, ratios. Known are Table 1's rates, the methods of Sec 4.1.2 and that
//! MaHRL is to come before them online (Fig 7), two relative gains of it over DEERS, and the alpha, M and c that it takes. Not
//! known are the other values of Figs 6 to 9 and of Table 2, and the order of the other methods: the tables say so, and
//! put nothing beside ours. The paper's rewards are of another world, so only signs, ranks and relative gains are compared.

use serde::Serialize;

use super::{
    Experiment, Summary,
    methods::SUBJECTS,
    summary::{Contrast, Reward},
};
use crate::{
    baselines::InteractionLog,
    evaluation::statistics::{
        holm::holm,
        ranks::{ranks, spearman},
    },
};

/// Relative gains of the order reward over DEERS that the paper reports: sessions of the first and the second length of a
/// budget (short, long).
const ORDER_GAIN_OVER_DEERS: [f64; 2] = [0.306, 0.229];

/// Ids of the methods that the paper holds MaHRL against (Sec 4.1.2). References, second forms of a method, our controls
/// and MaHRL's other presets are ours: the paper says nothing of them.
const COMPARED: [&str; 9] =
    ["cf-user", "fm", "wide-deep", "gru", "deers", "ddpg+", "hrl-i", "hrl-s", "hrl-g"];

/// Table 1: clicks an impression in percent, orders a click in percent, impressions a session.
const RATES: [f64; 3] = [9.81, 5.46, 46.5];

/// A rate of the logged sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// What, with its unit.
    pub what: &'static str,
    /// The paper's.
    pub paper: f64,
    /// That of sessions with a click, which the paper counts alone.
    pub ours: f64,
}

/// Table 1's rates; empty without a click.
pub fn rates(log: &InteractionLog) -> Vec<Rate> {
    let (mut sessions, mut steps, mut clicks, mut orders) = (0.0, 0.0, 0.0, 0.0);
    for session in log.sessions() {
        let count = |of: fn(common::Feedback) -> bool| {
            session.steps.iter().filter(|step| of(step.feedback)).count() as f64
        };
        let clicked = count(common::Feedback::clicked);
        if clicked > 0.0 {
            sessions += 1.0;
            steps += session.steps.len() as f64;
            clicks += clicked;
            orders += count(common::Feedback::ordered);
        }
    }
    if sessions == 0.0 {
        return Vec::new();
    }
    let names = ["clicks an impression, %", "orders a click, %", "impressions a session"];
    let ours = [100.0 * clicks / steps, 100.0 * orders / clicks, steps / sessions];
    names.into_iter().zip(RATES).zip(ours).map(|((what, paper), ours)| Rate { what, paper, ours }).collect()
}

/// What the paper takes, by the name of its row in the table of an experiment.
pub fn choice(experiment: Experiment) -> Option<&'static str> {
    match experiment {
        Experiment::Fig8 => Some("alpha = 0.5"),
        Experiment::Fig9 => Some("M = 2, c = 10"),
        _ => None,
    }
}

/// MaHRL, as `subject`, and those that the paper holds it against, in the order of `summaries`; none without it or without
/// another.
pub fn compared<'a>(summaries: &'a [Summary], subject: &str) -> Vec<&'a Summary> {
    let is_compared = |summary: &&Summary| is_rival(summary) || summary.method == subject;
    let all: Vec<&Summary> = summaries.iter().filter(is_compared).collect();
    if all.len() > 1 && all.iter().any(|summary| summary.method == subject) { all } else { Vec::new() }
}

fn is_rival(summary: &Summary) -> bool {
    COMPARED.contains(&summary.method.as_str())
}

/// Places of values, 1 being the largest; equal ones share theirs.
pub fn places(values: &[f64]) -> Vec<f64> {
    ranks(&values.iter().map(|value| -value).collect::<Vec<_>>()).iter().map(|rank| rank + 1.0).collect()
}

/// How an order of [`compared`] methods agrees with what is known of the paper's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Spearman's correlation with the paper's order, those behind MaHRL sharing a place.
    pub found: f64,
    /// The most that it can be, as one place is all that is known.
    pub most: f64,
}

/// Of the places of `methods`, `subject` being the paper's MaHRL.
pub fn agreement(methods: &[&Summary], subject: &str, places: &[f64]) -> Option<Agreement> {
    let paper: Vec<f64> =
        methods.iter().map(|summary| if summary.method == subject { 1.0 } else { 2.0 }).collect();
    // MaHRL first, the others behind it in any order.
    let mut best = paper.clone();
    let mut behind = 2.0;
    for place in best.iter_mut().filter(|place| **place > 1.0) {
        *place = behind;
        behind += 1.0;
    }
    Some(Agreement { found: spearman(&paper, places)?, most: spearman(&paper, &best)? })
}

/// The paper's relative gain of MaHRL over a method, in the order reward of sessions of the k-th length.
pub fn order_gain(method: &str, k: usize) -> Option<f64> {
    ORDER_GAIN_OVER_DEERS.get(k).copied().filter(|_| method == "deers")
}

/// `difference` over `base`, as a table says it.
pub fn gain(difference: f64, base: f64) -> String {
    if base > 0.0 { format!("{:+.1}%", 100.0 * difference / base) } else { "no base".to_owned() }
}

/// A claim held against the results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What the paper says.
    pub paper: String,
    /// What was found here.
    pub ours: String,
    /// p-value of no difference, corrected for all claims of the table (Holm).
    pub p: f64,
    /// `None`: nothing here decides it.
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

/// Which of several contrasts are above zero and which below, with their corrected p-values; `None`: undecided.
pub fn decide(contrasts: &[Contrast]) -> Vec<(f64, Option<bool>)> {
    let corrected = holm(&contrasts.iter().map(|contrast| contrast.p).collect::<Vec<_>>());
    let decided =
        |(contrast, p): (&Contrast, f64)| (p, (p < 0.05).then_some(contrast.difference.value > 0.0));
    contrasts.iter().zip(corrected).map(decided).collect()
}

/// The claims about online rewards: MaHRL, as each of [`SUBJECTS`], against every method of the paper, in sessions of all
/// lengths; its gains, too, where the paper's are known.
pub fn online(summaries: &[Summary], lengths: &[usize]) -> Vec<Claim> {
    let mut said = Vec::new();
    for subject in SUBJECTS.into_iter().filter_map(|id| summaries.iter().find(|s| s.method == id)) {
        for (k, length) in lengths.iter().enumerate() {
            for other in summaries.iter().filter(|other| is_rival(other)) {
                for (reward, what) in [(Reward::Total, "total"), (Reward::Order, "order")] {
                    let name = (&subject.name, &other.name);
                    let contrast = subject.against(other, 1.0, k, reward);
                    let found = gain(contrast.difference.value, other.mean(k, reward).value);
                    let paper =
                        format!("{} has more {what} reward than {} in sessions of {length}", name.0, name.1);
                    said.push((paper, format!("{found}: {} a session", signed(contrast)), contrast));
                    let of_paper = (reward == Reward::Order).then(|| order_gain(&other.method, k)).flatten();
                    said.extend(of_paper.map(|of_paper| {
                        let times = 1.0 + of_paper;
                        let contrast = subject.against(other, times, k, reward);
                        let percent = 100.0 * of_paper;
                        let paper = format!(
                            "the gain of {} over {} in {what} reward, sessions of {length}, is {percent:+.1}%",
                            name.0, name.1
                        );
                        let ours =
                            format!("{found}: it minus {times:.3} x {} is {}", name.1, signed(contrast));
                        (paper, ours, contrast)
                    }));
                }
            }
        }
    }
    let decided = decide(&said.iter().map(|(_, _, contrast)| *contrast).collect::<Vec<_>>());
    let claim = |((paper, ours, _), (p, holds))| Claim { paper, ours, p, holds };
    said.into_iter().zip(decided).map(claim).collect()
}

fn signed(Contrast { difference, .. }: Contrast) -> String {
    format!("{:+.2} ({:+.2} to {:+.2})", difference.value, difference.low, difference.high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evaluation::Estimate,
        reproduce::{
            Scale, experiment,
            methods::{Method, SUBJECT},
            test_summary::summary,
        },
    };

    #[test]
    fn a_gain_over_nothing_is_none() {
        assert_eq!((gain(1.0, 4.0), gain(1.0, 0.0)), ("+25.0%".to_owned(), "no base".to_owned()));
    }

    #[test]
    fn the_methods_and_choices_of_the_paper_are_ours() {
        assert!(COMPARED.into_iter().all(|id| Method::find(id).is_some()));
        for scale in [Scale::Quick, Scale::Full] {
            for experiment in [Experiment::Fig8, Experiment::Fig9] {
                let names: Vec<_> =
                    experiment::variants(experiment, scale, &[]).into_iter().map(|v| v.name).collect();
                assert!(names.iter().any(|name| Some(name.as_str()) == choice(experiment)), "{names:?}");
            }
        }
    }

    #[test]
    fn ranks_agree_as_far_as_the_paper_s_are_known() {
        let all = ["random", "fm", "gru", "deers", SUBJECT].map(|id| summary(id, &[], &[(10, 1)]));
        let methods = compared(&all, SUBJECT);
        assert_eq!(methods.len(), 4, "the paper does not say where random stands");
        assert!(compared(&all[..4], SUBJECT).is_empty() && compared(&all[4..], SUBJECT).is_empty());
        assert_eq!(places(&[1.0, 4.0, 4.0, 2.0]), [4.0, 1.5, 1.5, 3.0]);
        // Places 1, 2, 3, 4 and 1, 3, 3, 3: their squares about the mean add up to 5 and 3, their products to 3.
        let first = agreement(&methods, SUBJECT, &[2.0, 3.0, 4.0, 1.0]).unwrap();
        assert!((first.most - 3.0 / 15_f64.sqrt()).abs() < 1e-12 && first.found == first.most, "{first:?}");
        let last = agreement(&methods, SUBJECT, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(last.found, -first.most);
    }

    #[test]
    fn many_contrasts_are_decided_together() {
        let contrast = |value, p| Contrast { difference: Estimate { value, low: value, high: value }, p };
        let all = [contrast(1.0, 0.01), contrast(-1.0, 0.02), contrast(1.0, 0.04)];
        assert_eq!(decide(&all), [(0.03, Some(true)), (0.04, Some(false)), (0.04, Some(true))]);
        let more = [all[0], all[1], all[2], contrast(0.0, 0.9), contrast(0.0, 0.9)];
        assert_eq!(decide(&more)[0].1, None, "five times 0.01 is no less than a twentieth");
    }

    #[test]
    fn a_gain_is_the_paper_s_only_where_it_is_beyond_it() {
        // Orders a session; DEERS has 10 of them.
        let holds = |orders| {
            let both = [summary("deers", &[], &[(0, 10)]), summary(SUBJECT, &[], &[(0, orders)])];
            let claims = online(&both, &[1]);
            assert_eq!(claims.len(), 3, "{claims:?}");
            assert!(claims[2].paper.ends_with("+30.6%"), "{claims:?}");
            [claims[1].holds, claims[2].holds]
        };
        assert_eq!(holds(14), [Some(true), Some(true)]);
        assert_eq!(holds(12), [Some(true), Some(false)]);
        assert_eq!(holds(9), [Some(false), Some(false)]);
        let random = [summary("random", &[], &[(0, 1)]), summary(SUBJECT, &[], &[(0, 2)])];
        assert!(online(&random, &[1]).is_empty(), "no claim of the paper");
    }
}
