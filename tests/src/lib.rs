//! What the tests of the whole share: where the repository is and which files are its own; real processes and what they
//! must not lose.
//!
//! The tests lie beside `Cargo.toml`: `architecture.rs` (which crate may use which), `layout.rs` (folders, file lengths,
//! links and commands in the docs), `setup.rs` (what `make setup` says on a machine that is not ready), `faults/`
//! (kill -9 and worse, docs/faults.md says which test covers what).
//! `fixtures/oracle` holds the cases that the tests of `agent` and `learner` reproduce.
//!
//! | module | what it holds |
//! |---|---|
//! | [`process`] | a program that can be killed, stopped and started again |
//! | [`redis`] | a `redis-server` |
//! | [`cluster`] | shards, actors, learners with tiny settings |
//! | [`identity`] | sessions in which everything follows from names |
//! | [`ledger`] | what synthetic writers tried and what was acknowledged |
//! | [`writers`] | those writers, in threads and in a process |
//! | [`client`] | the learner's side of the replay |
//! | [`checker`] | the one checker of what shards hold |
//! | [`chance`] | seed and rounds |
//! | [`fuzz`] | bytes that nobody wrote; the crates' own tests take it by its path |

pub mod chance;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod fuzz;
#[cfg(test)]
mod fuzz_tests;
pub mod identity;
pub mod ledger;
pub mod process;
pub mod redis;
pub mod writers;

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in a folder of the workspace")
        .into()
}

/// The lines of `.gitignore` that name something at the root (`/target`), without the slash.
pub fn ignored_at_root() -> Vec<String> {
    let text = std::fs::read_to_string(root().join(".gitignore")).expect(".gitignore is readable");
    text.lines()
        .filter_map(|line| line.strip_prefix('/'))
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect()
}

/// Every file of the repository with one of the extensions, sorted; what git ignores at the root and `.git` are left out.
pub fn files_with_extension(extensions: &[&str]) -> Vec<PathBuf> {
    let mut skipped = ignored_at_root();
    skipped.push(".git".into());
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository is readable") {
            let path = entry.expect("an entry of a folder is readable").path();
            let at_root = folder == root();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if at_root && skipped.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
