//! Studies of made-up runs.

use super::*;
use crate::{
    evaluation::Estimate,
    scaling::{measure::Evaluated, tables},
};

/// A run of 1,000 steps whose evaluations come every 250 steps, `seconds` apart.
pub(crate) fn row(actors: u64, seed: u64, seconds: f64, returns: [f64; 4]) -> Row {
    let evaluations = returns.iter().zip(1..).map(|(&value, k)| Evaluated {
        env_steps: 250 * k,
        seconds: seconds * k as f64,
        total: Estimate { value, low: value, high: value },
    });
    let run = RunFigures {
        seed,
        budget: 1000,
        env_steps: 1000,
        updates: 10,
        seconds: 4.0 * seconds,
        steps_per_second: 250.0 / seconds,
        updates_per_second: 2.5 / seconds,
        asked_ratio: 0.01,
        samples_per_insert: Some(0.64),
        staleness: Some(3.0),
        staleness_p99: Some(9.0),
        evaluations: evaluations.collect(),
        update_share: 0.5,
        sample_share: 0.2,
        evaluation_share: 0.1,
        publish_share: 0.1,
        publish_every: 10,
    };
    Row { actors, shards: 1, cores: Some(2.0), run, cpu: None }
}

fn study(rows: Vec<Row>) -> Study {
    Study::new(vec!["made up".into()], rows, None).unwrap()
}

#[test]
fn the_automatic_target_lies_below_where_every_row_ended() {
    let study = study(vec![row(1, 0, 2.0, [1.0, 2.0, 3.0, 3.0]), row(4, 0, 1.0, [1.0, 3.0, 5.0, 5.0])]);
    let target = study.target(Target::Auto).unwrap();
    assert!((target - 2.8).abs() < 1e-12);
    let reached: Vec<_> = study.groups().iter().map(|group| group.reached(target).unwrap()).collect();
    assert_eq!((reached[0].0.mean, reached[0].1.mean), (6.0, 750.0));
    assert_eq!((reached[1].0.mean, reached[1].1.mean), (2.0, 500.0));
    assert_eq!(study.unfair(), Vec::<String>::new());
}

#[test]
fn a_target_that_was_not_reached_has_no_number() {
    let study = study(vec![
        row(1, 0, 2.0, [1.0, 1.0, 2.0, 2.0]),
        row(1, 1, 2.0, [1.0, 1.0, 2.0, 9.0]),
        row(2, 0, 1.0, [1.0; 4]),
    ]);
    let cells = tables::study(&study, Some(5.0));
    assert_eq!(cells.rows[0][1..3], ["not reached (1 of 2 did)", "not reached (1 of 2 did)"]);
    assert_eq!(cells.rows[1][1..3], ["not reached", "not reached"]);
    let csv = tables::csv(&study, Some(5.0));
    assert!(csv.lines().nth(1).unwrap().contains(",5,,,2,"), "{csv}");
}

#[test]
fn nothing_learned_is_no_target() {
    let study = study(vec![row(1, 0, 1.0, [2.0, 2.0, 1.0, 1.0])]);
    assert_eq!(study.target(Target::Auto), None);
    assert_eq!(tables::study(&study, None).rows[0][1], "no target");
    assert_eq!(study.target(Target::Return(7.0)), Some(7.0));
}

#[test]
fn rows_that_are_no_fair_comparison_say_why() {
    let mut rows = vec![row(1, 0, 1.0, [1.0; 4]), row(2, 0, 1.0, [1.0; 4])];
    rows[1].run.updates = 9;
    let reasons = study(rows.clone()).unfair().join("\n");
    assert!(
        reasons.contains("2 actors, seed 0: 9.000e-3 updates an environment step, 1.000e-2 were asked for")
    );
    assert!(reasons.contains("updates an environment step differ between rows"), "{reasons}");
    rows[1].run.updates = 10;
    rows[1].run.env_steps = 500;
    rows[1].shards = 3;
    let reasons = study(rows).unfair().join("\n");
    assert!(reasons.contains("ended after 500 of 1000") && reasons.contains("shards differ"), "{reasons}");
}

#[test]
fn clusters_are_held_against_the_single_node_seed_by_seed() {
    let ending = |actors, seed, end| row(actors, seed, 1.0, [1.0, 2.0, 3.0, end]);
    let mut rows =
        vec![ending(SINGLE_NODE, 0, 4.0), ending(SINGLE_NODE, 1, 6.0), ending(SINGLE_NODE, 2, 5.0)];
    // Whatever shards the single node's row names, it has none.
    rows[0].shards = 9;
    rows.extend([
        ending(2, 0, 4.1),
        ending(2, 1, 5.8),
        ending(2, 2, 5.4),
        ending(4, 0, 7.1),
        ending(4, 1, 8.9),
    ]);
    // A seed that the single node has not is no pair.
    rows.push(ending(4, 7, 99.0));
    let study = study(rows);
    let found = study.above_single_node();
    assert_eq!(
        found.iter().map(|(actors, _, seeds)| (*actors, *seeds)).collect::<Vec<_>>(),
        [(2, 3), (4, 2)]
    );
    // Differences 0.1, -0.2, 0.4 and Student's t of two degrees of freedom at 98.75%, as there are two clusters: 6.205.
    let expected = 6.205 * 0.3 / 3.0_f64.sqrt();
    assert!(
        (found[0].1.value - 0.1).abs() < 1e-9 && (found[0].1.margin() - expected).abs() < 1e-3,
        "{found:?}"
    );
    let lines = tables::against_single_node(&study);
    assert!(
        lines[0]
            .starts_with("2 actors against the single node: last return +0.10 (-0.97 to +1.17) over 3 seeds")
    );
    assert!(lines[0].ends_with("the same within the interval"), "{lines:?}");
    assert!(study.unfair().is_empty(), "{:?}", study.unfair());
    assert_eq!(tables::study(&study, None).rows[0][0], "single node");
}

#[test]
fn a_cluster_beyond_the_single_node_is_named_so() {
    let rows = [(SINGLE_NODE, 4.0), (2, 3.0)].into_iter().flat_map(|(actors, end)| {
        (0..4).map(move |seed| row(actors, seed, 1.0, [1.0, 1.0, 1.0, end + 0.01 * (seed * actors) as f64]))
    });
    let below = tables::against_single_node(&study(rows.collect()));
    assert!(below[0].ends_with("over 4 seeds, below it, beyond chance"), "{below:?}");
}

#[test]
fn a_target_is_a_number_or_auto() {
    assert_eq!("auto".parse::<Target>().unwrap(), Target::Auto);
    assert_eq!("-1.5".parse::<Target>().unwrap(), Target::Return(-1.5));
    assert!("nan".parse::<Target>().unwrap_err().contains("neither a return nor `auto`"));
}

#[test]
fn a_study_survives_its_file() {
    let study = study(vec![row(2, 0, 1.0, [1.0, 2.0, 3.0, 4.0])]);
    let text = serde_json::to_string(&study).unwrap();
    assert_eq!(serde_json::from_str::<Study>(&text).unwrap(), study);
    assert!(Study::new(Vec::new(), Vec::new(), None).unwrap_err().to_string().contains("no run"));
}
