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

    /// The mean over all orders of a session's `items`, each as likely as the others, in closed form: what a scorer that
    /// knows nothing has.
    ///
    /// With n items, P of them relevant, and H_n = Σ 1/k: E\[AP\] = (H_n + (n - H_n) (P - 1)/(n - 1)) / n, since the item
    /// at rank k is relevant with probability P/n, and each of the k - 1 above it with (P - 1)/(n - 1) then. E\[DCG\] is
    /// that of n items of the mean gain.
    pub fn by_chance(items: &[Feedback]) -> Option<Self> {
        let n = items.len() as f64;
        let relevant = items.iter().filter(|feedback| feedback.clicked()).count();
        let ordered = items.iter().filter(|feedback| feedback.ordered()).count();
        let harmonic: f64 = (1..=items.len()).map(|k| 1.0 / k as f64).sum();
        let others = if items.len() > 1 { (relevant as f64 - 1.0) / (n - 1.0) } else { 0.0 };
        let gain = items.iter().map(|feedback| f64::from(feedback.reward())).sum::<f64>() / n;
        let ndcg = |k: usize| {
            let flat: f64 = (0..k.min(items.len())).map(discount).sum();
            gain * flat / best_dcg(items, k)
        };
        (relevant > 0).then(|| Self {
            ap: (harmonic + (n - harmonic) * others) / n,
            ndcg_20: ndcg(20),
            ndcg_40: ndcg(40),
            order_rr: (ordered > 0).then(|| mean_first_rr(items.len(), ordered)),
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
    dcg(&ranked[..k.min(ranked.len())]) / best_dcg(ranked, k)
}

fn best_dcg(items: &[Feedback], k: usize) -> f64 {
    let mut best = items.to_vec();
    best.sort_unstable_by(|a, b| b.cmp(a));
    dcg(&best[..k.min(best.len())])
}

fn dcg(ranked: &[Feedback]) -> f64 {
    ranked.iter().enumerate().map(|(j, feedback)| f64::from(feedback.reward()) * discount(j)).sum()
}

/// Of the item at place j, from 0.
fn discount(j: usize) -> f64 {
    1.0 / ((j + 2) as f64).log2()
}

/// Mean of 1 / (place of the first of `marked` items) over all orders of `n`.
fn mean_first_rr(n: usize, marked: usize) -> f64 {
    let (mut none_yet, mut mean) = (1.0, 0.0);
    for rank in 1..=n {
        let hit = (marked as f64 / (n - rank + 1) as f64).min(1.0);
        mean += none_yet * hit / rank as f64;
        none_yet *= 1.0 - hit;
    }
    mean
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

    /// All orders of `items`.
    fn permutations(items: &[Feedback]) -> Vec<Vec<Feedback>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for k in 0..items.len() {
            let mut rest = items.to_vec();
            let first = rest.remove(k);
            all.extend(permutations(&rest).into_iter().map(|order| [vec![first], order].concat()));
        }
        all
    }

    #[test]
    fn the_closed_form_is_the_mean_over_all_orders() {
        for items in [
            vec![Click],
            vec![Skip, Click],
            vec![Order, Order],
            vec![Skip, Click, Skip, Order, Skip, Skip],
            vec![Order, Click, Order, Skip, Skip, Skip, Click],
        ] {
            let all: Vec<Quality> =
                permutations(&items).iter().filter_map(|order| Quality::of(order)).collect();
            let mean = |of: &dyn Fn(&Quality) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
            let expected = Quality::by_chance(&items).unwrap();
            assert!((expected.ap - mean(&|q| q.ap)).abs() < 1e-12, "AP of {items:?}");
            assert!((expected.ndcg_20 - mean(&|q| q.ndcg_20)).abs() < 1e-12, "NDCG of {items:?}");
            match expected.order_rr {
                Some(rr) => assert!((rr - mean(&|q| q.order_rr.unwrap())).abs() < 1e-12, "RR of {items:?}"),
                None => assert!(all.iter().all(|q| q.order_rr.is_none())),
            }
        }
        assert_eq!(Quality::by_chance(&[Skip, Skip]), None);
    }

    #[test]
    fn the_closed_form_holds_beyond_k_too() {
        // One click among 50: it is at any place j alike, and counts as 1 / log2(j + 1) in the first 20 or 40.
        let items = [vec![Click], vec![Skip; 49]].concat();
        let expected = Quality::by_chance(&items).unwrap();
        let flat = |k: u32| (1..=k).map(|j| 1.0 / f64::from(j + 1).log2()).sum::<f64>() / 50.0;
        assert!((expected.ndcg_20 - flat(20)).abs() < 1e-12 && (expected.ndcg_40 - flat(40)).abs() < 1e-12);
        let harmonic: f64 = (1..=50).map(|k| 1.0 / f64::from(k)).sum();
        assert!((expected.ap - harmonic / 50.0).abs() < 1e-12);
    }
}
