//! The overlays: that kustomize builds them, and what they change. `UPDATE_DOCS=1` writes their common base anew.

use std::{path::Path, process::Command};

use system_tests::root;

use crate::read::{Manifest, documents, files, find_in, main_container};

const OVERLAYS: [&str; 3] = ["gpu", "large", "monitoring"];

/// What `kubectl kustomize` makes of each, by name; empty, saying so, without kubectl.
pub(crate) fn built() -> Vec<(&'static str, String)> {
    let build = |name: &'static str| {
        let folder = root().join("k8s/overlays").join(name);
        let output = match Command::new("kubectl").arg("kustomize").arg(&folder).output() {
            Err(_) => {
                eprintln!("SKIPPED: there is no kubectl here: the overlay {name} was not built");
                return None;
            }
            Ok(output) => output,
        };
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Some((name, String::from_utf8(output.stdout).unwrap()))
    };
    OVERLAYS.into_iter().filter_map(build).collect()
}

fn of(name: &str) -> Option<Vec<Manifest>> {
    let (name, text) = built().into_iter().find(|(built, _)| *built == name)?;
    Some(documents(Path::new(name), &text))
}

/// Without the documents of the Prometheus operator, whose schemas are not Kubernetes'.
pub(crate) fn without_custom_resources(text: &str) -> String {
    let is_ours = |document: &&str| !document.contains("apiVersion: monitoring.coreos.com/");
    text.split("\n---\n").filter(is_ours).collect::<Vec<_>>().join("\n---\n")
}

#[test]
fn the_base_of_the_overlays_is_the_manifests() {
    let path = root().join("k8s/overlays/base/manifests.yaml");
    let mut expected = "# Made of the files of k8s/ (see kustomization.yaml): change those.\n".to_owned();
    for file in files() {
        expected += &format!("---\n{}", std::fs::read_to_string(file).unwrap());
    }
    if std::fs::read_to_string(&path).unwrap_or_default() == expected {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "{} differs from the files of k8s/; UPDATE_DOCS=1 writes it anew",
        path.display()
    );
    std::fs::write(path, expected).unwrap();
}

fn environment<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a str> {
    let variables = main_container(manifest)["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

#[test]
fn the_gpu_overlay_gives_the_learner_a_gpu_and_its_image() {
    let Some(built) = of("gpu") else { return };
    let learner = find_in(&built, "Deployment", "learner");
    let container = main_container(&learner);
    assert!(container["image"].as_str().unwrap().starts_with("mahrl/learner-cuda:"));
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], "1");
    assert_eq!(environment(&learner, "MAHRL__TRAIN__DEVICE"), Some("cuda:0"));
    assert_eq!(environment(&learner, "MAHRL_LOG"), Some("json"), "the rest of its environment stays");
    assert_eq!(learner.pod().unwrap()["tolerations"][0]["key"], "nvidia.com/gpu");
}

#[test]
fn the_large_overlay_has_as_many_shards_as_its_settings_say() {
    let Some(built) = of("large") else { return };
    let replay = find_in(&built, "StatefulSet", "replay");
    assert_eq!(replay.value["spec"]["replicas"], 8);
    assert_eq!(find_in(&built, "Deployment", "actor").value["spec"]["replicas"], 100);
    for (kind, name) in [("StatefulSet", "replay"), ("Deployment", "learner"), ("Deployment", "actor")] {
        let shards = environment(&find_in(&built, kind, name), "MAHRL__REPLAY__SHARDS").map(str::to_owned);
        assert_eq!(shards.as_deref(), Some("8"), "{name}");
    }
}

#[test]
fn the_monitoring_overlay_scrapes_what_says_that_it_has_metrics() {
    let Some(built) = of("monitoring") else { return };
    let service = find_in(&built, "Service", "metrics");
    let monitor = find_in(&built, "ServiceMonitor", "mahrl");
    for (label, value) in monitor.value["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&service.value["metadata"]["labels"][label], value);
    }
    assert_eq!(monitor.value["spec"]["endpoints"][0]["port"], service.value["spec"]["ports"][0]["name"]);
    for manifest in crate::read::processes() {
        let labels = &manifest.value["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["mahrl/metrics"], "true", "{}", manifest.label());
    }
    let dashboard = find_in(&built, "ConfigMap", "mahrl-dashboard");
    assert_eq!(dashboard.value["metadata"]["labels"]["grafana_dashboard"], "1");
}
