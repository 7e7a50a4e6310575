//! Negative controls: worlds and scorers where nothing must be found. A program that finds something there would find it
//! elsewhere, too, whether it is there or not.
//!
//! In: summaries, the logged test sessions; out: [`Finding`]s. Three controls:
//!
//! - ShopWorld without boredom, readiness and trust (`no-delay`): nothing is delayed, so that a hierarchy has nothing to gain
//!   over its flat counterparts.
//! - ShopWorld with orders that fall on steps by chance (`shuffled-orders`): nobody earns more of them than *random*, online
//!   or in the order of logged items.
//! - A random scorer: the mean of its measures is known in closed form.
//!
//! Findings of one control hold together: their intervals are those of [`together`], for the random scorer those of
//! chance itself, drawn anew many times. A control that could not have seen what matters shows nothing: each has a margin,
//! a share of the level that it is held against, and is undecided where only more than that would have been found.

use common::{
    Feedback,
    config::Preset,
    seed::{Rng, Streams},
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};

use super::{
    CellResult, Scale, Summary,
    experiment::{Variant, best_without_high_level},
    methods::{self, How, Method, SUBJECT},
    summary::Reward,
};
use crate::{
    baselines::InteractionLog,
    evaluation::{
        Estimate,
        offline::Quality,
        statistics::{RESAMPLES, percentile, together},
    },
};

/// The world without delayed effects.
pub const NO_DELAY: &str = "shopworld:no-delay";
/// The world whose orders depend on nothing.
pub const SHUFFLED_ORDERS: &str = "shopworld:shuffled-orders";
/// MaHRL's low level alone: with its own view of the past, and with that of both levels.
const FLAT: [&str; 2] = ["ddpg+", "ddpg-o"];
/// The method that all are held against where orders are shuffled.
const RANDOM: &str = "random";
/// With `quick`, a method of each kind.
const OF_EACH_KIND: [&str; 7] = ["popularity", "history-greedy", "cf-item", "fm", "gru", "deers", SUBJECT];
/// Two trained seeds have no spread to speak of.
const LEAST_SEEDS: u64 = 3;

/// Margin over the flat counterpart: a gain of a tenth where nothing is delayed would be as large as many that are reported.
const MARGIN_OF_HIERARCHY: f64 = 0.1;
/// Margin over *random*: where orders do depend on items, methods that learn of them earn about twice what *random* does.
const MARGIN_OF_ORDERS: f64 = 0.5;
/// Margin about chance: the best rankers of ShopWorld's log are some two fifths above it.
const MARGIN_OF_RANKING: f64 = 0.2;

/// Something held against what it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was compared.
    pub what: String,
    /// The difference, with an interval that holds together with those beside it.
    pub difference: Estimate,
    /// The smallest true difference that would be found four times in five.
    pub detectable: f64,
    /// The smallest one that matters.
    pub margin: f64,
    /// Whether it is as it must be; `None`: what matters could have been missed.
    pub holds: Option<bool>,
}

impl Finding {
    /// That the mean of `[seeds, users]` differences is not above zero, nor could be by as much as `margin`.
    fn no_gain(what: String, differences: &[Vec<f64>], comparisons: usize, margin: f64) -> Self {
        let difference = together::mean(differences, comparisons);
        let detectable = together::detectable(differences, comparisons);
        let holds = match difference {
            Estimate { low, .. } if low > 0.0 => Some(false),
            Estimate { high, .. } if high <= 0.0 => Some(true),
            Estimate { high, .. } => (detectable <= margin && high < margin).then_some(true),
        };
        Self { what, difference, detectable, margin, holds }
    }

    /// That `difference` is zero.
    fn none(what: String, difference: Estimate, detectable: f64, margin: f64) -> Self {
        let holds = match difference {
            Estimate { low, high, .. } if low > 0.0 || high < 0.0 => Some(false),
            _ => (detectable <= margin).then_some(true),
        };
        Self { what, difference, detectable, margin, holds }
    }
}

/// The mean of all of `[seeds, users]` values.
fn level(values: &[Vec<f64>]) -> f64 {
    values.iter().flatten().sum::<f64>() / values.iter().map(Vec::len).sum::<usize>() as f64
}

/// What must be trained for the controls. Both worlds are ShopWorld's; the random scorer ranks the report's own sessions.
pub fn variants(scale: Scale) -> Vec<Variant> {
    let find = |id: &str| Method::find(id).expect("the controls' methods are in the table of methods");
    let shown = |method: &Method| match scale {
        Scale::Quick => OF_EACH_KIND.contains(&method.id),
        Scale::Full => !matches!(method.how, How::Oracle(_)),
    };
    let mut variants = vec![Variant::of(find(RANDOM))];
    let hierarchies = [FLAT.as_slice(), &[SUBJECT, Preset::Best.name()]].concat();
    let hierarchies =
        hierarchies.into_iter().map(|id| Variant::of(find(id))).chain([best_without_high_level()]);
    variants.extend(hierarchies.map(|variant| Variant {
        env: Some(NO_DELAY),
        seeds: LEAST_SEEDS..=u64::MAX,
        ..variant
    }));
    variants.extend(
        methods::all()
            .into_iter()
            .filter(|method| method.id == RANDOM || shown(method))
            // Whatever was learned of orders there is noise; another seed learns another noise.
            .map(|method| Variant { env: Some(SHUFFLED_ORDERS), seeds: 1..=1, ..Variant::of(method) }),
    );
    variants
}

fn of_world<'a>(summaries: &'a [Summary], env: &str) -> Vec<&'a Summary> {
    summaries.iter().filter(|summary| summary.results[0].cell.env == env).collect()
}

/// The hierarchy against its flat counterparts where nothing is delayed: total reward, sessions of all `lengths`.
pub fn hierarchy(summaries: &[Summary], lengths: &[usize]) -> Vec<Finding> {
    let there = of_world(summaries, NO_DELAY);
    let is_whole = |summary: &Summary| summary.results[0].cell.settings.is_empty();
    let flat_of_best = |s: &Summary| s.method == Preset::Best.name() && !is_whole(s);
    let flat_of_subject = |s: &Summary| FLAT.contains(&s.method.as_str());
    let mut pairs: Vec<(&Summary, &Summary)> = Vec::new();
    for subject in there.iter().filter(|summary| is_whole(summary)) {
        let is_flat: &dyn Fn(&Summary) -> bool = match subject.method.as_str() {
            SUBJECT => &flat_of_subject,
            id if id == Preset::Best.name() => &flat_of_best,
            _ => continue,
        };
        pairs.extend(there.iter().filter(|other| is_flat(other)).map(|other| (*subject, *other)));
    }
    let mut findings = Vec::new();
    for (k, length) in lengths.iter().enumerate() {
        for (subject, other) in &pairs {
            findings.push(Finding::no_gain(
                format!("{} minus {}, total reward, sessions of {length}", subject.name, other.name),
                &subject.differences(other, k, Reward::Total),
                pairs.len() * lengths.len(),
                MARGIN_OF_HIERARCHY * level(&other.rewards(k, Reward::Total)),
            ));
        }
    }
    findings
}

/// Every method against *random* where orders are shuffled: order reward in sessions of all `lengths`, and the reciprocal
/// rank of the first order among a logged session's items.
pub fn orders(summaries: &[Summary], lengths: &[usize]) -> Vec<Finding> {
    let there = of_world(summaries, SHUFFLED_ORDERS);
    let Some(random) = there.iter().find(|summary| summary.method == RANDOM) else { return Vec::new() };
    let others: Vec<_> = there.iter().filter(|summary| summary.method != RANDOM).collect();
    let ranks = |summary: &Summary| -> Vec<f64> { measures(&summary.results[0], 0, |ranks| ranks.order_rr) };
    let expected = ranks(random);
    // Without an order in the log there is nothing to rank by.
    let n_ranked = usize::from(expected.len() >= 2);
    let comparisons = others.len() * (lengths.len() + n_ranked);
    let mut findings = Vec::new();
    for other in others {
        for (k, length) in lengths.iter().enumerate() {
            findings.push(Finding::no_gain(
                format!("{} minus random, order reward, sessions of {length}", other.name),
                &other.differences(random, k, Reward::Order),
                comparisons,
                MARGIN_OF_ORDERS * level(&random.rewards(k, Reward::Order)),
            ));
        }
        if n_ranked == 1 {
            let row = ranks(other).iter().zip(&expected).map(|(ours, theirs)| ours - theirs).collect();
            findings.push(Finding::no_gain(
                format!("{} minus random, order MRR of logged sessions", other.name),
                &[row],
                comparisons,
                MARGIN_OF_ORDERS * level(std::slice::from_ref(&expected)),
            ));
        }
    }
    findings
}

/// A measure by name.
type Measure = (&'static str, fn(&Quality) -> Option<f64>);

const MEASURES: [Measure; 4] = [
    ("MAP", |quality| Some(quality.ap)),
    ("NDCG@20", |quality| Some(quality.ndcg_20)),
    ("NDCG@40", |quality| Some(quality.ndcg_40)),
    ("order MRR", |quality| quality.order_rr),
];

/// The random scorer's measures of the logged `test` sessions minus their expectations.
pub fn random_scorer(summaries: &[Summary], test: &InteractionLog) -> Vec<Finding> {
    let is_it =
        |summary: &&Summary| summary.method == RANDOM && summary.results[0].cell.env != SHUFFLED_ORDERS;
    let Some(random) = summaries.iter().find(is_it) else { return Vec::new() };
    let sessions: Vec<Vec<Feedback>> =
        test.sessions().map(|session| session.steps.iter().map(|step| step.feedback).collect()).collect();
    let by_chance: Vec<Quality> = sessions.iter().filter_map(|session| Quality::by_chance(session)).collect();
    let drawn = drawn_orders(sessions);
    let result = &random.results[0];
    // Bonferroni.
    let tail = 0.025 / (MEASURES.len() * result.ranked.len()) as f64;
    let mut findings = Vec::new();
    for mode in 0..result.ranked.len() {
        for (measure, (name, of)) in MEASURES.into_iter().enumerate() {
            let expected: Vec<f64> = by_chance.iter().filter_map(of).collect();
            let found = measures(result, mode, of);
            if expected.len() != found.len() || found.len() < 2 {
                continue;
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let what = format!(
                "{name}, {}: {:.4} found, {:.4} expected",
                result.ranked[mode].mode,
                mean(&found),
                mean(&expected)
            );
            // What chance makes of the difference, turned round: zero lies in the interval where chance goes as far.
            let value = mean(&found) - mean(&expected);
            let by = |share| percentile(&drawn[measure], share) - mean(&expected);
            let difference = Estimate { value, low: value - by(1.0 - tail), high: value - by(tail) };
            // Four draws in five lie above the interval once they are moved so far.
            let detectable = by(1.0 - tail) - by(0.2);
            findings.push(Finding::none(what, difference, detectable, MARGIN_OF_RANKING * mean(&expected)));
        }
    }
    findings
}

/// Means of each measure over the sessions in random orders, drawn [`RESAMPLES`] times, ascending.
fn drawn_orders(mut sessions: Vec<Vec<Feedback>>) -> [Vec<f64>; MEASURES.len()] {
    let streams = Streams::new(0, "reproduce/chance");
    let mut means: [Vec<f64>; MEASURES.len()] = Default::default();
    for draw in 0..RESAMPLES {
        // A generator of its own: an address does not hold so many words.
        let mut rng = Rng::from_seed(streams.at(draw as u64, 0).random());
        let mut sums = [(0.0, 0.0); MEASURES.len()];
        for session in &mut sessions {
            session.shuffle(&mut rng);
            let Some(quality) = Quality::of(session) else { continue };
            for (sum, (_, of)) in sums.iter_mut().zip(MEASURES) {
                of(&quality).into_iter().for_each(|value| *sum = (sum.0 + value, sum.1 + 1.0));
            }
        }
        means.iter_mut().zip(sums).for_each(|(means, (sum, n))| means.push(sum / n));
    }
    means.iter_mut().for_each(|means| means.sort_unstable_by(f64::total_cmp));
    means
}

/// A measure of the logged sessions that have it, in the order of a mode.
fn measures(result: &CellResult, mode: usize, of: impl Fn(&Quality) -> Option<f64>) -> Vec<f64> {
    result.ranked[mode].sessions.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::{Budget, Cell, logged};
    use crate::world::World;

    const LENGTHS: [usize; 1] = [30];

    fn summary(id: &str, env: &str) -> Summary {
        let budget = Budget {
            steps: 6_000,
            sessions: 300,
            lengths: LENGTHS.into(),
            seeds: 0,
            ..Budget::of(Scale::Quick)
        };
        let cell = Cell { method: id.to_owned(), settings: Vec::new(), env: env.to_owned(), seed: 0, budget };
        let folder = tempfile::tempdir().unwrap();
        let results = vec![cell.run(folder.path()).unwrap()];
        Summary { name: id.to_owned(), method: id.to_owned(), results }
    }

    /// As if it had been judged in another world.
    fn moved(mut summary: Summary, env: &str, method: &str) -> Summary {
        summary.results[0].cell.env = env.to_owned();
        Summary { method: method.to_owned(), ..summary }
    }

    #[test]
    fn in_the_shuffled_world_nobody_earns_orders_and_in_another_it_is_found() {
        let there = ["random", "popularity", "logging"].map(|id| summary(id, SHUFFLED_ORDERS));
        let findings = orders(&there, &LENGTHS);
        assert_eq!(findings.len(), 4);
        assert!(findings.iter().all(|finding| finding.holds != Some(false)), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.difference.low < finding.difference.high));
        let other = ["random", "lookahead"].map(|id| moved(summary(id, "shopworld"), SHUFFLED_ORDERS, id));
        // An oracle ranks no log.
        let mut other = Vec::from(other);
        other[1].results[0].ranked = other[0].results[0].ranked.clone();
        let findings = orders(&other, &LENGTHS);
        assert_eq!(findings[0].holds, Some(false), "{findings:?}");
        assert_ne!(findings[1].holds, Some(false), "{findings:?}");
    }

    #[test]
    fn a_gain_of_the_hierarchy_is_found_where_there_is_one() {
        let (low, high) = (summary("random", "shopworld"), summary("lookahead", "shopworld"));
        let flat = || FLAT.map(|id| moved(low.clone(), NO_DELAY, id));
        let with = |subject: &Summary| {
            let subject = moved(subject.clone(), NO_DELAY, SUBJECT);
            hierarchy(&[flat().as_slice(), &[subject]].concat(), &LENGTHS)
        };
        // The same rewards: there is no difference to be seen, and none could hide.
        assert!(with(&low).iter().all(|finding| finding.holds == Some(true)), "{:?}", with(&low));
        assert!(with(&high).iter().all(|finding| finding.holds == Some(false)), "{:?}", with(&high));
        assert!(hierarchy(&flat(), &LENGTHS).is_empty(), "nothing to compare");
        let best = moved(high.clone(), NO_DELAY, "best");
        let mut flat_best = moved(low.clone(), NO_DELAY, "best");
        flat_best.results[0].cell.settings = best_without_high_level().settings;
        let found = hierarchy(&[best, flat_best], &LENGTHS);
        assert!(found.len() == 1 && found[0].holds == Some(false), "{found:?}");
    }

    #[test]
    fn a_control_is_decided_only_where_it_could_have_seen_what_matters() {
        // Seeds and users that differ by noise of this size around a mean.
        let values = |mean: f64, noise: f64| -> Vec<Vec<f64>> {
            let value = |seed, user| mean + noise * (f64::from(seed) - 1.0 + f64::from(user % 2 * 2 - 1));
            (0..3).map(|seed| (0..400).map(|user| value(seed, user)).collect()).collect()
        };
        let holds = |mean, noise| {
            let finding = Finding::no_gain(String::new(), &values(mean, noise), 1, 0.5);
            assert!(finding.detectable >= finding.difference.margin(), "{finding:?}");
            finding.holds
        };
        assert_eq!(holds(0.0, 0.05), Some(true), "sharp, and nothing there");
        assert_eq!(holds(0.5, 0.05), Some(false), "sharp, and a gain there");
        assert_eq!(holds(0.0, 1.0), None, "a gain of the margin could have been missed");
        assert_eq!(holds(0.3, 0.15), None, "a gain of the margin is not ruled out");
        assert_eq!(holds(-5.0, 1.0), Some(true), "whatever is missed, it is no gain");
        let none = |value: f64, noise: f64| {
            let difference = Estimate { value, low: value - noise, high: value + noise };
            Finding::none(String::new(), difference, 1.3 * noise, 0.5).holds
        };
        assert_eq!([none(0.1, 0.2), none(0.3, 0.2), none(0.1, 1.0)], [Some(true), Some(false), None]);
    }

    #[test]
    fn the_random_scorer_has_the_measures_of_chance_and_a_better_one_has_not() {
        let random = summary("random", "shopworld");
        let cell = &random.results[0].cell;
        let config = cell.config().unwrap();
        let test = logged::test(&World::open(&config).unwrap(), &config, &cell.budget).unwrap();
        let findings = random_scorer(std::slice::from_ref(&random), &test);
        assert_eq!(findings.len(), 8);
        assert!(findings.iter().all(|finding| finding.holds != Some(false)), "{findings:#?}");
        assert_eq!(findings[0].holds, Some(true), "MAP of 300 sessions: {findings:#?}");
        let mut better = random;
        better.results[0].ranked[0].sessions.iter_mut().for_each(|quality| quality.ap += 0.05);
        let findings = random_scorer(&[better], &test);
        assert_eq!(
            findings.iter().filter(|finding| finding.holds == Some(false)).count(),
            1,
            "{findings:#?}"
        );
    }
}
