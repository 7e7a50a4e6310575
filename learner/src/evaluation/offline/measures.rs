//! How good the order of one session's items is.
//!
//! In: the feedback of the session's items in the order of a method, best first; out: its measures. An item is relevant if it
//! was clicked (an order is a click too); its gain is its reward: 0, 1, 5.

use common::Feedback;
use serde::{Deserialize, Serialize};

/// The measures of one session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Average precision, AP = (1/P) Σ_{k: item k relevant} (relevant among the first k) / k.
    pub ap: f64,
    /// NDCG@20 = DCG / (DCG of the best order), DCG = Σ_{j <= 20} gain_j / log2(j + 1).
    pub ndcg_20: f64,
    /// NDCG@40.
    pub ndcg_40: f64,
    /// 1 / (place of the first ordered item); `None` in a session without an order.
    pub order_rr: Option<f64>,
}

impl Quality {
    /// Of items by rank; `None` if none was clicked: no order is better than another.
    pub fn of(ranked: &[Feedback]) -> Option<Self> {
        let order_rank = ranked.iter().position(|feedback| feedback.ordered());
        ranked.iter().any(|feedback| feedback.clicked()).then(|| Self {
            ap: average_precision(ranked),
            ndcg_20: ndcg(ranked, 20),
            ndcg_40: ndcg(ranked, 40),
            order_rr: order_rank.map(|rank| 1.0 / (rank + 1) as f64),
        })
    }
}

fn average_precision(ranked: &[Feedback]) -> f64 {
    let (mut relevant, mut sum) = (0.0, 0.0);
    for (rank, feedback) in ranked.iter().enumerate() {
        if feedback.clicked() {
            relevant += 1.0;
            sum += relevant / (rank + 1) as f64;
        }
    }
    sum / relevant
}

fn ndcg(ranked: &[Feedback], k: usize) -> f64 {
    let mut best = ranked.to_vec();
    best.sort_unstable_by(|a, b| b.cmp(a));
    dcg(&ranked[..k.min(ranked.len())]) / dcg(&best[..k.min(best.len())])
}

fn dcg(ranked: &[Feedback]) -> f64 {
    let gain = |(j, feedback): (usize, &Feedback)| f64::from(feedback.reward()) / ((j + 2) as f64).log2();
    ranked.iter().enumerate().map(gain).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Feedback::{Click, Order, Skip};

    #[test]
    fn the_measures_are_those_computed_by_hand() {
        let quality = Quality::of(&[Click, Skip, Order]).unwrap();
        assert_eq!(quality.ap, (1.0 + 2.0 / 3.0) / 2.0);
        // DCG 1/1 + 5/2, at best 5/1 + 1/log2(3).
        assert!((quality.ndcg_20 - 3.5 / (5.0 + 1.0 / 3_f64.log2())).abs() < 1e-12);
        assert_eq!(quality.ndcg_20, quality.ndcg_40);
        assert_eq!(quality.order_rr, Some(1.0 / 3.0));
    }

    #[test]
    fn the_best_order_has_one_and_no_click_has_none() {
        let quality = Quality::of(&[Order, Click, Skip]).unwrap();
        assert_eq!((quality.ap, quality.ndcg_20, quality.order_rr), (1.0, 1.0, Some(1.0)));
        assert_eq!(Quality::of(&[Click, Skip]).unwrap().order_rr, None);
        assert_eq!(Quality::of(&[Skip, Skip]), None);
    }

    #[test]
    fn what_stands_behind_k_counts_for_nothing() {
        let late = [vec![Skip; 20], vec![Click]].concat();
        let quality = Quality::of(&late).unwrap();
        assert_eq!(quality.ndcg_20, 0.0);
        assert!((quality.ndcg_40 - 1.0 / 22_f64.log2()).abs() < 1e-12);
    }
}
