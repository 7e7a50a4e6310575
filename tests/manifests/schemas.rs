//! Every document against Kubernetes' own schemas, by kubernetes-validate of PyPI; and the cross-checks that schemas cannot
//! do, by the lint of the house where it is there.
//!
//! The Python environment is made once a target folder. Without a package index these tests say so and pass, but under
//! MAHRL_REQUIRE_PYPI=1.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use system_tests::root;

use crate::{overlays, read::files};

const PACKAGE: &str = "kubernetes-validate==1.37.0";
/// The oldest version that is promised, one in use, and the newest that the package knows.
const VERSIONS: [&str; 3] = ["1.28", "1.33", "1.37"];

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Not `eprintln`, which the test harness swallows.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The folder of the environment's programs; `None` where it cannot be made.
fn environment() -> Option<&'static Path> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE.replace("==", "-"));
        let bin = folder.join("bin");
        if bin.join("kubernetes-validate").is_file() {
            return Some(bin);
        }
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let installed = made.status.success().then(|| {
            run(Command::new(bin.join("python")).args(["-m", "pip", "install", "--quiet", PACKAGE]))
        });
        let problem = match installed {
            Some(output) if output.status.success() => return Some(bin),
            Some(output) => output.stderr,
            None => made.stderr,
        };
        let problem = String::from_utf8_lossy(&problem).into_owned();
        let required = std::env::var_os("MAHRL_REQUIRE_PYPI").is_some_and(|value| value == "1");
        assert!(!required, "MAHRL_REQUIRE_PYPI=1, but {PACKAGE} cannot be installed: {problem}");
        say(&format!("NOT TESTED against Kubernetes' schemas: {PACKAGE} cannot be installed: {problem}"));
        None
    };
    MADE.get_or_init(make).as_deref()
}

fn validated(bin: &Path, version: &str, files: &[PathBuf]) -> Output {
    let mut command = Command::new(bin.join("kubernetes-validate"));
    run(command.args(["--strict", "--kubernetes-version", version]).args(files))
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn the_manifests_are_valid_from_the_oldest_version_to_the_newest() {
    let Some(bin) = environment() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut files = files();
    for (name, text) in overlays::built() {
        let path = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&path, overlays::without_custom_resources(&text)).unwrap();
        files.push(path);
    }
    for version in VERSIONS {
        let output = validated(bin, version, &files);
        assert!(output.status.success(), "Kubernetes {version}:\n{}", text(&output));
    }
}

#[test]
fn a_document_that_is_not_valid_is_refused() {
    let Some(bin) = environment() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    let wrong =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1, tragetPort: 2}]}\n";
    std::fs::write(&path, wrong).unwrap();
    let output = validated(bin, VERSIONS[0], &[path]);
    assert!(!output.status.success() && text(&output).contains("tragetPort"), "{}", text(&output));
}

#[test]
fn the_lint_of_the_house_finds_nothing() {
    let lint = root().join("../shared/tools/k8s_lint.py");
    if !lint.is_file() {
        say(&format!("NOT TESTED by the lint of the house: {} is not there", lint.display()));
        return;
    }
    let Some(bin) = environment() else { return };
    let output = run(Command::new(bin.join("python")).arg(lint).arg(root().join("k8s")));
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(" documents, 0 findings"), "{}", text(&output));
}
