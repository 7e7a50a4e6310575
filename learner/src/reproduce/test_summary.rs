//! Summaries for tests: rewards as they are asked for.

use super::{Budget, Cell, CellResult, Scale, Summary, methods::Method};
use crate::evaluation::{Estimate, EvaluationResult, result::SessionRewards};

/// A method under its own name; `seeds`: clicks without an order and orders of every session, one a seed, in sessions of
/// one length. Without curves and ranks.
pub(super) fn summary(id: &str, settings: &[(&str, toml::Value)], seeds: &[(u32, u32)]) -> Summary {
    let result = |(seed, &rewards): (usize, &(u32, u32))| CellResult {
        cell: Cell {
            method: id.to_owned(),
            settings: settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            env: "shopworld".to_owned(),
            seed: seed as u64,
            budget: Budget::of(Scale::Quick),
        },
        seconds: 0.0,
        env_steps: 1000,
        updates: 10,
        online: vec![evaluation(id, rewards)],
        curve: Vec::new(),
        ranked: Vec::new(),
    };
    Summary {
        name: Method::find(id).unwrap().name.to_owned(),
        method: id.to_owned(),
        results: seeds.iter().enumerate().map(result).collect(),
    }
}

fn evaluation(id: &str, (clicks_only, orders): (u32, u32)) -> EvaluationResult {
    let session = |session| SessionRewards {
        session,
        impressions: 50,
        clicks_only,
        orders,
        expected: None,
        expected_order: None,
        left: false,
    };
    let sessions: Vec<SessionRewards> = (0..4).map(session).collect();
    let of = |value: f64| Estimate { value, low: value, high: value };
    let (total, order) = (sessions[0].total(), sessions[0].order_reward());
    EvaluationResult {
        name: id.to_owned(),
        total: of(total),
        click: of(total - order),
        order: of(order),
        expected: None,
        expected_order: None,
        ctr: of(f64::from(clicks_only + orders) / 50.0),
        cvr: of(f64::from(orders) / f64::from((clicks_only + orders).max(1))),
        length: 50.0,
        left: 0.0,
        coverage: 0.0,
        cumulative_order: vec![order],
        cumulative_total: vec![total],
        sessions,
    }
}
