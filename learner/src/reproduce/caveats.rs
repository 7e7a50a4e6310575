//! What the paper's comparisons leave open, checked by runs of their own.
//!
//! In: summaries; out: the differences and orders that settle a caveat, or do not.
//!
//! | module | the caveat |
//! |---|---|
//! | [`average_q`] | D7: with beta = 1, head i's Q counts the rewards of sub-periods 0 to i; average Q of different M are not comparable |
//! | [`encoder`] | D11: one step a head updates the shared encoder M times as often as one step over all heads; a gain over HRL-G, whose M is 1, may be one of updates |
//! | [`remainder`] | D5: where M does not divide c, the paper's formulas taken literally leave the last steps of a period without a goal |

use common::config::Config;

use super::{
    Experiment, Scale, Summary,
    experiment::{self, Variant},
    methods::{Method, SUBJECT},
    paper::decide,
    summary::{Contrast, Reward},
};
use crate::evaluation::Estimate;

pub mod average_q;
pub mod encoder;
pub mod remainder;

/// MaHRL with one goal.
const ONE_GOAL: &str = "hrl-g";

/// HRL-G; the points of Fig 9, MaHRL itself among them; MaHRL with sequential updates, and with as many updates of all
/// heads at once as those make of the encoder; the points with a remainder, without goals there.
pub fn variants(scale: Scale) -> Vec<Variant> {
    let find = |id| Method::find(id).expect("the methods of the caveats are in the table of methods");
    let subject = find(SUBJECT);
    let of = |variant: &Variant| config(variant.method, &variant.settings);
    let own = config(subject, &[]);
    let heads = own.model.n_goals as u64;
    let of_subject = |what: String, key: &str, value: toml::Value| Variant {
        name: format!("{}, {what}", subject.name),
        settings: vec![(key.to_owned(), value)],
        ..Variant::of(subject)
    };
    let points = experiment::variants(Experiment::Fig9, scale, &[]);
    let dropped = |point: &Variant| {
        let mut variant = point.clone();
        variant.name += " (dropped)";
        variant.settings.push(("algorithm.remainder".to_owned(), "drop".into()));
        variant
    };
    let with_remainder = points.iter().filter(|point| steps_without_goal(&of(point)) > 0);
    let dropped: Vec<Variant> = with_remainder.map(dropped).collect();
    let updates = own.train.updates_per_step * heads as f64;
    let mut variants = vec![Variant::of(find(ONE_GOAL))];
    variants.extend(points);
    variants.push(of_subject("sequential".to_owned(), "algorithm.encoder_update", "sequential".into()));
    variants.push(Variant {
        updates: heads,
        ..of_subject(format!("{heads} x the updates"), "train.updates_per_step", updates.into())
    });
    variants.extend(dropped);
    variants
}

fn config(method: Method, settings: &[(String, toml::Value)]) -> Config {
    let config = method.config(settings).expect("settings of a variant are valid");
    config.expect("the methods of the caveats are runs")
}

/// The settings that a summary's cells were trained with, but for what the budget makes of them.
fn settings(summary: &Summary) -> Config {
    let cell = &summary.results[0].cell;
    config(Method::find(&cell.method).expect("a cell's method is known"), &cell.settings)
}

/// Steps of a period that belong to no sub-period of Eq 12.
fn steps_without_goal(config: &Config) -> usize {
    let (goals, steps) = (config.model.n_goals, config.model.period_steps);
    if goals == 0 { 0 } else { steps % goals }
}

/// A summary under the name that a table gives it.
pub type Named<'a> = (&'a str, &'a Summary);

/// What is held against what, in sessions of which length: its place in the budget, and its steps.
pub type Compared<'a> = ([Named<'a>; 2], (usize, usize));

/// A row of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What minus what.
    pub what: String,
    /// Total reward a session, paired.
    pub difference: Estimate,
    /// Whether it is above zero, beside all rows of its table; `None`: undecided.
    pub is_more: Option<bool>,
}

impl Difference {
    /// The rows of a table, decided together.
    pub fn all(compared: &[Compared<'_>]) -> Vec<Self> {
        let contrast =
            |([ours, theirs], (k, _)): &Compared<'_>| ours.1.against(theirs.1, 1.0, *k, Reward::Total);
        let contrasts: Vec<Contrast> = compared.iter().map(contrast).collect();
        let rows = compared.iter().zip(&contrasts).zip(decide(&contrasts));
        rows.map(|((([ours, theirs], (_, length)), contrast), (_, is_more))| Self {
            what: format!("{} minus {}, sessions of {length}", ours.0, theirs.0),
            difference: contrast.difference,
            is_more,
        })
        .collect()
    }

    /// Whether there is one, in words.
    pub fn words(&self) -> String {
        let Estimate { low, high, .. } = self.difference;
        match self.is_more {
            Some(true) => "more, beyond noise".to_owned(),
            Some(false) => "less, beyond noise".to_owned(),
            None => format!("undecided: up to {:.2} either way could hide", high.max(-low)),
        }
    }
}

/// The points of Fig 9: MaHRL that differs from itself in M and c alone.
fn points(summaries: &[Summary]) -> Vec<&Summary> {
    let own = config(Method::find(SUBJECT).expect("the subject is a method"), &[]);
    let is_point = |summary: &&Summary| {
        let mut settings = settings(summary);
        (settings.model.n_goals, settings.model.period_steps) = (own.model.n_goals, own.model.period_steps);
        summary.method == SUBJECT && settings == own
    };
    summaries.iter().filter(is_point).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::reproduce::{Budget, test_summary};

    /// The variants as summaries, with the rewards of a seed each.
    pub(super) fn summaries(rewards: impl Fn(&Variant) -> Vec<(u32, u32)>) -> Vec<Summary> {
        variants(Scale::Full)
            .iter()
            .map(|variant| {
                let settings: Vec<_> =
                    variant.settings.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
                let summary = test_summary::summary(variant.method.id, &settings, &rewards(variant));
                Summary { name: variant.name.clone(), ..summary }
            })
            .collect()
    }

    #[test]
    fn a_quick_check_adds_three_variants_to_the_cells_of_the_figures() {
        let budget = Budget::of(Scale::Quick);
        let cells = |variants: Vec<Variant>| -> Vec<_> {
            variants.iter().flat_map(|variant| variant.cells("shopworld", &budget)).collect()
        };
        let of = |experiment| cells(experiment::variants(experiment, Scale::Quick, &[]));
        let shown = [of(Experiment::Fig6), of(Experiment::Fig9)].concat();
        let added: Vec<_> =
            of(Experiment::Caveats).into_iter().filter(|cell| !shown.contains(cell)).collect();
        assert_eq!(added.len(), 3 * budget.seeds as usize);
        // The run with more updates has as many steps as the others.
        let steps: Vec<u64> = added.iter().map(|cell| cell.config().unwrap().train.steps).collect();
        assert!(steps.iter().all(|&n| n == budget.steps), "{steps:?}");
        let of_long_runs = Budget { steps: 1_000_000, ..budget.clone() };
        let steps: HashSet<u64> = variants(Scale::Quick)
            .iter()
            .flat_map(|variant| variant.cells("shopworld", &of_long_runs))
            .map(|cell| cell.config().unwrap().train.steps)
            .collect();
        assert_eq!(steps.len(), 1, "the cap on updates cuts all alike: {steps:?}");
    }

    #[test]
    fn the_points_are_those_of_fig_9() {
        let names = |summaries: Vec<&Summary>| -> Vec<String> {
            summaries.into_iter().map(|summary| summary.name.clone()).collect()
        };
        let all = summaries(|_| vec![(5, 1)]);
        let wanted: Vec<String> =
            experiment::variants(Experiment::Fig9, Scale::Full, &[]).into_iter().map(|v| v.name).collect();
        assert_eq!(names(points(&all)), wanted);
    }

    #[test]
    fn a_difference_says_what_could_hide() {
        let words = |value: f64, is_more| {
            let difference = Estimate { value, low: value - 1.0, high: value + 1.0 };
            Difference { what: String::new(), difference, is_more }.words()
        };
        assert_eq!(words(1.5, Some(true)), "more, beyond noise");
        assert_eq!(words(-1.5, Some(false)), "less, beyond noise");
        assert_eq!(words(0.1, None), "undecided: up to 1.10 either way could hide");
    }

    #[test]
    fn the_rows_of_a_table_are_decided_together() {
        let seeds = |clicks: &[u32]| -> Vec<(u32, u32)> { clicks.iter().map(|&n| (n, 0)).collect() };
        let [ours, theirs] = [seeds(&[9, 8, 9, 8]), seeds(&[5, 6, 7, 6])]
            .map(|seeds| test_summary::summary(SUBJECT, &[], &seeds));
        let pair: Compared<'_> = ([("ours", &ours), ("theirs", &theirs)], (0, 50));
        let alone = Difference::all(&[pair]);
        assert_eq!(alone[0].is_more, Some(true));
        // As many rows as make chance find one like it.
        let many = Difference::all(&[pair; 40]);
        assert_eq!((many[0].is_more, many[0].difference), (None, alone[0].difference));
    }
}
