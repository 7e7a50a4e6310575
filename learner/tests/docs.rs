//! docs/configuration.md and docs/metrics.md say what the program does: no setting, field or default is missing, extra
//! or different. `UPDATE_DOCS=1` rewrites the columns of defaults; meanings are written by hand.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use common::config::{Config, Preset};
use learner::evaluation::{
    Anchors, Comparison, Estimate, EvaluationResult, EvaluationSettings, Users, comparison::Row,
};
use prost::Message;
use serde_json::Value;
use support::Runs;

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Cells of a line of a table; `None` for other lines. `\|` is no border.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\u{1}");
    Some(inner.split('|').map(|cell| cell.trim().replace('\u{1}', "\\|")).collect())
}

/// The code in the first cells of the tables under a heading, down to the next heading.
fn documented(text: &str, heading: &str) -> BTreeSet<String> {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "no heading `{heading}`");
    let rows = lines.take_while(|line| !line.starts_with('#')).filter_map(cells);
    let names: Vec<String> =
        rows.filter_map(|row| Some(row[0].strip_prefix('`')?.strip_suffix('`')?.to_owned())).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(names.len(), unique.len(), "a row is there twice under `{heading}`");
    unique
}

fn assert_same(heading: &str, documented: &BTreeSet<String>, found: &BTreeSet<String>) {
    let missing: Vec<_> = found.difference(documented).collect();
    let extra: Vec<_> = documented.difference(found).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "`{heading}`: not explained: {missing:?}; no longer there: {extra:?}"
    );
}

// Settings.

/// Dotted keys and values, a batch being one setting.
fn settings(preset: Preset) -> BTreeMap<String, String> {
    fn flatten(prefix: &str, table: &toml::Table, settings: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(inner) if !key.ends_with(".batch") => flatten(&key, inner, settings),
                toml::Value::Table(inner) => {
                    let parts: Vec<String> = inner.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                    settings.insert(key, format!("{{ {} }}", parts.join(", ")));
                }
                plain => {
                    settings.insert(key, plain.to_string());
                }
            }
        }
    }
    let table: toml::Table = toml::from_str(&Config::preset(preset).to_toml()).unwrap();
    let mut settings = BTreeMap::new();
    flatten("", &table, &mut settings);
    settings
}

/// Columns of the tables of settings.
const HEADER: [&str; 8] = ["key", "type", "range", "`paper`", "`tuned`", "`best`", "meaning", "source"];

/// The presets that have a column of their own, from the fourth on.
const COLUMNS: [Preset; 3] = [Preset::Paper, Preset::Tuned, Preset::Best];

#[test]
fn every_setting_is_explained_with_its_defaults() {
    let path = page("configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let presets = COLUMNS.map(settings);
    let mut explained = BTreeSet::new();
    let mut is_settings = false;
    let mut updated = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        match cells(&line) {
            Some(row) if row == HEADER => is_settings = true,
            Some(mut row) if is_settings && row[0].starts_with('`') => {
                let key = row[0].trim_matches('`').to_owned();
                assert!(explained.insert(key.clone()), "`{key}` is there twice");
                assert_eq!(row.len(), HEADER.len(), "cells of `{key}`");
                assert!([1, 6, 7].iter().all(|&at| !row[at].is_empty()), "`{key}` lacks words");
                for (at, settings) in presets.iter().enumerate() {
                    if let Some(value) = settings.get(&key) {
                        row[3 + at] = format!("`{value}`");
                    }
                }
                line = format!("| {} |", row.join(" | ")).replace("|  |", "| |");
            }
            Some(_) => {}
            None => is_settings = false,
        }
        updated += &line;
        updated.push('\n');
    }
    assert_same("configuration.md", &explained, &presets[0].keys().cloned().collect());
    if updated != text {
        let differing = text.lines().zip(updated.lines()).find(|(old, new)| old != new).unwrap_or_default();
        if std::env::var_os("UPDATE_DOCS").is_none() {
            let (old, new) = differing;
            panic!(
                "docs/configuration.md says\n{old}\nbut the presets are\n{new}\n(UPDATE_DOCS=1 rewrites it)"
            );
        }
        fs::write(&path, updated).unwrap();
    }
}

#[test]
fn every_preset_is_explained_by_what_it_changes() {
    let text = fs::read_to_string(page("configuration.md")).unwrap();
    let tuned = settings(Preset::Tuned);
    let mut lines = text.lines().skip_while(|line| *line != "## Presets").skip(1);
    let rows: BTreeMap<String, String> = lines
        .by_ref()
        .take_while(|line| !line.starts_with('#'))
        .filter_map(cells)
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    for preset in Preset::ALL {
        let said = rows.get(preset.name()).unwrap_or_else(|| panic!("no row of `{}`", preset.name()));
        if COLUMNS.contains(&preset) {
            continue;
        }
        let differing = settings(preset).into_iter().filter(|(key, value)| tuned.get(key) != Some(value));
        let expected: Vec<String> = differing
            .filter(|(key, _)| key != "preset")
            .map(|(key, value)| format!("`{key} = {value}`"))
            .collect();
        assert_eq!(*said, expected.join(", "), "configuration.md, row `{}`", preset.name());
    }
}

#[test]
fn every_setting_can_be_given_by_the_environment() {
    // One of each type, through the program itself: what docs/configuration.md promises of names and values.
    let runs = Runs::new();
    let output = support::program(&["--run-dir", "run", "--config", "config.toml", "--set", "train.steps=0"])
        .current_dir(runs.path("."))
        .env("MAHRL__ALGORITHM__LEARNING_RATE_LOW__ACTOR", "3")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("algorithm.learning_rate_low.actor") && said.contains('3'), "{said}");
    let output = support::program(&["--run-dir", "run", "--config", "config.toml"])
        .current_dir(runs.path("."))
        .env("MAHRL__REPLAY__LOW__BATCH", "{rows=0}")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("replay.low.batch"), "{said}");
}

// Metrics.

/// Names of the fields of an object as docs/metrics.md writes them; estimates are one field.
fn fields(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if object.keys().eq(["high", "low", "value"]) => {
            found.insert(prefix.to_owned());
        }
        Value::Object(object) => {
            for (key, value) in object {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                fields(&name, value, found);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| fields(&format!("{prefix}[]"), value, found)),
        _ => {
            found.insert(prefix.to_owned());
        }
    }
}

/// Fields of all lines of a file of which `keep` is true.
fn fields_of(path: &Path, keep: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(keep) {
        fields("", &line, &mut found);
    }
    assert!(!found.is_empty(), "{} holds none", path.display());
    found
}

/// `tensorflow.Event`, what holds tags.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
}

/// Tags of all event files of a folder, the number of a head replaced by `HEAD`.
fn tags(folder: &Path) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let mut rest = &bytes[..];
        // length u64 | crc u32 | event | crc u32
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let event = Event::decode(&rest[12..12 + length]).unwrap();
            tags.extend(event.summary.into_iter().flat_map(|summary| summary.value).map(|scalar| {
                let is_head = |last: &str| last.parse::<u32>().is_ok();
                match scalar.tag.rsplit_once('/') {
                    Some((name, last)) if is_head(last) => format!("{name}/HEAD"),
                    _ => scalar.tag.clone(),
                }
            }));
            rest = &rest[16 + length..];
        }
    }
    tags
}

#[test]
fn every_field_and_tag_of_a_run_is_explained() {
    let runs = Runs::new();
    runs.begin("run", &[]).succeed();
    let text = fs::read_to_string(page("metrics.md")).unwrap();
    let kind = |kind: &'static str| move |record: &Value| record["kind"] == kind;
    let run = runs.path("run");
    let metrics = run.join("metrics.jsonl");
    for (heading, found) in [
        ("### Lines of kind `train`", fields_of(&metrics, kind("train"))),
        ("### Lines of kind `evaluation`", fields_of(&metrics, kind("evaluation"))),
        ("## timing.jsonl", fields_of(&run.join("timing.jsonl"), |_| true)),
        ("## TensorBoard", tags(&run.join("events"))),
    ] {
        assert_same(heading, &documented(&text, heading), &found);
    }
    // The report of such a run, on the way.
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("</html>"));
}

#[test]
fn every_field_of_the_final_table_is_explained() {
    let estimate = Estimate { value: 0.0, low: 0.0, high: 0.0 };
    let result = EvaluationResult {
        name: "random".to_owned(),
        total: estimate,
        click: estimate,
        order: estimate,
        expected: Some(estimate),
        expected_order: Some(estimate),
        ctr: estimate,
        cvr: estimate,
        length: 0.0,
        left: 0.0,
        coverage: 0.0,
        cumulative_order: vec![0.0],
        cumulative_total: vec![0.0],
        // Left out of evaluation.json.
        sessions: Vec::new(),
    };
    let comparison = Comparison {
        environment: "shopworld".to_owned(),
        settings: EvaluationSettings {
            users: Users::Test,
            sessions: 2,
            length: 1,
            seed: 0,
            slots: 1,
            threads: 1,
        },
        anchors: Anchors {
            baseline: Some("random".to_owned()),
            scale: Some(("random".to_owned(), "random".to_owned())),
            subject: Some("random".to_owned()),
        },
        rows: vec![Row {
            result,
            difference: Some(estimate),
            normalised: Some(estimate),
            lead: Some(estimate),
            lead_p: Some(0.0),
        }],
        caveats: vec!["a caveat".to_owned()],
    };
    let mut found = BTreeSet::new();
    fields("", &serde_json::from_str(&comparison.to_json()).unwrap(), &mut found);
    let text = fs::read_to_string(page("metrics.md")).unwrap();
    assert_same("## evaluation.json", &documented(&text, "## evaluation.json"), &found);
}
