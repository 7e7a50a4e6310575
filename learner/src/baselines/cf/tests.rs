//! Predictions against an independent program, and the fall-backs.

use serde::Deserialize;

use super::*;

/// What learner/tests/golden/cf.py wrote.
#[derive(Deserialize)]
struct Golden {
    n_items: usize,
    neighbours: usize,
    /// `[U]` votes (item, vote) of each user.
    users: Vec<Vec<(u32, f32)>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// Row of the active user, if it is one of the log.
    myself: Option<usize>,
    active: Vec<(u32, f32)>,
    /// `[V]` by item; null where nothing can be said.
    by_users: Vec<Option<f64>>,
    by_items: Vec<Option<f64>>,
    popularity: Vec<f64>,
}

#[track_caller]
fn assert_predictions(name: &str, found: impl Fn(u32) -> Option<f64>, expected: &[Option<f64>]) {
    for (item, &expected) in (0..).zip(expected) {
        match (found(item), expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                // Similarities are kept in f32.
                assert!((found - expected).abs() < 1e-6, "{name}, item {item}: {found}, expected {expected}");
            }
            (found, expected) => panic!("{name}, item {item}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn predictions_are_those_of_an_independent_program() {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/cf.json")).unwrap();
    let settings = CfSettings { neighbours: golden.neighbours, ..CfSettings::default() };
    let users = (0..golden.users.len() as u64).collect();
    let votes = Votes::new(users, Sparse::from_rows(golden.users), golden.n_items);
    let item_based = ItemBased::new(&votes, &settings);
    let mut user_based = UserBased::default();
    let (mut from_users, mut from_items) = (WeightedMeans::default(), WeightedMeans::default());
    for case in golden.cases {
        let active: Ballot = case.active.into_iter().collect();
        user_based.predict(&votes, &settings, &active, case.myself, &mut from_users);
        item_based.predict(&active, &mut from_items);
        let mean = mean_vote(&active);
        let by_users = |item| from_users.mean(item).map(|above| mean + above);
        assert_predictions("by users", by_users, &case.by_users);
        assert_predictions("by items", |item| from_items.mean(item), &case.by_items);
        for (found, expected) in votes.popularity.iter().zip(case.popularity) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "popularity {found}, expected {expected}");
        }
    }
}

#[test]
fn what_users_cannot_tell_items_do_and_then_popularity() {
    // Users 0 and 1 agree on items 0, 1, 2; user 2 ties item 3 to item 0; nobody but user 3 has seen item 4.
    let ballots: [&[(u32, f32)]; 4] = [
        &[(0, 5.0), (1, 0.0), (2, 1.0)],
        &[(0, 5.0), (1, 0.0), (2, 0.0)],
        &[(0, 1.0), (3, 1.0)],
        &[(4, 1.0)],
    ];
    let votes = Votes::new(vec![10, 11, 12, 13], Sparse::from_rows(ballots.map(|b| b.to_vec())), 6);
    let popularity = votes.popularity.clone();
    let fitted = Cf::new(CfForm::User, CfSettings::default()).over(votes);
    let pad = ItemId::PADDING;
    let windows = [pad, ItemId(1), pad, pad, pad, ItemId(0)];
    let state = SessionState { user: None, windows: &windows, shown: &[] };
    let candidates = [2, 3, 4].map(ItemId);
    let mut scores = [0.0; 3];
    fitted.ranker().scores(&state, &candidates, &mut scores);
    // Both neighbours agree perfectly: mean 2.5 + ((1 - 2) + (0 - 5/3)) / 2.
    assert!((scores[0] - (2.5 - 4.0 / 3.0)).abs() < 1e-5, "{scores:?}");
    // Item 3 is near item 0 only, which was ordered.
    assert_eq!(scores[1], 5.0);
    assert_eq!(scores[2], popularity[4]);
}
