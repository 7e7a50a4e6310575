//! Arguments that every program has: where its settings come from, and how its logs look.
//!
//! In: `--config FILE`, `--set KEY=VALUE`, `--log FORM`; out: [`Config`] and started logs. In JSON every line says the run,
//! the role and the pod (HOSTNAME), and a failure is a line like any other.

use std::path::PathBuf;

use common::{
    config::{self, Config},
    telemetry,
};

use crate::Error;

/// To be flattened into a program's arguments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Settings {
    /// A TOML file of settings (docs/configuration.md).
    #[arg(long, value_name = "FILE", env = "MAHRL_CONFIG")]
    pub config: Option<PathBuf>,
    /// One more setting, e.g. `cluster.run=mine`; may be repeated. It wins over MAHRL__SECTION__KEY in the environment,
    /// which wins over the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// How log lines look: `pretty` for a terminal, `json` for pods. RUST_LOG sets what is logged.
    #[arg(long, value_name = "FORM", value_enum, default_value_t, env = "MAHRL_LOG")]
    pub log: Log,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Log {
    /// Lines for a terminal.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Log {
    /// Starts the logs of a process of a cluster, at `info` unless RUST_LOG says otherwise. `role` is `replay`, `actor`,
    /// `learner` or `evaluator`.
    pub fn start(self, role: &str, run: &str) {
        self.start_at("info", role, run);
    }

    /// The same at another level.
    pub fn start_at(self, level: &str, role: &str, run: &str) {
        let pod = std::env::var("HOSTNAME").unwrap_or_default();
        let said = [("run", run), ("role", role), ("pod", pod.as_str())];
        let format = match self {
            Self::Pretty => telemetry::Format::Pretty,
            Self::Json => telemetry::Format::Json(&said),
        };
        telemetry::init(format, level);
    }
}

/// Says which variables of the environment look like ours and are read by nothing: they may be misspelt.
pub fn warn_of_unread_variables() {
    for line in config::unread_variables() {
        tracing::warn!("{line}");
    }
}

/// Says why a program fails, with all causes on one line.
pub fn report_failure(error: &anyhow::Error) {
    if telemetry::is_json() {
        tracing::error!(error = format!("{error:#}"), "failed");
    } else {
        eprintln!("error: {error:#}");
    }
}

impl Settings {
    /// Loads the settings and starts the logs.
    pub fn begin(&self, role: &str, flags: &[(&str, toml::Value)]) -> Result<Config, Error> {
        let loaded = self.load(flags);
        self.log.start(role, loaded.as_ref().map_or("", |config| &config.cluster.run));
        warn_of_unread_variables();
        loaded
    }

    /// The settings: file, environment, `--set`, and over them the program's own flags.
    pub fn load(&self, flags: &[(&str, toml::Value)]) -> Result<Config, Error> {
        let set = parse_set(&self.settings)?;
        let mut all: Vec<(&str, toml::Value)> =
            set.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        all.extend_from_slice(flags);
        Ok(Config::load(self.config.as_deref(), &all)?)
    }
}

/// `KEY=VALUE` as dotted settings and TOML values; a bare word is a string: `train.mode=lockstep`.
pub fn parse_set(texts: &[String]) -> Result<Vec<(String, toml::Value)>, Error> {
    let parse = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| Error::Flag(text.clone()))?;
        let value = toml::from_str::<toml::Table>(&format!("v = {value}"))
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| toml::Value::String(value.to_owned()));
        Ok((key.trim().to_owned(), value))
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn load(arguments: &[&str]) -> Result<Config, Error> {
        Program::parse_from(std::iter::once(&"program").chain(arguments)).settings.load(&[])
    }

    #[test]
    fn words_numbers_lists_and_texts_are_set() {
        let config = load(&[
            "--set=cluster.run=mine",
            "--set=seed=3",
            "--set=cluster.shards=[\"a:1\", \"b:2\"]",
            "--set=cluster.insecure=true",
            "--set=cluster.learner=\"c:3\"",
        ])
        .unwrap();
        assert_eq!((config.cluster.run.as_str(), config.seed), ("mine", 3));
        assert_eq!(config.cluster.shards, ["a:1", "b:2"]);
        assert!(config.cluster.insecure);
        assert_eq!(config.cluster.learner, "c:3");
    }

    #[test]
    fn what_is_no_pair_is_refused_with_an_example() {
        let message = load(&["--set", "seed"]).unwrap_err().to_string();
        assert_eq!(message, "`--set seed` is no KEY=VALUE, e.g. `--set algorithm.discount=0.9`");
    }

    #[test]
    fn the_programs_own_flags_win() {
        let settings = Settings { settings: vec!["seed=3".into()], ..Settings::default() };
        assert_eq!(settings.load(&[("seed", 4.into())]).unwrap().seed, 4);
    }

    #[test]
    fn the_form_of_the_logs_is_chosen() {
        assert_eq!(Program::parse_from(["program", "--log", "json"]).settings.log, Log::Json);
        assert!(Program::try_parse_from(["program", "--log", "xml"]).is_err());
    }
}
