//! Which settings the processes of a run must share.

use common::config::Difference;

use crate::Error;

/// Settings that do not change what is learned, or that only the learner acts on.
const MAY_DIFFER: &[&str] = &[
    "actor.weights",
    "actor.max_staleness_seconds",
    "actor.actors",
    "actor.sessions",
    "replay.data_dir",
    "replay.sync",
    "replay.memory_mib",
    "replay.shards",
    "train.device",
    "train.engine",
    "train.learner_threads",
    "train.precision",
    "train.steps",
    "train.evaluate_every",
    "train.evaluation_sessions",
    "train.checkpoint_every",
    "train.keep_checkpoints",
];

/// The first setting, by dotted key, in which two processes differ that may not. In: two settings files' texts.
///
/// Where processes meet (`cluster.*`), how the work is shared out, how long the run is, and when it is evaluated and
/// saved, may differ.
pub fn settings_difference(ours: &str, theirs: &str) -> Result<Option<Difference>, Error> {
    let may_differ = |key: &str| key.starts_with("cluster.") || MAY_DIFFER.contains(&key);
    Ok(common::config::difference(ours, theirs, may_differ)?)
}

#[cfg(test)]
mod tests {
    use common::config::{Config, dotted};

    use super::*;

    fn differ(change: impl Fn(&mut Config)) -> Option<Difference> {
        let mut theirs = Config::default();
        change(&mut theirs);
        settings_difference(&Config::default().to_toml(), &theirs.to_toml()).unwrap()
    }

    #[test]
    fn an_actor_may_differ_in_what_is_not_learned_from() {
        assert_eq!(differ(|_| {}), None);
        let there_only = differ(|config| {
            config.cluster.redis = "redis://elsewhere".into();
            config.cluster.tls.ca = "ca.pem".into();
            (config.actor.actors, config.actor.sessions) = (7, 9);
            config.replay.data_dir = "somewhere".into();
            (config.train.steps, config.train.checkpoint_every) = (5, 5);
            config.train.device = "cuda:1".into();
        });
        assert_eq!(there_only, None);
    }

    #[test]
    fn what_is_learned_from_must_be_the_same_and_the_first_difference_is_named() {
        let first = differ(|config| {
            config.seed += 1;
            config.model.window = 99;
            config.algorithm.discount = 0.25;
        });
        let discount = Config::default().algorithm.discount.to_string();
        let expected = Difference { key: "algorithm.discount".into(), ours: discount, theirs: "0.25".into() };
        assert_eq!(first, Some(expected));
        assert_eq!(differ(|config| config.seed += 1).map(|d| d.key), Some("seed".into()));
    }

    #[test]
    fn the_settings_that_may_differ_exist() {
        let known = dotted(&Config::default().to_toml()).unwrap();
        for key in MAY_DIFFER {
            assert!(known.contains_key(*key), "{key}");
        }
    }

    #[test]
    fn a_setting_of_another_version_is_a_difference() {
        let ours = Config::default().to_toml();
        let theirs = format!("magic = 1\n{ours}");
        let found = settings_difference(&ours, &theirs).unwrap().unwrap();
        assert_eq!((found.key.as_str(), found.ours.as_str()), ("magic", "absent"));
        assert!(matches!(settings_difference(&ours, "= 3"), Err(Error::Settings(_))));
    }
}
