//! Which crate may use which. In: `cargo metadata` of this checkout, the manifests, ARCHITECTURE.md.

#![allow(clippy::unwrap_used)] // of the helpers; clippy.toml allows it in the tests themselves

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use system_tests::root;

/// The arrows that may exist: (crate, folder, crates of this workspace it may use).
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("proto", "proto", &[]),
    ("common", "common", &[]),
    ("kernels", "common/kernels", &[]),
    ("sim", "common/sim", &["common", "kernels"]),
    ("agent", "common/agent", &["common", "kernels"]),
    ("logs", "common/logs", &["common"]),
    ("node", "common/node", &["common", "proto"]),
    ("control", "common/control", &["common"]),
    ("replay", "replay", &["common", "proto", "node", "control"]),
    ("actor", "actor", &["sim", "agent", "replay", "common", "proto", "node", "control"]),
    (
        "learner",
        "learner",
        &["actor", "agent", "common", "control", "kernels", "logs", "node", "proto", "replay", "sim"],
    ),
    (
        "system-tests",
        "tests",
        &[
            "actor", "agent", "common", "control", "kernels", "learner", "logs", "node", "proto", "replay",
            "sim",
        ],
    ),
];

/// The crates that may link libtorch.
const WITH_LIBTORCH: &[&str] = &["learner"];

/// Third-party crates that only some of ours may name, with the reason.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("tch", &["learner"], "an actor or a replay shard never ships libtorch"),
    ("bincode", &["common"], "one file reads and writes records, with a length limit"),
    ("faer", &["logs"], "only item embeddings need an SVD"),
    ("arrow-array", &["logs"], "only logs are columnar"),
    ("arrow-cast", &["logs"], "only logs are columnar"),
    ("arrow-schema", &["logs"], "only logs are columnar"),
    ("parquet", &["logs"], "only logs are columnar"),
    ("redis", &["control"], "one crate knows where the cluster's state is kept"),
];

/// A package of the resolved graph.
struct Package {
    name: String,
    /// Ids it needs to be built and run (normal and build dependencies).
    needs: Vec<String>,
    /// Ids it needs for its tests, too.
    needs_with_tests: Vec<String>,
}

/// The resolved graph for the platform of CI: packages by id, and the ids of ours.
struct Graph {
    packages: BTreeMap<String, Package>,
    ours: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, not {value}")).to_owned()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected an array, not {value}"))
}

/// `--offline --locked`: the tests read what was built, they resolve nothing anew.
fn graph() -> Graph {
    graph_with(&[])
}

/// The same with flags for cargo.
fn graph_with(flags: &[&str]) -> Graph {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .args(flags)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeMap<String, String> =
        array(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let packages = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let id = text(&node["id"]);
            let of_kinds = |wanted: &dyn Fn(&Value) -> bool| {
                array(&node["deps"])
                    .iter()
                    .filter(|dep| array(&dep["dep_kinds"]).iter().any(|kind| wanted(&kind["kind"])))
                    .map(|dep| text(&dep["pkg"]))
                    .collect()
            };
            let package = Package {
                name: names[&id].clone(),
                needs: of_kinds(&|kind| kind != "dev"),
                needs_with_tests: of_kinds(&|_| true),
            };
            (id, package)
        })
        .collect();
    Graph { packages, ours: array(&metadata["workspace_members"]).iter().map(text).collect() }
}

impl Graph {
    /// A path `crate -> ... -> target` over normal and build dependencies, if there is one.
    fn path_to(&self, start: &str, target: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([start.to_owned()]);
        let mut paths = vec![vec![start.to_owned()]];
        while let Some(path) = paths.pop() {
            let last = &self.packages[path.last()?];
            if last.name == target {
                return Some(path.iter().map(|id| self.packages[id].name.clone()).collect());
            }
            for next in &last.needs {
                if seen.insert(next.clone()) {
                    paths.push([path.clone(), vec![next.clone()]].concat());
                }
            }
        }
        None
    }
}

fn manifest(folder: &str) -> toml::Table {
    let path: PathBuf = root().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_table_of_arrows_names_every_crate_of_the_workspace() {
    let graph = graph();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, ..)| *name).collect();
    let actual: BTreeSet<&str> = graph.ours.iter().map(|id| graph.packages[id].name.as_str()).collect();
    assert_eq!(actual, listed);
    for (name, folder, _) in ARROWS {
        assert_eq!(manifest(folder)["package"]["name"].as_str(), Some(*name), "{folder}/Cargo.toml");
    }
}

#[test]
fn crates_use_only_what_the_arrows_allow() {
    let graph = graph();
    let ours: BTreeSet<&str> = graph.ours.iter().map(|id| graph.packages[id].name.as_str()).collect();
    for id in &graph.ours {
        let package = &graph.packages[id];
        let (.., allowed) = ARROWS.iter().find(|(name, ..)| *name == package.name).unwrap();
        for used in &package.needs_with_tests {
            let used = graph.packages[used].name.as_str();
            assert!(
                !ours.contains(used) || allowed.contains(&used),
                "{} uses {used}, but may only use {allowed:?}; see design in ARCHITECTURE.md",
                package.name
            );
        }
    }
}

#[test]
fn the_arrows_have_no_cycle() {
    let mut rank = BTreeMap::new();
    while rank.len() < ARROWS.len() {
        let before = rank.len();
        for (name, _, uses) in ARROWS {
            if !rank.contains_key(name) && uses.iter().all(|used| rank.contains_key(used)) {
                rank.insert(*name, rank.len());
            }
        }
        assert!(rank.len() > before, "a cycle among those not in {:?}", rank.keys());
    }
}

#[test]
fn the_code_map_says_the_same_as_the_arrows() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, folder, allowed) in ARROWS {
        let row = map
            .lines()
            .find(|line| line.starts_with(&format!("| `{folder}/` |")))
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {folder}/"));
        let uses = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        if ["any", "all of them"].contains(&uses) {
            continue;
        }
        let written: BTreeSet<&str> = uses.split(", ").filter(|used| !used.is_empty()).collect();
        assert_eq!(written, allowed.iter().copied().collect(), "the column `uses` of {name}");
    }
}

#[test]
fn libtorch_is_reached_by_the_learner_only() {
    let graph = graph();
    for id in &graph.ours {
        for torch in ["tch", "torch-sys"] {
            let name = graph.packages[id].name.as_str();
            if !WITH_LIBTORCH.contains(&name) {
                assert_eq!(graph.path_to(id, torch), None, "{name} must build without libtorch");
            }
        }
    }
    let path = |graph: &Graph| {
        let learner = graph.ours.iter().find(|id| graph.packages[*id].name == "learner").unwrap();
        graph.path_to(learner, "torch-sys").is_some()
    };
    assert!(path(&graph), "this test would not see libtorch where it is");
    assert!(!path(&graph_with(&["--no-default-features"])), "the native engine must build without libtorch");
}

#[test]
fn reserved_crates_are_named_only_by_their_owners() {
    let graph = graph();
    for id in &graph.ours {
        let package = &graph.packages[id];
        let used: Vec<&str> = package.needs.iter().map(|id| graph.packages[id].name.as_str()).collect();
        for (reserved, owners, why) in RESERVED {
            assert!(
                !used.contains(reserved) || owners.contains(&package.name.as_str()),
                "{} uses {reserved}, which is for {owners:?} only: {why}",
                package.name
            );
        }
    }
}

#[test]
fn versions_and_lints_come_from_the_workspace() {
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|v| v.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    for (_, folder, _) in ARROWS {
        let manifest = manifest(folder);
        assert!(
            manifest.get("lints").is_some_and(|lints| inherits(Some(lints))),
            "{folder}/Cargo.toml lacks [lints] workspace = true"
        );
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(
                inherits(manifest["package"].get(key)),
                "{folder}/Cargo.toml: write {key}.workspace = true"
            );
        }
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, spec) in manifest.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                assert!(
                    inherits(Some(spec)),
                    "{folder}/Cargo.toml: write {name}.workspace = true in [{kind}]"
                );
            }
        }
    }
}

#[test]
fn the_version_table_lists_what_is_used_and_nothing_else() {
    let used: BTreeSet<String> = ARROWS
        .iter()
        .flat_map(|(_, folder, _)| {
            let manifest = manifest(folder);
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .flat_map(|kind| {
                    manifest.get(kind).and_then(toml::Value::as_table).cloned().unwrap_or_default()
                })
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        })
        .collect();
    let table = manifest("")["workspace"]["dependencies"].as_table().unwrap().clone();
    let listed: BTreeSet<String> = table.into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, used, "left: the table of the root Cargo.toml; right: what the crates name");
}

/// A crate is named by its code, not only by its manifest. Some are used through others' macros.
#[test]
fn crates_name_what_they_depend_on() {
    const BY_MACROS: &[&str] = &["prost", "prost-types", "tonic", "tonic-prost"];
    for (_, folder, _) in ARROWS {
        let code: String = system_tests::files_with_extension(&["rs"])
            .iter()
            .filter(|path| path.starts_with(root().join(folder)))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let manifest = manifest(folder);
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in manifest.get(kind).and_then(toml::Value::as_table).into_iter().flat_map(|t| t.keys())
            {
                let used = code.contains(&format!("{}::", name.replace('-', "_")));
                assert!(
                    used || BY_MACROS.contains(&name.as_str()),
                    "{folder}/Cargo.toml: {name} is not used"
                );
            }
        }
    }
}
