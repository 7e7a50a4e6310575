//! Item-based collaborative filtering (Sarwar, Karypis, Konstan, Riedl 2001, Sec 3).
//!
//! In: votes; out: predicted votes of items j for an active user a.
//!
//! ```text
//! sim(i, j) = v_i . v_j / (|v_i| |v_j|)            cosine of the items' votes over the users
//! p_aj      = sum_i sim(i, j) v_ai / sum_i sim(i, j)   over the 200 items i nearest to j that a voted on
//! ```

use super::{
    CfSettings,
    means::WeightedMeans,
    votes::{Ballot, Sparse, Votes},
};

/// The similarities.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ItemBased {
    /// `[V, V]` row i: the items j that have i among their nearest, and sim(i, j) > 0.
    near: Sparse,
}

impl ItemBased {
    /// Computes the similarities.
    pub(super) fn new(votes: &Votes, settings: &CfSettings) -> Self {
        let n_items = votes.n_items();
        // Zeros add nothing to a dot product: only clicks and orders count.
        let positive = |matrix: &Sparse| {
            Sparse::from_rows((0..matrix.n_rows()).map(|row| matrix.row(row).filter(|&(_, vote)| vote > 0.0)))
        };
        let (by_item, by_user) = (positive(&votes.by_item), positive(&votes.by_user));
        let norms: Vec<f64> = (0..n_items)
            .map(|item| by_item.row(item).map(|(_, vote)| f64::from(vote).powi(2)).sum::<f64>().sqrt())
            .collect();
        let mut dots = vec![0.0_f64; n_items];
        let mut touched: Vec<u32> = Vec::new();
        let nearest = Sparse::from_rows((0..n_items).map(|item| {
            for (user, vote) in by_item.row(item) {
                for (other, other_vote) in by_user.row(user as usize) {
                    let dot = &mut dots[other as usize];
                    if *dot == 0.0 {
                        touched.push(other);
                    }
                    *dot += f64::from(vote) * f64::from(other_vote);
                }
            }
            let mut row: Vec<(u32, f32)> = Vec::with_capacity(touched.len());
            for other in touched.drain(..) {
                let dot = std::mem::take(&mut dots[other as usize]);
                if other as usize != item {
                    row.push((other, (dot / (norms[item] * norms[other as usize])) as f32));
                }
            }
            // The nearest first; of equals, the lowest item.
            row.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            row.truncate(settings.neighbours);
            row.sort_unstable_by_key(|&(other, _)| other);
            row
        }));
        Self { near: nearest.transposed(n_items) }
    }

    /// Fills `means` with the predicted vote of every item that the user voted on something near it.
    pub(super) fn predict(&self, active: &Ballot, means: &mut WeightedMeans) {
        means.start(self.near.n_rows());
        for (&rated, &vote) in active {
            for (item, similarity) in self.near.row(rated as usize) {
                means.add(item, f64::from(similarity), f64::from(vote));
            }
        }
    }
}
