//! The program `actor` from outside: what it says, and what it refuses. Cargo builds the program for the tests of other
//! crates because this file is here.

#![allow(clippy::unwrap_used)] // of the helpers; clippy.toml allows it in the tests themselves

use std::process::{Command, Output};

fn actor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actor")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_teaches_what_an_actor_needs() {
    let output = actor(&["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    for word in ["--config", "--threads", "--learner", "--health", "--metrics", "cluster.shards"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[test]
fn the_version_is_the_workspaces() {
    let output = actor(&["--version"]);
    // Behind it a release names its commit.
    assert!(text(&output.stdout).starts_with(&format!("actor {}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (set, named) in [
        ("actor.actors=0", "actor.actors"),
        ("cluster.learner=nowhere", "cluster.learner"),
        ("cluster.shards=[]", "cluster.shards"),
        ("no.such=1", "no"),
    ] {
        let output = actor(&["--set", set]);
        assert!(!output.status.success(), "{set} was accepted");
        let said = text(&output.stderr);
        assert!(said.starts_with("error: ") && said.contains(named), "{set}: {said}");
    }
}

#[test]
fn a_world_that_does_not_exist_is_named() {
    let output = actor(&["--set", "environment.name=shopworld:nowhere"]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("shopworld:nowhere"), "{said}");
}

#[test]
fn plain_text_beyond_loopback_is_refused_with_the_way_out() {
    let output = actor(&["--health", "0.0.0.0:0"]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("cluster.insecure"), "{said}");
}
