//! Measures of rankings and off-policy estimates against scikit-learn, pytrec_eval, obp and numpy. Inputs and golden
//! values are those that golden/offline.py wrote.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use common::Feedback;
use learner::evaluation::offline::{Decision, OffPolicyEstimate, Quality};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    rankings: Vec<Ranking>,
    off_policy: Vec<OffPolicy>,
}

#[derive(Deserialize)]
struct Ranking {
    /// Codes by rank.
    feedback: Vec<u8>,
    ap: f64,
    ndcg_20: f64,
    ndcg_40: f64,
    /// 0 without an order.
    order_rr: f64,
}

#[derive(Deserialize)]
struct OffPolicy {
    /// Steps: target, propensity, reward, predicted, expected.
    sessions: Vec<Vec<[f64; 5]>>,
    ips: f64,
    snips: f64,
    doubly_robust: f64,
    effective: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/offline.json")).unwrap()
}

fn assert_close(what: &str, found: f64, expected: f64) {
    // Inputs are written with 12 digits.
    assert!(
        (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
        "{what}: {found}, expected {expected}"
    );
}

#[test]
fn rankings_have_the_measures_of_scikit_learn_and_pytrec_eval() {
    for (number, case) in golden().rankings.iter().enumerate() {
        let ranked: Vec<_> = case.feedback.iter().map(|&code| Feedback::from_code(code).unwrap()).collect();
        let quality = Quality::of(&ranked).unwrap();
        for (measure, found, expected) in [
            ("AP", quality.ap, case.ap),
            ("NDCG@20", quality.ndcg_20, case.ndcg_20),
            ("NDCG@40", quality.ndcg_40, case.ndcg_40),
            ("RR", quality.order_rr.unwrap_or(0.0), case.order_rr),
        ] {
            assert_close(&format!("{number}: {measure}"), found, expected);
        }
    }
}

#[test]
fn off_policy_estimates_are_those_of_obp_and_numpy() {
    for (number, case) in golden().off_policy.iter().enumerate() {
        let decision = |&[target, propensity, reward, predicted, expected]: &[f64; 5]| Decision {
            target,
            propensity,
            reward,
            predicted,
            expected,
        };
        let sessions: Vec<Vec<Decision>> =
            case.sessions.iter().map(|session| session.iter().map(decision).collect()).collect();
        let found = OffPolicyEstimate::new(&sessions, 0);
        for (name, found, expected) in [
            ("IPS", found.ips.value, case.ips),
            ("SNIPS", found.snips.value, case.snips),
            ("DR", found.doubly_robust.value, case.doubly_robust),
            ("effective", found.effective_sessions, case.effective),
        ] {
            assert_close(&format!("{number}: {name}"), found, expected);
        }
    }
}
