//! Every document through the types of Kubernetes' API and back: a key that vanishes on the way is one that Kubernetes does
//! not know there, and would ignore or refuse.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
    scheduling::v1::PriorityClass,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::read::{Manifest, manifests};

/// There and back; the error of a value of another type.
fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

fn through_its_type(manifest: &Manifest) -> Result<Value, String> {
    let value = &manifest.value;
    match (value["apiVersion"].as_str().unwrap_or_default(), manifest.kind()) {
        ("v1", "Namespace") => through::<Namespace>(value),
        ("v1", "ConfigMap") => through::<ConfigMap>(value),
        ("v1", "Secret") => through::<Secret>(value),
        ("v1", "Service") => through::<Service>(value),
        ("v1", "ServiceAccount") => through::<ServiceAccount>(value),
        ("v1", "PersistentVolumeClaim") => through::<PersistentVolumeClaim>(value),
        ("apps/v1", "Deployment") => through::<Deployment>(value),
        ("apps/v1", "StatefulSet") => through::<StatefulSet>(value),
        ("batch/v1", "Job") => through::<Job>(value),
        ("networking.k8s.io/v1", "NetworkPolicy") => through::<NetworkPolicy>(value),
        ("policy/v1", "PodDisruptionBudget") => through::<PodDisruptionBudget>(value),
        ("rbac.authorization.k8s.io/v1", "Role") => through::<Role>(value),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => through::<RoleBinding>(value),
        ("scheduling.k8s.io/v1", "PriorityClass") => through::<PriorityClass>(value),
        (version, kind) => Err(format!("{kind} of {version} is no type that this test knows")),
    }
}

/// Paths of what `before` has and `after` has not, or has otherwise.
fn lost(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}.{key}");
                match after.get(key) {
                    Some(after) => lost(value, after, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (k, (before, after)) in before.iter().zip(after).enumerate() {
                lost(before, after, &format!("{path}[{k}]"), found);
            }
        }
        _ if before == after => {}
        _ => found.push(format!("{path} ({before} became {after})")),
    }
}

#[test]
fn every_document_comes_back_from_its_type_with_all_its_keys() {
    let manifests = manifests();
    assert!(manifests.len() > 20, "the manifests were not found");
    for manifest in &manifests {
        let after =
            through_its_type(manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.label()));
        let mut found = Vec::new();
        lost(&manifest.value, &after, "", &mut found);
        assert!(found.is_empty(), "{}: Kubernetes knows no {found:?}", manifest.label());
    }
}

#[test]
fn a_key_that_kubernetes_does_not_know_is_seen() {
    let document = |spec: Value| Manifest {
        file: "test".into(),
        value: json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" }, "spec": spec }),
    };
    let pod = json!({ "containers": [{ "name": "a", "comand": ["x"] }] });
    let wrong = document(json!({
        "selector": {}, "template": { "spec": pod }, "strategy": { "type": "Recreate" }, "repicas": 2
    }));
    let mut found = Vec::new();
    lost(&wrong.value, &through_its_type(&wrong).unwrap(), "", &mut found);
    assert_eq!(found, [".spec.repicas", ".spec.template.spec.containers[0].comand"]);
    let of_another_type = document(json!({ "selector": {}, "template": {}, "replicas": "two" }));
    assert!(through_its_type(&of_another_type).unwrap_err().contains("two"));
}
