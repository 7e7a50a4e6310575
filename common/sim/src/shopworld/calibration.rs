//! b0, w0 and h0 from the rates of a log.
//!
//! In: a variant and its target rates; out: the constants under which the logging policy's log has them. Sessions start
//! without warm-up, users leave, sessions without a click are dropped, as the paper does.
//!
//! Rates are *expected* ones: the sums of p_click and p_click p_order along the sessions stand for the counts of clicks
//! and orders, which have the same mean and more noise. Dropped sessions have no click, so that the sums over all
//! sessions are those over the kept ones; impressions and sessions are counted in the kept ones.

use std::sync::Arc;

use common::transition::Ending;
use rand::RngExt;

use super::{
    Catalogue, Dynamics, ShopWorld, ShopWorldSettings,
    dynamics::Calibration,
    variant::{Rates, Variant},
};
use crate::{Environment, Error, Outcome, Truth, draw::WeightedDraw};

/// Part of a logit error that an iteration takes back.
const DAMPING: f64 = 0.9;
/// Iterations; the error falls tenfold in each.
const ITERATIONS: usize = 12;
/// Longer than any session: after 900 steps at a hazard of 2%, one in 10^8 is left.
const LONGEST: usize = 900;

/// Rates of the log that the logging policy leaves, over the sessions `0..n_sessions` of the users' `seed`.
pub fn measure(
    catalogue: &Arc<Catalogue>,
    dynamics: Dynamics,
    n_sessions: u64,
    seed: u64,
) -> Result<Rates, Error> {
    let settings = ShopWorldSettings {
        leave: true,
        warmup_steps: 0,
        session_length: LONGEST,
        seed,
        ..ShopWorldSettings::default()
    };
    let mut world = ShopWorld::with_dynamics(catalogue.clone(), settings, dynamics)?;
    let choices = common::seed::Streams::new(seed, "shopworld/calibration");
    let (mut scores, mut draw) = (Vec::new(), WeightedDraw::default());
    let (mut clicks, mut orders, mut impressions, mut sessions) = (0.0, 0.0, 0_u64, 0_u64);
    for session in 0..n_sessions {
        world.begin(0, session);
        world.prepare_logging(0, &mut scores, &mut draw);
        let (mut rng, mut clicked) = (choices.at(session, 0), false);
        let mut outcome = [Outcome { feedback: common::Feedback::Skip, ending: Ending::None }];
        while outcome[0].ending == Ending::None {
            let position =
                draw.draw(rng.random()).expect("a session is shorter than its candidates are many");
            draw.remove(position);
            let item = world.recall()[0].candidates()[position];
            let (p_click, p_order) = world.probability(0, item);
            clicks += f64::from(p_click);
            orders += f64::from(p_click) * f64::from(p_order);
            world.step(&[item], &mut outcome)?;
            clicked |= outcome[0].feedback.clicked();
        }
        if clicked {
            sessions += 1;
            impressions += world.step_number(0);
        }
    }
    let impressions = impressions as f64;
    Ok(Rates { click: clicks / impressions, order: orders / clicks, length: impressions / sessions as f64 })
}

/// The constants under which a variant's log has its target rates, from `n_sessions` sessions of the users' `seed`: damped
/// updates, of b0 and w0 by the difference of the rates' logits, of h0 by the ratio of the session lengths. Every
/// iteration sees the same users and the same luck. 12 iterations of 100,000 sessions take about a
/// minute.
pub fn calibrate(
    catalogue: &Arc<Catalogue>,
    variant: Variant,
    n_sessions: u64,
    seed: u64,
) -> Result<Calibration, Error> {
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let target = variant.target();
    let mut dynamics = variant.dynamics();
    for _ in 0..ITERATIONS {
        let found = measure(catalogue, dynamics, n_sessions, seed)?;
        let constants = &mut dynamics.calibration;
        constants.click_bias += DAMPING * (logit(target.click) - logit(found.click));
        constants.order_bias += DAMPING * (logit(target.order) - logit(found.order));
        constants.hazard *= (found.length / target.length).powf(DAMPING);
    }
    Ok(dynamics.calibration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_its_rates() {
        for variant in Variant::ALL {
            let dynamics = variant.dynamics();
            let catalogue = Arc::new(Catalogue::new(0, dynamics.rho).unwrap());
            let (found, target) = (measure(&catalogue, dynamics, 5_000, 78).unwrap(), variant.target());
            // Five standard errors: some 230,000 impressions, and 1,250 orders or more, of correlated sessions.
            for (found, expected, error) in [
                (found.click, target.click, 0.03),
                (found.order, target.order, 0.15),
                (found.length, target.length, 0.05),
            ] {
                assert!(
                    (found / expected - 1.0).abs() < error,
                    "{}: {found}, not {expected}",
                    variant.name()
                );
            }
        }
    }

    #[test]
    fn the_default_world_has_table_1s_rates_within_2_percent() {
        let catalogue = Arc::new(Catalogue::new(0, 0.5).unwrap());
        let dynamics = Variant::Default.dynamics();
        // Other users than those of the calibration.
        let found = measure(&catalogue, dynamics, 20_000, 77).unwrap();
        let target = Rates { click: 0.0981, order: 0.0546, length: 46.5 };
        for (found, expected) in
            [(found.click, target.click), (found.order, target.order), (found.length, target.length)]
        {
            assert!((found / expected - 1.0).abs() < 0.02, "{found}, Table 1 has {expected}");
        }
    }
}
