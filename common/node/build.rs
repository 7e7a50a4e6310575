//! Which commit this is, for `--version`: `MAHRL_COMMIT` where it is set (an image's build has no `.git`), else git's word
//! in a release build, else nothing.
//!
//! Builds for development do not ask git: every commit would build half of the workspace anew.

use std::{path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MAHRL_COMMIT");
    let given = std::env::var("MAHRL_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_release = std::env::var("PROFILE").as_deref() == Ok("release");
    let commit = given.or_else(|| is_release.then(head).flatten());
    let version = env!("CARGO_PKG_VERSION");
    let version = commit.map_or(version.to_owned(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=MAHRL_VERSION={version}");
}

/// The commit that is checked out, and this script again with the next one. `None` without git or outside a checkout.
fn head() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    Some(commit)
}
