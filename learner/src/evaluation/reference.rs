//! The worlds' own references (random, popularity, logging, oracles) as compared methods.

use common::{ItemId, SessionId};
use sim::{Environment, ReferencePolicy};

use super::{Error, EvaluatedPolicy};

impl EvaluatedPolicy for ReferencePolicy {
    fn name(&self) -> &str {
        self.reference().name()
    }

    fn begin(&mut self, _slot: usize, _session: SessionId) {}

    fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error> {
        Self::choose(self, environment, actions)
            .map_err(|source| Error::World { policy: self.name().to_owned(), source })
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sim::{
        Catalogue, Reference, ShopWorld, ShopWorldSettings, Variant,
        shopworld::{Calibration, Dynamics},
    };

    use super::*;
    use crate::evaluation::{Anchors, Comparison, EvaluationSettings, Users, evaluate};

    /// Three references in ShopWorld as the table of docs/environment.md has it: no warm-up, its constants.
    fn comparison() -> Comparison {
        let catalogue = Arc::new(Catalogue::new(0, 0.5).unwrap());
        let calibration = Calibration { click_bias: -3.183, order_bias: -3.317, hazard: 0.0 };
        let dynamics = Dynamics { calibration, ..Variant::Default.dynamics() };
        let worlds = |settings: &EvaluationSettings| -> Result<Box<dyn Environment>, sim::Error> {
            let settings = ShopWorldSettings {
                n_slots: settings.slots,
                session_length: settings.length,
                warmup_steps: 0,
                ..ShopWorldSettings::default()
            };
            Ok(Box::new(ShopWorld::with_dynamics(Arc::clone(&catalogue), settings, dynamics)?))
        };
        let settings = EvaluationSettings {
            users: Users::Test,
            sessions: 400,
            length: 50,
            seed: 0,
            slots: 50,
            threads: 2,
        };
        let play = |reference| evaluate(&mut ReferencePolicy::new(reference, 1), &worlds, &settings).unwrap();
        let results: Vec<_> = [Reference::Random, Reference::Logging, Reference::Lookahead].map(play).into();
        let anchors = Anchors::of(&results);
        Comparison::new("shopworld", &settings, results, anchors).unwrap()
    }

    #[test]
    fn an_evaluation_of_the_references_agrees_with_the_table_of_the_world() {
        let comparison = comparison();
        for (name, total) in [("random", 3.78), ("logging", 5.90), ("lookahead oracle", 19.28)] {
            let found = comparison.row(name).unwrap().result.total;
            // Both have 400 users: the difference of two means has about 1.4 times the interval of one; doubled, and 3%
            // for another catalogue.
            let allowed = 2.0 * 1.4 * found.margin() + 0.03 * total;
            assert!((found.value - total).abs() < allowed, "{name}: {found:?}, the table has {total}");
        }
        let logging = comparison.row("logging").unwrap();
        let score = logging.normalised.unwrap();
        assert!(score.low > 0.05 && score.high < 0.25, "{score:?}");
        assert!(comparison.row("random").unwrap().difference.unwrap().high < 0.0);
    }
}
