//! User-based collaborative filtering (Breese, Heckerman, Kadie 1998, Sec 2.1 and 2.3).
//!
//! In: votes of all users and those of the active user a; out: predicted votes of items j.
//!
//! ```text
//! f_j  = ln(U / U_j)                                            inverse user frequency, U_j users voted on j
//! w    = (F S_au - S_a S_u) / sqrt((F S_aa - S_a^2)(F S_uu - S_u^2))   Pearson, over the items that both voted on,
//!        F = sum f_j, S_x = sum f_j v_xj, S_xy = sum f_j v_xj v_yj
//! w'   = w^2.5                                                  case amplification, of the 200 nearest, w > 0
//! p_aj = mean_a + sum_u w' (v_uj - mean_u) / sum_u w'           over the neighbours u that voted on j
//! ```

use super::{
    CfSettings,
    means::WeightedMeans,
    votes::{Ballot, Votes},
};

/// Least share of F S_xx that must be left as variance: below it, equal votes differ by rounding only.
const LEAST_VARIANCE: f64 = 1e-9;

/// Sums over the items that the active user and another one voted on.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    f: f64,
    active: f64,
    other: f64,
    active_square: f64,
    other_square: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, f: f64, active: f64, other: f64) {
        self.f += f;
        self.active += f * active;
        self.other += f * other;
        self.active_square += f * active * active;
        self.other_square += f * other * other;
        self.product += f * active * other;
    }

    /// Weighted Pearson correlation; 0 where one of the two gave all its votes alike.
    fn correlation(&self) -> f64 {
        let variance = |square: f64, sum: f64| {
            let variance = self.f * square - sum * sum;
            if variance > LEAST_VARIANCE * self.f * square { variance } else { 0.0 }
        };
        let spread = variance(self.active_square, self.active) * variance(self.other_square, self.other);
        if spread > 0.0 { (self.f * self.product - self.active * self.other) / spread.sqrt() } else { 0.0 }
    }
}

/// Working memory; one a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct UserBased {
    /// `[U]`, zero between calls.
    sums: Vec<Sums>,
    /// Users whose sums are not zero now.
    touched: Vec<u32>,
    /// (w', user).
    neighbours: Vec<(f64, u32)>,
}

impl UserBased {
    /// Fills `means` with how far above its mean the active user is predicted to vote, for every item that a neighbour
    /// voted on. `myself` is the active user's row, if it has one.
    pub(super) fn predict(
        &mut self,
        votes: &Votes,
        settings: &CfSettings,
        active: &Ballot,
        myself: Option<usize>,
        means: &mut WeightedMeans,
    ) {
        self.find_neighbours(votes, settings, active, myself);
        means.start(votes.n_items());
        for &(weight, user) in &self.neighbours {
            let mean = f64::from(votes.user_means[user as usize]);
            for (item, vote) in votes.by_user.row(user as usize) {
                means.add(item, weight, f64::from(vote) - mean);
            }
        }
    }

    /// Fills `neighbours`, by user.
    fn find_neighbours(
        &mut self,
        votes: &Votes,
        settings: &CfSettings,
        active: &Ballot,
        myself: Option<usize>,
    ) {
        self.sums.resize(votes.n_users(), Sums::default());
        for (&item, &vote) in active {
            let voters = votes.by_item.row(item as usize);
            // Inverse user frequency: agreement on what everybody was shown says little.
            let f = (votes.n_users() as f64 / voters.len().max(1) as f64).ln();
            if f == 0.0 {
                continue;
            }
            for (user, other) in voters {
                let sums = &mut self.sums[user as usize];
                if sums.f == 0.0 {
                    self.touched.push(user);
                }
                sums.add(f, f64::from(vote), f64::from(other));
            }
        }
        self.neighbours.clear();
        for user in self.touched.drain(..) {
            let weight = std::mem::take(&mut self.sums[user as usize]).correlation();
            if weight > 0.0 && myself != Some(user as usize) {
                self.neighbours.push((weight.powf(settings.amplification), user));
            }
        }
        let k = settings.neighbours;
        if self.neighbours.len() > k {
            // The nearest first; of equals, the lowest user.
            let nearer = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            self.neighbours.select_nth_unstable_by(k, nearer);
            self.neighbours.truncate(k);
        }
        // Sums in a fixed order.
        self.neighbours.sort_unstable_by_key(|&(_, user)| user);
    }
}
