//! What moves a user of ShopWorld, in numbers.
//! ```text
//! p_click       = sigma(b0 + 3.5 x.c + .45 b + .4 tanh s - 1.2 max(0, h.c))
//! p_order|click = sigma(w0 + 3.0 theta.o + .7 q + 1.6 z + .6 tanh s)
//! x' = norm(x + .05 (x_bar - x) + .25 click c + .25 xi/4)    interest drifts and is reinforced
//! h' = .8 h + .2 c                                           boredom
//! z' = .96 z + .32 click max(0, theta.o), then * .3 on an order    readiness to buy
//! s' = .96 s + .16 click q                                   trust
//! leave with hazard min(1, h0 exp(-.5 tanh s')), where users may leave
//! ```
//! A world is never tuned to make a method win: presets change what their names say, and b0, w0, h0 follow from the rates
//! of a log.

use serde::{Deserialize, Serialize};

/// All constants of the user model. The default is the preset `default` except for b0, w0 and h0, which are
/// calibrated (see [`super::Variant::calibration`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dynamics {
    /// Correlation of interests and needs; belongs to the catalogue.
    pub rho: f64,
    /// b0, w0, h0.
    pub calibration: Calibration,
    /// Weight of x.c in a click.
    pub click_interest: f32,
    /// Weight of attractiveness b in a click.
    pub click_attractiveness: f32,
    /// Weight of trust, tanh s, in a click.
    pub click_trust: f32,
    /// Weight of boredom max(0, h.c) against a click.
    pub click_boredom: f32,
    /// Weight of theta.o in an order.
    pub order_need: f32,
    /// Weight of quality q in an order.
    pub order_quality: f32,
    /// Weight of readiness z in an order.
    pub order_readiness: f32,
    /// Weight of trust, tanh s, in an order.
    pub order_trust: f32,
    /// Whether the order's logit is that of an order at this step, and not of an order after a click: a step is then
    /// clicked for its item's sake, or ordered by chance, or both, and p_click and p_order follow from that.
    pub orders_by_chance: bool,
    /// Share of the way to the base interest that the interest returns each step.
    pub interest_return: f32,
    /// What a click adds of c to the interest.
    pub interest_reinforcement: f32,
    /// Size of the interest's random drift a step.
    pub interest_drift: f32,
    /// What boredom keeps each step; the rest is the item just shown.
    pub boredom_memory: f32,
    /// What readiness and trust keep each step.
    pub memory: f32,
    /// Readiness gained by a click, in units of `(1 - memory) max(0, theta.o)`: the level it settles at does not depend
    /// on the memory.
    pub readiness_gain: f32,
    /// Trust gained by a click, in units of `(1 - memory) q`.
    pub trust_gain: f32,
    /// What an order leaves of readiness.
    pub readiness_after_order: f32,
    /// Weight of trust, tanh s, against leaving.
    pub leave_trust: f32,
}

/// The constants that follow from the rates of a log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// b0, in logits.
    pub click_bias: f64,
    /// w0, in logits.
    pub order_bias: f64,
    /// h0, a probability a step.
    pub hazard: f64,
}

impl Dynamics {
    /// The constants of the module's equations with the given b0, w0, h0.
    pub fn new(calibration: Calibration) -> Self {
        Self {
            rho: 0.5,
            calibration,
            click_interest: 3.5,
            click_attractiveness: 0.45,
            click_trust: 0.4,
            click_boredom: 1.2,
            order_need: 3.0,
            order_quality: 0.7,
            order_readiness: 1.6,
            order_trust: 0.6,
            orders_by_chance: false,
            interest_return: 0.05,
            interest_reinforcement: 0.25,
            interest_drift: 0.25,
            boredom_memory: 0.8,
            memory: 0.96,
            readiness_gain: 8.0,
            trust_gain: 4.0,
            readiness_after_order: 0.3,
            leave_trust: 0.5,
        }
    }

    /// (p_click, p_order|click) from the sigmoids of the two logits. With orders by chance their product is `order`
    /// whatever `click` is.
    pub(super) fn joint(&self, click: f32, order: f32) -> (f32, f32) {
        if !self.orders_by_chance {
            return (click, order);
        }
        let either = click + order - click * order;
        (either, order / either)
    }
}
