//! How a run differs from the paper's settings, and how to repeat it.

use common::config::{Config, Mode, Preset};

use super::html::{code, paragraph, table_of_words};
use crate::run_dir::RunDir;

/// Dotted keys and values in the order of the file.
pub(super) fn flat(config: &Config) -> Vec<(String, String)> {
    let table: toml::Table = toml::from_str(&config.to_toml()).expect("a written configuration parses");
    let mut settings = Vec::new();
    flatten("", &table, &mut settings);
    settings
}

fn flatten(prefix: &str, table: &toml::Table, settings: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            // A batch is one setting: rows or a share.
            toml::Value::Table(inner) if key.ends_with(".batch") => {
                let parts: Vec<String> = inner.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                settings.push((key, format!("{{ {} }}", parts.join(", "))));
            }
            toml::Value::Table(inner) => flatten(&key, inner, settings),
            plain => settings.push((key, plain.to_string())),
        }
    }
}

/// What is not as in the preset `paper`.
pub(super) fn differences(config: &Config) -> String {
    let paper = flat(&Config::preset(Preset::Paper));
    let value_in_paper = |key: &str| paper.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone());
    let rows: Vec<Vec<String>> = flat(config)
        .into_iter()
        .filter(|(key, _)| key != "preset")
        .filter_map(|(key, value)| {
            let there = value_in_paper(&key).unwrap_or_else(|| "none".to_owned());
            (there != value).then(|| vec![key, value, there])
        })
        .collect();
    if rows.is_empty() {
        return paragraph("Every setting is as in the preset paper.");
    }
    paragraph("Settings that differ from the preset paper, which takes every value literally.")
        + &table_of_words(&["setting", "this run", "paper"], &rows)
}

/// The commands that repeat a run and look at it again.
pub(super) fn reproduction(run_dir: &RunDir, config: &Config) -> String {
    let commands = [
        format!(
            "learner train --config {} --run-dir runs/again",
            quoted(&run_dir.config_path().to_string_lossy())
        ),
        format!("learner evaluate {}", quoted(&run_dir.path().to_string_lossy())),
        format!("tensorboard --logdir {}", quoted(&run_dir.events_path().to_string_lossy())),
    ];
    let promise = match config.train.mode {
        Mode::Lockstep => {
            "In mode lockstep the same settings on the same kind of machine give the same metrics.jsonl and the same \
             checkpoints, byte for byte."
        }
        Mode::Async => {
            "In mode async the threads' timing enters the result: a repetition agrees within noise, not bit by bit. \
             Mode lockstep is exact."
        }
    };
    code(&commands.join("\n")) + &paragraph(promise)
}

/// A path as a shell reads it back.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_paper_is_listed() {
        let paper = Config::preset(Preset::Paper);
        assert!(differences(&paper).contains("Every setting"));
        let mut config = paper;
        config.algorithm.discount = 0.5;
        let html = differences(&config);
        assert!(html.contains("<td>algorithm.discount</td><td>0.5</td><td>0.95</td>"), "{html}");
        assert_eq!(html.matches("<tr>").count(), 2, "{html}");
    }

    #[test]
    fn batches_are_one_setting_and_paths_are_quoted() {
        let settings = flat(&Config::preset(Preset::Paper));
        assert!(settings.contains(&("replay.low.batch".to_owned(), "{ share = 0.1 }".to_owned())));
        assert_eq!([quoted("runs/a-1"), quoted("my run")], ["runs/a-1", "'my run'"]);
    }
}
