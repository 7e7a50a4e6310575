//! Variables of the environment whose names begin with `MAHRL_`: settings, what programs and tests read besides, and what nothing
//! reads.
//!
//! In: names; out: an error where a setting was meant, a line for a warning where it is not clear what was.

use std::ffi::OsStr;

use super::{
    Config, Error, dotted,
    error::{did_you_mean, nearest_setting},
};

/// What the names of settings begin with. All behind it is a setting, or an error of its source.
pub(super) const PREFIX: &str = "MAHRL__";
/// What the names of all our variables begin with.
const OURS: &str = "MAHRL_";

/// Read by the programs, their builds and their tests, and no settings.
const OTHERS: &[&str] = &[
    "MAHRL_ACTOR",
    "MAHRL_CHILD_WRITER",
    "MAHRL_COMMIT",
    "MAHRL_CONFIG",
    "MAHRL_FAULT_ROUNDS",
    "MAHRL_FAULT_SEED",
    "MAHRL_FUZZ_MINUTES",
    "MAHRL_FUZZ_SEED",
    "MAHRL_HEALTH_LISTEN",
    INSTRUCTIONS,
    "MAHRL_LOG",
    "MAHRL_ORACLE_DIR",
    "MAHRL_PARENT",
    "MAHRL_PUBLISHED_LOGS",
    "MAHRL_PYTHON_TORCH",
    "MAHRL_REQUIRE_NUMPY",
    "MAHRL_REQUIRE_PYPI",
    "MAHRL_REQUIRE_REDIS",
    "MAHRL_SHARD",
    "MAHRL_SOAK_MINUTES",
    "MAHRL_VERSION",
];

/// The most that kernels may use of this CPU.
const INSTRUCTIONS: &str = "MAHRL_INSTRUCTIONS";
/// What it may be.
const LEVELS: [&str; 3] = ["portable", "avx2", "avx512"];

/// Refuses instructions that no kernels are written in.
pub(super) fn check_instructions() -> Result<(), Error> {
    check_level(std::env::var_os(INSTRUCTIONS).as_deref())
}

fn check_level(value: Option<&OsStr>) -> Result<(), Error> {
    match value {
        Some(value) if !LEVELS.iter().any(|level| value == *level) => Err(Error::Range {
            key: INSTRUCTIONS,
            value: value.display().to_string(),
            expected: format!("one of {}", LEVELS.join(", ")),
        }),
        _ => Ok(()),
    }
}

/// The names in this process's environment.
pub(super) fn names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// Refuses a name that is a setting's but for its underscores.
pub(super) fn check(mut names: impl Iterator<Item = String>) -> Result<(), Error> {
    let wrong =
        names.find_map(|name| meant(&name).map(|nearest| Error::Variable { variable: name, nearest }));
    wrong.map_or(Ok(()), Err)
}

/// The variable of a setting that differs in its underscores only.
fn meant(name: &str) -> Option<String> {
    if is_known_variable(name) {
        return None;
    }
    let single = |name: &str| name.to_ascii_uppercase().replace("__", "_");
    let is_meant = |variable: &String| single(variable) == single(name);
    settings().into_iter().map(|key| variable(&key)).find(is_meant)
}

/// A line on each variable of this process's environment that looks like one of ours and that nothing reads; settings are read,
/// and refused, by [`Config::load`].
pub fn unread_variables() -> Vec<String> {
    unread_of(names())
}

fn unread_of(names: impl Iterator<Item = String>) -> Vec<String> {
    names
        .filter(|name| !is_known_variable(name) && meant(name).is_none())
        .map(|name| unread_line(&name))
        .collect()
}

fn unread_line(name: &str) -> String {
    let nearest = nearest_setting(&name[OURS.len()..].to_ascii_lowercase()).map(|key| variable(&key));
    format!("`{name}` in the environment is read by nothing{}", did_you_mean(nearest.as_deref()))
}

/// Whether something reads a variable, or it is none of ours: by its name, or as what Kubernetes sets for a service that is called
/// `mahrl-...`.
pub fn is_known_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    !upper.starts_with(OURS) || upper.starts_with(PREFIX) || OTHERS.contains(&name) || is_service_link(&upper)
}

/// `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT[_PORTNAME]`, `NAME_PORT`, `NAME_PORT_7400_TCP[_ADDR]`.
fn is_service_link(name: &str) -> bool {
    let is_numbered = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(is_numbered)
}

/// The variable of a dotted key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The dotted keys of all settings.
pub(super) fn settings() -> Vec<String> {
    let all = dotted(&Config::default().to_toml()).expect("what is written can be read");
    // A batch is a table with one of two keys.
    all.into_keys().map(|key| key.trim_end_matches(".rows").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str) -> Result<(), String> {
        check([name.to_owned()].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_with_other_underscores_is_refused_with_the_right_name() {
        for (name, meant) in [
            ("MAHRL_TRAIN_STEPS", "MAHRL__TRAIN__STEPS"),
            ("MAHRL_TRAIN__STEPS", "MAHRL__TRAIN__STEPS"),
            ("mahrl_train_steps", "MAHRL__TRAIN__STEPS"),
            ("MAHRL_SEED", "MAHRL__SEED"),
            ("MAHRL_REPLAY_LOW_BATCH", "MAHRL__REPLAY__LOW__BATCH"),
        ] {
            let expected = format!("`{name}` in the environment names no setting; did you mean `{meant}`?");
            assert_eq!(checked(name), Err(expected));
        }
        for key in settings() {
            let variable = variable(&key);
            assert_eq!(checked(&variable), Ok(()));
            assert!(checked(&variable.replace("__", "_")).is_err(), "{variable} is some other thing's, too");
        }
    }

    #[test]
    fn what_nothing_reads_is_told_with_what_may_have_been_meant() {
        for (name, line) in [
            ("MAHRL_TRAIN_STEPZ", "is read by nothing; did you mean `MAHRL__TRAIN__STEPS`?"),
            ("MAHRL_BANANA", "is read by nothing"),
        ] {
            assert_eq!((is_known_variable(name), checked(name)), (false, Ok(())));
            let told = unread_of([name.to_owned()].into_iter());
            assert_eq!(told, [format!("`{name}` in the environment {line}")]);
        }
        // It is an error.
        assert!(unread_of(["MAHRL_TRAIN_STEPS".to_owned()].into_iter()).is_empty());
        for name in ["PATH", "MAHRLX", "MAHRL_LOG", "MAHRL_REQUIRE_REDIS", "MAHRL__TRAIN__STEPS"] {
            assert!(is_known_variable(name) && checked(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn instructions_are_those_of_kernels() {
        let check = |value: &str| check_level(Some(OsStr::new(value))).map_err(|error| error.to_string());
        assert!(LEVELS.into_iter().all(|level| check(level).is_ok()) && check_level(None).is_ok());
        let expected = "setting `MAHRL_INSTRUCTIONS` is avx3, expected one of portable, avx2, avx512";
        assert_eq!(check("avx3"), Err(expected.into()));
    }

    #[test]
    fn what_kubernetes_says_of_services_is_no_matter() {
        for name in [
            "MAHRL_PORT",
            "MAHRL_SERVICE_HOST",
            "MAHRL_REPLAY_SERVICE_HOST",
            "MAHRL_REPLAY_SERVICE_PORT",
            "MAHRL_REPLAY_SERVICE_PORT_GRPC",
            "MAHRL_LEARNER_PORT",
            "MAHRL_LEARNER_PORT_7400_TCP",
            "MAHRL_LEARNER_PORT_7400_TCP_PROTO",
            "MAHRL_LEARNER_PORT_7400_TCP_PORT",
            "MAHRL_LEARNER_PORT_7400_TCP_ADDR",
        ] {
            assert!(is_known_variable(name) && checked(name).is_ok(), "{name}");
        }
        assert!(!is_known_variable("MAHRL_PORTS") && !is_known_variable("MAHRL_PORT_NAME"));
    }
}
