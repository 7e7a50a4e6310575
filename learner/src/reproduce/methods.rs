//! The compared methods of Sec 4.1.2, and ours: whatever a method is, it is found here by its id.

use common::config::{Config, Preset};
use sim::Reference;

use crate::baselines;

/// How a method comes to its policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Reads the users' minds, or knows the world: what could be reached at best.
    Oracle(Reference),
    /// One of [`baselines::methods`], under its id.
    Baseline,
    /// A training run from a preset.
    Run(Preset),
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    /// Short, for files and flags.
    pub id: &'static str,
    /// What the tables call it.
    pub name: &'static str,
    /// How it is trained.
    pub how: How,
}

/// What the tables call a preset.
fn name(preset: Preset) -> &'static str {
    match preset {
        Preset::DdpgPlus => "DDPG+",
        Preset::DdpgO => "DDPG-O",
        Preset::HrlI => "HRL-I",
        Preset::HrlS => "HRL-S",
        Preset::HrlG => "HRL-G",
        Preset::Paper => "MaHRL (paper)",
        Preset::Tuned => "MaHRL (tuned)",
        Preset::Best => "MaHRL (best)",
    }
}

/// The method that the paper is about.
pub const SUBJECT: &str = "tuned";

/// What is held against all other methods: that, and what goes beyond it.
pub const SUBJECTS: [&str; 2] = [SUBJECT, "best"];

/// All of them, in the order of the tables.
pub fn all() -> Vec<Method> {
    let baselines = baselines::methods::all(baselines::Budget::Quick);
    let mut methods: Vec<Method> = baselines
        .iter()
        .map(|method| Method { id: method.name(), name: method.name(), how: How::Baseline })
        .collect();
    // The variants, then MaHRL itself.
    let is_whole = |preset: &Preset| matches!(preset, Preset::Paper | Preset::Tuned | Preset::Best);
    let (whole, variants): (Vec<Preset>, Vec<Preset>) = Preset::ALL.into_iter().partition(is_whole);
    methods.extend(variants.into_iter().chain(whole).map(|preset| Method {
        id: preset.name(),
        name: name(preset),
        how: How::Run(preset),
    }));
    let oracles = [
        ("window-belief", Reference::WindowBelief),
        ("belief", Reference::Belief),
        ("lookahead", Reference::Lookahead),
    ];
    methods.extend(oracles.map(|(id, reference)| Method {
        id,
        name: reference.name(),
        how: How::Oracle(reference),
    }));
    methods
}

impl Method {
    /// The method of an id.
    pub fn find(id: &str) -> Option<Self> {
        all().into_iter().find(|method| method.id == id)
    }

    /// The reference behind it, if it is one: nothing to train, and not known to every world.
    pub fn reference(&self) -> Option<Reference> {
        match self.how {
            How::Oracle(reference) => Some(reference),
            How::Baseline => Reference::ALL.into_iter().find(|reference| reference.name() == self.id),
            How::Run(_) => None,
        }
    }

    /// Whether a quick look leaves it out, unless it is asked for.
    pub fn is_slow(&self) -> bool {
        self.reference().is_some_and(Reference::is_slow)
    }

    /// Whether seeds make a difference: a reference has nothing to train.
    pub fn is_trained(&self) -> bool {
        self.reference().is_none()
    }

    /// Settings of a training run of it, with further ones on top (by dotted key); `None` where it is no run.
    ///
    /// # Errors
    /// A key or a value that the configuration refuses.
    pub fn config(&self, further: &[(String, toml::Value)]) -> anyhow::Result<Option<Config>> {
        let How::Run(preset) = self.how else { return Ok(None) };
        let mut flags = vec![("preset", toml::Value::from(preset.name()))];
        flags.extend(further.iter().map(|(key, value)| (key.as_str(), value.clone())));
        Ok(Some(Config::load(None, &flags)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_once_and_every_run_has_valid_settings() {
        for method in all() {
            assert_eq!(all().iter().filter(|other| other.id == method.id).count(), 1, "{}", method.id);
            assert_eq!(Method::find(method.id), Some(method));
            assert_eq!(method.config(&[]).unwrap().is_some(), matches!(method.how, How::Run(_)));
        }
        assert!(SUBJECTS.into_iter().all(|id| Method::find(id).is_some()));
        assert!(
            !Method::find("random").unwrap().is_trained() && Method::find("cf-user").unwrap().is_trained()
        );
        assert_eq!(Method::find("hrl-g").unwrap().config(&[]).unwrap().unwrap().model.n_goals, 1);
    }
}
