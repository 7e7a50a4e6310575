//! The manifests as JSON values. In: the files of k8s/, or YAML text; out: documents with the files they are from.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use system_tests::root;

/// Held by a test that needs the machine for itself: whole clusters side by side would wait for each other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) file: String,
    pub(crate) value: Value,
}

impl Manifest {
    pub(crate) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap()
    }

    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap()
    }

    /// For messages.
    pub(crate) fn label(&self) -> String {
        format!("{}: {} {}", self.file, self.kind(), self.name())
    }

    /// The pod that it makes, if it makes any.
    pub(crate) fn pod(&self) -> Option<&Value> {
        let pod = &self.value["spec"]["template"]["spec"];
        (!pod.is_null()).then_some(pod)
    }
}

/// The files that `kubectl apply -f k8s/` takes, in its order.
pub(crate) fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("k8s")).unwrap();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

/// All documents, in the order in which they are applied.
pub(crate) fn manifests() -> Vec<Manifest> {
    files().iter().flat_map(|path| documents(path, &std::fs::read_to_string(path).unwrap())).collect()
}

/// The documents of a text; `path` is for messages.
pub(crate) fn documents(path: &Path, text: &str) -> Vec<Manifest> {
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let values: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    values.into_iter().map(|value| Manifest { file: file.clone(), value }).collect()
}

/// The one of this kind and name.
pub(crate) fn find(kind: &str, name: &str) -> Manifest {
    find_in(&manifests(), kind, name)
}

pub(crate) fn find_in(manifests: &[Manifest], kind: &str, name: &str) -> Manifest {
    let found = manifests.iter().find(|manifest| manifest.kind() == kind && manifest.name() == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in k8s/")).clone()
}

/// What makes pods, by name: (kind, name) of each in k8s/.
pub(crate) const WORKLOADS: [(&str, &str); 6] = [
    ("Job", "secrets"),
    ("StatefulSet", "redis"),
    ("StatefulSet", "replay"),
    ("Deployment", "learner"),
    ("Deployment", "actor"),
    ("Deployment", "evaluator"),
];

/// Those of [`WORKLOADS`] that are processes of the run.
pub(crate) fn processes() -> Vec<Manifest> {
    WORKLOADS[2..].iter().map(|(kind, name)| find(kind, name)).collect()
}

/// The containers of a pod, those before its start included.
pub(crate) fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"].iter().filter_map(|key| pod[key].as_array()).flatten().collect()
}

/// The container that does the work.
pub(crate) fn main_container(manifest: &Manifest) -> &Value {
    &manifest.pod().unwrap()["containers"][0]
}

/// An array of strings.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Text of the file `mahrl.toml`.
pub(crate) fn settings_toml() -> String {
    find("ConfigMap", "mahrl").value["data"]["mahrl.toml"].as_str().unwrap().to_owned()
}

/// The settings of the run, as its processes load them.
pub(crate) fn settings() -> common::config::Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mahrl.toml");
    std::fs::write(&path, settings_toml()).unwrap();
    common::config::Config::load(Some(&path), &[]).unwrap()
}
