//! What is chosen when a ShopWorld is built.

use serde::{Deserialize, Serialize};

use super::{Catalogue, Dynamics, Variant, dynamics::Calibration};
use crate::Error;

/// The world's side of a run's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopWorldSettings {
    /// Preset of the user model.
    pub variant: Variant,
    /// Sessions side by side, E.
    pub n_slots: usize,
    /// Length of a history window, N.
    pub window: usize,
    /// Steps after which a session is truncated.
    pub session_length: usize,
    /// Whether users may leave before that.
    pub leave: bool,
    /// Candidates of a session, |I|, drawn from the catalogue without replacement.
    pub candidates: usize,
    /// Steps of the logging policy before a session starts: they fill the windows and move the user, use up candidates,
    /// and count as nothing else. Nobody leaves during them.
    pub warmup_steps: usize,
    /// Seed of the users. Sessions with the same id and seed are the same users with the same luck; disjoint ranges of
    /// session ids are other users.
    pub seed: u64,
}

impl Default for ShopWorldSettings {
    /// One slot of the preset `default`: windows of 10, sessions of 50 steps, nobody leaves, 1,000 candidates, 20 warm-up
    /// steps, seed 0.
    fn default() -> Self {
        Self {
            variant: Variant::Default,
            n_slots: 1,
            window: 10,
            session_length: 50,
            leave: false,
            candidates: 1_000,
            warmup_steps: 20,
            seed: 0,
        }
    }
}

impl ShopWorldSettings {
    /// Whether a world can be built from these: the first thing in the way.
    pub(super) fn check(&self, catalogue: &Catalogue, dynamics: &Dynamics) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Build(format!("shopworld: {problem}")));
        for (name, value) in
            [("slots", self.n_slots), ("window", self.window), ("session_length", self.session_length)]
        {
            if value == 0 {
                return refuse(format!("{name} is 0: at least 1"));
            }
        }
        let n_items = catalogue.items().n_items();
        let least = self.session_length + self.warmup_steps;
        if !(least..=n_items).contains(&self.candidates) {
            return refuse(format!(
                "{} candidates: at least session_length + warmup_steps = {least}, no item is shown twice, and at \
                 most the {n_items} items of the catalogue",
                self.candidates
            ));
        }
        if catalogue.rho() != dynamics.rho {
            return refuse(format!("the catalogue has rho {}, the users {}", catalogue.rho(), dynamics.rho));
        }
        let Calibration { click_bias, order_bias, hazard } = dynamics.calibration;
        if !(click_bias.is_finite() && order_bias.is_finite() && hazard >= 0.0 && hazard.is_finite()) {
            return refuse(format!("{:?} is no calibration", dynamics.calibration));
        }
        Ok(())
    }
}
