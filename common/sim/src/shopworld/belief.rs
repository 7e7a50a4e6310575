//! What can be known of a user of ShopWorld by whoever knows the world, but sees of the user what a policy sees.
//!
//! In: items shown and what the user did with them; out: expected rewards of items. A particle filter: users as the world
//! makes them, weighted by how probable what was seen is for each, moved as the world moves them, drawn anew by weight where
//! few of them matter. What never moves in a user (base interest, need) gets a little noise then, or copies would never part
//! again; a step towards the mean keeps its variance (Liu and West 2001, "Combined parameter and state estimation in
//! simulation-based filtering").

use std::sync::Arc;

use common::{
    Feedback, ItemId,
    history::{Kind, window},
    seed::Rng,
};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::{
    Catalogue, Dynamics,
    factors::{Factors, N_FACTORS, noise, normalised},
    user::User,
};
use crate::reference::ORDER_EXTRA;

/// Users thought of. Four times as many earn the same within noise.
const N_USERS: usize = 1024;
/// Of them those whose opinion of each item is asked for, drawn by weight.
const N_ASKED: usize = 128;
/// Drawn anew when the effective number of users falls below this share.
const FEWEST: f64 = 0.5;
/// What a copy keeps of its distance to the mean.
const KEPT: f32 = 0.99;

/// A belief about one user.
#[derive(Clone, Debug)]
pub struct Belief {
    catalogue: Arc<Catalogue>,
    dynamics: Dynamics,
    rng: Rng,
    users: Vec<User>,
    /// `[users]`, of sum 1.
    weights: Vec<f64>,
}

impl Belief {
    /// About a user who has not been seen yet.
    pub(super) fn new(catalogue: Arc<Catalogue>, dynamics: Dynamics, mut rng: Rng) -> Self {
        let users = (0..N_USERS).map(|_| User::new(&catalogue, &mut rng)).collect();
        Self { catalogue, dynamics, rng, users, weights: vec![1.0 / N_USERS as f64; N_USERS] }
    }

    /// Takes in windows `[3, N]` ([`common::history`]). In which order skips and clicks alternated they do not tell:
    /// evenly, then.
    pub fn observe_windows(&mut self, windows: &[ItemId]) {
        let seen = |kind| window(windows, kind).iter().copied().filter(|&item| item != ItemId::PADDING);
        let (n_skips, n_clicks) = (seen(Kind::Skipped).count(), seen(Kind::Clicked).count());
        let mut clicks = seen(Kind::Clicked).enumerate().peekable();
        let mut click_until = |belief: &mut Self, share: f64| {
            while let Some((_, item)) = clicks.next_if(|(place, _)| (*place as f64) < share * n_clicks as f64)
            {
                let is_ordered = seen(Kind::Ordered).any(|ordered| ordered == item);
                belief.observe(item, if is_ordered { Feedback::Order } else { Feedback::Click });
            }
        };
        for (place, item) in seen(Kind::Skipped).enumerate() {
            click_until(self, place as f64 / n_skips as f64);
            self.observe(item, Feedback::Skip);
        }
        click_until(self, 1.0);
    }

    /// The user was shown `item`; `feedback` is what came of it.
    pub fn observe(&mut self, item: ItemId, feedback: Feedback) {
        for (user, weight) in self.users.iter_mut().zip(&mut self.weights) {
            let (click, order) = user.mood(&self.dynamics).probability(&self.catalogue, &self.dynamics, item);
            *weight *= f64::from(match feedback {
                Feedback::Skip => 1.0 - click,
                Feedback::Click => click * (1.0 - order),
                Feedback::Order => click * order,
            });
            user.update(&self.catalogue, &self.dynamics, item, feedback, &noise(&mut self.rng));
        }
        // Sigmoids of these logits are neither 0 nor 1, so the sum is not 0.
        let sum: f64 = self.weights.iter().sum();
        self.weights.iter_mut().for_each(|weight| *weight /= sum);
        let effective = 1.0 / self.weights.iter().map(|weight| weight * weight).sum::<f64>();
        if effective < FEWEST * self.users.len() as f64 {
            self.draw_anew();
        }
    }

    /// The expected reward of each item if it were shown now, into `rewards` `[items]`.
    pub fn expected_rewards(&mut self, items: &[ItemId], rewards: &mut Vec<f32>) {
        rewards.clear();
        rewards.resize(items.len(), 0.0);
        let (mut p_click, mut p_order) = (Vec::new(), Vec::new());
        for index in self.drawn(N_ASKED) {
            let mood = self.users[index].mood(&self.dynamics);
            mood.probabilities(&self.catalogue, &self.dynamics, items, &mut p_click, &mut p_order);
            for (reward, (click, order)) in rewards.iter_mut().zip(p_click.iter().zip(&p_order)) {
                *reward += click * (1.0 + ORDER_EXTRA * order) / N_ASKED as f32;
            }
        }
    }

    /// Users drawn by weight, in their order: one in each of `count` equal strata of all weight.
    fn drawn(&mut self, count: usize) -> Vec<usize> {
        let offset: f64 = self.rng.random();
        let (mut index, mut reached) = (0, self.weights[0]);
        let draw = |place: usize| {
            while reached < (place as f64 + offset) / count as f64 && index + 1 < self.weights.len() {
                index += 1;
                reached += self.weights[index];
            }
            index
        };
        (0..count).map(draw).collect()
    }

    fn draw_anew(&mut self) {
        let n = self.users.len();
        self.users = self.drawn(n).into_iter().map(|index| self.users[index].clone()).collect();
        self.weights.fill(1.0 / n as f64);
        self.spread(User::base_interest_mut);
        self.spread(User::need_mut);
    }

    /// Parts the copies of a vector that never moves.
    fn spread(&mut self, part: fn(&mut User) -> &mut Factors) {
        let n = self.users.len() as f32;
        let [mut mean, mut square] = [[0.0; N_FACTORS]; 2];
        for user in &mut self.users {
            for (k, x) in part(user).iter().enumerate() {
                mean[k] += x / n;
                square[k] += x * x / n;
            }
        }
        let variance = |k: usize| (square[k] - mean[k] * mean[k]).max(0.0);
        let size: Factors = std::array::from_fn(|k| ((1.0 - KEPT * KEPT) * variance(k)).sqrt());
        for user in &mut self.users {
            let x = part(user);
            let moved = std::array::from_fn(|k| {
                let xi: f32 = self.rng.sample(StandardNormal);
                KEPT * x[k] + (1.0 - KEPT) * mean[k] + size[k] * xi
            });
            *x = normalised(moved);
        }
    }
}
