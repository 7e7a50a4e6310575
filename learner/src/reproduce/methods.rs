//! The compared methods of Sec 4.1.2, and ours. One table: whatever a method is, it is found here by its id.

use common::config::Config;
use sim::Reference;

/// How a method comes to its policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Known to the world, nothing to train.
    Reference(Reference),
    /// Supervised, on its own interactions ([`crate::baselines::history_greedy`]).
    HistoryGreedy,
    /// A training run from these settings (TOML values by dotted key) over a preset.
    Run(&'static [(&'static str, &'static str)]),
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

/// All of them, in the order of the tables.
pub const ALL: &[Method] = &[
    Method { id: "random", name: "random", how: How::Reference(Reference::Random) },
    Method { id: "popularity", name: "popularity", how: How::Reference(Reference::Popularity) },
    Method { id: "logging", name: "logging", how: How::Reference(Reference::Logging) },
    Method { id: "history-greedy", name: "history-greedy", how: How::HistoryGreedy },
    Method {
        id: "hrl-s",
        name: "HRL-S",
        how: How::Run(&[("preset", "'tuned'"), ("model.goal_conditioning", "'state'")]),
    },
    Method { id: "hrl-g", name: "HRL-G", how: How::Run(&[("preset", "'tuned'"), ("model.n_goals", "1")]) },
    Method { id: "mahrl-paper", name: "MaHRL (paper)", how: How::Run(&[("preset", "'paper'")]) },
    Method { id: "mahrl", name: "MaHRL (tuned)", how: How::Run(&[("preset", "'tuned'")]) },
    Method { id: "lookahead", name: "lookahead oracle", how: How::Reference(Reference::Lookahead) },
];

/// The method that the paper is about.
pub const SUBJECT: &str = "mahrl";

impl Method {
    /// The method of an id.
    pub fn find(id: &str) -> Option<&'static Self> {
        ALL.iter().find(|method| method.id == id)
    }

    /// Whether seeds make a difference: a reference has nothing to train.
    pub fn is_trained(&self) -> bool {
        !matches!(self.how, How::Reference(_))
    }

    /// Settings of a training run of it, with further ones on top (TOML values by dotted key); `None` where it is no run.
    ///
    /// # Errors
    /// A key or a value that the configuration refuses.
    pub fn config(&self, further: &[(String, toml::Value)]) -> anyhow::Result<Option<Config>> {
        let How::Run(settings) = self.how else { return Ok(None) };
        let mut flags = Vec::new();
        for (key, value) in settings {
            let parsed: toml::Table = format!("value = {value}").parse()?;
            flags.push((*key, parsed["value"].clone()));
        }
        flags.extend(further.iter().map(|(key, value)| (key.as_str(), value.clone())));
        Ok(Some(Config::load(None, &flags)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_once_and_every_run_has_valid_settings() {
        for method in ALL {
            assert_eq!(ALL.iter().filter(|other| other.id == method.id).count(), 1, "{}", method.id);
            assert_eq!(Method::find(method.id), Some(method));
            assert_eq!(method.config(&[]).unwrap().is_some(), matches!(method.how, How::Run(_)));
        }
        assert!(Method::find(SUBJECT).is_some());
        assert_eq!(Method::find("hrl-g").unwrap().config(&[]).unwrap().unwrap().model.n_goals, 1);
    }
}
