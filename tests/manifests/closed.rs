//! What keeps a cluster closed: pods without rights, policies with the arrows of the design and no others, no secret in git.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use system_tests::root;

use crate::read::{Manifest, WORKLOADS, containers, files, find, manifests};

fn workloads() -> Vec<Manifest> {
    WORKLOADS.iter().map(|(kind, name)| find(kind, name)).collect()
}

#[test]
fn every_workload_is_known_to_these_tests() {
    let found: BTreeSet<(String, String)> = manifests()
        .iter()
        .filter(|manifest| manifest.pod().is_some())
        .map(|manifest| (manifest.kind().to_owned(), manifest.name().to_owned()))
        .collect();
    let known = WORKLOADS.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    assert_eq!(found, known.into());
}

#[test]
fn the_folder_holds_numbered_yaml_that_is_applied_in_the_right_order() {
    for file in files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let numbered = name.as_bytes()[..2].iter().all(u8::is_ascii_digit) && name.as_bytes()[2] == b'-';
        assert!(numbered && name.ends_with(".yaml"), "k8s/{name}: `kubectl apply -f k8s/` would take it");
    }
    let manifests = manifests();
    assert_eq!(manifests[0].kind(), "Namespace", "everything else lives in it");
    let first = |kind: &str| manifests.iter().position(|manifest| manifest.kind() == kind).unwrap();
    assert!(first("NetworkPolicy") < first("Job"), "closed before the first pod comes");
}

#[test]
fn pods_are_what_the_restricted_standard_asks_and_more() {
    let namespace = find("Namespace", "mahrl");
    assert_eq!(namespace.value["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    for manifest in workloads() {
        let (pod, label) = (manifest.pod().unwrap(), manifest.label());
        let context = &pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{label}");
        assert!(context["runAsUser"].as_u64().is_some_and(|user| user > 0), "{label}");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{label}");
        assert_eq!(pod["enableServiceLinks"], false, "{label}");
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[key].is_null(), "{label}: {key}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            assert!(volume["hostPath"].is_null(), "{label}: {volume}");
        }
        for container in containers(pod) {
            let label = format!("{label}, container {}", container["name"]);
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{label}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{label}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{label}");
            assert!(context["privileged"].is_null() && context["runAsUser"].is_null(), "{label}");
            for kind in ["requests", "limits"] {
                for resource in ["cpu", "memory"] {
                    assert!(
                        container["resources"][kind][resource].is_string(),
                        "{label}: {kind} of {resource}"
                    );
                }
            }
            let image = container["image"].as_str().unwrap();
            let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
            assert!(!tag.is_empty() && tag != "latest", "{label}: {image} is not pinned");
            assert_eq!(container["imagePullPolicy"], "IfNotPresent", "{label}: local images are used");
        }
    }
}

/// Nobody but the Job reaches the Kubernetes API, and the Job no more of it than it needs.
#[test]
fn one_pod_may_ask_the_api_for_one_secret() {
    for manifest in workloads() {
        let pod = manifest.pod().unwrap();
        assert_eq!(pod["automountServiceAccountToken"], manifest.name() == "secrets", "{}", manifest.label());
    }
    let rules = find("Role", "secrets").value["rules"].clone();
    let expected = json!([{
        "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mahrl-secrets"], "verbs": ["get", "patch"]
    }]);
    assert_eq!(rules, expected);
    let kinds: Vec<String> = manifests().iter().map(|manifest| manifest.kind().to_owned()).collect();
    assert!(
        !kinds.iter().any(|kind| kind.starts_with("Cluster")),
        "no rights beyond the namespace: {kinds:?}"
    );
}

#[test]
fn no_secret_is_in_git() {
    let secret = find("Secret", "mahrl-secrets").value;
    assert!(secret["data"].is_null() && secret["stringData"].is_null(), "{secret}");
    let private_keys = manifests().iter().filter(|m| m.value.to_string().contains("PRIVATE KEY")).count();
    assert_eq!(private_keys, 0);
}

/// (from, to, port); `*` for what has no selector of ours.
type Arrow = (String, String, u64);

/// Names of pods that a selector means.
fn selected(selector: &Value) -> Vec<String> {
    let Some(selector) = selector.as_object().filter(|selector| !selector.is_empty()) else {
        return WORKLOADS.iter().map(|(_, name)| (*name).to_owned()).collect();
    };
    if let Some(labels) = selector.get("matchLabels") {
        return vec![labels["app.kubernetes.io/name"].as_str().unwrap().to_owned()];
    }
    let expression = &selector["matchExpressions"][0];
    assert_eq!(
        (&expression["key"], &expression["operator"]),
        (&"app.kubernetes.io/name".into(), &"In".into())
    );
    expression["values"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The arrows that one side of all policies allows: `ingress` and its `from`, or `egress` and its `to`.
fn arrows(side: &str, peers: &str) -> BTreeSet<Arrow> {
    let mut found = BTreeSet::new();
    for policy in manifests().iter().filter(|manifest| manifest.kind() == "NetworkPolicy") {
        let spec = &policy.value["spec"];
        let own = selected(&spec["podSelector"]);
        for rule in spec[side].as_array().into_iter().flatten() {
            let others: Vec<String> = match rule[peers].as_array() {
                None => vec!["*".to_owned()],
                Some(list) => list
                    .iter()
                    .flat_map(|peer| match peer["namespaceSelector"].is_null() {
                        true => selected(&peer["podSelector"]),
                        false => vec!["*".to_owned()],
                    })
                    .collect(),
            };
            for port in rule["ports"].as_array().expect("a rule without ports opens all of them") {
                for (own, other) in own.iter().flat_map(|own| others.iter().map(move |other| (own, other))) {
                    let (from, to) = if side == "ingress" { (other, own) } else { (own, other) };
                    found.insert((from.clone(), to.clone(), port["port"].as_u64().unwrap()));
                }
            }
        }
    }
    found
}

/// Those that `make k8s-trial` expects in a cluster.
fn arrows_of_the_trial() -> BTreeSet<Arrow> {
    let script = std::fs::read_to_string(root().join("scripts/k8s-trial.py")).unwrap();
    let (_, after) = script.split_once("ARROWS = {").unwrap();
    let (set, _) = after.split_once('}').unwrap();
    set.split('(')
        .skip(1)
        .map(|arrow| {
            let parts: Vec<&str> =
                arrow.split(&[',', ')', '"', ' ']).filter(|part| !part.is_empty()).collect();
            (parts[0].to_owned(), parts[1].to_owned(), parts[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn policies_allow_the_arrows_of_the_design_from_both_ends_and_nothing_else() {
    let deny = find("NetworkPolicy", "default-deny").value["spec"].clone();
    assert_eq!(deny, json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }));
    let inside: BTreeSet<Arrow> = [
        ("replay", "redis", 6379),
        ("learner", "redis", 6379),
        ("actor", "redis", 6379),
        ("evaluator", "redis", 6379),
        ("learner", "replay", 7410),
        ("actor", "replay", 7410),
        ("actor", "learner", 7400),
        ("evaluator", "learner", 7400),
    ]
    .map(|(from, to, port)| (from.to_owned(), to.to_owned(), port))
    .into();
    assert_eq!(arrows("ingress", "from"), inside);
    assert_eq!(arrows_of_the_trial(), inside);
    let (outside, egress): (BTreeSet<Arrow>, BTreeSet<Arrow>) =
        arrows("egress", "to").into_iter().partition(|(_, to, _)| to == "*");
    assert_eq!(egress, inside);
    for (from, _, port) in outside {
        let may = match from.as_str() {
            "secrets" => [443, 6443, 8443, 16443].contains(&port),
            "redis" => false,
            _ => port == 53,
        };
        assert!(may, "{from} may talk to anyone on port {port}");
    }
}
