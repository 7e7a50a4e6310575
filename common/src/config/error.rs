//! What is wrong with settings. In: errors of the sources; out: one line that names the setting, what it is set to and where, what
//! it may be, and the nearest of that.

use std::path::PathBuf;

use figment::error::{Kind, OneOf};

use super::environment::{self, PREFIX};

/// What errors call the place of a variable.
const ENVIRONMENT: &str = "the environment";

/// A configuration that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read the settings {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The sources do not parse: wrong type, unknown key.
    #[error("{}", said(.0))]
    Parse(Box<figment::Error>),
    /// Settings that a run or another process stated do not parse.
    #[error("damaged settings")]
    Stored(#[source] Box<toml::de::Error>),
    /// A variable of the environment that is no setting, but means to be one.
    #[error("{}", no_setting(.variable, ENVIRONMENT, Some(.nearest)))]
    Variable {
        /// Its name.
        variable: String,
        /// The name it should have.
        nearest: String,
    },
    /// A value outside its range.
    #[error("setting `{key}` is {value}, expected {expected}")]
    Range {
        /// Dotted key.
        key: &'static str,
        /// What it is set to.
        value: String,
        /// What it may be.
        expected: String,
    },
}

/// What the sources' error says, on one line.
fn said(error: &figment::Error) -> String {
    let metadata = error.metadata.as_ref();
    let is_variable = metadata.is_some_and(|metadata| metadata.name.contains(PREFIX));
    let place = metadata.map_or(String::new(), |metadata| match &metadata.source {
        _ if is_variable => ENVIRONMENT.to_owned(),
        Some(source) => source.to_string(),
        None => metadata.name.to_string(),
    });
    let key = error.path.join(".");
    let name = |key: &str| if is_variable { environment::variable(key) } else { key.to_owned() };
    match &error.kind {
        Kind::UnknownField(_, fields) => match nearest_setting(&key) {
            Some(nearest) => no_setting(&name(&key), &place, Some(&name(&nearest))),
            None => format!("{}: expected {}", no_setting(&name(&key), &place, None), OneOf(fields)),
        },
        Kind::UnknownVariant(given, allowed) => {
            let nearest = nearest(given, allowed.iter().copied());
            format!(
                "setting `{}` in {place} is `{given}`, expected {}{}",
                name(&key),
                OneOf(allowed),
                did_you_mean(nearest)
            )
        }
        kind if key.is_empty() => format!("{} in {place}", one_line(&kind.to_string())),
        kind => format!("setting `{}` in {place}: {}", name(&key), one_line(&kind.to_string())),
    }
}

/// A text without the picture of a TOML line.
fn one_line(text: &str) -> String {
    let is_picture =
        |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let lines: Vec<&str> = text.lines().filter(|line| !is_picture(line)).map(str::trim).collect();
    lines.join(" ")
}

fn no_setting(name: &str, place: &str, nearest: Option<&str>) -> String {
    format!("`{name}` in {place} names no setting{}", did_you_mean(nearest))
}

/// The end of a sentence, where there is something near.
pub(super) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// The setting that was meant by a dotted key: the only one with its last part, or one that is written much like it.
pub(super) fn nearest_setting(key: &str) -> Option<String> {
    let settings = environment::settings();
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let mut namesakes = settings.iter().filter(|setting| last(setting) == last(key));
    match (namesakes.next(), namesakes.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => nearest(key, settings.iter().map(String::as_str)).map(str::to_owned),
    }
}

/// The candidate that differs least from what was written, at most in a quarter of its letters.
fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::osa_distance(written, candidate), candidate))
        .filter(|(distance, candidate)| 4 * distance <= candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_what_was_meant_and_nothing_where_nothing_is_near() {
        for (written, meant) in [
            ("train.stepz", Some("train.steps")),
            ("train_steps", Some("train.steps")),
            ("replay.low.btach", Some("replay.low.batch")),
            ("sed", Some("seed")),
            // In another section.
            ("steps", Some("train.steps")),
            ("algorithm.steps", Some("train.steps")),
            // There are two of that name.
            ("train.critic", None),
            ("replay.lo.batch", Some("replay.low.batch")),
            ("train.banana", None),
        ] {
            assert_eq!(nearest_setting(written).as_deref(), meant, "{written}");
        }
        assert_eq!(nearest("asinc", ["lockstep", "async"].into_iter()), Some("async"));
        assert_eq!(nearest("magic", ["paper", "tuned", "best"].into_iter()), None);
    }
}
