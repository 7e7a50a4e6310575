//! What `make study`, `make k8s-trial` and `make k8s-secrets` ask of a cluster, with a kubectl that notes it down.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use node::operate::SECRET_FILES;
use serde_json::Value;
use system_tests::{process::program, root};

use crate::read::settings_toml;

/// Programs on PATH before the real ones, and what they were asked.
struct Stubs {
    folder: tempfile::TempDir,
}

impl Stubs {
    /// `kubectl` and `cargo` as shell scripts; `$D` is the folder, `$*` the arguments, which are noted down.
    fn new(kubectl: &str, cargo: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, body) in [("kubectl", kubectl), ("cargo", cargo)] {
            let path = folder.path().join(name);
            let d = folder.path().display();
            fs::write(&path, format!("#!/bin/bash\nD={d}\necho \"{name} $*\" >>$D/calls\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.path().join("mahrl.toml"), settings_toml()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, script: &str, environment: &[(&str, &Path)]) -> Output {
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(root().join("scripts").join(script));
        command.env("PATH", path).envs(environment.iter().copied()).output().unwrap()
    }

    fn calls(&self) -> String {
        let path = self.path("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _none = fs::remove_file(path);
        calls
    }
}

#[test]
fn the_study_plays_a_run_for_each_number_once_and_puts_everything_back() {
    let kubectl = r#"case "$*" in
      *'get configmap'*) cat $D/mahrl.toml ;;
      *'get deployment actor'*) echo 3 ;;
      *'patch configmap'*) cat >>$D/patches; echo >>$D/patches ;;
      *'logs deployment/learner'*) echo '{"fields":{"message":"waiting for SIGTERM, as --stay says"}}' ;;
      *'get pods'*) echo learner-0 ;;
      cp*) mkdir -p "${@: -1}" && touch "${@: -1}/metrics.jsonl" ;;
    esac"#;
    let stubs = Stubs::new(kubectl, "");
    let out = stubs.path("study");
    let environment: [(&str, &Path); 3] =
        [("ACTORS", Path::new("2 4")), ("OUT", &out), ("STEPS", Path::new("70000"))];
    let done = stubs.run("k8s-study.sh", &environment);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let calls = stubs.calls();
    for (place, word) in ["--replicas=0", "--replicas=2", "--replicas=4", "--replicas=3"].iter().enumerate() {
        let found = calls.find(word).unwrap_or_else(|| panic!("no {word} in\n{calls}"));
        assert!(place == 0 || found > calls.find("--replicas=0").unwrap(), "{calls}");
    }
    let folders = format!("--collect {0}/actors-2 {0}/actors-4 --actors 2,4 --out {0}", out.display());
    assert!(calls.contains(&folders), "{calls}");

    let patches = fs::read_to_string(stubs.path("patches")).unwrap();
    let settings: Vec<String> = patches
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["data"]["mahrl.toml"].as_str().unwrap().into()
        })
        .collect();
    let ours: toml::Table = settings_toml().parse().unwrap();
    let (first, last): (toml::Table, toml::Table) =
        (settings[0].parse().unwrap(), settings[2].parse().unwrap());
    assert_eq!(first["cluster"]["run"].as_str(), Some("study-2"));
    assert_eq!(first["replay"]["data_dir"].as_str(), Some("/data/study-2"));
    let mut expected = ours["train"].clone();
    expected["steps"] = 70_000.into();
    assert_eq!(first["train"], expected, "the same run, as long as a row is");
    assert_eq!((settings.len(), last), (3, ours), "the settings are put back");

    // All rows are there: nothing is played again.
    assert!(stubs.run("k8s-study.sh", &environment).status.success());
    assert!(!stubs.calls().contains("scale deployment/actor"), "a finished row was run again");
}

#[test]
fn a_study_that_breaks_off_brings_the_actors_back() {
    let kubectl = r#"case "$*" in
      *'get configmap'*) cat $D/mahrl.toml ;;
      *'get deployment actor'*) echo 3 ;;
      *'rollout status'*) exit 1 ;;
    esac"#;
    let stubs = Stubs::new(kubectl, "");
    let out = stubs.path("study");
    let done = stubs.run("k8s-study.sh", &[("ACTORS", Path::new("2")), ("OUT", &out)]);
    assert_eq!(done.status.code(), Some(1));
    let calls = stubs.calls();
    let scaled: Vec<&str> = calls.lines().filter(|line| line.contains("scale deployment/actor")).collect();
    assert!(scaled.last().unwrap().ends_with("--replicas=3"), "{calls}");
}

#[test]
fn a_trial_leaves_a_cluster_alone_where_a_run_is() {
    let stubs = Stubs::new(r#"case "$*" in *'get namespace mahrl'*) echo namespace/mahrl ;; esac"#, "");
    let done = stubs.run("k8s-trial.py", &[]);
    assert_eq!(done.status.code(), Some(1));
    let (said, calls) = (String::from_utf8_lossy(&done.stderr), stubs.calls());
    assert!(said.contains("nothing was done"), "{said}");
    assert!(calls.contains("get namespace mahrl") && calls.lines().count() == 1, "{calls}");
}

#[test]
fn a_trial_says_what_failed_and_leaves_it_to_be_looked_at() {
    // A cluster in which no pod ever comes.
    let kubectl = r#"case "$*" in *'-o json'*) echo '{"items": []}' ;; esac"#;
    let stubs = Stubs::new(kubectl, "");
    let done = stubs.run("k8s-trial.py", &[("READY", Path::new("1"))]);
    assert_eq!(done.status.code(), Some(1));
    let (said, calls) = (String::from_utf8_lossy(&done.stdout), stubs.calls());
    assert!(said.contains("FAILED  all pods are Ready: not within 1 s"), "{said}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("left as it is"));
    assert!(calls.contains("apply -f k8s") && !calls.contains("delete"), "{calls}");
}

#[test]
fn a_secret_is_filled_from_outside_only_if_it_is_empty() {
    let kubectl = r#"case "$*" in
      *'get secret'*) cat $D/filled 2>/dev/null || true ;;
      *'create secret'*) python3 - "${@: -4:1}" <<'PY'
import base64, json, os, sys
folder = sys.argv[1].split("=", 1)[1]
print(json.dumps({"data": {n: base64.b64encode(open(f"{folder}/{n}", "rb").read()).decode() for n in os.listdir(folder)}}))
PY
      ;;
      *'patch secret'*) cp "${@: -1}" $D/patch.json ;;
    esac"#;
    // The program that cargo would build and run.
    let cargo =
        format!("while [ \"$1\" != -- ]; do shift; done\nshift\nexec {} \"$@\"", program("replay").display());
    let stubs = Stubs::new(kubectl, &cargo);
    let done = stubs.run("k8s-secrets.sh", &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let patch: Value = serde_json::from_str(&fs::read_to_string(stubs.path("patch.json")).unwrap()).unwrap();
    let mut names: Vec<&String> = patch["data"].as_object().unwrap().keys().collect();
    let mut expected = SECRET_FILES;
    names.sort();
    expected.sort_unstable();
    assert_eq!(names, expected);

    fs::write(stubs.path("filled"), "{\"token\":\"...\"}").unwrap();
    fs::remove_file(stubs.path("patch.json")).unwrap();
    let refused = stubs.run("k8s-secrets.sh", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stays as it is"));
    assert!(!stubs.path("patch.json").exists());
}
