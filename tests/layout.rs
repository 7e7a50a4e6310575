//! How the repository is laid out: top-level folders, lengths of files, links and commands in the docs, variables, CI.

#![allow(clippy::unwrap_used)] // of the helpers; clippy.toml allows it in the tests themselves

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use system_tests::{files_with_extension, ignored_at_root, root};

/// The folders at the top: those of the mission, and what every repository needs beside its code.
const FOLDERS: &[&str] =
    &["proto", "learner", "actor", "replay", "common", "k8s", "tests", "docs", "scripts"];
const DOT_FOLDERS: &[&str] = &[".cargo", ".ci", ".git"];

const MAX_LINES: usize = 400;
/// Longer on purpose, with the reason.
const LONGER: &[(&str, &str)] = &[];

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_top_level_holds_only_the_agreed_folders() {
    let ignored = ignored_at_root();
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !ignored.contains(&name) {
            assert!(
                FOLDERS.contains(&name.as_str()) || DOT_FOLDERS.contains(&name.as_str()),
                "{name}/ at the top is none of {FOLDERS:?}"
            );
        }
    }
    for name in FOLDERS {
        assert!(root().join(name).is_dir(), "{name}/ is missing");
    }
}

#[test]
fn files_are_short_enough_to_proofread() {
    let mut too_long = Vec::new();
    for path in files_with_extension(&["rs", "proto", "sh", "py"]) {
        let name = relative(&path);
        let n_lines = read(&path).lines().count();
        if n_lines > MAX_LINES && LONGER.iter().all(|(listed, _)| *listed != name) {
            too_long.push(format!("{name}: {n_lines} lines"));
        }
    }
    assert!(too_long.is_empty(), "at most {MAX_LINES} lines a file, one concept each: {too_long:#?}");
}

#[test]
fn files_listed_as_longer_still_are() {
    for (name, why) in LONGER {
        let n_lines = read(&root().join(name)).lines().count();
        assert!(n_lines > MAX_LINES, "{name} has only {n_lines} lines now: take it off the list ({why})");
    }
}

/// The targets of `[text](target)` and `![text](target)` outside code, as written.
fn links(markdown: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        // Every second piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect();
        for (at, _) in prose.match_indices("](") {
            if let Some((target, _)) = prose[at + 2..].split_once(')').filter(|_| !in_code) {
                found.push(target.to_owned());
            }
        }
    }
    found
}

#[test]
fn links_are_found_in_prose_and_not_in_code() {
    let markdown = "a [b](c.md#d) and ![e](f.svg), `[g](h)`\n```\n[i](j)\n```\n[`k`](l)";
    assert_eq!(links(markdown), ["c.md#d", "f.svg", "l"]);
}

#[test]
fn relative_links_in_the_docs_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files_with_extension(&["md"]) {
        for link in links(&read(&path)) {
            let target = link.split('#').next().unwrap();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty() && !elsewhere && !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", relative(&path)));
            }
        }
    }
    assert!(broken.is_empty(), "links to files that do not exist: {broken:#?}");
}

/// The words after `make ` in the code of a document, without variables.
fn make_targets(markdown: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut targets = BTreeSet::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        // A whole line in a block, every second piece between backticks elsewhere.
        let pieces: Vec<&str> =
            if in_code { vec![line.trim()] } else { line.split('`').skip(1).step_by(2).collect() };
        for piece in pieces {
            if let Some(("make", rest)) = piece.split_once(' ') {
                let word = rest.split_whitespace().next().unwrap_or_default();
                if word.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                    targets.insert(word.to_owned());
                }
            }
        }
    }
    targets
}

#[test]
fn make_commands_in_the_docs_exist() {
    let makefile = read(&root().join("Makefile"));
    for path in files_with_extension(&["md"]) {
        for target in make_targets(&read(&path)) {
            let exists = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(exists, "{}: `make {target}` is no target of the Makefile", relative(&path));
        }
    }
}

/// Names of variables in a text, `MAHRL_` and more.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.strip_prefix("MAHRL_").is_some_and(|rest| !rest.trim_matches('_').is_empty()))
        .collect()
}

/// The programs warn of variables that nothing reads: of none that our own code and scripts set or ask for.
#[test]
fn variables_of_the_code_and_the_scripts_are_known_to_the_settings() {
    // They name some that are wrong.
    let about_wrong_ones = ["common/src/config/environment.rs", "learner/tests/bad_input.rs"];
    let mut files = files_with_extension(&["rs", "sh", "py", "yaml", "toml"]);
    files.extend(["Makefile", "Dockerfile", ".ci/run"].map(|name| root().join(name)));
    let mut found = BTreeSet::new();
    for path in files {
        if about_wrong_ones.contains(&relative(&path).as_str()) {
            continue;
        }
        for name in variables(&read(&path)) {
            assert!(
                common::config::is_known_variable(name),
                "{}: {name} is not listed in common/src/config",
                relative(&path)
            );
            found.insert(name.to_owned());
        }
    }
    assert!(["MAHRL_CONFIG", "MAHRL_REQUIRE_REDIS"].iter().all(|name| found.contains(*name)), "{found:?}");
}

#[test]
fn ci_is_executable_and_runs_the_test_command_of_the_readme() {
    let ci = root().join(".ci/run");
    assert_ne!(ci.metadata().unwrap().permissions().mode() & 0o111, 0, ".ci/run is not executable");
    assert!(read(&ci).lines().any(|line| line == "make test"));
}
