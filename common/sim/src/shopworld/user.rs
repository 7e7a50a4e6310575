//! One user of ShopWorld: hidden state, probabilities, response.
//!
//! In: an item shown and a random stream; out: feedback, and whether the user leaves. Equations in [`super::dynamics`].

use common::{Feedback, ItemId, seed::Rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{
    Catalogue, Dynamics,
    factors::{Factors, add, dot, noise, normalised},
};
use crate::numbers::{exp, sigmoid, tanh};

/// Share of the base interest that the long-term need's first item brings: lambda.
const INTEREST_IN_NEED: f32 = 0.45;
/// Weight of the second item of the long-term need.
const SECOND_NEED: f32 = 0.6;
/// Size of the individual part of needs, interests and of the first interest.
const INDIVIDUAL: f32 = 0.3;

/// A user. A step touches all of it and one item, so the world keeps one struct a slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    /// x_bar, where the interest returns to.
    base_interest: Factors,
    /// theta, the long-term need.
    need: Factors,
    /// x.
    interest: Factors,
    /// h.
    boredom: Factors,
    /// z.
    readiness: f32,
    /// s.
    trust: f32,
}

/// What a user does with a shown item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) feedback: Feedback,
    /// Whether the user would leave now, if users may.
    pub(crate) leaves: bool,
}

impl User {
    /// A new user: theta = norm(o_1 + .6 o_2 + .3 xi/4), x_bar = norm(.45 c_1 + sqrt(1 - .45^2) norm(c_3 + .3 xi/4)),
    /// x = norm(x_bar + .3 xi/4), for random items 1, 2, 3; h = z = s = 0.
    pub(crate) fn new(catalogue: &Catalogue, rng: &mut Rng) -> Self {
        let n_items = catalogue.items().n_items();
        let [first, second, third] = std::array::from_fn(|_| rng.random_range(0..n_items));
        let need = add(catalogue.need[first], SECOND_NEED, &catalogue.need[second]);
        let need = normalised(add(need, INDIVIDUAL, &noise(rng)));
        let other = normalised(add(catalogue.interest[third], INDIVIDUAL, &noise(rng)));
        let shared = catalogue.interest[first].map(|x| INTEREST_IN_NEED * x);
        let rest = (1.0 - INTEREST_IN_NEED * INTEREST_IN_NEED).sqrt();
        let base_interest = normalised(add(shared, rest, &other));
        let interest = normalised(add(base_interest, INDIVIDUAL, &noise(rng)));
        Self { base_interest, need, interest, boredom: [0.0; _], readiness: 0.0, trust: 0.0 }
    }

    /// x_bar: what the logging policy knows of the user.
    pub(crate) fn base_interest(&self) -> &Factors {
        &self.base_interest
    }

    /// x_bar, to be changed in a user who is thought of.
    pub(crate) fn base_interest_mut(&mut self) -> &mut Factors {
        &mut self.base_interest
    }

    /// theta, likewise.
    pub(crate) fn need_mut(&mut self) -> &mut Factors {
        &mut self.need
    }

    /// Whether every number of a user read from a file is one.
    pub(crate) fn is_finite(&self) -> bool {
        [self.base_interest, self.need, self.interest, self.boredom]
            .iter()
            .flatten()
            .chain([&self.readiness, &self.trust])
            .all(|x| x.is_finite())
    }

    /// The user as seen by items at this moment.
    pub(crate) fn mood(&self, dynamics: &Dynamics) -> Mood<'_> {
        let trust = tanh(self.trust);
        Mood {
            user: self,
            click_offset: dynamics.calibration.click_bias as f32 + dynamics.click_trust * trust,
            order_offset: dynamics.calibration.order_bias as f32
                + dynamics.order_readiness * self.readiness
                + dynamics.order_trust * trust,
        }
    }

    /// Shows an item: draws the feedback, moves the state, draws whether the user leaves.
    ///
    /// The same number of values is drawn whatever the item: policies meet the same luck.
    pub(crate) fn respond(
        &mut self,
        catalogue: &Catalogue,
        dynamics: &Dynamics,
        item: ItemId,
        rng: &mut Rng,
    ) -> Response {
        let (p_click, p_order) = self.mood(dynamics).probability(catalogue, dynamics, item);
        let [click, order, leave]: [f32; 3] = rng.random();
        let feedback = match (click < p_click, order < p_order) {
            (false, _) => Feedback::Skip,
            (true, false) => Feedback::Click,
            (true, true) => Feedback::Order,
        };
        self.update(catalogue, dynamics, item, feedback, &noise(rng));
        let hazard = dynamics.calibration.hazard as f32 * exp(-dynamics.leave_trust * tanh(self.trust));
        Response { feedback, leaves: leave < hazard }
    }

    /// Moves the state after an item was shown.
    pub(crate) fn update(
        &mut self,
        catalogue: &Catalogue,
        dynamics: &Dynamics,
        item: ItemId,
        feedback: Feedback,
        drift: &Factors,
    ) {
        let d = dynamics;
        let c = &catalogue.interest[item.row()];
        let x = &self.interest;
        let mut interest: Factors =
            std::array::from_fn(|i| x[i] + d.interest_return * (self.base_interest[i] - x[i]));
        self.readiness *= d.memory;
        self.trust *= d.memory;
        if feedback.clicked() {
            interest = add(interest, d.interest_reinforcement, c);
            let needed = dot(&self.need, &catalogue.need[item.row()]).max(0.0);
            self.readiness += (1.0 - d.memory) * d.readiness_gain * needed;
            self.trust += (1.0 - d.memory) * d.trust_gain * catalogue.quality[item.row()];
        }
        if feedback.ordered() {
            self.readiness *= d.readiness_after_order;
        }
        self.interest = normalised(add(interest, d.interest_drift, drift));
        self.boredom = add(self.boredom.map(|h| d.boredom_memory * h), 1.0 - d.boredom_memory, c);
    }
}

/// A user at one moment; what does not depend on the item is summed up.
pub(crate) struct Mood<'a> {
    user: &'a User,
    /// b0 + .4 tanh s.
    click_offset: f32,
    /// w0 + 1.6 z + .6 tanh s.
    order_offset: f32,
}

impl Mood<'_> {
    /// (p_click, p_order|click) of an item of the catalogue.
    pub(crate) fn probability(&self, catalogue: &Catalogue, dynamics: &Dynamics, item: ItemId) -> (f32, f32) {
        let (click, order) = self.logits(catalogue, dynamics, item);
        dynamics.joint(sigmoid(click), sigmoid(order))
    }

    /// The same for many items: passes of which those over logits vectorise. Equal bit for bit.
    pub(crate) fn probabilities(
        &self,
        catalogue: &Catalogue,
        dynamics: &Dynamics,
        items: &[ItemId],
        p_click: &mut Vec<f32>,
        p_order: &mut Vec<f32>,
    ) {
        p_click.resize(items.len(), 0.0);
        p_order.resize(items.len(), 0.0);
        for ((&item, click), order) in items.iter().zip(p_click.iter_mut()).zip(p_order.iter_mut()) {
            (*click, *order) = self.logits(catalogue, dynamics, item);
        }
        for logits in [&mut *p_click, &mut *p_order] {
            logits.iter_mut().for_each(|logit| *logit = sigmoid(*logit));
        }
        for (click, order) in p_click.iter_mut().zip(p_order) {
            (*click, *order) = dynamics.joint(*click, *order);
        }
    }

    fn logits(&self, catalogue: &Catalogue, dynamics: &Dynamics, item: ItemId) -> (f32, f32) {
        let (d, row) = (dynamics, item.row());
        let (c, o) = (&catalogue.interest[row], &catalogue.need[row]);
        let click = self.click_offset
            + d.click_interest * dot(&self.user.interest, c)
            + d.click_attractiveness * catalogue.attractiveness[row]
            - d.click_boredom * dot(&self.user.boredom, c).max(0.0);
        let order = self.order_offset
            + d.order_need * dot(&self.user.need, o)
            + d.order_quality * catalogue.quality[row];
        (click, order)
    }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;
    use crate::shopworld::Variant;

    fn user_and_world() -> (User, Catalogue, Dynamics) {
        let catalogue = Catalogue::new(0, 0.5).unwrap();
        let user = User::new(&catalogue, &mut Streams::new(1, "test").sequential());
        (user, catalogue, Variant::Default.dynamics())
    }

    #[test]
    fn a_click_reinforces_and_an_order_satisfies() {
        let (user, catalogue, dynamics) = user_and_world();
        let item = ItemId(17);
        let after = |feedback| {
            let mut user = User { readiness: 1.0, ..user.clone() };
            user.update(&catalogue, &dynamics, item, feedback, &[0.0; 16]);
            user
        };
        let (skip, click, order) = (after(Feedback::Skip), after(Feedback::Click), after(Feedback::Order));
        let c = &catalogue.interest[17];
        assert!(dot(&click.interest, c) > dot(&skip.interest, c));
        assert_eq!(click.interest, order.interest);
        // z' = .96 z + .32 click max(0, theta.o), times .3 on an order.
        let needed = dot(&user.need, &catalogue.need[17]).max(0.0);
        assert!((skip.readiness - 0.96).abs() < 1e-6);
        assert!((click.readiness - (0.96 + 0.32 * needed)).abs() < 1e-6);
        assert!((order.readiness - 0.3 * click.readiness).abs() < 1e-6);
        // s' = .96 s + .16 click q.
        assert!((click.trust - 0.16 * catalogue.quality[17]).abs() < 1e-6);
        assert_eq!(skip.trust, 0.0);
        // h' = .8 h + .2 c.
        assert_eq!(skip.boredom, c.map(|x| (1.0 - dynamics.boredom_memory) * x));
    }

    #[test]
    fn probabilities_follow_the_equations_in_double_precision() {
        let (user, catalogue, dynamics) = user_and_world();
        let user = User { readiness: 0.4, trust: 0.7, boredom: [0.1; 16], ..user };
        let wide = |a: &Factors, b: &Factors| -> f64 {
            std::iter::zip(a, b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        let trust = 0.7_f64.tanh();
        for row in 0..500 {
            let (c, o) = (&catalogue.interest[row], &catalogue.need[row]);
            let click = sigma(
                dynamics.calibration.click_bias
                    + 3.5 * wide(&user.interest, c)
                    + 0.45 * f64::from(catalogue.attractiveness[row])
                    + 0.4 * trust
                    - 1.2 * wide(&user.boredom, c).max(0.0),
            );
            let order = sigma(
                dynamics.calibration.order_bias
                    + 3.0 * wide(&user.need, o)
                    + 0.7 * f64::from(catalogue.quality[row])
                    + 1.6 * 0.4
                    + 0.6 * trust,
            );
            let (p_click, p_order) =
                user.mood(&dynamics).probability(&catalogue, &dynamics, ItemId(row as u32));
            assert!((f64::from(p_click) / click - 1.0).abs() < 5e-6, "p_click of item {row}");
            assert!((f64::from(p_order) / order - 1.0).abs() < 5e-6, "p_order of item {row}");
        }
    }
}
